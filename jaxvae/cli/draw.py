"""The commands that draw: each writes arrays and their picture, or a page, and says where."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxvae import runs
from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, refuse_no_page, require
from jaxvae.cli.options import (
    Images,
    Opened,
    Output,
    Saved,
    SavedRun,
    Shown,
    Written,
    load_run,
    open_run,
)
from jaxvae.runs import guards

if TYPE_CHECKING:
    import numpy as np

    from jaxvae.evaluation import Trained
    from jaxvae.evaluation.pictures import Picture

OUTPUT = Written()
ENDINGS = ("npz", "csv", "png", "pdf", "svg")


def reconstruct(saved: Saved, shown: Shown, output: Output = OUTPUT, n: int = 20) -> dict[str, Any]:
    """Reconstruct the first images: originals over reconstructions.

    Of rows of a table also OUT.csv: each column beside its reconstruction, empty where unknown.

    Args:
        saved: the run.
        shown: the images.
        output: where to.
        n: How many images.
    """
    from jaxvae.evaluation import pictures

    require(n >= 1, "--n", n, "at least 1")
    opened = _opened(saved, shown, output, "reconstruct")
    arrays, figure = pictures.reconstructions(opened.trained, pictures.first(opened.images, n))
    result = _write(saved, output, "reconstruct", (arrays, figure), _of(opened, shown))
    if "columns" in arrays:
        result["table"] = str(_write_table(Path(result["arrays"]).with_suffix(".csv"), arrays))
    return result


def sample(
    saved: Saved,
    output: Output = OUTPUT,
    n: int = 64,
    seed: int = 0,
    label: int | None = None,
    prior: Literal["model", "fitted"] = "model",
    each: Path | None = None,
) -> dict[str, Any]:
    """Decode draws from the model's own prior, or from a density that was fitted on its codes.

    Args:
        saved: the run.
        output: where to.
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
        apart = output.out is None or output.out.resolve().parent != each.resolve()
        require(apart, "--each", str(each), "another folder than that of --out")
    _refuse_film(output, "sample")
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
    result = _write(saved, output, "sample", (arrays, figure), (trained, step, ""))
    if each is not None:
        single.write(trained, arrays["images"], each, "sample")
        result["each"] = str(each)
    return result


def embed(
    saved: Saved, shown: Shown, output: Output = OUTPUT, layer: str | None = None
) -> dict[str, Any]:
    """The codes of a split (posterior means), and their scatter plot.

    Args:
        saved: the run.
        shown: the images.
        output: where to.
        layer: Of a model with several: whose codes; by default the one that is decoded.
    """
    from jaxvae.evaluation import pictures

    opened = _opened(saved, shown, output, "embed")
    picture = pictures.embedding(opened.trained, opened.images, opened.classes, layer)
    return _write(saved, output, "embed", picture, _of(opened, shown))


def interpolate(
    saved: Saved,
    shown: Shown,
    output: Output = OUTPUT,
    first: tuple[int, ...] = (),
    second: tuple[int, ...] = (),
    steps: int = 11,
) -> dict[str, Any]:
    """Walk between the codes of pairs of images.

    Args:
        saved: the run.
        shown: the images.
        output: where to.
        first: Where the walks start: indices into the split. By default six pairs of different
            classes, where the images have labels; of a model that knows labels, of one class each.
        second: Where they end, one per start.
        steps: Images per walk, ends included.
    """
    from jaxvae.evaluation import knows_labels, pictures, ranges

    opened = _opened(saved, shown, output, "interpolate")
    images = opened.images
    if len(first) != len(second):
        raise UsageError(f"--second = {second}: must name one image for each of {first}")
    _check_indices("--first", first, len(images.images))
    _check_indices("--second", second, len(images.images))
    pairs = [*zip(first, second, strict=True)]
    pairs = pairs or ranges.pairs(images, 6, knows_labels(opened.trained))
    require(bool(pairs), "--first", first, "given: there is one image alone")
    picture = pictures.interpolations(opened.trained, images, pairs, steps, opened.classes)
    return _write(saved, output, "interpolate", picture, _of(opened, shown))


def traverse(
    saved: Saved,
    shown: Shown,
    output: Output = OUTPUT,
    index: int = 0,
    steps: int = 11,
    dims: int = 10,
) -> dict[str, Any]:
    """Vary one latent of an image's code at a time, over what it takes in the split.

    Args:
        saved: the run.
        shown: the images.
        output: where to.
        index: The image, an index into the split.
        steps: Values per latent.
        dims: At most so many latents, those that say most about the images first.
    """
    from jaxvae.evaluation import pictures

    opened = _opened(saved, shown, output, "traverse")
    _check_indices("--index", (index,), len(opened.images.images))
    picture = pictures.traversals(opened.trained, opened.images, index, steps, dims)
    return _write(saved, output, "traverse", picture, _of(opened, shown))


def figures(
    saved: Saved,
    formats: tuple[Literal["pdf", "svg"], ...] | None = None,
    footer: bool = True,
    films: Literal["gif", "webp"] | None = None,
) -> dict[str, Any]:
    """Draw every figure of a run again, into its folder.

    Args:
        saved: the run.
        formats: Also in these formats, for papers; by default as the run was told to.
        footer: Below each, small, unless the run was told otherwise: the run, the epoch, the data.
        films: Also show what was drawn while training as films, training-reconstructions.gif and
            so on; --train.figures-every 1 has a picture of every epoch.
    """
    from jaxvae import data
    from jaxvae.evaluation import written

    trained, step = load_run(saved)
    train = trained.experiment.train
    if formats is not None:
        train = replace(train, figure_formats=formats)
    if not footer:
        train = replace(train, figure_footer=False)
    trained = trained._replace(experiment=replace(trained.experiment, train=train))
    dataset = data.load(trained.experiment.data, known=True)
    rows, folder = runs.read_metrics(saved.run / "metrics.csv"), saved.run / "figures"
    files = written.write_all(trained, dataset, rows, folder, written.epoch_of(rows, step))
    if films is not None:
        made = written.write_films(folder, films)
        allowed = "left out: no figure was drawn in two epochs (--train.figures-every 1)"
        require(bool(made), "--films", films, allowed)
        files += made
    return {"figures": [str(path) for path in files]}


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


def _opened(saved: SavedRun, shown: Images, output: Written, command: str) -> Opened:
    """A run and images to draw; what cannot be drawn is refused before anything is read."""
    _refuse_film(output, command)
    guards.refuse_population(saved.run)  # these commands have no --member
    return open_run(saved, shown)


def _refuse_film(output: Written, command: str) -> None:
    """Raise a UsageError where --out is a film, and a command draws none."""
    from jaxvae import figures
    from jaxvae.evaluation import films

    walks = f"{' or '.join(films.WALKS)}; .png, .pdf or .svg of {command}"
    allowed = command in films.WALKS or _kind(output.out) not in figures.MOVING
    require(allowed, "--out", str(output.out), f"of {walks}")


def _kind(out: Path | None) -> str:
    """What the ending of a path says."""
    return "" if out is None else out.suffix.lower().removeprefix(".")


def _check_indices(name: str, indices: tuple[int, ...], n: int) -> None:
    for i in indices:
        require(0 <= i < n, name, i, f"in 0..{n - 1}, an image of the split")


def _write(
    saved: SavedRun,
    output: Written,
    command: str,
    picture: "Picture",
    of: tuple["Trained", int, str],
) -> dict[str, Any]:
    """Write a picture's arrays and its figure; say where they are and what they hold.

    Args:
        of: the model, its step, and the data, in words.
    """
    import numpy as np

    from jaxvae import figures
    from jaxvae.evaluation import films, written

    arrays, figure = picture
    trained, step, data = of
    out = output.out or saved.run / "outputs" / command
    kind, ending = _kind(out), out.suffix
    moves = kind in figures.MOVING
    out = out.with_suffix("") if kind in (*ENDINGS, *figures.MOVING) else out
    npz = out.with_name(f"{out.name}.npz")
    drawn = out.with_name(out.name + (ending if moves or kind in figures.FORMATS else ".png"))
    frames = films.frames(trained, command, arrays) if moves else []
    with atomic(npz) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    epoch = written.epoch_of(runs.read_metrics(saved.run / "metrics.csv"), step)
    text = written.footer(trained.experiment, saved.run, epoch, data) if output.footer else ""
    if moves:
        figures.save_film(frames, drawn, text)
    elif figure is not None:
        figures.save(figure, drawn, text)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    return {
        "arrays": str(npz),
        "picture": str(drawn) if figure is not None else None,
        "shapes": shapes,
    }


def _of(opened: Opened, shown: Images) -> tuple["Trained", int, str]:
    """What a picture of some images is of."""
    from jaxvae.evaluation import written

    trained = opened.trained
    source = shown.source or trained.experiment.data.source
    data = f"{written.data_name(source)}, {shown.which} split"
    return trained, opened.step, data


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
