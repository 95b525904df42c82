"""What the commands of the command line do: each returns what is printed as JSON.

Heavy imports are inside the commands, so that `--help` is quick.
"""

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxvae import runs
from jaxvae.config import UsageError, require
from jaxvae.options import NO_PREFIX, Images, ImportOptions, Saved, SavedRun, Shown, TrainOptions

if TYPE_CHECKING:
    from jaxvae.data import Split
    from jaxvae.evaluation import Trained
    from jaxvae.pictures import Picture


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
