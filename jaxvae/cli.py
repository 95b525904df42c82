"""The command line: `jaxvae train|evaluate|reconstruct|sample|...`.

Results go to stdout as JSON, everything else to stderr. Exit status: 0; 1 when the command failed;
2 when it was used wrongly. Heavy imports are inside the commands, so that `--help` is quick.
"""

import dataclasses
import json
import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxvae import runs
from jaxvae.config import Experiment

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
    """Continue this run exactly where its latest checkpoint stands."""
    experiment: Annotated[Experiment, NO_PREFIX] = dataclasses.field(
        default_factory=lambda: Experiment(name="experiment")
    )


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A trained run, and the images to use with it."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    checkpoint: Literal["best", "latest"] = "best"
    """The best by validation, or the latest."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Which images of the data set; all: every image in the order in which they are stored."""
    source: str | None = None
    """Other images than the run's, as in --data.source; they must have the same shape."""
    experiment: Path | None = None
    """The run's experiment file; needed only when it defines classes of its own."""


Saved = Annotated[SavedRun, NO_PREFIX]


def train(options: TrainOptions) -> dict[str, Any]:
    from jaxvae.training import train as run

    if options.resume is not None:
        if options.out is not None:
            raise runs.UsageError(
                "--out: not allowed with --resume, which writes to its own folder"
            )
        return run(options.experiment, options.resume, resume=True)
    if options.file is None:
        raise runs.UsageError("train: give an experiment file, such as experiments/mnist_vae.py")
    folder = options.out or runs.free_folder(options.experiment.name)
    return run(options.experiment, folder)


def evaluate(saved: Saved, z: Literal["sampled", "mean"] = "sampled") -> dict[str, Any]:
    """Evaluate a run: loss, recon and kl in nats per image, and the pixels' mean squared error.

    Args:
        saved: the run.
        z: Decode a sample of the posterior (as the ELBO says), or its mean.
    """
    import jax
    import jax.numpy as jnp

    from jaxvae import noise
    from jaxvae.evaluation import make_evaluate

    trained, step, images, _ = _open(saved)
    experiment = trained.experiment
    means = jax.jit(make_evaluate(experiment, trained.model, sampled=z == "sampled"))(
        trained.variables, jnp.asarray(images.images), noise.root(experiment.seed)
    )
    return {
        "run": str(saved.run),
        "checkpoint_step": step,
        "split": saved.split,
        "images": len(images.images),
        "z": z,
        **{name: float(value) for name, value in means.items()},
        "beta_eff": experiment.beta_eff(math.prod(trained.image_shape)),
    }


def reconstruct(saved: Saved, out: Path | None = None, n: int = 20) -> dict[str, Any]:
    """Reconstruct the first images: originals over reconstructions.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/reconstruct.
        n: How many images.
    """
    from jaxvae import pictures

    trained, _, images, _ = _open(saved)
    return _write(saved, out, "reconstruct", pictures.reconstructions(trained, images.images[:n]))


def sample(saved: Saved, out: Path | None = None, n: int = 64, seed: int = 0) -> dict[str, Any]:
    """Decode draws from the prior of a VAE.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/sample.
        n: How many images.
        seed: Of the draws.
    """
    from jaxvae import pictures, trained

    model, _ = trained.load(saved.run, saved.checkpoint, _like(saved))
    return _write(saved, out, "sample", pictures.samples(model, n, seed))


def embed(saved: Saved, out: Path | None = None) -> dict[str, Any]:
    """The codes of a split (posterior means), and their scatter plot.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/embed.
    """
    from jaxvae import pictures

    trained, _, images, classes = _open(saved)
    return _write(saved, out, "embed", pictures.embedding(trained, images, classes))


def interpolate(
    saved: Saved,
    out: Path | None = None,
    first: tuple[int, ...] = (0, 1, 2),
    second: tuple[int, ...] = (3, 4, 5),
    steps: int = 11,
) -> dict[str, Any]:
    """Walk between the codes of pairs of images.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/interpolate.
        first: Where the walks start: indices into the split.
        second: Where they end, one per start.
        steps: Images per walk, ends included.
    """
    from jaxvae import pictures

    trained, _, images, _ = _open(saved)
    if len(first) != len(second) or not first:
        raise runs.UsageError(f"--second = {second}: must name one image for each of {first}")
    _check_indices("--first", first, len(images.images))
    _check_indices("--second", second, len(images.images))
    ends = images.images[list(first)], images.images[list(second)]
    return _write(saved, out, "interpolate", pictures.interpolations(trained, *ends, steps))


def traverse(
    saved: Saved, out: Path | None = None, index: int = 0, steps: int = 11, dims: int = 10
) -> dict[str, Any]:
    """Vary one latent of an image's code at a time.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/traverse.
        index: The image, an index into the split.
        steps: Values per latent.
        dims: At most so many latents, those that say most about the images.
    """
    from jaxvae import pictures

    trained, _, images, _ = _open(saved)
    _check_indices("--index", (index,), len(images.images))
    picture = pictures.traversals(trained, images.images, index, steps, dims)
    return _write(saved, out, "traverse", picture)


def figures(saved: Saved) -> dict[str, Any]:
    """Draw every figure of a run again, into its folder.

    Args:
        saved: the run.
    """
    from jaxvae import data, pictures, trained

    model, _ = trained.load(saved.run, saved.checkpoint, _like(saved))
    dataset = data.load(model.experiment.data)
    rows = runs.read_metrics(saved.run / "metrics.csv")
    written = pictures.write_all(model, dataset, rows, saved.run / "figures")
    return {"figures": [str(path) for path in written]}


def datasets() -> dict[str, Any]:
    """List the data sets to hand, where they were looked for, and how to get the missing ones."""
    from rich.console import Console
    from rich.table import Table

    from jaxvae import data

    found = data.available()
    table = Table("name", "ready", "where", "images", "how", show_lines=True)
    for entry in found:
        images = ", ".join(f"{name} {n:,}" for name, n in (entry["images"] or {}).items())
        ready = "yes" if entry["ready"] else "no"
        table.add_row(entry["name"], ready, entry["location"], images, entry["how"])
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


def _like(saved: SavedRun) -> Experiment | None:
    return None if saved.experiment is None else runs.load_experiment(saved.experiment)


def _open(saved: SavedRun) -> tuple["Trained", int, "Split", tuple[str, ...] | None]:
    """The model, its checkpoint's step, the images that were asked for, and their classes."""
    from jaxvae import data, trained

    model, step = trained.load(saved.run, saved.checkpoint, _like(saved))
    settings = model.experiment.data
    if saved.source is not None:
        settings = dataclasses.replace(settings, source=saved.source, batch_size=1)
    if saved.split == "all":
        images, classes = data.whole(settings)
    else:
        dataset = data.load(settings)
        images, classes = getattr(dataset, saved.split), dataset.classes
    return model, step, images, classes


def _check_indices(name: str, indices: tuple[int, ...], n: int) -> None:
    if not all(0 <= i < n for i in indices):
        raise runs.UsageError(f"{name} = {indices}: must be in 0..{n - 1}, images of the split")


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


COMMANDS: dict[str, Callable[..., Any]] = {
    "evaluate": evaluate,
    "reconstruct": reconstruct,
    "sample": sample,
    "embed": embed,
    "interpolate": interpolate,
    "traverse": traverse,
    "figures": figures,
    "datasets": datasets,
    "info": info,
}


def _run(args: list[str]) -> dict[str, Any]:
    """Parse and carry out a command. tyro itself exits with status 2 where it cannot parse."""
    default = _train_defaults(args) if args[:1] == ["train"] else TrainOptions()

    def train_command(options: Annotated[TrainOptions, NO_PREFIX] = default) -> dict[str, Any]:
        return train(options)

    train_command.__doc__ = "Train an experiment; every field of it is an option."
    return tyro.extras.subcommand_cli_from_dict(
        {"train": train_command, **COMMANDS},
        prog="jaxvae",
        description="Autoencoders in JAX: train, evaluate, look.",
        args=args,
    )


def _train_defaults(args: list[str]) -> TrainOptions:
    """The experiment whose fields the options override: that of the file, or of the resumed run."""
    file = next((Path(arg) for arg in args if arg.endswith(".py")), None)
    experiment = None if file is None else runs.load_experiment(file)
    resume = None
    for i, arg in enumerate(args):
        if arg == "--resume" and i + 1 < len(args):
            resume = args[i + 1]
        elif arg.startswith("--resume="):
            resume = arg.removeprefix("--resume=")
    if resume is not None:
        experiment, _ = runs.read_config(Path(resume), like=experiment)
    if experiment is None:
        return TrainOptions()
    return TrainOptions(experiment=experiment)


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
        usage = isinstance(error, (ValueError, FileExistsError))
        expected = usage or isinstance(error, (OSError, runs.RunError))
        prefix = "" if expected else f"{type(error).__name__}: "
        hint = "" if expected else " (JAXVAE_TRACEBACK=1 shows where)"
        print(f"jaxvae: {prefix}{error}{hint}", file=sys.stderr)
        sys.exit(2 if usage else 1)
    except KeyboardInterrupt:
        print("jaxvae: interrupted; a run can be continued with --resume", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result, indent=2))
