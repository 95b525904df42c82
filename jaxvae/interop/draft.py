"""What a guess says: the file's modules beside our layers, to be read or to be completed."""

from collections.abc import Mapping

from jaxvae.interop.maps import Layer, Map, heads, source_of
from jaxvae.interop.match import BOTH, Arrays, Guess


def shown(guess: Guess, theirs: Mapping[str, Arrays], reference: Map) -> list[str]:
    """A line for each module of the file, and for each layer that none is taken for."""
    lines = []
    for module, arrays in theirs.items():
        layer = guess.layers.get(module)
        lines.append(f"{module}: {_shapes(arrays)}  ->  {source_of(layer) if layer else '?'}")
    for name, arrays in guess.unfilled.items():
        lines.append(f"?: {_shapes(arrays)}  ->  {source_of(_layer(name, reference))}")
    return lines


def written(
    title: str, guess: Guess, theirs: Mapping[str, Arrays], reference: Map, prefix: str
) -> str:
    """A map as Python source; a layer that no module is taken for has ?1, ?2, ... for a name.

    Args:
        title: its first comment.
        guess: what is known.
        theirs: the file's modules.
        reference: the reference map of our model.
        prefix: is taken off the modules' names.
    """
    left = {f"?{i}": name for i, name in enumerate(guess.unfilled, start=1)}
    layers = [*guess.layers.values(), *(_layer(name, reference) for name in left.values())]
    used = sorted({source_of(layer).partition("(")[0] for layer in layers})
    lines = [f"# {line}" for line in (title, *guess.notes)]
    lines += [f"from jaxvae.interop.maps import {', '.join(used)}", "", "weight_map = {"]
    for module, layer in guess.layers.items():
        if module in theirs:  # a Dropout has no arrays
            comment = _shapes(theirs[module])
            lines.append(f'    "{module.removeprefix(prefix)}": {source_of(layer)},  # {comment}')
    if guess.unused:
        lines.append("    # Modules that are taken for nothing; --leave-out is for what stays so:")
    for module, arrays in guess.unused.items():
        lines.append(f'    # "{module.removeprefix(prefix)}": {_shapes(arrays)}')
    if left:
        lines.append("    # Layers that no module is taken for; write its name for each ?:")
    for mark, name in left.items():
        comment = _shapes(guess.unfilled[name])
        lines.append(f'    "{mark}": {source_of(_layer(name, reference))},  # {comment}')
    return "\n".join([*lines, "}", ""])


def _layer(name: str, reference: Map) -> Layer:
    return heads(flat_in=reference["mean"].flat_in) if name == BOTH else reference[name]


def _shapes(arrays: Arrays) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in arrays.items())
