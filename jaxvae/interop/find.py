"""Which map fits a file of weights: a named one, a known one, or a guess that is confirmed."""

import runpy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvae.checks import UsageError, require
from jaxvae.interop.draft import shown, written
from jaxvae.interop.maps import Layer, Map
from jaxvae.interop.match import Guess, match, modules, role_of
from jaxvae.interop.published import PUBLISHED, published_map
from jaxvae.interop.weights import problems, torch_keys, unnamed

GUESS = "guess"  # the name of the map that `match` made


@dataclass(frozen=True)
class File:
    """What a file of weights holds."""

    path: Path
    arrays: Mapping[str, np.ndarray]

    @property
    def in_order(self) -> bool:
        """Whether its arrays stand in the order in which their modules were made."""
        return self.path.suffix != ".safetensors"  # which sorts them


class Fit(NamedTuple):
    """A map that fits a file and a model."""

    name: str
    weight_map: Map
    prefix: str
    """In front of the map's names, in the file."""
    notes: tuple[str, ...] = ()
    """What was taken for what by its name or place alone."""


class Target(NamedTuple):
    """The model that weights are wanted for."""

    name: str
    """Of its experiment."""
    reference: Map
    template: Any


def without(path: Path, arrays: dict[str, np.ndarray], patterns: Iterable[str]) -> dict[str, Any]:
    """The arrays whose keys match none of the patterns, such as head.*

    Raises:
        UsageError: a pattern that matches no key.
    """
    for pattern in patterns:
        keys = [key for key in arrays if fnmatchcase(key, pattern)]
        if not keys:
            shown = ", ".join([*arrays][:4])
            raise UsageError(
                f"{path}: --leave-out {pattern}: matches none of its keys ({shown}, ...)"
            )
        arrays = {key: array for key, array in arrays.items() if key not in keys}
    return arrays


def known_maps(reference: Map) -> dict[str, Map]:
    """The reference map, and those of published models that have the same kinds of layers."""
    published = {name: published_map(name, reference) for name in PUBLISHED}
    return {"reference": reference} | {name: m for name, m in published.items() if m is not None}


def named_map(name: str, reference: Map) -> Map:
    """The known map of that name, or the one of that Python file.

    Raises:
        UsageError: no such map, one of other kinds of layers, or a file that does not define one.
    """
    if name.endswith(".py"):
        return _map_of_file(Path(name))
    names = ("reference", *PUBLISHED)
    require(name in names, "--map", name, f"one of {', '.join(names)}, or a Python file (.py)")
    maps = known_maps(reference)
    allowed = f"one of {', '.join(maps)} (the others' models have no such layers), or a Python file"
    require(name in maps, "--map", name, allowed)
    return maps[name]


def _map_of_file(path: Path) -> Map:
    if not path.is_file():
        raise UsageError(f"--map {path}: no such file")
    try:
        weight_map = runpy.run_path(str(path)).get("weight_map")
    except Exception as error:
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UsageError(f"--map {path}: {text}") from error
    if not isinstance(weight_map, Mapping) or not all(
        isinstance(layer, Layer) for layer in weight_map.values()
    ):
        raise UsageError(
            f"--map {path}: must define weight_map, a dict of jaxvae.interop.maps layers"
        )
    return weight_map


def find(file: File, target: Target, name: str | None = None, accept: bool = False) -> Fit:
    """The map that fits: the named one, a known one by its keys, or a guess that is accepted.

    In front of a map's names may stand whatever most of the file's keys share.

    Raises:
        UsageError: none fits, or a guess does that is not accepted; the message is a list of what
            fits and what does not.
    """
    if name is not None:
        return _checked(_placed(name, named_map(name, target.reference), file), file, target)
    closest = _closest(file, target)
    if _likeness(closest, file) == 1 or not _problems(closest, file, target):
        return _checked(closest, file, target)
    guess = match(file.arrays, target.reference, target.template, file.in_order)
    if guess.complete and accept:
        prefix = _shared_prefix(guess.layers)
        layers = {module.removeprefix(prefix): layer for module, layer in guess.layers.items()}
        return _checked(Fit(GUESS, layers, prefix, tuple(guess.notes)), file, target)
    if not guess.complete and _likeness(closest, file) > 0.5:
        closest = closest._replace(notes=tuple(guess.notes))
        return _checked(closest, file, target, "closest built-in map,")  # refuses it
    raise UsageError(_report(guess, file, target))


def _report(guess: Guess, file: File, target: Target) -> str:
    """A guess in full, and what can be done with it."""
    if guess.complete:
        how = "; by names, shapes and order they could be those of"
        last = [
            "if that is right: --accept; if not: --write-map FILE.py writes it down, to be changed"
            " and given as --map",
            "activations, strides and paddings are not in the file: --check compares results",
        ]
    else:
        how = ", and some are left over when they are matched with"
        last = ["--write-map FILE.py writes this down as a map, to be completed, for --map"]
        if not guess.unfilled:
            keys = [
                f"{module}.{name}" if name else module
                for module, arrays in guess.unused.items()
                for name in arrays
            ]
            last = [_leave_out(keys, file)]
    about = f"{file.path}: no known map has its keys{how} the model of {target.name!r}"
    pairs = shown(guess, modules(shapes_of(file.arrays)), target.reference)
    return about + _listed([*pairs, *guess.notes, *last])


def _closest(file: File, target: Target) -> Fit:
    """The known map that has most in common with a file."""
    fits = [_placed(name, m, file) for name, m in known_maps(target.reference).items()]
    return max(fits, key=lambda fit: _likeness(fit, file))


def _placed(name: str, weight_map: Map, file: File) -> Fit:
    """A map at the place in the file's keys where most of its own are."""
    keys, wanted = [*file.arrays], torch_keys(weight_map)
    prefixes = _prefixes(keys)
    prefix = max(prefixes, key=lambda p: len(wanted & {k[len(p) :] for k in _behind(p, keys)}))
    return Fit(name, weight_map, prefix, tuple(_notes(name, weight_map)))


def _notes(name: str, weight_map: Map) -> list[str]:
    notes = []
    for module, layer in weight_map.items():
        role = role_of(module)
        if name == "sequential" and len(layer.paths) == 2:
            notes.append(f"{module}: its first half is taken for the means, the other for logvar")
        if layer.paths == ("logvar",) and layer.factor == 1 and role in ("log sigma", "sigma"):
            notes.append(f"{module} is {role} by its name; the map takes it for log-variances")
    return notes


def shapes_of(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in arrays.items()}


def _prefixes(keys: list[str]) -> list[str]:
    """What more than half of the keys begin with, "module." or "module.model.", and nothing."""
    found = [""]
    while True:
        prefix = found[-1]
        heads = (key[len(prefix) :].partition(".") for key in _behind(prefix, keys))
        most = Counter(head for head, dot, _ in heads if dot).most_common(1)
        if not most or 2 * most[0][1] <= len(keys):
            return found
        found.append(f"{prefix}{most[0][0]}.")


def _shared_prefix(modules: Iterable[str]) -> str:
    """What all modules begin with."""
    shared = []
    for parts in zip(*(module.split(".")[:-1] for module in modules), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(f"{parts[0]}.")
    return "".join(shared)


def _behind(prefix: str, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.startswith(prefix)]


def arrays_of(fit: Fit, file: File) -> dict[str, np.ndarray]:
    """The file's arrays behind a map's prefix, by the names that the map has for them."""
    return {key[len(fit.prefix) :]: file.arrays[key] for key in _behind(fit.prefix, file.arrays)}


def _left_over(fit: Fit, file: File) -> list[str]:
    """Whole keys of the file that a map has no use for."""
    behind = arrays_of(fit, file)
    used = {fit.prefix + name for name in behind.keys() - unnamed(behind, fit.weight_map)}
    return [key for key in file.arrays if key not in used]


def _likeness(fit: Fit, file: File) -> float:
    """Keys that a map and a file share, as a fraction of all that either has."""
    wanted = torch_keys(fit.weight_map)
    shared = len(wanted & arrays_of(fit, file).keys())
    return shared / (len(wanted) + len(_left_over(fit, file)))


def _problems(fit: Fit, file: File, target: Target) -> list[str]:
    """What keeps a map from working, but for what is left over."""
    arrays = arrays_of(fit, file)
    for key in unnamed(arrays, fit.weight_map):
        del arrays[key]
    return problems(arrays, fit.weight_map, target.template)


def _checked(fit: Fit, file: File, target: Target, which: str = "map") -> Fit:
    """The fit, where everything fits and nothing is left over."""
    found, over = _problems(fit, file, target), _left_over(fit, file)
    by = f"the model of {target.name!r} by the {which} {fit.name!r}"
    by += f", behind {fit.prefix!r}" if fit.prefix else ""
    if found:
        said = "in the state dict, but the map does not name it"
        lines = [*found, *(f"{key}: {file.arrays[key].shape} {said}" for key in over)]
        raise UsageError(f"{file.path}: does not fit {by}{_listed([*lines, *fit.notes])}")
    if over:
        lines = [f"{key}: {file.arrays[key].shape}" for key in over]
        lines.append(_leave_out(over, file))
        raise UsageError(f"{file.path}: fits {by}, but for what is left over{_listed(lines)}")
    return fit


def _leave_out(over: list[str], file: File) -> str:
    """The option that leaves out these keys: whole modules, where nothing else is in them."""
    used = [key for key in file.arrays if key not in over]
    patterns = []
    for key in over:
        module = key.rpartition(".")[0]
        whole = module and not _behind(f"{module}.", used)
        patterns.append(f"'{module}.*'" if whole else f"'{key}'")  # quoted for the shell
    return f"to import without what is left over: --leave-out {' '.join(dict.fromkeys(patterns))}"


def _listed(lines: Iterable[str]) -> str:
    return ":" + "".join(f"\n  {line}" for line in lines)


def draft(file: File, target: Target, name: str | None = None) -> tuple[str, bool]:
    """A map as Python source, and whether nothing is left to be completed or left out.

    Of the named or known map that fits, whatever is left over, or else of the guess.

    Raises:
        UsageError: a map is named that does not fit.
    """
    theirs = modules(shapes_of(file.arrays))
    if name is not None:  # one that does not fit is refused
        fit = _checked(_placed(name, named_map(name, target.reference), file), file, target)
    else:
        fit = _closest(file, target)
    if not _problems(fit, file, target):
        layers = {fit.prefix + module: layer for module, layer in fit.weight_map.items()}
        over = modules({key: file.arrays[key].shape for key in _left_over(fit, file)})
        guess, prefix = Guess(layers, list(fit.notes), over), fit.prefix
    else:
        guess = match(file.arrays, target.reference, target.template, file.in_order)
        prefix = _shared_prefix(guess.layers)
    title = f"Which layer of the model of {target.name!r} each module of {file.path.name} is."
    return written(title, guess, theirs, target.reference, prefix), guess.complete
