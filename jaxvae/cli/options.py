"""What several commands of the command line take, and the run and images that are meant by it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from jaxvae import runs
from jaxvae.checks import UsageError
from jaxvae.config import Experiment, Parallel, Population

if TYPE_CHECKING:
    from jaxvae.data import Dataset, Split
    from jaxvae.evaluation import Trained

NO_PREFIX = tyro.conf.arg(name="")  # the fields of a dataclass become options without a prefix


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Where from, where to, and every field of the experiment."""

    file: tyro.conf.Positional[Path | None] = None
    """The experiment: a name, such as mnist_vae (`jaxvae experiments` lists them), a Python file,
    or the config.json of a run, to begin another one alike."""
    out: Path | None = None
    """The run folder; by default the first of runs/NAME, runs/NAME-2, ... that is free."""
    resume: Path | None = None
    """Continue this run exactly where its latest checkpoint stands, with its own settings. The
    experiment is then needed only when it defines classes of its own (or --trust-code)."""
    or_resume: bool = False
    """Where --out already holds this run, continue it: the same command starts and restarts."""
    init_from: Path | None = None
    """Begin with the parameters of another run's best checkpoint, on other images too: those of the
    same path and shape, and BatchNorm's statistics and codebooks. Everything else is new."""
    trust_code: bool = False
    """Execute the copy of its experiment file that the run folder of --resume or --init-from
    keeps, where that defines classes of its own."""
    may_change: tuple[str, ...] = ()
    """Settings in which a resumed run may differ from before, such as optimizer.learning_rate."""
    convention: Annotated[str | None, tyro.conf.arg(name="objective.convention")] = None
    """Start from a named loss, such as pytorch_examples or ssakhash (docs/conventions.md); other
    options of the objective change it further."""
    population: Population = dataclasses.field(default_factory=Population)
    parallel: Parallel = dataclasses.field(default_factory=Parallel)
    experiment: Annotated[Experiment, NO_PREFIX] = dataclasses.field(
        default_factory=lambda: Experiment(name="experiment")
    )


@dataclasses.dataclass(frozen=True)
class MeasureOptions:
    """How groups of measures measure: fields of `jaxvae.evaluation.subject.Measuring`."""

    num_samples: int = 500
    """K, draws of the code for each image: groups nll and anomaly."""
    generated: int = 10_000
    """Samples that group samples compares with as many images."""
    normal: tuple[int, ...] = ()
    """Labels of normal images, for group anomaly: all others are anomalous."""
    anomalies: str | None = None
    """Other images, as in --data.source, all anomalous, for group anomaly."""


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What is swept and measured, and every field of the experiment."""

    file: tyro.conf.Positional[Path | None] = None
    """The experiment: a name, a Python file, or the config.json of a run."""
    out: Path | None = None
    """A new folder; or that of the same study, to go on with it. By default runs/study_NAME, so
    that the same command goes on; another study of the experiment needs another folder."""
    sweep: tuple[str, ...] = ()
    """Values of numbers of the objective or of an optimizer: objective.beta=0.5,1,4. Every
    combination is a member."""
    seeds: int = 1
    """Train each with so many seeds: the experiment's own and those that follow it."""
    metrics: tuple[str, ...] = ()
    """Groups of measures, as for `evaluate` (docs/evaluation.md), or all; loss, recon, kl and mse
    are always measured."""
    limit: int | None = None
    """Measure on the first so many test images alone."""
    how: Annotated[MeasureOptions, NO_PREFIX] = MeasureOptions()
    metrics_seed: int = 0
    """Of what the groups draw; --seed is that of the training."""
    experiment: Annotated[Experiment, NO_PREFIX] = TrainOptions().experiment


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """PyTorch weights, what they are the weights of, and where to."""

    source: tyro.conf.Positional[Path | None] = None
    """The state dict: .pth, .pt, .ckpt, .bin or .safetensors."""
    like: Annotated[Path | None, tyro.conf.arg(name="as")] = None
    """The experiment whose model it fits, a name, such as antixk_vae, or a file; its fields can be
    changed by the options below."""
    out: Path | None = None
    """The run folder; by default the first of runs/NAME, runs/NAME-2, ... that is free."""
    map: str | None = None
    """How layers correspond: `reference`, the name of a published model, or a Python file that
    defines `weight_map` (docs/parity.md). By default the known one with the file's keys."""
    accept: bool = False
    """Take the map that is guessed from shapes, order and names, where no known one fits. Without
    it the guess is shown and nothing is written."""
    write_map: Path | None = None
    """Write the map to this Python file, as far as it is known, and import nothing: to change or
    to complete it, and give it as --map."""
    state_dict: tuple[str, ...] = ()
    """Which state dict of a file that has several: model or ema, or encoder decoder, which are
    joined."""
    leave_out: tuple[str, ...] = ()
    """Keys of arrays that the model has no use for, such as 'head.*'."""
    check: Path | None = None
    """An .npz of `images` (floating point, as the PyTorch model was given them) and its `outputs`
    (with z the mean, in evaluation mode): the imported model's must equal them within 1e-4 of the
    largest, or nothing is written."""
    image_shape: tuple[int, int, int] | None = None
    """Height, width and channels of the stored images, where the data set is not to hand."""
    convention: Annotated[str | None, tyro.conf.arg(name="objective.convention")] = None
    """As for `train`: the named loss to train on with."""
    experiment: Annotated[Experiment, NO_PREFIX] = TrainOptions().experiment


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A trained run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    checkpoint: Literal["best", "latest"] = "best"
    """The best by validation, or the latest."""
    experiment: Path | None = None
    """The run's experiment, a name or a file; needed only when that defines classes of its own."""
    trust_code: bool = False
    """Execute the copy of its experiment file that the run folder keeps, instead."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Which images to use."""

    split: Literal["train", "validation", "test", "all"] | None = None
    """Of the data set; all: every image in stored order. By default test, or all with --source."""
    source: str | None = None
    """Other images than the run's, as in --data.source: as large, unless the run resizes."""

    @property
    def which(self) -> str:
        return self.split or ("test" if self.source is None else "all")


@dataclasses.dataclass(frozen=True)
class Written:
    """Where what a command draws goes, and how."""

    out: Path | None = None
    """Write OUT.npz and OUT.png, or where OUT ends so OUT.pdf or OUT.svg, or of `interpolate` and
    `traverse` OUT.gif or OUT.webp, which move; by default in RUN/outputs."""
    footer: bool = True
    """Below the picture, small: the run, the epoch and the data."""


Saved = Annotated[SavedRun, NO_PREFIX]
Output = Annotated[Written, NO_PREFIX]
Shown = Annotated[Images, NO_PREFIX]
Measured = Annotated[MeasureOptions, NO_PREFIX]


def load_run(saved: SavedRun) -> tuple["Trained", int]:
    """The model of a run, and its checkpoint's step."""
    from jaxvae.training.load import load

    like = None if saved.experiment is None else runs.load_experiment(saved.experiment)
    return load(saved.run, saved.checkpoint, like, saved.trust_code)


class Opened(NamedTuple):
    """A run's model, its checkpoint's step, the images that were asked for, and their classes.

    dataset: the run's own data, where it was read for them.
    """

    trained: "Trained"
    step: int
    images: "Split"
    classes: tuple[str, ...] | None
    dataset: "Dataset | None"


def open_run(saved: SavedRun, shown: Images, member: int | None = None) -> Opened:
    """What a command is to look at, and with what; of a population with one member."""
    from jaxvae import data
    from jaxvae.evaluation import as_stored
    from jaxvae.training.extract import alone
    from jaxvae.training.load import load

    like = None if saved.experiment is None else runs.load_experiment(saved.experiment)
    with alone(saved.run, member, like, saved.trust_code) as folder:
        trained, step = load(folder, saved.checkpoint, like, saved.trust_code)
    settings = trained.experiment.data
    if shown.source is not None:
        settings = dataclasses.replace(settings, source=shown.source, batch_size=1, streaming=False)
    dataset = None
    if shown.which == "all":
        images, classes = data.whole(settings)
    else:
        dataset = data.load(settings, known=shown.source is None)
        images, classes = getattr(dataset, shown.which), dataset.classes
    try:
        images = as_stored(trained, images)
    except UsageError as error:
        given = settings.source if shown.source is None else shown.source
        name = "--source" if shown.source else "data.source"
        raise UsageError(f"{name} = {given!r}: {error}") from error
    own = dataset if shown.source is None else None
    return Opened(trained, step, images, classes, own)
