"""What `jaxvae import-torch` and `jaxvae export-torch` do: PyTorch weights to a run, and back."""

import logging
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import data, noise, runs
from jaxvae.atomic import atomic
from jaxvae.batch import Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment
from jaxvae.data.splits import seen_shape
from jaxvae.from_json import from_json
from jaxvae.info import Info
from jaxvae.interop import check, files
from jaxvae.interop.find import GUESS, File, Target, arrays_of, draft, find, named_map, without
from jaxvae.interop.maps import Layer, Map, Shape, reference_map
from jaxvae.interop.weights import COUNTER, to_flax, to_torch
from jaxvae.runs import code, guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import Variables, initial_state
from jaxvae.training.epoch import Progress
from jaxvae.training.load import load
from jaxvae.training.monitor import Standing
from jaxvae.training.state import state_of
from jaxvae.training.step import make_train_step, metric_names

log = logging.getLogger("jaxvae")


@dataclass(frozen=True)
class Reading:
    """What is to be read in a file of weights, where it does not say that itself."""

    state_dict: tuple[str, ...] = ()
    """Which of its state dicts, by their dotted places, as for `jaxvae.interop.files.read`."""
    leave_out: tuple[str, ...] = ()
    """Patterns of keys that are left out, such as head.*"""
    map: str | None = None
    """`reference`, a name in `jaxvae.interop.published.PUBLISHED`, or a Python file that defines
    `weight_map`; by default the built-in map that has the file's keys."""
    accept: bool = False
    """Where no built-in map has them, take the one that is guessed."""


class Stored(NamedTuple):
    """Shape and type of an example as stored, and what is known of the data."""

    shape: Shape
    dtype: np.dtype
    info: Info


def import_torch(
    source: str | Path,
    experiment: Experiment,
    out: str | Path | None = None,
    reading: Reading = Reading(),
    stored_shape: Shape | None = None,
    check_with: str | Path | None = None,
) -> dict[str, Any]:
    """Make a run folder, at step 0, from the weights of a PyTorch model; return what was made.

    It is a run like any other: it can be evaluated, sampled, drawn, and trained with --resume.
    float64 weights are rounded to float32. Everything is checked before anything is written.

    Args:
        source: a file that `jaxvae.interop.files.read` reads.
        experiment: its model must be that of the weights; the rest says how to train on.
        out: the run folder, new or empty; by default the first of runs/NAME, runs/NAME-2, ...
        reading: which of the file's arrays, and which layer each of them is.
        stored_shape: height, width and channels of the data set's images (uint8), before `Data`
            resizes and pads them; by default the data set is loaded and asked, and its examples may
            be signals or rows too.
        check_with: results of the PyTorch model, as for `jaxvae.interop.check.compare`.

    Raises:
        UsageError: a file that cannot be read, weights, map and model that do not fit (with every
            misfit listed), arrays that are left over, a guess that is not accepted, results that
            are not the PyTorch model's, or a setting that is not allowed.
        FileExistsError: `out` is not empty.
    """
    source, out = Path(source), None if out is None else Path(out)
    if out is not None:
        guards.refuse_existing(out)
    file, target, left_out, stored = _opened(source, experiment, reading, stored_shape)
    shape, dtype, info = stored
    module = experiment.model.build(info)
    fit = find(file, target, reading.map, reading.accept)
    arrays = arrays_of(fit, file)
    weights = to_flax(arrays, fit.weight_map, target.template)
    variables = _without_logvar(jax.tree.map(jnp.asarray, weights))
    checked = None
    if check_with is not None:
        checked = check.compare(Path(check_with), module, variables.model, info)
    state = state_of(experiment, variables.model, variables.objective)
    step = make_train_step(experiment, module, info, steps_per_epoch=1)
    number = jax.ShapeDtypeStruct((2,), np.int32)  # BatchNorm takes no fewer
    examples = Examples(jax.ShapeDtypeStruct((2, *shape), dtype), number, number)
    metrics = metric_names(step, state, examples, noise.root(experiment.seed))
    progress = asdict(Progress({name: [0.0] for name in metrics}, [Standing()]))
    counts = [int(a.max()) for key, a in arrays.items() if key.endswith(COUNTER) and a.size]
    imported = {
        "source": source.name,
        "map": Path(fit.name).name,
        "prefix": fit.prefix,
        "left_out": left_out,
        "taken": list(fit.notes),
        "checked": checked,
        COUNTER: max(counts, default=0),
    }
    layers = {name: asdict(layer) for name, layer in fit.weight_map.items()}

    parent = Path("runs") if out is None else out.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=parent) as temporary:
        run = Path(temporary) / "run"
        with Checkpoints(run / "checkpoints") as checkpoints:
            checkpoints.save(state, progress)
        config = runs.describe(experiment, shape, info) | code.keep(run, experiment)
        runs.write_json(run / "config.json", config)
        own = {"layers": layers} if fit.name == GUESS else {}
        runs.write_json(run / "import.json", imported | own)
        folder = guards.claim_folder(experiment.name) if out is None else out
        if folder.exists():
            folder.rmdir()  # it is empty
        run.rename(folder)
    for note in fit.notes:
        log.info("%s", note)
    return {
        "run": str(folder),
        **imported,
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "beta_eff": experiment.beta_eff(math.prod(info.shape)),
    }


def write_map(
    source: str | Path,
    experiment: Experiment,
    path: str | Path,
    reading: Reading = Reading(),
    stored_shape: Shape | None = None,
) -> dict[str, Any]:
    """Write the map by which a file would be imported, as far as it is known; nothing else.

    Args:
        source, experiment, reading, stored_shape: as in `import_torch`.
        path: a new Python file. Layers of the model that no module of the file is taken for stand
            there with ?1, ?2, ... for the module's name, to be completed.

    Raises:
        UsageError: as `import_torch`, but for a guess.
        FileExistsError: `path` exists.
    """
    source, path = Path(source), Path(path)
    require(path.suffix == ".py", "--write-map", str(path), "a Python file (.py)")
    if path.exists():
        raise FileExistsError(f"{path}: exists; give another file")
    file, target, left_out, _ = _opened(source, experiment, reading, stored_shape)
    text, complete = draft(file, target, reading.map)
    with atomic(path) as temporary:
        temporary.write_text(text)
    return {"map": str(path), "complete": complete, "left_out": left_out}


def _opened(
    source: Path, experiment: Experiment, reading: Reading, stored_shape: Shape | None
) -> tuple[File, Target, list[str], Stored]:
    """A file, the model that it is wanted for, what is left out, and what the examples are."""
    arrays, beside = files.read(source, reading.state_dict)
    kept = without(source, arrays, reading.leave_out)
    stored = _stored(experiment, stored_shape)
    module = experiment.model.build(stored.info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, stored.info))
    template = _with_logvar(abstract.variables)
    target = Target(experiment.name, _reference(experiment, stored.shape), template)
    left_out = [key for key in arrays if key not in kept] + beside
    return File(source, kept), target, left_out, stored


def export_torch(
    run: str | Path,
    path: str | Path,
    checkpoint: str = "best",
    map_name: str | None = None,
    like: Experiment | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Write a run's weights as a state dict that `load_state_dict` takes; return what was written.

    Where the optimizer keeps an average of the parameters, it is the average that is written.

    Args:
        run: the run folder.
        path: a new file: .pth, .pt, .ckpt, .bin or .safetensors.
        checkpoint: `best` (by validation) or `latest`.
        map_name: as in `import_torch`; by default the one the run was imported by, and `reference`
            for a run that was trained here. An imported run gets back the prefix of its keys.
        like, trust_code: as for `jaxvae.training.load.load`, where it has classes of its own.

    Raises:
        UsageError: not a run folder, another suffix, or a map that does not fit the model.
        FileExistsError: `path` exists.
        FileNotFoundError: the run has no complete checkpoint.
    """
    run, path = Path(run), Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; give another file")
    trained, step = load(run, checkpoint, like, trust_code)
    imported = _imported(run)
    name = map_name or imported["map"]
    if map_name is None and name.endswith(".py"):
        raise UsageError(f"{run}: was imported by the map file {name}; give it with --map")
    prefix = imported["prefix"] if Path(name).name == imported["map"] else ""
    reference = _reference(trained.experiment, trained.stored_shape)
    guessed = name == GUESS == imported["map"]
    weight_map = imported["layers"] if guessed else named_map(name, reference)
    variables = _with_logvar(trained.variables)
    arrays = to_torch(variables, weight_map, num_batches=imported[COUNTER] + step)
    files.write(path, {prefix + key: array for key, array in arrays.items()})
    return {
        "file": str(path),
        "map": name,
        "prefix": prefix,
        "checkpoint_step": step,
        "parameters": sum(x.size for x in jax.tree.leaves(variables["params"])),
        "arrays": len(arrays),
        "left_out": imported.get("left_out", []),  # at the import
    }


def _with_logvar(variables: Variables) -> dict[str, Any]:
    """The module's variables, and with them a learned log-variance, as PyTorch's models have it."""
    if "logvar" not in variables.objective:
        return variables.model
    logvar = {"x_logvar": variables.objective["logvar"]}
    return variables.model | {"params": variables.model["params"] | logvar}


def _without_logvar(variables: dict[str, Any]) -> Variables:
    """The way back."""
    params = dict(variables["params"])
    own = {"logvar": params.pop("x_logvar")} if "x_logvar" in params else {}
    return Variables(variables | {"params": params}, own)


def _imported(run: Path) -> dict[str, Any]:
    """What import.json says of where the weights came from; of a run trained here, nowhere."""
    path = run / "import.json"
    if not path.exists():
        return {"map": "reference", "prefix": "", COUNTER: 0}
    imported = runs.read_json(path)
    for key, kind in {"map": str, "prefix": str, COUNTER: int}.items():
        if not isinstance(imported, dict) or not isinstance(imported.get(key), kind):
            raise UsageError(f"{path}: {key}: must be there, as {kind.__name__}")
    count = imported[COUNTER]
    require(0 <= count < 2**31, f"{path}: {COUNTER}", count, "in 0..2**31-1")
    if imported["map"] != GUESS:
        return imported
    layers = imported.get("layers")
    if not isinstance(layers, dict):
        raise UsageError(f"{path}: layers: must be there, as those of a map that was guessed")
    layers = {
        name: from_json(Layer(()), values, f"{path}: layers.{name}.")
        for name, values in layers.items()
    }
    return imported | {"layers": layers}


def _stored(experiment: Experiment, given: Shape | None) -> Stored:
    if given is not None:
        allowed = "a height, a width and channels"
        require(len(given) == 3 and min(given) >= 1, "--image-shape", given, allowed)
        return Stored(given, np.dtype(np.uint8), Info(seen_shape(experiment.data, given)))
    try:
        dataset = data.load(experiment.data)
    except FileNotFoundError as error:
        hint = "; or give the shape of its images: --image-shape HEIGHT WIDTH CHANNELS"
        raise UsageError(f"{error}{hint}") from error
    images = dataset.train.images
    return Stored(images.shape[1:], images.dtype, data.info(dataset, experiment.data))


def _reference(experiment: Experiment, stored_shape: Shape) -> Map:
    shape = seen_shape(experiment.data, stored_shape)
    learned_variance = experiment.objective.likelihood == "gaussian_learned"
    return reference_map(experiment.model, shape, learned_variance)
