"""The figures of a run as files: in which formats, and what stands below them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxvae import figures
from jaxvae.config import Experiment
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained, pictures

Rows = list[dict[str, Any]]
WHILE = ("reconstructions", "samples", "manifold")
"""Figures of an epoch, while training, where model and data allow them."""


def footer(experiment: Experiment, run: Path, when: str, data: str) -> str:
    """What stands below a figure: the run, what it is of, when, and the data; or nothing.

    Args:
        run: the run folder.
        when: such as "epoch 12"; may be empty.
        data: such as "mnist, test"; may be empty.
    """
    if not experiment.train.figure_footer:
        return ""
    name = run.resolve().name
    of = name if name == experiment.name else f"{name}: {experiment.name}"
    parts = (of, when, data)
    return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def data_name(source: str) -> str:
    """What data are called: their name, or the last part of a path."""
    return Path(source).name if source.startswith(("/", ".", "~")) else source[:60]


def epoch_of(rows: Rows, step: int) -> str:
    """The epoch that ended with a step, or the step itself; nothing of a model that has none."""
    epochs = [row["epoch"] for row in rows if row.get("step") == step]
    if epochs:
        return f"epoch {epochs[0]:.0f}"
    return f"step {step:,}" if step else ""


def epoch_and_member(folder: Path) -> tuple[int, int | None]:
    """The epoch that epoch-0012 names, or epoch-0012-member-3, and the member."""
    _, epoch, *whose = folder.name.split("-")
    return int(epoch), int(whose[1]) if whose else None


def by_epoch(folder: Path) -> list[Path]:
    """The folders that `write_progress` wrote in RUN/figures, the first epoch first."""
    return sorted(folder.glob("epoch-[0-9]*"), key=lambda each: epoch_and_member(each)[0])


def write_progress(
    trained: Trained,
    dataset: Dataset,
    rows: Rows,
    folder: Path,
    epoch: int,
    member: int | None = None,
) -> None:
    """While training: PNG files of figures of this epoch (`WHILE`), and of a run alone the curves
    so far. `member` says which one of a population this is; so do its folder and the footers."""
    when, of_epoch = f"epoch {epoch}", folder / f"epoch-{epoch:04d}"
    if member is None:
        _save({"curves": figures.training_curves(rows)}, trained, dataset, folder)
    else:
        # An epoch that is repeated may have another best member.
        for before in folder.glob(f"{of_epoch.name}-member-*"):
            shutil.rmtree(before)
        when, of_epoch = f"member {member}, {when}", folder / f"{of_epoch.name}-member-{member}"
    made = {name: pictures.figure(name, trained, dataset, rows) for name in WHILE}
    _save(made, trained, dataset, of_epoch, when)


def write_all(
    trained: Trained, dataset: Dataset, rows: Rows, folder: Path, when: str = ""
) -> list[Path]:
    """Every picture that model and data allow, of the test split, in the formats of the run.

    Args:
        rows: those of metrics.csv.
        folder: RUN/figures.
        when: the model's epoch, in words, for the footer.

    Returns:
        The files written.
    """
    made = {name: pictures.figure(name, trained, dataset, rows) for name in pictures.FIGURES}
    return _save(made, trained, dataset, folder, when)


def _save(
    made: Mapping[str, Figure | None],
    trained: Trained,
    dataset: Dataset,
    folder: Path,
    when: str = "",
) -> list[Path]:
    """Write those figures that there are; return their files."""
    data = data_name(trained.experiment.data.source)
    while_training = folder.name.startswith("epoch-")
    formats = () if while_training else trained.experiment.train.figure_formats
    run = folder.parents[1] if while_training else folder.parent
    written = []
    for name, figure in made.items():
        if figure is None:
            continue
        said = ("", data) if name == "curves" else (when, f"{data}, test split")
        text = footer(trained.experiment, run, *said)
        written += save(figure, folder / name, formats, text)
    return written


def save(figure: Figure, stem: Path, formats: Sequence[str], text: str) -> list[Path]:
    """Write STEM.png and the other formats, with the text below; return the files."""
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in dict.fromkeys(("png", *formats))]
    for file in files:
        figures.save(figure, file, text)
    return files


def write_films(folder: Path, kind: str) -> list[Path]:
    """The figures that were written while training, one after the other: training-NAME.gif.

    Args:
        folder: RUN/figures.
        kind: gif or webp.

    Returns:
        The files written: one per figure of which there are two epochs.
    """
    written = []
    for name in WHILE:
        drawn = [each / f"{name}.png" for each in by_epoch(folder)]
        frames = [frame for frame in drawn if frame.exists()]
        if len(frames) > 1:
            written.append(folder / f"training-{name}.{kind}")
            figures.save_film(frames, written[-1])
    return written
