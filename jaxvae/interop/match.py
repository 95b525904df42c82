"""Modules of a PyTorch model and layers of ours, matched by shape, order and names where no map is.

A guess, to be confirmed: shapes decide; among layers of one shape the order, by the numbers in the
modules' names and the order in the file, which must not contradict each other; and of a VAE's heads
the names. Names of encoder and decoder are heeded. What nothing tells is left open.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxvae.interop.maps import Layer, Map, heads
from jaxvae.interop.weights import COUNTER, expected_shapes

Arrays = dict[str, tuple[int, ...]]  # of one module: shapes by names such as "weight"

BOTH = "mean, logvar"  # the name of one layer that is both heads
OWN = ("weight", "bias", "running_mean", "running_var")
END = r"($|_|\d)"
ROLES = {  # what a head is by the last part of its name; the first that is found there
    "logvar": r"log_?(var|sigma_?(2|sq)|v" + END + ")",
    "log sigma": r"(log|ln)_?(sigma|std|stdd?ev|scale|sd)",
    "variance": r"(var|variance|lv)" + END,
    "sigma": r"(sigma|std|stdd?ev|scale|sd)" + END,
    "mean": r"(mu|means?|loc|embedding)" + END,
}
CODES = r"emb|codebook|codes"
"""In the name of an nn.Embedding, which has a weight alone."""
AVERAGES = r"(^|_)(ema|avg|averages?|sums?)(_|$)"
"""In the last part of the name of what codes are divided from, rather than the codes."""
SIDES = {"encoder": r"(^|\.)en(c|\d|\.|_)", "decoder": r"(^|\.)(de(c|\d|\.|_)|gen)"}


@dataclass
class Guess:
    """Which layer of ours each module of a file is taken for."""

    layers: dict[str, Layer] = field(default_factory=dict)
    """By the modules' whole names in the file."""
    notes: list[str] = field(default_factory=list)
    """What was taken for what by its name alone, and what could not be told."""
    unused: dict[str, Arrays] = field(default_factory=dict)
    """Modules of the file that are taken for nothing."""
    unfilled: dict[str, Arrays] = field(default_factory=dict)
    """Layers of the reference map that no module is taken for, with the shapes they need."""

    @property
    def complete(self) -> bool:
        return not self.unused and not self.unfilled


def modules(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Arrays]:
    """Arrays of a state dict by the module that they belong to, in their order.

    Codes that are the `weight` of an nn.Embedding are a parameter by their whole key.
    """
    found: dict[str, Arrays] = {}
    for key, shape in shapes.items():
        module, _, name = key.rpartition(".")
        if name in OWN and module:
            found.setdefault(module, {})[name] = shape
        elif name != COUNTER:
            found.setdefault(key, {})[""] = shape
    inner: dict[str, Arrays] = {}
    for module, arrays in found.items():
        if arrays.keys() == {"weight"} and re.search(CODES, module.lower()):
            inner[f"{module}.weight"] = {"": arrays["weight"]}
        else:
            inner[module] = {name: arrays[name] for name in ("", *OWN) if name in arrays}
    return inner


def match(arrays: Mapping[str, np.ndarray], reference: Map, template: Any, in_order: bool) -> Guess:
    """Take the modules of a file for the layers of a model, as far as that can be told.

    Args:
        arrays: the state dict.
        reference: the reference map of our model.
        template: shapes of our variables, as for `to_flax`.
        in_order: the file keeps the order in which the modules were made.
    """
    theirs = modules({key: array.shape for key, array in arrays.items()})
    ours = modules(expected_shapes(reference, template))
    layers, guess, every = dict(reference), Guess(), [*theirs]
    heads_of = {name: ours.pop(name) for name in [*ours] if name in ("mean", "logvar")}
    if heads_of:
        both = {name: (2 * n, *rest) for name, (n, *rest) in heads_of["mean"].items()}
        alike = [name for name in theirs if theirs[name] == heads_of["mean"]]
        if len(alike) < 2 and both in theirs.values():
            encoder = {name: a for name, a in ours.items() if _side_of_ours(name) == "encoder"}
            ours = {**encoder, BOTH: both, **ours}  # after the encoder, before the decoder
            layers[BOTH] = heads(flat_in=layers["mean"].flat_in)
            n = heads_of["mean"]["bias"][0]
            guess.notes.append(
                f"one layer is both heads: its first {n} outputs are taken for the means, the other"
                f" {n} for the log-variances"
            )
            heads_of = {}
        for name, mine, factor in _told_heads(alike, guess.notes) if heads_of else ():
            guess.layers[name] = replace(layers[mine], factor=factor)
            del theirs[name], heads_of[mine]
    for name, mine in _told_codes(theirs, ours, guess.notes) if "sums" in ours else ():
        guess.layers[name] = layers[mine]
        del theirs[name], ours[mine]
    for arrays_of_one in [*ours.values()]:
        named = [name for name in theirs if theirs[name] == arrays_of_one]
        free = [name for name in ours if ours[name] == arrays_of_one]
        for name, mine in _in_order(named, free, in_order, guess.notes):
            if mine == BOTH and (role := role_of(name)) in ("sigma", "log sigma"):
                guess.notes.append(f"{name} has {role} in it by its name, and ours is logvar")
                continue
            guess.layers[name] = layers[mine]
            del theirs[name], ours[mine]
    guess.notes = [*dict.fromkeys(guess.notes)]  # one for all layers of a shape
    guess.layers = {name: guess.layers[name] for name in every if name in guess.layers}
    guess.unused, guess.unfilled = theirs, heads_of | ours
    return guess


def _told_heads(alike: list[str], notes: list[str]) -> list[tuple[str, str, float]]:
    """Among modules with the shape of a head, what their names tell: (module, head, factor)."""
    roles = {name: role_of(name) for name in alike}
    means = [name for name, role in roles.items() if role == "mean"]
    others = [name for name, role in roles.items() if role not in ("mean", None)]
    if len(alike) == 2 and len(means) + len(others) == 1:  # the other one is the other
        rest = [name for name in alike if roles[name] is None]
        means, others = means or rest, others or rest
    if len(alike) == 2 and not means and not others and _numbers_alone_differ(alike):
        means, others = sorted(alike, key=_numbers)[:1], sorted(alike, key=_numbers)[1:]
    if len(means) != 1 or len(others) != 1:
        if len(alike) > 1:
            notes.append(f"nothing tells which of {', '.join(alike)} is mean and which is logvar")
        return []
    (mean,), (other,) = means, others
    if roles[other] == "sigma":
        notes.append(
            f"{other} is a standard deviation by its name, and ours a log-variance: a softplus or a"
            " plain output has no exact counterpart; if its outputs are log-variances all the same,"
            ' say so in a map: dense("logvar")'
        )
        return [(mean, "mean", 1.0)]
    if roles[other] == "log sigma":
        notes.append(f"{other} is log sigma by its name: logvar = 2 log sigma")
        return [(mean, "mean", 1.0), (other, "logvar", 2.0)]
    notes.append(f"{mean} is taken for the means, {other} for the log-variances")
    return [(mean, "mean", 1.0), (other, "logvar", 1.0)]


def _told_codes(
    theirs: dict[str, Arrays], ours: dict[str, Arrays], notes: list[str]
) -> list[tuple[str, str]]:
    """Codes and the sums that they are divided from have one shape; names tell them apart."""
    alike = [name for name in theirs if theirs[name] == ours["codes"]]
    parts = {name: name.lower().removesuffix(".weight").rpartition(".")[2] for name in alike}
    sums = [name for name in alike if re.search(AVERAGES, parts[name])]
    codes = [name for name in alike if name not in sums]
    if len(sums) != 1 or len(codes) != 1:
        if len(alike) > 1:
            notes.append(f"nothing tells which of {', '.join(alike)} is codes and which is sums")
        elif alike:
            notes.append(
                f"{alike[0]} may be the codes, but nothing the sums of what chose them: codes"
                " without averages are parameters (--model.decay None)"
            )
        return []
    notes.append(f"{codes[0]} is taken for the codes, {sums[0]} for the sums of what chose them")
    return [(codes[0], "codes"), (sums[0], "sums")]


def _in_order(
    theirs: list[str], ours: list[str], in_order: bool, notes: list[str]
) -> list[tuple[str, str]]:
    """Pairs of modules and layers of one shape; none where their number or order does not tell."""
    if len(theirs) != len(ours) or not ours:
        return []
    if all(map(_side, theirs)):
        pairs: list[tuple[str, str]] = []
        for side in ("encoder", "decoder"):
            named = _ordered([name for name in theirs if _side(name) == side], in_order)
            free = [name for name in ours if _side_of_ours(name) == side]
            if named is None or len(named) != len(free):
                pairs = []
                break
            pairs += zip(named, free, strict=True)
    else:
        pairs = [*zip(_ordered(theirs, in_order) or [], ours, strict=False)]
        if any(_side(name) not in (None, _side_of_ours(mine)) for name, mine in pairs):
            pairs = []
    if not pairs:
        notes.append(f"nothing tells which of {', '.join(theirs)} is which of {', '.join(ours)}")
    return pairs


def _ordered(names: list[str], in_order: bool) -> list[str] | None:
    """Names in the order that their numbers and the file agree on; None where nothing tells it."""
    if len(names) < 2:
        return names
    if _numbers_alone_differ(names):
        numbered = sorted(names, key=_numbers)
        return numbered if numbered == names or not in_order else None
    return names if in_order else None


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _numbers_alone_differ(names: Iterable[str]) -> bool:
    return len({re.sub(r"\d+", "0", name) for name in names}) == 1


def role_of(module: str) -> str | None:
    """What a head is by its name: mean, logvar, log sigma, variance, sigma; None: it does not say.

    `var` alone is taken for a log-variance, as many models call it.
    """
    words = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", re.sub(r"(\.\d+)+$", "", module))
    last = words.rpartition(".")[2].lower()
    return next((role for role, pattern in ROLES.items() if re.search(pattern, last)), None)


def _side(module: str) -> str | None:
    """Encoder or decoder, where one of them alone is in a module's name."""
    found = [side for side, pattern in SIDES.items() if re.search(pattern, module.lower())]
    return found[0] if len(found) == 1 else None


def _side_of_ours(name: str) -> str:
    return "decoder" if name.startswith("decoder") else "encoder"
