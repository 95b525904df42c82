"""Parameters in one file that other programs read too: model.safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, absent, reason
from jaxvae.runs.folder import PARAMETERS


def write(path: Path, variables: Any, metadata: Mapping[str, str]) -> None:
    """The arrays of a tree by their path, such as model/params/encoder/Dense_0/kernel.

    Raises:
        UsageError: safetensors is not installed.
    """
    save = _safetensors().numpy.save
    arrays = {name: np.ascontiguousarray(x) for name, x in _named(variables)}
    with atomic(path) as temporary:
        temporary.write_bytes(save(arrays, metadata=dict(metadata)))


def read(path: Path, like: Any) -> tuple[Any, dict[str, str]]:
    """A tree like the abstract one, and the metadata.

    Raises:
        UsageError: safetensors is not installed; the file is damaged; names, shapes or types are
            others.
    """
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UsageError(f"{path}: cannot be read: {reason(error)}") from error
    wanted = dict(_named(like))
    wrong = [f"{name}: missing" for name in wanted.keys() - found.keys()]
    wrong += [f"{name}: not of this model" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        theirs, ours = found[name], wanted[name]
        if (theirs.shape, theirs.dtype) != (ours.shape, ours.dtype):
            kinds = f"{theirs.dtype} {theirs.shape}, where the model has {ours.dtype} {ours.shape}"
            wrong.append(f"{name}: {kinds}")
    if wrong:
        raise UsageError(f"{path}: {'; '.join(sorted(wrong))}")
    leaves = [found[name] for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), metadata


def _named(tree: Any) -> list[tuple[str, Any]]:
    """Leaves by path, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), x) for path, x in leaves]


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise absent(PARAMETERS, "safetensors", "jaxvae[export]") from error
    return safetensors
