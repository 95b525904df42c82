"""Fields of an experiment changed by name: a bare one where exactly one part has it, or dotted."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

from jaxvae.checks import UsageError
from jaxvae.config import Experiment
from jaxvae.from_json import checked_value
from jaxvae.held import hold


def with_changes(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with other values of some fields, checked like those of a file.

    Args:
        experiment: the recipe.
        changes: by dotted name (`data.batch_size`), or by the field's own (`batch_size`) where no
            other part of the experiment has one of that name. A name of the experiment's own, such
            as `seed`, is that.

    Raises:
        UsageError: there is no such field, several parts have it, or the value is not allowed.
    """
    names = [*_names(experiment)]
    by_path = {_path_of(name, names): value for name, value in changes.items()}
    if len(by_path) < len(changes):
        raise UsageError(f"{', '.join(changes)}: a field is given twice")
    changed: Experiment = _replaced(experiment, by_path)
    return changed


def _names(settings: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields, a part's own before those in it."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        yield prefix + field.name
        if is_dataclass(value):
            yield from _names(value, f"{prefix}{field.name}.")


def _path_of(name: str, names: list[str]) -> str:
    if name in names:
        return name
    found = [path for path in names if path.rpartition(".")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{name}: must be one of {' and '.join(found)}: give **{{{found[0]!r}: ...}}"
        )
    bare = [path.rpartition(".")[2] for path in names]
    initials = [field for field in bare if "_" in field and _initials(field) == name]
    near = dict.fromkeys([*initials, *difflib.get_close_matches(name, {*bare, *names}, n=3)])
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"{name}: not a field of the experiment{meant}")


def _initials(field: str) -> str:
    """lr of learning_rate."""
    return "".join(word[:1] for word in field.split("_"))


def _replaced(settings: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """At once, so that values are only checked together."""
    hints = get_type_hints(type(settings))
    parts: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for path, value in values.items():
        first, _, rest = path.partition(".")
        if rest:
            parts.setdefault(first, {})[rest] = value
        else:
            if f"{prefix}{first}" == "data.source" and not isinstance(value, str):
                value = hold(value)
            if isinstance(value, Mapping) and is_dataclass(getattr(settings, first)):
                parts.setdefault(first, {}).update(value)
                continue
            try:
                own[first] = checked_value(hints[first], value, f"{prefix}{first}")
            except UsageError as error:
                try:  # hidden_dims=64, track="mlflow"
                    own[first] = checked_value(hints[first], (value,), f"{prefix}{first}")
                except UsageError:
                    raise error from None
    for name, inner in parts.items():
        own[name] = _replaced(own.get(name, getattr(settings, name)), inner, f"{prefix}{name}.")
    return replace(settings, **own)
