"""Exported runs on the Hugging Face Hub, whose ids are OWNER/NAME."""

from pathlib import Path
from typing import Any

from jaxvae.checks import UsageError, absent


def local(name: str | Path, revision: str | None = None) -> Path:
    """The folder of an exported run: that folder, or where the Hub's copy of an id was put.

    Raises:
        UsageError: neither a folder nor an id; huggingface_hub is not installed.
    """
    if Path(name).is_dir():
        return Path(name)
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise UsageError(f"{name}: no such folder, and no id of the Hub, which is OWNER/NAME")
    return Path(_hub().snapshot_download(str(name), revision=revision))


def upload(folder: Path, name: str, private: bool = False) -> str:
    """Upload an exported run; its address. Who uploads has logged in with `hf auth login`.

    Raises:
        UsageError: huggingface_hub is not installed.
    """
    api = _hub().HfApi()
    address = api.create_repo(name, private=private, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=str(folder))
    return str(address)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise absent("the Hub", "huggingface_hub", "jaxvae[hub]") from error
    return huggingface_hub
