"""What a page says of its run in words: where it came from, what it reached, how to repeat it."""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxvae import runs
from jaxvae.checks import UsageError
from jaxvae.config import Data, Experiment
from jaxvae.held import PREFIX
from jaxvae.runs import names
from jaxvae.runs.classes import class_name
from jaxvae.runs.listing import FREE

PLACE = re.compile(r"(?<= of TensorFlow Datasets) in .*?(?=; |$)")
"""Where prepared sets are on this machine, which is nothing to those a page is sent to."""
Settings = dict[str, Any]
"""Fields of an experiment by dotted name."""


def flat(experiment: Mapping[str, Any], prefix: str = "") -> Settings:
    """The fields of an experiment, as config.json has it, by dotted name."""
    found: Settings = {}
    for name, value in experiment.items():
        if isinstance(value, Mapping) and not prefix.endswith("options."):
            inner = flat(value, f"{prefix}{name}.") if name != "options" else {}
            found |= inner or {f"{prefix}{name}": dict(value)}
        else:
            found[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return found


class Basis(NamedTuple):
    """The settings that a run is compared with.

    listed: the package's experiment whose they are; None: they are the defaults.
    """

    settings: Settings
    listed: names.Listed | None = None


def basis_of(config: Mapping[str, Any]) -> Basis:
    """The experiment of the package that has the run's name and classes, or else the defaults."""
    name = str(config["experiment"]["name"])
    for listed in names.listed():
        if listed.name.rpartition("/")[2] != name:
            continue
        try:
            experiment = runs.load_experiment(listed.path)
        except UsageError:
            break
        if config["classes"] == {n: class_name(getattr(experiment, n)) for n in runs.PARTS}:
            return Basis(flat(dataclasses.asdict(experiment)), listed)
    return Basis(flat(dataclasses.asdict(Experiment(name))))


def differences(config: Mapping[str, Any], basis: Basis) -> list[dict[str, str]]:
    """Settings in which the run is unlike its basis: `name`, `value`, `usual`, as text."""
    own = flat(config["experiment"])
    return [
        {"name": name, "value": text(value), "usual": text(basis.settings.get(name, ""))}
        for name, value in own.items()
        if name not in FREE and basis.settings.get(name, ...) != value
    ]


def text(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, list | tuple):
        return " ".join(map(text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(inner)}" for name, inner in value.items()) or "none"
    return "on" if value is True else "off" if value is False else str(value)


def command(config: Mapping[str, Any], basis: Basis) -> str | None:
    """The command that trains it again; None where it needs a file or arrays that are elsewhere."""
    own = flat(config["experiment"])
    source = str(own.get("data.source", ""))
    if source.startswith(PREFIX) and source != basis.settings.get("data.source"):
        return None
    if basis.listed is None:
        own_classes = any(not str(of).startswith("jaxvae.") for of in config["classes"].values())
        return None if own_classes else "jaxvae train config.json"
    words = ["jaxvae", "train", basis.listed.name.rpartition("/")[2]]
    for name, value in own.items():
        if name != "name" and name not in FREE and basis.settings.get(name, ...) != value:
            words += _option(name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        first, dot, last = flag.rpartition(".")
        return [f"--{flag}" if value else f"--{first}{dot}no-{last}"]
    if isinstance(value, list):
        return [f"--{flag}", *map(str, value)]
    if isinstance(value, Mapping):
        return [f"--{flag}", *(str(word) for pair in value.items() for word in pair)]
    return [f"--{flag}", str(value)]


def noise(data: Data) -> str:
    """What is done to the examples that a model is given, not to those that it is to return."""
    kind = data.corruption.replace("_", " and ")
    return "" if kind == "none" else f"{kind} of level {data.corruption_level:g}"


def _variant(config: Mapping[str, Any], part: str) -> str:
    """The class of a part that has fields of its own, and these."""
    plain = dataclasses.asdict(getattr(Experiment("run"), part))
    own = {name: v for name, v in config["experiment"][part].items() if name not in plain}
    said = ", ".join(f"{name.replace('_', ' ')} {text(value)}" for name, value in own.items())
    return f"; {config['classes'][part].rpartition('.')[2]}: {said}" if own else ""


def facts(
    config: Mapping[str, Any], summary: Mapping[str, Any], basis: Basis, step: int | None
) -> list[tuple[str, str]]:
    """What the run is: a label and a text each."""
    settings, model = config["experiment"], config["experiment"]["model"]
    widths = ", ".join(map(str, model["hidden_dims"]))
    latents = "" if model["family"] == "CAE" else f", {model['latent_dim']} latents"
    found = [("Experiment", settings["name"])]
    if basis.listed is not None:
        found.append(("About it", basis.listed.title))
    found.append(("Data", summary.get("dataset") or settings["data"]["source"]))
    if data := summary.get("data"):
        found.append(("Data as understood", PLACE.sub("", "; ".join(data))))
    if images := summary.get("images"):
        same = " and test alike" if images["test_is_validation"] else f", {images['test']:,} test"
        counts = f"{images['train']:,} training, {images['validation']:,} validation{same}"
        found.append(("Examples", counts))
    layers = f"{model['family']}, {model['network']} layers of {widths}{latents}"
    found.append(("Model", layers + _variant(config, "model")))
    if "num_parameters" in summary:
        found.append(("Parameters", f"{summary['num_parameters']:,}"))
    objective = settings["objective"]
    beta = summary.get("beta_eff")
    weight = f", effective beta {beta:.4g}" if beta else ""
    terms = f"{objective['likelihood']} likelihood{weight}"
    found.append(("Objective", terms + _variant(config, "objective")))
    found.append(("Seed", str(settings["seed"])))
    if "epochs" in summary:
        steps = f", {summary['steps']:,} steps" if "steps" in summary else ""
        found.append(("Trained", f"{summary['epochs']} epochs{steps}; {summary['status']}"))
    if "total_seconds" in summary:
        took = f"{summary['total_seconds']:,.0f} s in all, {summary['seconds']:,.0f} s in steps"
        found.append(("Wall time", f"{took}, {summary['compile_seconds']:.0f} s compiling"))
    if "device" in summary:
        found.append(("Device", f"{summary['device']}; {summary['runner']}"))
    found.append(("Versions", f"jaxvae {config['jaxvae']}, jax {config['jax']}"))
    if step is not None:
        found.append(("Checkpoint", f"step {step:,}, with which this page was made"))
    if origin := config.get("init_from"):
        found.append(("Began with", f"{origin['taken']} arrays of {origin['run']}"))
    return [(label, str(text)) for label, text in found]
