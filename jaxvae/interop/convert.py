"""What `jaxvae import-torch` and `jaxvae export-torch` do: PyTorch weights to a run, and back."""

import math
import runpy
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import data, noise, runs
from jaxvae.batch import Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment
from jaxvae.data.preprocess import seen_shape
from jaxvae.info import Info
from jaxvae.interop import files
from jaxvae.interop.maps import PUBLISHED, Layer, Map, Shape, reference_map
from jaxvae.interop.weights import COUNTER, problems, to_flax, to_torch, torch_keys
from jaxvae.runs import guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import Variables, initial_state
from jaxvae.training.epoch import Progress
from jaxvae.training.load import load
from jaxvae.training.monitor import Standing
from jaxvae.training.state import state_of
from jaxvae.training.step import make_train_step, metric_names


def import_torch(
    source: str | Path,
    experiment: Experiment,
    out: str | Path | None = None,
    map_name: str | None = None,
    stored_shape: Shape | None = None,
) -> dict[str, Any]:
    """Make a run folder, at step 0, from the weights of a PyTorch model; return what was made.

    It is a run like any other: it can be evaluated, sampled, drawn, and trained with --resume.
    float64 weights are rounded to float32. Everything is checked before anything is written.

    Args:
        source: a file that `jaxvae.interop.files.read` reads.
        experiment: its model must be that of the weights; the rest says how to train on.
        out: the run folder, new or empty; by default the first of runs/NAME, runs/NAME-2, ...
        map_name: `reference`, a name in `jaxvae.interop.maps.PUBLISHED`, or a Python file that
            defines `weight_map`; by default the built-in map that has the file's keys.
        stored_shape: height, width and channels of the data set's images (uint8), before `Data`
            resizes and pads them; by default the data set is loaded and asked, and its examples may
            be signals or rows too.

    Raises:
        UsageError: a file that cannot be read, weights, map and model that do not fit (with every
            misfit listed), or a setting that is not allowed.
        FileExistsError: `out` is not empty.
    """
    source, out = Path(source), None if out is None else Path(out)
    if out is not None:
        guards.refuse_existing(out)
    arrays, prefix = files.read(source)
    shape, dtype, info = _stored(experiment, stored_shape)
    module = experiment.model.build(info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, info))

    template = _with_logvar(abstract.variables)
    name = map_name or _matching_map(source, arrays, experiment, shape, template)
    weight_map = _map(name, experiment, shape)
    own = files.shared_prefix(torch_keys(weight_map))  # `model.` may be the name of a module
    if prefix.endswith(own):
        arrays, prefix = {own + key: a for key, a in arrays.items()}, prefix.removesuffix(own)
    if found := problems(arrays, weight_map, template):
        raise UsageError(_misfit(source, f"by the map {name!r}", experiment, found))
    variables = _without_logvar(jax.tree.map(jnp.asarray, to_flax(arrays, weight_map, template)))
    state = state_of(experiment, variables.model, variables.objective)
    step = make_train_step(experiment, module, info, steps_per_epoch=1)
    number = jax.ShapeDtypeStruct((2,), np.int32)  # BatchNorm takes no fewer
    examples = Examples(jax.ShapeDtypeStruct((2, *shape), dtype), number, number)
    metrics = metric_names(step, state, examples, noise.root(experiment.seed))
    progress = asdict(Progress({name: [0.0] for name in metrics}, [Standing()]))
    counts = [int(a.max()) for key, a in arrays.items() if key.endswith(COUNTER) and a.size]
    imported = {
        "source": source.name,
        "map": Path(name).name,
        "prefix": prefix,
        COUNTER: max(counts, default=0),
    }

    parent = Path("runs") if out is None else out.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=parent) as temporary:
        run = Path(temporary) / "run"
        with Checkpoints(run / "checkpoints") as checkpoints:
            checkpoints.save(state, progress)
        runs.write_json(run / "config.json", runs.describe(experiment, shape, info))
        runs.write_json(run / "import.json", imported)
        folder = guards.claim_folder(experiment.name) if out is None else out
        if folder.exists():
            folder.rmdir()  # it is empty
        run.rename(folder)
    return {
        "run": str(folder),
        **imported,
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "beta_eff": experiment.beta_eff(math.prod(info.shape)),
    }


def export_torch(
    run: str | Path,
    path: str | Path,
    checkpoint: str = "best",
    map_name: str | None = None,
    like: Experiment | None = None,
) -> dict[str, Any]:
    """Write a run's weights as a state dict that `load_state_dict` takes; return what was written.

    Where the optimizer keeps an average of the parameters, it is the average that is written.

    Args:
        run: the run folder.
        path: a new file: .pth, .pt, .ckpt, .bin or .safetensors.
        checkpoint: `best` (by validation) or `latest`.
        map_name: as in `import_torch`; by default the one the run was imported by, and `reference`
            for a run that was trained here. An imported run gets back the prefix of its keys.
        like: the run's experiment, needed only when it has classes of its own.

    Raises:
        UsageError: not a run folder, another suffix, or a map that does not fit the model.
        FileExistsError: `path` exists.
        FileNotFoundError: the run has no complete checkpoint.
    """
    run, path = Path(run), Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; give another file")
    trained, step = load(run, checkpoint, like)
    imported = _imported(run)
    name = map_name or imported["map"]
    if map_name is None and name.endswith(".py"):
        raise UsageError(f"{run}: was imported by the map file {name}; give it with --map")
    prefix = imported["prefix"] if Path(name).name == imported["map"] else ""
    weight_map = _map(name, trained.experiment, trained.stored_shape)
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
    return imported


def _stored(experiment: Experiment, given: Shape | None) -> tuple[Shape, np.dtype, Info]:
    """Shape and type of an example as stored, and what is known of the data."""
    if given is not None:
        allowed = "a height, a width and channels"
        require(len(given) == 3 and min(given) >= 1, "--image-shape", given, allowed)
        return given, np.dtype(np.uint8), Info(seen_shape(experiment.data, given))
    try:
        dataset = data.load(experiment.data)
    except FileNotFoundError as error:
        hint = "; or give the shape of its images: --image-shape HEIGHT WIDTH CHANNELS"
        raise UsageError(f"{error}{hint}") from error
    images = dataset.train.images
    return images.shape[1:], images.dtype, data.info(dataset, experiment.data)


def _built_in_maps(experiment: Experiment, stored_shape: Shape) -> dict[str, Map]:
    shape = seen_shape(experiment.data, stored_shape)
    learned_variance = experiment.objective.likelihood == "gaussian_learned"
    return {"reference": reference_map(experiment.model, shape, learned_variance), **PUBLISHED}


def _map(name: str, experiment: Experiment, stored_shape: Shape) -> Map:
    """The built-in map of that name, or the one of that Python file."""
    if name.endswith(".py"):
        return _map_of_file(Path(name))
    maps = _built_in_maps(experiment, stored_shape)
    require(name in maps, "--map", name, f"one of {', '.join(maps)}, or a Python file (.py)")
    return maps[name]


def _map_of_file(path: Path) -> Map:
    if not path.is_file():
        raise UsageError(f"--map {path}: no such file")
    try:
        weight_map = runpy.run_path(str(path)).get("weight_map")
    except Exception as error:
        raise UsageError(f"--map {path}: {type(error).__name__}: {error}") from error
    if not isinstance(weight_map, Mapping) or not all(
        isinstance(layer, Layer) for layer in weight_map.values()
    ):
        raise UsageError(
            f"--map {path}: must define weight_map, a dict of jaxvae.interop.maps layers"
        )
    return weight_map


def _matching_map(
    source: Path,
    arrays: Mapping[str, np.ndarray],
    experiment: Experiment,
    stored_shape: Shape,
    template: Any,
) -> str:
    """The built-in map whose keys are exactly those of the file."""
    maps = _built_in_maps(experiment, stored_shape)
    keys = {key for key in arrays if not key.endswith(COUNTER)}
    keys_of = {name: torch_keys(weight_map) for name, weight_map in maps.items()}
    similar = [name for name in maps if keys & keys_of[name]]
    if not similar:
        raise UsageError(
            f"{source}: no built-in map has any of its keys ({', '.join(list(arrays)[:3])}, ...);"
            " give --map, a Python file that defines weight_map"
        )
    closest = min(similar, key=lambda name: len(keys ^ keys_of[name]))
    if keys == keys_of[closest]:  # no two built-in maps have the same keys
        return closest
    found = problems(arrays, maps[closest], template)
    by = f"by the closest built-in map, {closest!r} (--map names another, or a Python file)"
    raise UsageError(_misfit(source, by, experiment, found))


def _misfit(source: Path, by: str, experiment: Experiment, found: list[str]) -> str:
    lines = "\n  ".join(found)
    return f"{source}: does not fit the model of {experiment.name!r} {by}:\n  {lines}"
