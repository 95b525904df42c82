"""Arrays of a PyTorch state dict to our variables and back, by a map of `jaxvae.interop.maps`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxvae.checks import UsageError
from jaxvae.interop.maps import BATCH_NORM, Layer, Map, Shape
from jaxvae.training.state import TrainState

COUNTER = "num_batches_tracked"


class WeightsError(UsageError):
    """A state dict, a map and a model do not fit together; the message lists every misfit."""


class _Entry(NamedTuple):
    """One array of a state dict: its layer, and what it is in our variables."""

    layer: Layer
    paths: tuple[str, ...]  # such as ("params/encoder/Dense_0/kernel",)


def torch_keys(weight_map: Map) -> set[str]:
    """Keys of the state dicts that a map is for, without `num_batches_tracked`."""
    return set(_entries(weight_map))


def problems(state_dict: Mapping[str, np.ndarray], weight_map: Map, template: Any) -> list[str]:
    """Everything that keeps `to_flax` from working with these arguments, a line each."""
    leaves, entries = flatten_dict(template, sep="/"), _entries(weight_map)
    expected, found = _expected_shapes(entries, leaves)
    for key, shape in expected.items():
        if key not in state_dict:
            found.append(f"{key}: missing in the state dict, {shape} expected")
            continue
        array, dtype = state_dict[key], leaves[entries[key].paths[0]].dtype
        if array.shape != shape:
            found.append(f"{key}: {array.shape} in the state dict, {shape} expected")
        elif not np.issubdtype(array.dtype, np.floating):
            found.append(f"{key}: {array.dtype} in the state dict, floating point expected")
        elif not np.isfinite(_scaled(array, entries[key].layer, dtype)).all():
            found.append(f"{key}: has values that are not finite")
    for key in unnamed(state_dict, weight_map):
        shape = state_dict[key].shape
        found.append(f"{key}: {shape} in the state dict, but the map does not name it")
    return found


def unnamed(keys: Iterable[str], weight_map: Map) -> list[str]:
    """Keys of a state dict that a map has no use for; a BatchNorm's counter goes with it."""
    named = torch_keys(weight_map) | {f"{module}.{COUNTER}" for module in weight_map}
    return [key for key in keys if key not in named]


def expected_shapes(weight_map: Map, template: Any) -> dict[str, tuple[int, ...]]:
    """Shapes in a state dict by key, of the layers of a map that the model has."""
    return _expected_shapes(_entries(weight_map), flatten_dict(template, sep="/"))[0]


def to_flax(state_dict: Mapping[str, np.ndarray], weight_map: Map, template: Any) -> dict[str, Any]:
    """Our variables from a state dict's arrays.

    Args:
        state_dict: by key; `num_batches_tracked` is ignored.
        weight_map: torch module -> our layer.
        template: {"params": ..., "batch_stats": ...}, arrays or ShapeDtypeStructs: the shapes and
            the dtype (float32, or float64 under x64) of what is returned.

    Raises:
        WeightsError: keys that the map does not name or that are missing, wrong shapes (of the
            torch arrays), parameters of ours that are not filled, values that are not floating
            point or not finite: all of them, listed.
    """
    if found := problems(state_dict, weight_map, template):
        raise WeightsError("the weights do not fit the model:\n  " + "\n  ".join(found))
    leaves, filled = flatten_dict(template, sep="/"), {}
    for key, entry in _entries(weight_map).items():
        theirs = _scaled(state_dict[key], entry.layer, leaves[entry.paths[0]].dtype)
        for path, array in zip(entry.paths, _to_ours(theirs, entry), strict=True):
            filled[path] = np.array(array, order="C").reshape(leaves[path].shape)
    return {name: {} for name in template} | unflatten_dict(filled, sep="/")


def to_torch(
    variables: Any, weight_map: Map, gradient: bool = False, num_batches: int = 0
) -> dict[str, np.ndarray]:
    """A state dict's arrays from our variables, the inverse of `to_flax`; contiguous copies.

    Args:
        variables: {"params": ..., "batch_stats": ...}.
        weight_map: torch module -> our layer.
        gradient: `variables` are gradients with respect to our parameters; the result is with
            respect to theirs. No running statistics.
        num_batches: the `num_batches_tracked` of every BatchNorm (int64).

    Raises:
        WeightsError: the map and the variables do not fit, with every misfit listed.
    """
    if gradient:
        variables = {"params": variables["params"]}
    leaves, entries = flatten_dict(variables, sep="/"), _entries(weight_map, buffers=not gradient)
    if found := _expected_shapes(entries, leaves)[1]:
        raise WeightsError("the map does not fit the model:\n  " + "\n  ".join(found))
    arrays = {}
    for key, entry in entries.items():
        theirs = _to_theirs([np.asarray(leaves[path]) for path in entry.paths], entry)
        factor = entry.layer.factor
        theirs = theirs * factor if gradient else theirs / factor
        arrays[key] = np.array(theirs, order="C")
    if not gradient:
        for prefix, layer in weight_map.items():
            if layer.arrays == BATCH_NORM:
                arrays[f"{prefix}.{COUNTER}"] = np.array(num_batches, np.int64)
    return arrays


def _entries(weight_map: Map, buffers: bool = True) -> dict[str, _Entry]:
    """By key of the state dict."""
    return {
        f"{prefix}.{name}" if name else prefix: _Entry(
            layer, tuple(ours.format(path) for path in layer.paths)
        )
        for prefix, layer in weight_map.items()
        for name, ours in layer.arrays.items()
        if buffers or ours.startswith("params/")
    }


def _expected_shapes(
    entries: Mapping[str, _Entry], leaves: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Shapes of the state dict's arrays, and where the map does not fit our variables."""
    shapes: dict[str, tuple[int, ...]] = {}
    found = []
    for key, entry in entries.items():
        if absent := [path for path in entry.paths if path not in leaves]:
            found.append(f"{key}: the model has no {' and no '.join(absent)}")
            continue
        blank = [np.broadcast_to(np.float32(0), leaves[path].shape) for path in entry.paths]
        try:
            shapes[key] = _to_theirs(blank, entry).shape
        except WeightsError as error:
            found.append(f"{key}: {error}")
    filled = [path for entry in entries.values() for path in entry.paths]
    for path in leaves:
        if filled.count(path) != 1:
            times = "no array" if path not in filled else "more than one array"
            found.append(f"{path}: {times} of the map fills it")
    return shapes, found


def _to_theirs(ours: list[np.ndarray], entry: _Entry) -> np.ndarray:
    """One array of theirs from its part or parts here."""
    layer, parts = entry.layer, []
    for path, x in zip(entry.paths, ours, strict=True):
        if layer.flat_out is not None and x.ndim > 2:  # images or signals, which are rows there
            x = x.reshape(*x.shape[: -len(layer.flat_out)], -1)
        x = _channels_first(x, -1, layer.flat_out)
        if path.endswith("/kernel"):
            x = _channels_first(x, 0, layer.flat_in, layer.labelled)
            sides = (1,) * (len(layer.axes) - x.ndim)  # of a dense layer that is a convolution
            x = x.reshape(*sides, *x.shape)
            x = x[::-1, ::-1] if layer.flipped else x
            x = x.transpose(np.argsort(layer.axes))
        parts.append(x)
    if len(parts) == 1:
        return parts[0]
    if layer.interleaved:
        return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])
    return np.concatenate(parts)


def _to_ours(theirs: np.ndarray, entry: _Entry) -> list[np.ndarray]:
    """The inverse of `_to_theirs`."""
    layer, parts = entry.layer, [theirs]
    if len(entry.paths) == 2:
        parts = [theirs[0::2], theirs[1::2]] if layer.interleaved else np.split(theirs, 2)
    ours = []
    for path, x in zip(entry.paths, parts, strict=True):
        if path.endswith("/kernel"):
            x = x.transpose(layer.axes)
            x = x[::-1, ::-1] if layer.flipped else x
            x = _channels_last(x, 0, layer.flat_in, layer.labelled)
        ours.append(_channels_last(x, -1, layer.flat_out))
    return ours


def _channels_first(
    x: np.ndarray, axis: int, shape: Shape | None, labelled: bool = False
) -> np.ndarray:
    """An axis that is a flattened (..., channels), as of an image, to (channels, ...).

    What is behind an image where it is `labelled` stays there.
    """
    return x if shape is None else x.take(_order(x.shape[axis], shape, labelled), axis)


def _channels_last(
    x: np.ndarray, axis: int, shape: Shape | None, labelled: bool = False
) -> np.ndarray:
    """The inverse of `_channels_first`."""
    return x if shape is None else x.take(np.argsort(_order(x.shape[axis], shape, labelled)), axis)


def _order(size: int, shape: Shape, labelled: bool) -> np.ndarray:
    channels, *sizes = shape
    count = math.prod(shape)
    if labelled and size > count:
        return np.append(_order(count, shape, False), np.arange(count, size))
    if size != count:
        names = {1: "features", 2: "channels, length", 3: "channels, height, width"}
        raise WeightsError(
            f"the map flattens ({names.get(len(shape), 'channels, ...')}) = {shape}, {count}"
            f" numbers, where the model has {size}"
        )
    return np.moveaxis(np.arange(count).reshape(*sizes, channels), -1, 0).ravel()


def _scaled(theirs: np.ndarray, layer: Layer, dtype: Any) -> np.ndarray:
    """Times the layer's factor, rounded to `dtype`; infinite where it is too large for it."""
    with np.errstate(over="ignore"):
        return (theirs * layer.factor).astype(dtype)


def with_variables(state: TrainState, variables: Mapping[str, Any]) -> TrainState:
    """A state before its first step, whose model has these variables."""
    collections = {name: value for name, value in variables.items() if name != "params"}
    params = state.params | {"model": variables["params"]}
    return replace(state, params=params, collections=collections)
