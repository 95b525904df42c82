"""Settings from JSON: dataclasses whose every field is checked against its type."""

import contextlib
import dataclasses
import inspect
import reprlib
import types
import typing
from typing import Any, TypeVar

from jaxvae.checks import UsageError

T = TypeVar("T")


def from_json(template: T | type[T], values: Any, prefix: str = "") -> T:
    """A dataclass of the template's class, its parts of the classes that the template's have.

    Lists become tuples, and whole numbers become floats where the field is a float. A field that
    is left out has its default, and so has one that is not an argument of its class.

    Args:
        template: only its classes count; a class, where the parts are of those that it names.
        values: a JSON object: the fields by name.
        prefix: of the names in messages, such as "data.".

    Raises:
        UsageError: no object; a field that is unknown, that is missing though it has no default, or
            whose value is of another type or not allowed. The message names the field.
    """
    cls: Any = template if isinstance(template, type) else type(template)
    if not isinstance(values, dict):
        name = prefix.removesuffix(".") or "experiment"
        raise UsageError(f"{name} = {reprlib.repr(values)}: must be an object with fields")
    hints, found = typing.get_type_hints(cls), {}
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name, value in values.items():
        if name not in fields:
            unknown = reprlib.repr(prefix + name)
            raise UsageError(f"{unknown}: not a field of {cls.__name__} in this version")
        part = getattr(template, name, None)
        if dataclasses.is_dataclass(part):
            found[name] = from_json(part, value, f"{prefix}{name}.")
        elif fields[name].init:
            found[name] = checked_value(hints[name], value, prefix + name)
    for name, field in fields.items():
        has_default = not field.default is field.default_factory is dataclasses.MISSING
        if field.init and name not in found and not has_default:
            raise UsageError(f"{prefix}{name}: missing")
    return cls(**found)


def checked(value: T, prefix: str = "") -> T:
    """The dataclass and its parts, with lists and whole numbers as `from_json` would give them.

    Args:
        value: the dataclass; it may hold what JSON cannot.
        prefix: as for `from_json`.

    Raises:
        UsageError: a field's value is of another type; the message names the field.
    """
    anything: Any = value
    hints, changed = typing.get_type_hints(type(value)), {}
    for field in dataclasses.fields(anything):
        item, name = getattr(value, field.name), prefix + field.name
        found = checked_value(hints[field.name], item, name)
        if dataclasses.is_dataclass(item):
            found = checked(item, f"{name}.")
        if field.init and (type(found) is not type(item) or dataclasses.is_dataclass(item)):
            changed[field.name] = found
    return dataclasses.replace(anything, **changed)


def checked_value(hint: Any, value: Any, name: str) -> Any:
    """A value as the type `hint` of the field `name` has it, as in `from_json`.

    Raises:
        UsageError: it is of another type.
    """
    try:
        return _as(hint, value)
    except TypeError:
        kind = inspect.formatannotation(hint)
        raise UsageError(f"{name} = {reprlib.repr(value)}: must be of the type {kind}") from None


def _as(hint: Any, value: Any) -> Any:
    """The value as its type says; a TypeError where it is of another one."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for option in args:
            with contextlib.suppress(TypeError):
                return _as(option, value)
    elif origin is typing.Literal:
        if value in args:
            return value
    elif origin in (tuple, list):
        if isinstance(value, list | tuple):
            kinds = args[:1] * len(value) if origin is list or args[1:] == (...,) else args
            if len(kinds) == len(value):
                return origin(map(_as, kinds, value))
    elif origin is dict:
        if isinstance(value, dict):
            return {_as(args[0], key): _as(args[1], item) for key, item in value.items()}
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                return float(value)
    elif hint in (int, str, bool, types.NoneType):
        if isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
            return value
    elif dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        if isinstance(value, dict):
            return from_json(hint, value)
    else:  # a type that only a class of a user's own has: __post_init__ knows it
        return tuple(value) if isinstance(value, list) else value
    raise TypeError
