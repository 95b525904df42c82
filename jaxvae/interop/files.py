"""State dicts in files: .pth, .pt, .ckpt and .bin of PyTorch, and .safetensors. No code is run."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # with it, NumPy and safetensors know bfloat16
import numpy as np

from jaxvae.atomic import atomic
from jaxvae.checks import UsageError

PYTORCH = (".pth", ".pt", ".ckpt", ".bin")
WRAPPERS = ("model_state_dict", "state_dict", "model")
ZIP = b"PK\x03\x04"  # the first bytes of what torch.save writes; before PyTorch 1.6 it was a pickle
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, Lightning, torch.compile


def read(path: str | Path) -> tuple[dict[str, np.ndarray], str]:
    """The tensors of a file by their keys, and the prefix that was taken off all of them.

    The state dict may be wrapped, as in {"state_dict": ...}. Half-precision tensors become float32,
    exactly. Entries that are no tensors are left out.

    Raises:
        UsageError: no such file, another kind of file, a damaged one, one that would run code, one
            without tensors, or the library that reads it is not installed.
    """
    path = Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    if not tensors:
        raise UsageError(f"{path}: has no tensors (looked into {', '.join(WRAPPERS)} too)")
    prefix = shared_prefix(tensors)
    small = (np.float16, ml_dtypes.bfloat16)
    arrays = {
        key.removeprefix(prefix): array.astype(np.float32) if array.dtype in small else array
        for key, array in tensors.items()
    }
    return arrays, prefix


def shared_prefix(keys: Collection[str]) -> str:
    """What wrappers put in front of all keys, such as "module.model."; empty if there are none."""
    prefix = ""
    while keys:
        found = [p for p in PREFIXES if all(key.startswith(prefix + p) for key in keys)]
        if not found:
            break
        prefix += found[0]
    return prefix


def write(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a state dict: as safetensors or by `torch.save`, as the suffix says; atomically.

    Raises:
        UsageError: another suffix, or the library that writes it is not installed.
    """
    path = Path(path)
    _check_suffix(path)
    if path.suffix == ".safetensors":
        safetensors = _import_safetensors(path)
        contiguous = {key: np.require(array, None, "C") for key, array in arrays.items()}
        with atomic(path) as temporary:  # save_file would make it readable by its owner alone
            temporary.write_bytes(safetensors.save(contiguous))
    else:
        torch = _import_torch(path)
        tensors = {key: torch.tensor(array) for key, array in arrays.items()}
        with atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(tensors, file)


def _check_suffix(path: Path) -> None:
    if path.suffix not in (*PYTORCH, ".safetensors"):
        raise UsageError(f"{path}: must end in {', '.join(PYTORCH)} or .safetensors")


def _read_pytorch(path: Path) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are read or refused
            _check_archive(path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except pickle.UnpicklingError as error:
        if match := re.search(r"GLOBAL (\S+)", str(error)):
            raise UsageError(
                f"{path}: needs {match[1]}, which is not tensors but code, and is not run; if you"
                " trust the file, load it in PyTorch and torch.save(model.state_dict(), ...)"
            ) from None
        raise UsageError(f"{path}: not a file of tensors by torch.save, or damaged") from error
    except Exception as error:  # a damaged file makes PyTorch raise nearly anything
        raise UsageError(f"{path}: damaged ({_reason(error)})") from error
    for _ in WRAPPERS:  # a dict that is its own "model" would be unwrapped for ever
        mapping = loaded if isinstance(loaded, Mapping) else {}
        inner = [mapping[name] for name in WRAPPERS if isinstance(mapping.get(name), Mapping)]
        loaded = inner[0] if inner else loaded
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    return {
        key: _to_numpy(path, key, tensor)
        for key, tensor in items
        if isinstance(key, str) and isinstance(tensor, torch.Tensor)
    }


def _check_archive(path: Path) -> None:
    """Raise a UsageError where a zip archive is damaged; PyTorch does not look at its checksums."""
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise UsageError(
                f"{path}: damaged (its parts are larger than the file: they overlap or are"
                " compressed, as torch.save never writes them)"
            )
        if damaged := archive.testzip():
            raise UsageError(f"{path}: damaged (the checksum of {damaged} is wrong)")


def _to_numpy(path: Path, key: str, tensor: Any) -> np.ndarray:
    try:
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise TypeError("it repeats its numbers")  # as many times as its shape says
        if tensor.is_floating_point() and tensor.element_size() < 4:  # NumPy has no bfloat16
            tensor = tensor.float()
        return tensor.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"{path}: {key}: not a plain tensor ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """An error as one short line."""
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return text.split(". ")[0][:300]


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = _import_safetensors(path)
    try:
        return safetensors.load_file(path)
    except Exception as error:
        raise UsageError(f"{path}: not safetensors, or damaged ({_reason(error)})") from error


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(f"{path}: needs PyTorch: pip install -e '.[parity]'") from error
    return torch


def _import_safetensors(path: Path) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UsageError(f"{path}: needs safetensors: pip install -e '.[parity]'") from error
    return safetensors.numpy
