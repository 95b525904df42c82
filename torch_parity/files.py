"""State dicts in files: .pth, .pt, .ckpt and .bin of PyTorch, and .safetensors. No code is run."""

import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # with it, NumPy and safetensors know bfloat16
import numpy as np

from jaxvae import runs
from jaxvae.config import UsageError

PYTORCH = (".pth", ".pt", ".ckpt", ".bin")
WRAPPERS = ("model_state_dict", "state_dict", "model")
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
        with runs.atomic(path) as temporary:  # save_file would make it readable by its owner alone
            temporary.write_bytes(safetensors.save(contiguous))
    else:
        torch = _import_torch(path)
        tensors = {key: torch.tensor(array) for key, array in arrays.items()}
        with runs.atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(tensors, file)


def _check_suffix(path: Path) -> None:
    if path.suffix not in (*PYTORCH, ".safetensors"):
        raise UsageError(f"{path}: must end in {', '.join(PYTORCH)} or .safetensors")


def _read_pytorch(path: Path) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        if zipfile.is_zipfile(path):  # PyTorch itself does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise UsageError(f"{path}: damaged (the checksum of {damaged} is wrong)")
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
        reason = f"{type(error).__name__}: {error}".split(". ")[0]
        raise UsageError(f"{path}: damaged ({reason})") from error
    while isinstance(loaded, Mapping):
        inner = [loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), Mapping)]
        if not inner:
            break
        loaded = inner[0]
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    return {
        key: _to_numpy(path, key, tensor)
        for key, tensor in items
        if isinstance(key, str) and isinstance(tensor, torch.Tensor)
    }


def _to_numpy(path: Path, key: str, tensor: Any) -> np.ndarray:
    if tensor.is_floating_point() and tensor.element_size() < 4:  # NumPy has no bfloat16
        tensor = tensor.float()
    try:
        return tensor.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"{path}: {key}: not a plain tensor ({error})") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = _import_safetensors(path)
    try:
        return safetensors.load_file(path)
    except Exception as error:
        raise UsageError(f"{path}: not safetensors, or damaged ({error})") from error


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(f"{path}: needs PyTorch: pip install 'jaxvae[parity]'") from error
    return torch


def _import_safetensors(path: Path) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UsageError(f"{path}: needs safetensors: pip install 'jaxvae[parity]'") from error
    return safetensors.numpy
