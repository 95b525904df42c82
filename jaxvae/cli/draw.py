"""The commands that draw: each writes arrays and their picture, or a page, and says where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxvae import runs
from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, require
from jaxvae.cli.options import Saved, SavedRun, Shown, load_run, open_run, refuse_no_page
from jaxvae.runs import guards

if TYPE_CHECKING:
    import numpy as np

    from jaxvae.evaluation.pictures import Picture


def reconstruct(saved: Saved, shown: Shown, out: Path | None = None, n: int = 20) -> dict[str, Any]:
    """Reconstruct the first images: originals over reconstructions.

    Of rows of a table also OUT.csv: each column beside its reconstruction, empty where unknown.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/reconstruct.
        n: How many images.
    """
    from jaxvae.evaluation import pictures

    require(n >= 1, "--n", n, "at least 1")
    trained, _, images, *_ = open_run(saved, shown)
    arrays, figure = pictures.reconstructions(trained, pictures.first(images, n))
    result = _write(saved, out, "reconstruct", (arrays, figure))
    if "columns" in arrays:
        result["table"] = str(_write_table(Path(result["arrays"]).with_suffix(".csv"), arrays))
    return result


def sample(
    saved: Saved,
    out: Path | None = None,
    n: int = 64,
    seed: int = 0,
    label: int | None = None,
    prior: Literal["model", "fitted"] = "model",
    each: Path | None = None,
) -> dict[str, Any]:
    """Decode draws from the model's own prior, or from a density that was fitted on its codes.

    Args:
        saved: the run.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/sample.
        n: How many images.
        seed: Of the draws.
        label: Of what is drawn, for a model that knows labels; by default each in turn.
        prior: The model's own, or what `jaxvae fit` has kept with the run.
        each: Also write every image as a file of its own, sample-0000.png and so on, into this
            folder, which is new or empty.
    """
    from jaxvae.evaluation import pictures, single

    if each is not None:
        guards.refuse_existing(each, "give another --each")
        apart = out is None or out.resolve().parent != each.resolve()
        require(apart, "--each", str(each), "another folder than that of --out")
    trained, step = load_run(saved)
    if each is not None:
        single.refuse(trained)
    density = None
    if prior == "fitted":
        from jaxvae.evaluation.density import read

        density = read(saved.run)
        allowed = f"{step}, as of the {saved.checkpoint} checkpoint; fit it again: jaxvae fit"
        require(density.step == step, "step of the fitted density", density.step, allowed)
    arrays, figure = pictures.samples(trained, n, seed, label, density)
    result = _write(saved, out, "sample", (arrays, figure))
    if each is not None:
        single.write(trained, arrays["images"], each, "sample")
        result["each"] = str(each)
    return result


def embed(
    saved: Saved, shown: Shown, out: Path | None = None, layer: str | None = None
) -> dict[str, Any]:
    """The codes of a split (posterior means), and their scatter plot.

    Args:
        saved: the run.
        shown: the images.
        out: Write OUT.npz and OUT.png; by default RUN/outputs/embed.
        layer: Of a model with several: whose codes; by default the one that is decoded.
    """
    from jaxvae.evaluation import pictures

    trained, _, images, classes, _ = open_run(saved, shown)
    return _write(saved, out, "embed", pictures.embedding(trained, images, classes, layer))


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
    from jaxvae.evaluation import pictures

    trained, _, images, *_ = open_run(saved, shown)
    if len(first) != len(second) or not first:
        raise UsageError(f"--second = {second}: must name one image for each of {first}")
    _check_indices("--first", first, len(images.images))
    _check_indices("--second", second, len(images.images))
    picture = pictures.interpolations(trained, images, first, second, steps)
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
    from jaxvae.evaluation import pictures

    trained, _, images, *_ = open_run(saved, shown)
    _check_indices("--index", (index,), len(images.images))
    picture = pictures.traversals(trained, images, index, steps, dims)
    return _write(saved, out, "traverse", picture)


def figures(saved: Saved) -> dict[str, Any]:
    """Draw every figure of a run again, into its folder.

    Args:
        saved: the run.
    """
    from jaxvae import data
    from jaxvae.evaluation import pictures

    trained, _ = load_run(saved)
    dataset = data.load(trained.experiment.data, known=True)
    rows = runs.read_metrics(saved.run / "metrics.csv")
    written = pictures.write_all(trained, dataset, rows, saved.run / "figures")
    return {"figures": [str(path) for path in written]}


def report(saved: Saved, out: Path | None = None, member: int | None = None) -> dict[str, Any]:
    """Write a page of a run: one HTML file with the model in it, to look at and to send.

    What it is, its curves, reconstructions, samples, and its latent space to move in. It opens in
    any browser by a double click, and needs no network. Of a population it is that of one member.

    Args:
        saved: the run.
        out: Write this file; by default RUN/report.html.
        member: Of a population, from 0; by default the one of the lowest validation loss.
    """
    from jaxvae.training.page import write_page

    if out is not None:
        refuse_no_page("--out", out)
    like = None if saved.experiment is None else runs.load_experiment(saved.experiment)
    page = write_page(saved.run, out, member, saved.checkpoint, like, saved.trust_code)
    return {"report": str(page), "bytes": page.stat().st_size}


def _check_indices(name: str, indices: tuple[int, ...], n: int) -> None:
    for i in indices:
        require(0 <= i < n, name, i, f"in 0..{n - 1}, an image of the split")


def _write(saved: SavedRun, out: Path | None, command: str, picture: "Picture") -> dict[str, Any]:
    """Write a picture's arrays and its figure; say where they are and what they hold."""
    import numpy as np

    from jaxvae import figures

    arrays, figure = picture
    out = out or saved.run / "outputs" / command
    out = out.with_suffix("") if out.suffix in (".npz", ".png", ".csv") else out
    npz, png = out.with_name(out.name + ".npz"), out.with_name(out.name + ".png")
    with atomic(npz) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    if figure is not None:
        figures.save(figure, png)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    return {
        "arrays": str(npz),
        "picture": str(png) if figure is not None else None,
        "shapes": shapes,
    }


def _write_table(path: Path, arrays: dict[str, "np.ndarray"]) -> Path:
    """Rows and their reconstructions, column by column: x, x_reconstructed."""
    import csv

    names = [name for x in arrays["columns"].tolist() for name in (x, f"{x}_reconstructed")]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in zip(arrays["originals"], arrays["reconstructions"], strict=True):
            numbers = (number for pair in zip(*row, strict=True) for number in pair)
            # The shortest text of a number in its own precision.
            writer.writerow(["" if number != number else str(number) for number in numbers])
    return path
