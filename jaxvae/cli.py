"""The command line: `jaxvae train|evaluate|reconstruct|sample|...`.

Results go to stdout as JSON, everything else to stderr. Exit status: 0; 1 when the command failed;
2 when it was used wrongly. Heavy imports are inside the commands, so that `--help` is quick.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxvae import __version__, runs
from jaxvae.config import Experiment, UsageError, require

if TYPE_CHECKING:
    from jaxvae.data import Split
    from jaxvae.evaluation import Trained
    from jaxvae.pictures import Picture

NO_PREFIX = tyro.conf.arg(name="")  # the fields of a dataclass become options without a prefix


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Where from, where to, and every field of the experiment."""

    file: tyro.conf.Positional[Path | None] = None
    """The experiment file, such as experiments/mnist_vae.py."""
    out: Path | None = None
    """The run folder; by default the first of runs/NAME, runs/NAME-2, ... that is free."""
    resume: Path | None = None
    """Continue this run exactly where its latest checkpoint stands, with its own settings. The file
    is then needed only when it defines classes of its own."""
    convention: Annotated[str | None, tyro.conf.arg(name="objective.convention")] = None
    """Start from a named loss, such as pytorch_examples or ssakhash (docs/conventions.md); other
    options of the objective change it further."""
    experiment: Annotated[Experiment, NO_PREFIX] = dataclasses.field(
        default_factory=lambda: Experiment(name="experiment")
    )


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """PyTorch weights, what they are the weights of, and where to."""

    source: tyro.conf.Positional[Path | None] = None
    """The state dict: .pth, .pt, .ckpt, .bin or .safetensors."""
    like: Annotated[Path | None, tyro.conf.arg(name="as")] = None
    """The experiment file whose model it fits, such as experiments/published/antixk_vae.py; its
    fields can be changed by the options below."""
    out: Path | None = None
    """The run folder; by default the first of runs/NAME, runs/NAME-2, ... that is free."""
    map: str | None = None
    """How layers correspond: `reference`, the name of a published model, or a Python file that
    defines `weight_map` (torch_parity/maps.py). By default the known one with the file's keys."""
    image_shape: tuple[int, int, int] | None = None
    """Height, width and channels of the stored images, where the data set is not to hand."""
    experiment: Annotated[Experiment, NO_PREFIX] = TrainOptions().experiment


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A trained run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    checkpoint: Literal["best", "latest"] = "best"
    """The best by validation, or the latest."""
    experiment: Path | None = None
    """The run's experiment file; needed only when it defines classes of its own."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Which images to use."""

    split: Literal["train", "validation", "test", "all"] | None = None
    """Of the data set; all: every image in stored order. By default test, or all with --source."""
    source: str | None = None
    """Other images than the run's, as in --data.source; they must have the same shape."""

    @property
    def which(self) -> str:
        return self.split or ("test" if self.source is None else "all")


Saved = Annotated[SavedRun, NO_PREFIX]
Shown = Annotated[Images, NO_PREFIX]


def train(options: Annotated[TrainOptions, NO_PREFIX]) -> dict[str, Any]:
    """Train an experiment; every field of it is an option."""
    from jaxvae.training import train as run

    if options.resume is not None:
        if options.out is not None:
            raise UsageError("--out: not allowed with --resume, which writes to its own folder")
        return run(options.experiment, options.resume, resume=True)
    if options.file is None:
        raise UsageError("train: give an experiment file, such as experiments/mnist_vae.py")
    if options.out is not None:
        return run(options.experiment, options.out)
    folder = runs.claim_folder(options.experiment.name)
    try:
        return run(options.experiment, folder)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if it is still empty: refused before anything was written


def evaluate(
    saved: Saved, shown: Shown, z: Literal["sampled", "mean"] = "sampled"
) -> dict[str, Any]:
    """Evaluate a run: loss, recon and kl in nats per image, and the pixels' mean squared error.

    Args:
        saved: the run.
        shown: the images.
        z: Decode a sample of the posterior (as the ELBO says), or its mean.
    """
    import jax
    import jax.numpy as jnp

    from jaxvae import noise
    from jaxvae.evaluation import in_order, make_evaluate

    trained, step, images, _ = _open(saved, shown)
    experiment = trained.experiment
    means = jax.jit(make_evaluate(experiment, trained.model, sampled=z == "sampled"))(
        trained.variables, jnp.asarray(images.images), noise.root(experiment.seed)
    )
    values = in_order(means)
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        raise runs.RunError(f"{saved.run}: not finite: {', '.join(bad)}")
    return {
        "run": str(saved.run),
        "checkpoint": saved.checkpoint,
        "checkpoint_step": step,
        "source": shown.source or experiment.data.source,
        "split": shown.which,
        "images": len(images.images),
        "z": z,
        **values,
        "beta_eff": experiment.beta_eff(math.prod(trained.image_shape)),
    }


def reconstruct(saved: Saved, shown: Shown, out: Path | None = None, n: int = 20) -> dict[str, Any]:
    """Reconstruct the first images: originals over reconstructions.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/reconstruct.
        n: How many images.
    """
    from jaxvae import pictures

    require(n >= 1, "--n", n, "at least 1")
    trained, _, images, _ = _open(saved, shown)
    return _write(saved, out, "reconstruct", pictures.reconstructions(trained, images.images[:n]))


def sample(saved: Saved, out: Path | None = None, n: int = 64, seed: int = 0) -> dict[str, Any]:
    """Decode draws from the prior of a VAE.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/sample.
        n: How many images.
        seed: Of the draws.
    """
    from jaxvae import pictures

    trained, _ = _load(saved)
    return _write(saved, out, "sample", pictures.samples(trained, n, seed))


def embed(saved: Saved, shown: Shown, out: Path | None = None) -> dict[str, Any]:
    """The codes of a split (posterior means), and their scatter plot.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/embed.
    """
    from jaxvae import pictures

    trained, _, images, classes = _open(saved, shown)
    return _write(saved, out, "embed", pictures.embedding(trained, images, classes))


def interpolate(
    saved: Saved,
    shown: Shown,
    out: Path | None = None,
    first: tuple[int, ...] = (0, 1, 2),
    second: tuple[int, ...] = (3, 4, 5),
    steps: int = 11,
) -> dict[str, Any]:
    """Walk between the codes of pairs of images.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/interpolate.
        first: Where the walks start: indices into the split.
        second: Where they end, one per start.
        steps: Images per walk, ends included.
    """
    from jaxvae import pictures

    trained, _, images, _ = _open(saved, shown)
    if len(first) != len(second) or not first:
        raise UsageError(f"--second = {second}: must name one image for each of {first}")
    _check_indices("--first", first, len(images.images))
    _check_indices("--second", second, len(images.images))
    picture = pictures.interpolations(trained, images.images, first, second, steps)
    return _write(saved, out, "interpolate", picture)


def traverse(
    saved: Saved,
    shown: Shown,
    out: Path | None = None,
    index: int = 0,
    steps: int = 11,
    dims: int = 10,
) -> dict[str, Any]:
    """Vary one latent of an image's code at a time.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/traverse.
        index: The image, an index into the split.
        steps: Values per latent.
        dims: At most so many latents, those that say most about the images.
    """
    from jaxvae import pictures

    trained, _, images, _ = _open(saved, shown)
    _check_indices("--index", (index,), len(images.images))
    picture = pictures.traversals(trained, images.images, index, steps, dims)
    return _write(saved, out, "traverse", picture)


def figures(saved: Saved) -> dict[str, Any]:
    """Draw every figure of a run again, into its folder.

    Args:
        saved: the run.
    """
    from jaxvae import data, pictures

    trained, _ = _load(saved)
    dataset = data.load(trained.experiment.data)
    rows = runs.read_metrics(saved.run / "metrics.csv")
    written = pictures.write_all(trained, dataset, rows, saved.run / "figures")
    return {"figures": [str(path) for path in written]}


def datasets() -> dict[str, Any]:
    """List the data sets to hand, where they were looked for, and how to get the missing ones."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from jaxvae import data

    found = data.available()
    names = ("name", "ready", "where", "images", "how")
    table = Table(*(Column(name, overflow="fold") for name in names), show_lines=True)
    for entry in found:
        images = ", ".join(f"{name} {n:,}" for name, n in (entry["images"] or {}).items())
        ready = "yes" if entry["ready"] else "no"
        row = (entry["name"], ready, entry["location"], images, entry["how"])
        table.add_row(*map(escape, row))  # brackets in a path are no markup
    Console(stderr=True).print(table)
    return {"datasets": found}


def info(run: tyro.conf.Positional[Path]) -> dict[str, Any]:
    """What a run is and where it stands: configuration, summary, checkpoints, last epoch.

    Args:
        run: The run folder.
    """
    from jaxvae.training.checkpoint import Checkpoints

    config, summary = runs.saved_config(run), run / "summary.json"
    with Checkpoints(run / "checkpoints", read_only=True) as checkpoints:
        steps = checkpoints.steps()
        best = checkpoints.find("best") if steps else None
    return {
        "config": config,
        "checkpoints": steps,
        "best_checkpoint": best,
        "last_epoch": next(reversed(runs.read_metrics(run / "metrics.csv")), None),
        "summary": runs.read_json(summary) if summary.exists() else None,
    }


def import_torch(options: Annotated[ImportOptions, NO_PREFIX]) -> dict[str, Any]:
    """Make a run from the weights of a PyTorch model: to evaluate, to draw, to train on."""
    from torch_parity import interop

    if options.source is None or options.like is None:
        raise UsageError("import-torch: give a file of weights and --as, an experiment file")
    return interop.import_torch(
        options.source, options.experiment, options.out, options.map, options.image_shape
    )


def export_torch(
    run: tyro.conf.Positional[Path],
    path: tyro.conf.Positional[Path],
    checkpoint: Literal["best", "latest"] = "best",
    map: str | None = None,
    experiment: Path | None = None,
) -> dict[str, Any]:
    """Write the weights of a run as a PyTorch state dict.

    Args:
        run: The run folder.
        path: A new file: .pth, .pt, .ckpt, .bin or .safetensors.
        checkpoint: The best by validation, or the latest.
        map: As in import-torch; by default the one of the import, or `reference`.
        experiment: The run's experiment file; needed only when it defines classes of its own.
    """
    from torch_parity import interop

    like = None if experiment is None else runs.load_experiment(experiment)
    return interop.export_torch(run, path, checkpoint, map, like)


def _load(saved: SavedRun) -> tuple["Trained", int]:
    """The model of a run, and its checkpoint's step."""
    from jaxvae.saved import load

    like = None if saved.experiment is None else runs.load_experiment(saved.experiment)
    return load(saved.run, saved.checkpoint, like)


def _open(saved: SavedRun, shown: Images) -> tuple["Trained", int, "Split", tuple[str, ...] | None]:
    """The model, its checkpoint's step, the images that were asked for, and their classes."""
    from jaxvae import data

    trained, step = _load(saved)
    settings = trained.experiment.data
    if shown.source is not None:
        settings = dataclasses.replace(settings, source=shown.source, batch_size=1)
    if shown.which == "all":
        images, classes = data.whole(settings)
    else:
        dataset = data.load(settings)
        images, classes = getattr(dataset, shown.which), dataset.classes
    shape = images.images.shape[1:]
    expected = f"{trained.stored_shape} (height, width, channels), those of the run"
    require(shape == trained.stored_shape, "shape of the images", shape, expected)
    return trained, step, images, classes


def _check_indices(name: str, indices: tuple[int, ...], n: int) -> None:
    for i in indices:
        require(0 <= i < n, name, i, f"in 0..{n - 1}, an image of the split")


def _write(saved: SavedRun, out: Path | None, command: str, picture: "Picture") -> dict[str, Any]:
    """Write a picture's arrays and its figure; say where they are and what they hold."""
    import numpy as np

    from jaxvae import figures

    arrays, figure = picture
    out = out or saved.run / "outputs" / command
    out = out.with_suffix("") if out.suffix in (".npz", ".png") else out
    npz, png = out.with_name(out.name + ".npz"), out.with_name(out.name + ".png")
    with runs.atomic(npz) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    figures.save(figure, png)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    return {"arrays": str(npz), "picture": str(png), "shapes": shapes}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "train": train,
    "evaluate": evaluate,
    "reconstruct": reconstruct,
    "sample": sample,
    "embed": embed,
    "interpolate": interpolate,
    "traverse": traverse,
    "figures": figures,
    "datasets": datasets,
    "info": info,
    "import-torch": import_torch,
    "export-torch": export_torch,
}


def _run(args: list[str]) -> dict[str, Any]:
    """Parse and carry out a command. tyro itself exits with status 2 where it cannot parse."""
    if args[:1] == ["train"]:
        prog, default = "jaxvae train", _train_defaults(args[1:])
        options = tyro.cli(
            TrainOptions, prog=prog, description=train.__doc__, default=default, args=args[1:]
        )
        if options.file != default.file:
            raise UsageError(f"{options.file}: the experiment file comes right after `train`")
        return train(options)
    if args[:1] == ["import-torch"]:
        imported = tyro.cli(
            ImportOptions,
            prog="jaxvae import-torch",
            description=import_torch.__doc__,
            default=_import_defaults(args[1:]),
            args=args[1:],
        )
        return import_torch(imported)
    if args == ["--version"]:
        return {"jaxvae": __version__}
    if args and args[0] in COMMANDS:
        return tyro.cli(COMMANDS[args[0]], prog=f"jaxvae {args[0]}", args=args[1:])
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="jaxvae",
        description="Autoencoders in JAX: train, evaluate, look.",
        args=args,
    )


def _train_defaults(args: list[str]) -> TrainOptions:
    """The experiment whose fields the options override: the file's, or the resumed run's."""
    file = Path(args[0]) if args and not args[0].startswith("-") else None
    experiment = None if file is None else runs.load_experiment(file)
    if resume := _value_of("--resume", args):
        folder = Path(resume)
        saved, _ = runs.read_config(folder, like=experiment)
        if experiment is not None and experiment.name != saved.name:
            raise UsageError(f"{folder}: a run of {saved.name!r}, not of {experiment.name!r}")
        experiment = saved
    if (convention := _value_of("--objective.convention", args)) and experiment is not None:
        from jaxvae.objectives import with_convention

        experiment = with_convention(experiment, convention)
    return TrainOptions(file) if experiment is None else TrainOptions(file, experiment=experiment)


def _import_defaults(args: list[str]) -> ImportOptions:
    """The experiment of --as, whose fields the options override."""
    if file := _value_of("--as", args):
        return ImportOptions(like=Path(file), experiment=runs.load_experiment(file))
    return ImportOptions()


def _value_of(option: str, args: list[str]) -> str | None:
    """The last value that `args` give to an option, as `--option VALUE` or `--option=VALUE`."""
    given = None
    for word, following in itertools.pairwise([*args, ""]):
        if word == option or word.startswith(f"{option}="):
            given = word.partition("=")[2] or following
    return given


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit."""
    args = sys.argv[1:] if args is None else args
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("jaxvae").setLevel(logging.INFO)
    try:
        result = _run(args)
    except Exception as error:
        if os.environ.get("JAXVAE_TRACEBACK"):
            raise
        usage = isinstance(error, (UsageError, FileExistsError))
        expected = usage or isinstance(error, (OSError, runs.RunError))
        prefix = "" if expected else f"{type(error).__name__}: "
        hint = "" if expected else " (JAXVAE_TRACEBACK=1 shows where)"
        print(f"jaxvae: {prefix}{error}{hint}", file=sys.stderr)
        sys.exit(2 if usage else 1)
    except KeyboardInterrupt:
        print(
            "jaxvae: interrupted; a run with a checkpoint continues with --resume", file=sys.stderr
        )
        sys.exit(1)
    print(json.dumps(result, indent=2, allow_nan=False))
