"""Which classes the parts of an experiment have, and whether they are those of a run."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

from jaxvae.config import Experiment, with_fields

PARTS = ("data", "model", "objective", "optimizer", "train")
VARIANTS = "jaxvae.variants."
"""Where the package's own variants of a model or an objective are."""


def class_name(value: object) -> str:
    """As config.json names the class of a part."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def needed_option(config: Mapping[str, Any]) -> str:
    """The option that a command needs for a run of classes of its own, as config.json has them."""
    if all(str(name).startswith("jaxvae.") for name in config["classes"].values()):
        return ""
    return " --trust-code" if "code" in config else " --experiment FILE"


def own_classes(experiment: Experiment) -> list[type]:
    """Those of an experiment's parts that are not the package's."""
    plain = Experiment(name="run")
    classes = [(type(getattr(experiment, name)), type(getattr(plain, name))) for name in PARTS]
    return [
        cls
        for cls, of_package in classes
        if cls is not of_package and not cls.__module__.startswith(VARIANTS)
    ]


def plain_parts(classes: Any) -> Experiment:
    """An experiment of the package's classes, where config.json names some of its variants."""
    plain, found = Experiment(name="run"), {}
    for name in PARTS if isinstance(classes, dict) else ():
        variant = _variant(classes.get(name))
        if variant is not None and isinstance(variant, type(getattr(plain, name))):
            found[name] = variant
    return with_fields(plain, found)


def _variant(saved: Any) -> Any:
    """One of the package's variants as config.json names its class, with its defaults; else None.

    The name is looked up among modules of the package, so nothing else can be imported by it.
    """
    if not isinstance(saved, str) or not saved.startswith(VARIANTS):
        return None
    module, _, cls = saved.rpartition(".")
    name = module.removeprefix(VARIANTS)
    if not name.isidentifier() or importlib.util.find_spec(module) is None:
        return None
    found = vars(importlib.import_module(module)).get(cls)
    return found() if isinstance(found, type) and dataclasses.is_dataclass(found) else None


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
    own = not any(n in packages or n.startswith(VARIANTS) for n in (saved, class_name(part)))
    if not own or not saved.endswith(f".{cls.__qualname__}"):
        return f"not a {class_name(part)!r}"
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if other := sorted(fields ^ set(values if isinstance(values, dict) else ())):
        return f"and not the class of this name that is given: they differ in {', '.join(other)}"
    return None
