"""Which classes the parts of an experiment have, and whether they are those of a run."""

import dataclasses
from typing import Any

from jaxvae.config import Experiment

PARTS = ("data", "model", "objective", "optimizer", "train")


def class_name(value: object) -> str:
    """As config.json names the class of a part."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def own_classes(experiment: Experiment) -> list[type]:
    """Those of an experiment's parts that are not the package's."""
    plain = Experiment(name="run")
    classes = [(type(getattr(experiment, name)), type(getattr(plain, name))) for name in PARTS]
    return [cls for cls, of_package in classes if cls is not of_package]


def differs(saved: str, values: Any, part: object) -> str | None:
    """Why a part is not of the class that config.json names, in words; None: it is.

    A class of somebody's own is the same however it was imported, from a file, a module, a script
    or a notebook: it has the same qualified name and the same fields. What the fields are of the
    same module's class is seen when they are read.
    """
    cls, plain = type(part), Experiment(name="run")
    packages = [class_name(getattr(plain, name)) for name in PARTS]
    if saved == class_name(part):
        return None
    own = saved not in packages and class_name(part) not in packages
    if not own or not saved.endswith(f".{cls.__qualname__}"):
        return f"not a {class_name(part)!r}"
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if other := sorted(fields ^ set(values if isinstance(values, dict) else ())):
        return f"and not the class of this name that is given: they differ in {', '.join(other)}"
    return None
