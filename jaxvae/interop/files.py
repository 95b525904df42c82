"""State dicts in files: .pth, .pt, .ckpt and .bin of PyTorch, and .safetensors. No code is run."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # with it, NumPy and safetensors know bfloat16
import numpy as np

from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, absent

PYTORCH = (".pth", ".pt", ".ckpt", ".bin")
ZIP = b"PK\x03\x04"  # the first bytes of what torch.save writes; before PyTorch 1.6 it was a pickle
WHOLE = "."  # the name of a state dict that is the file itself
# Files in an archive that tell a program from what torch.save writes: what it is, its state dict.
_SCRIPT = ("TorchScript program (torch.jit.save)", "torch.jit.load({}).state_dict()")
_EXPORTED = ("program of torch.export", "torch.export.load({}).state_dict")
PROGRAMS = {
    "constants.pkl": _SCRIPT,
    "archive_format": _EXPORTED,
    "serialized_exported_program.json": _EXPORTED,
}


def read(path: str | Path, names: Sequence[str] = ()) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a file by their keys, and the names of all else that it holds.

    A state dict is a mapping of names to tensors, at any depth of a file: {"state_dict": ...},
    {"epoch": 3, "net": {"params": ...}}. It is the one that holds matrices; what an optimizer keeps
    (any key "optim...", and what is numbered) is none. Half-precision tensors become float32,
    exactly.

    Args:
        path: the file.
        names: which state dicts, by their dotted places in the file ("." is the file itself). The
            keys of one are as they are, those of several stand behind the name of theirs. By
            default the only one that there is.

    Raises:
        UsageError: no such file, another kind of file, a damaged one, one that would run code, one
            without tensors, one with several state dicts and no `names`, or the library that reads
            it is not installed.
    """
    path = Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    safe = path.suffix == ".safetensors"
    loaded, is_tensor = _read_safetensors(path) if safe else _read_pytorch(path)
    dicts = _state_dicts(loaded, is_tensor)
    if not dicts:
        raise UsageError(f"{path}: has no tensors, at any depth")
    described = ", ".join(f"{name} ({_count(d, is_tensor)})" for name, d in dicts.items())
    if not names and len(dicts) > 1:
        raise UsageError(
            f"{path}: holds several state dicts: {described}; choose one by --state-dict"
            f" {next(iter(dicts))} (several are joined, each behind its name)"
        )
    for name in names:
        if name not in dicts:
            raise UsageError(f"{path}: --state-dict {name}: must be one of {described}")
    chosen = list(dict.fromkeys(names)) or list(dicts)
    tensors = {
        key if len(chosen) == 1 else f"{name}.{key}": tensor
        for name in chosen
        for key, tensor in dicts[name].items()
        if isinstance(key, str) and is_tensor(tensor)
    }
    small = (np.float16, ml_dtypes.bfloat16)
    found = tensors if safe else {key: _to_numpy(path, key, t) for key, t in tensors.items()}
    arrays = {key: a.astype(np.float32) if a.dtype in small else a for key, a in found.items()}
    return arrays, _beside(loaded, [dicts[name] for name in chosen], is_tensor)


def _state_dicts(loaded: Any, is_tensor: Callable[[Any], bool]) -> dict[str, Mapping[Any, Any]]:
    """Mappings that hold matrices by their places in a file; any tensors, where none does."""
    found: dict[str, Mapping[Any, Any]] = {}
    waiting, seen = [("", loaded)], set()
    for place, value in waiting:  # grows; no mapping is looked into twice, so it ends
        if isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            found[place.removeprefix(".") or WHOLE] = value
            waiting += [
                (f"{place}.{key}", inner)
                for key, inner in value.items()
                if isinstance(key, str) and not key.lower().startswith("optim")
            ]
    for rank in (2, 0):
        holding = {
            place: value
            for place, value in found.items()
            if any(
                isinstance(key, str) and is_tensor(item) and item.ndim >= rank
                for key, item in value.items()
            )
        }
        if holding:
            return holding
    return {}


def _count(mapping: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> str:
    return f"{sum(map(is_tensor, mapping.values()))} tensors"


def _beside(loaded: Any, chosen: list[Any], is_tensor: Callable[[Any], bool]) -> list[str]:
    """Places in a file of what is in none of the chosen state dicts."""
    places: list[str] = []
    waiting, seen = [("", loaded)], set()
    for place, value in waiting:
        if id(value) in seen:
            continue
        seen.add(id(value))
        mine = any(value is one for one in chosen)
        for key, inner in value.items():
            if mine and isinstance(key, str) and is_tensor(inner):
                continue
            if _holds(inner, chosen):
                waiting.append((f"{place}.{key}", inner))
            else:
                places.append(f"{place}.{key}".removeprefix("."))
    return places


def _holds(value: Any, chosen: list[Any]) -> bool:
    """Whether a mapping is one of the chosen ones, or has one of them inside."""
    waiting, seen = [value], set()
    for inner in waiting:
        if any(inner is one for one in chosen):
            return True
        if isinstance(inner, Mapping) and id(inner) not in seen:
            seen.add(id(inner))
            waiting += inner.values()
    return False


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


def _read_pytorch(path: Path) -> tuple[Any, Callable[[Any], bool]]:
    """What torch.save saved, and what tells its tensors."""
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
    return loaded, lambda value: isinstance(value, torch.Tensor)


def _check_archive(path: Path) -> None:
    """Raise a UsageError where a zip archive is a program, or damaged.

    PyTorch does not look at its checksums.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if program := PROGRAMS.get(name.rpartition("/")[2]):
                kind, state_dict = program
                raise UsageError(
                    f"{path}: a {kind}, which loading would run; write its weights alone, in"
                    f" PyTorch: weights = {state_dict.format(repr(str(path)))};"
                    " torch.save(dict(weights), 'weights.pth')"
                )
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


def _read_safetensors(path: Path) -> tuple[Any, Callable[[Any], bool]]:
    safetensors = _import_safetensors(path)
    try:
        return safetensors.load_file(path), lambda value: True
    except Exception as error:
        raise UsageError(f"{path}: not safetensors, or damaged ({_reason(error)})") from error


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise absent(str(path), "PyTorch", "jaxvae[parity]") from error
    return torch


def _import_safetensors(path: Path) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise absent(str(path), "safetensors", "jaxvae[parity]") from error
    return safetensors.numpy
