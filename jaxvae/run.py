"""Training and trained runs as values: `jaxvae.train`, `jaxvae.load`, `jaxvae.Run`."""

import dataclasses
import functools
import logging
import math
import shutil
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxvae import runs
from jaxvae.changes import with_changes
from jaxvae.checks import UsageError, refuse_no_page, require
from jaxvae.config import Data, Experiment, Parallel, Population
from jaxvae.from_json import checked
from jaxvae.held import as_array, hold
from jaxvae.runs import code, guards
from jaxvae.words import python_words, said, still_falls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxvae.data import Dataset, Split
    from jaxvae.evaluation import Trained
    from jaxvae.evaluation.per_image import Scores
    from jaxvae.evaluation.subject import Examined
    from jaxvae.report import Page


log = logging.getLogger("jaxvae")


def train(
    experiment: str | Path | Experiment = "digits_vae",
    folder: str | Path | None = None,
    *,
    data: Any = None,
    init_from: "str | Path | Run | None" = None,
    population: Population = Population(),  # noqa: B008
    parallel: Parallel = Parallel(),  # noqa: B008
    callbacks: Sequence[Any] = (),
    quiet: bool = False,
    **changes: Any,
) -> "Run":
    """Train an experiment; return the run.

    An interrupt (Ctrl-C, or a notebook's stop) ends the chunk of steps that runs, and saves. In a
    notebook or an interactive interpreter the run is then returned as it stands, and `resume` goes
    on; elsewhere `jaxvae.runs.Interrupted` is raised.

    Args:
        experiment: its name, such as "mnist_vae", its file, or an `Experiment`.
        folder: where the run is kept; a new or empty one. Without it, it is kept as long as the
            returned value is, and `save` keeps it for longer.
        data: `Data`, in place of the experiment's own; or examples as `Data` takes them, an array
            or a name, whose other settings are then the experiment's.
        init_from: a run whose parameters this one begins with, where path and shape agree.
        population: train several seeds, or values of a number, at once.
        parallel: on which devices.
        callbacks: each a function `f(run, row)` that is called after every epoch, or an object that
            has some of `on_train_begin(run)`, `on_epoch_end(run, row)` and `on_train_end(run)`. The
            run is as it then stands; the row is that of metrics.csv. What an epoch's call returns,
            numbers by name, are further columns; to raise `jaxvae.StopTraining` ends the training.
        quiet: print nothing.
        **changes: fields of the experiment: `epochs=3` where one part alone has the field, or
            `**{"optimizer.warmup_steps": 100}`.

    Raises:
        UsageError: a setting that is not allowed, or does not fit data, model or devices.
        FileExistsError: `folder` is not empty.
        FileNotFoundError: no such data.
        NonFiniteError: the loss is not finite; what was saved before stays in `folder`.
    """
    with python_words():
        known = isinstance(experiment, str | Path | Experiment)
        require(known, "experiment", experiment, "a name, a file or an Experiment")
        known = folder is None or isinstance(folder, str | Path)
        require(known, "folder", folder, "a path, or left out")
        known = isinstance(population, Population)
        require(known, "population", population, "a jaxvae.Population, such as Population(seeds=4)")
        if not isinstance(experiment, Experiment):
            experiment = runs.load_experiment(experiment)
        if isinstance(data, Data):
            experiment = replace(experiment, data=data)
        elif data is not None:
            experiment = replace(experiment, data=replace(experiment.data, source=data))
        experiment = checked(with_changes(experiment, changes))
        from jaxvae.training import Beginning

        begins = init_from.folder if isinstance(init_from, Run) else init_from
        return _train(
            experiment,
            folder,
            callbacks,
            init_from=None if begins is None else Beginning(Path(begins)),
            population=population,
            parallel=parallel,
            quiet=quiet,
        )


def load(
    folder: str | Path,
    checkpoint: Literal["best", "latest"] = "best",
    like: str | Path | Experiment | None = None,
    trust_code: bool = False,
    data: Any = None,
) -> "Run":
    """A run that was trained before.

    Args:
        folder: its folder.
        checkpoint: the best by validation, or the latest.
        like: its experiment, or the file of it, needed only where that has classes of its own.
        trust_code: instead of `like`, execute the copy of that file which the run folder keeps.
        data: its examples, where they were in memory; or others, as `Data` takes them.

    Raises:
        UsageError: not a run folder, or classes that are not at hand.
    """
    with python_words():
        if like is not None and not isinstance(like, Experiment):
            like = runs.load_experiment(like)
        require(checkpoint in ("best", "latest"), "checkpoint", checkpoint, "'best' or 'latest'")
        like = code.experiment_for(Path(folder), like, trust_code)
        experiment, *_ = runs.read_config(Path(folder), like)
        if data is not None:
            source = data.source if isinstance(data, Data) else data
            experiment = replace(experiment, data=replace(experiment.data, source=source))
        return Run(Path(folder), experiment, checkpoint)


def compare(*given: "str | Path | Run", path: str | Path = "compare.html") -> "Page":
    """Write a page of several runs, one HTML file; a notebook shows it.

    It has the settings in which they differ and what each came to, their curves over each other,
    rate against distortion, the measures that they have in common, and the same examples and codes
    through each model: the one of its best checkpoint, of a population that of its best member.
    What it cannot show it says.

    Args:
        *given: runs or their folders, two at least.
        path: the file.

    Raises:
        UsageError: fewer than two, one twice, one that is not a run; not the name of an HTML file.
    """
    from jaxvae.report import Page
    from jaxvae.training.comparison import Given, write_comparison

    with python_words():
        out = Path(path)
        refuse_no_page("path", out, "the path of an .html file")
        each = [
            Given(run.folder, run.experiment) if isinstance(run, Run) else Given(Path(run))
            for run in given
        ]
        write_comparison(each, out)
        return Page(out)


def from_pretrained(
    name: str | Path,
    revision: str | None = None,
    like: str | Path | Experiment | None = None,
    trust_code: bool = False,
) -> "Run":
    """An exported run: from its folder, or OWNER/NAME from the Hugging Face Hub.

    Args:
        name: the folder, or the id.
        revision: of the Hub's repository: a branch, a tag or a commit.
        like, trust_code: as for `load`.

    Raises:
        UsageError: neither, or what is there is no run; huggingface_hub is not installed.
    """
    from jaxvae.interop import hub

    with python_words():
        folder = hub.local(name, revision)
    return load(folder, like=like, trust_code=trust_code)


class Run:
    """A training and what came of it: numbers, model, pictures.

    Examples go in as `Data` takes them (images as integers or as floats in [0, 1], rows and signals
    in their units) and come out with pixels in [0, 1], or in their units.

    folder: the run folder.
    experiment: what was trained.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Experiment,
        checkpoint: Literal["best", "latest"] = "best",
        temporary: "Temporary | None" = None,
    ):
        self.folder, self.experiment = folder, experiment
        self._checkpoint, self._temporary = checkpoint, temporary
        self._step: int | None = None  # of the checkpoint that was loaded

    def __repr__(self) -> str:
        rows = runs.read_metrics(self.folder / "metrics.csv")
        stands = [f"{len({row['epoch'] for row in rows})} epochs"]
        if best := runs.best_row(rows):
            stands.append(f"validation loss {best['val_loss']:.5g} at epoch {best['epoch']}")
        where = "not kept: save(folder)" if self._temporary else str(self.folder)[-60:]
        return f"<Run {self.experiment.name[:40]}: {', '.join(stands)}; {where}>"

    @functools.cached_property
    def trained(self) -> "Trained":
        """The model with its parameters, for the functions of `jaxvae.evaluation`.

        Raises:
            UsageError: a population, whose members are `member(i)`.
            FileNotFoundError: nothing was saved.
        """
        from jaxvae.training.load import load

        with python_words():
            trained, self._step = load(self.folder, self._checkpoint, self.experiment)
            return trained._replace(experiment=self.experiment)  # which may hold arrays

    @functools.cached_property
    def dataset(self) -> "Dataset":
        """What it was trained, validated and tested on."""
        from jaxvae import data

        with python_words():
            return data.load(self.experiment.data, known=True)

    @property
    def history(self) -> dict[str, list[float]]:
        """The columns of metrics.csv, a number per epoch: losses in nats per example."""
        rows = runs.read_metrics(self.folder / "metrics.csv")
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name, math.nan) for row in rows] for name in names}

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds: best and last epoch, times, what was said of the data."""
        found: dict[str, Any] = runs.read_json(self.folder / "summary.json")
        return found

    def sample(
        self,
        n: int = 64,
        seed: int = 0,
        label: int | None = None,
        prior: Literal["model", "fitted"] = "model",
    ) -> np.ndarray:
        """n examples decoded from draws of the prior, (n, ...).

        Args:
            n: how many.
            seed: of the draws.
            label: of all of them, where the model knows labels; by default each in turn.
            prior: the model's own, or a mixture of Gaussians fitted on the codes of up to 10,000
                training examples.

        Raises:
            UsageError: the model has no prior, or does not look at labels.
        """
        from jaxvae.evaluation import density, pictures

        with python_words():
            require(prior in ("model", "fitted"), "prior", prior, "'model' or 'fitted'")
            fitted = None
            if prior == "fitted":
                fitted, _ = density.fit_on(self.trained, self.dataset.train, step=0)
            arrays, _ = pictures.samples(self.trained, n, seed, label, fitted)
            return arrays["images"]

    def embed(self, x: Any = None, layer: str | None = None) -> np.ndarray:
        """The codes of examples, (n, ...): posterior means; by default of the test set's."""
        from jaxvae.evaluation import embed, prepare

        with python_words():
            return embed(self.trained, prepare(self.trained, self._split(x)), layer)

    def decode(self, z: ArrayLike, label: ArrayLike | None = None) -> np.ndarray:
        """Examples from codes (n, ...): the mean of p(x|z)."""
        from jaxvae.evaluation import check_codes, decode

        with python_words():
            return decode(self.trained, check_codes(self.trained, z, label), label)

    def reconstruct(self, x: Any = None) -> np.ndarray:
        """Examples through their codes and back, (n, ...); by default the test set's."""
        from jaxvae.evaluation import prepare, reconstruct

        with python_words():
            return reconstruct(self.trained, prepare(self.trained, self._split(x)))

    def evaluate(
        self,
        *what: Any,
        x: Any = None,
        z: Literal["sampled", "mean"] = "sampled",
        **settings: Any,
    ) -> dict[str, Any]:
        """Means over examples, by default the test set's: loss, recon and kl in nats per example,
        mse, and whatever else the objective measures; `loss_se` is the standard error of `loss`.

        With names of groups (docs/evaluation.md), such as "nll", what these measure, by group:
        `run.evaluate("nll", num_samples=5000)["nll"]["nll"]`. What has to be known of these values
        is logged. All is kept in the run folder, for its page; but not of a run that still trains.

        Args:
            *what: groups, of `jaxvae.evaluation.groups.GROUPS`, or "all"; and other examples.
            x: other examples, by name.
            z: decode a sample, or the mean; left out with groups, of which elbo has both.
            **settings: fields of `jaxvae.evaluation.subject.Measuring`.

        Raises:
            UsageError: no such group or setting, or one that does not apply.
        """
        from jaxvae.evaluation import score

        with python_words():
            named = any(isinstance(each, str) for each in what)
            require(not named or z != "mean", "z", z, "left out with groups: elbo has both")
            scores, examined, _ = self._measure(what, x, z, settings, terms=not named)
            if named:
                return {name: group.values for name, group in examined.found.items()}
            return score.means(scores)

    def per_image(
        self,
        *what: Any,
        x: Any = None,
        z: Literal["sampled", "mean"] = "sampled",
        **settings: Any,
    ) -> dict[str, np.ndarray]:
        """What each example has of its own, (n,) each, by default of the test set's: `index`,
        `label` (-1: none), the terms whose means `evaluate` returns, and `name` where it has one.

        With names of groups also their rows: `run.per_image("nll", num_samples=5000)["nll"]`. What
        depends on the other examples of a batch has none, which is logged. The means are kept, as
        `evaluate` keeps them. Arguments are as there; z is that of the terms.

        Raises:
            UsageError: no such group or setting, or one that does not apply.
        """
        from jaxvae.evaluation import per_image

        with python_words():
            scores, examined, split = self._measure(what, x, z, settings, terms=True)
            with said(False):
                for line in per_image.left_out(scores, len(split.images)):
                    log.info("%s", line)
            return per_image.arrays(scores, examined.rows, split)

    def _measure(
        self, what: tuple[Any, ...], x: Any, z: str, settings: dict[str, Any], terms: bool
    ) -> tuple["Scores", "Examined", "Split"]:
        """Measure the `terms`, if asked for, and the groups among `what`, and keep the means; also
        return of which examples."""
        from jaxvae.evaluation import as_stored, score
        from jaxvae.evaluation.per_image import Scores
        from jaxvae.evaluation.subject import Examined, Measuring, Subject
        from jaxvae.runs import measured

        lists = [
            each for each in what if isinstance(each, list) and each and isinstance(each[0], str)
        ]
        require(not lists, "metrics", lists, 'names one by one: "nll", "units"')
        metrics = [each for each in what if isinstance(each, str)]
        examples = [each for each in (*what, x) if not (each is None or isinstance(each, str))]
        require(len(examples) <= 1, "x", f"{len(examples)} arrays", "one array, or Data")
        require(z in ("sampled", "mean"), "z", z, "'sampled' or 'mean'")
        if metrics:  # whose libraries take a second to import
            from jaxvae.evaluation import groups

            groups.names_of(metrics)
        fields = [field.name for field in dataclasses.fields(Measuring)]
        for name in settings:
            require(name in fields, "setting", name, f"one of {', '.join(fields)}")
        measuring = Measuring(**settings)
        require(bool(metrics) or not settings, "settings", settings, "left out without a group")
        split = as_stored(self.trained, self._split(*examples))
        options, step = self._measured_on(*examples), self._step or 0
        scores, examined, records = Scores({}, {}), Examined({}, {}), []
        with said(False):
            if terms:
                scores = score.terms(self.trained, split, sampled=z == "sampled")
                own, means = options | {"z": z}, score.means(scores)
                records = [measured.Record(measured.TERMS, own, means, (), step, scores.number)]
            if metrics:
                subject = Subject(self.trained, split, lambda: self.dataset, measuring)
                examined = groups.examine(subject, metrics)
                for line in examined.lines():
                    log.info("%s", line)
                n = len(split.images)
                records += measured.of_groups(examined, measuring, options, step, n)
            if self._step is not None:  # what a callback is given is in no checkpoint
                measured.keep(self.folder, records)
        return scores, examined, split

    def _measured_on(self, x: Any = None) -> dict[str, Any]:
        """Which checkpoint and which examples a record of measures is of."""
        options = {"checkpoint": self._checkpoint, "split": "test" if x is None else "all"}
        if x is None:
            return options | {"source": str(self.experiment.data.source)}
        if not isinstance(x, Data):
            return options | {"source": str(hold(as_array("examples", x)))}
        usual = Data(x.source)
        other = {n: v for n, v in vars(x).items() if n != "source" and v != getattr(usual, n)}
        return options | {"source": str(x.source), **other}

    def figure(self, name: str = "reconstructions") -> "Figure":
        """A figure of the run, which a notebook shows: one of `jaxvae.evaluation.pictures.FIGURES`.

        Raises:
            UsageError: there is no such figure, or not of this model and these data.
        """
        from jaxvae.evaluation import pictures

        with python_words():
            require(name in pictures.FIGURES, "name", name, f"one of {', '.join(pictures.FIGURES)}")
            rows = runs.read_metrics(self.folder / "metrics.csv")
            figure = pictures.figure(name, self.trained, self.dataset, rows)
            if figure is None:
                raise UsageError(f"name = {name!r}: must be another one for this model and data")
            return figure

    def report(self, path: str | Path | None = None, member: int | None = None) -> "Page":
        """Write the run's page, one HTML file with the model in it; a notebook shows it.

        Args:
            path: the file; by default report.html in the run folder.
            member: of a population; by default the one of the lowest validation loss.

        Raises:
            UsageError: not a population, or it has no such member; not the name of an HTML file.
        """
        from jaxvae.report import Page
        from jaxvae.training.page import write_page

        with python_words():
            out = None if path is None else Path(path)
            if out is not None:
                refuse_no_page("path", out, "the path of an .html file, or left out")
            like, own = self.experiment, self.dataset
            return Page(write_page(self.folder, out, member, self._checkpoint, like, dataset=own))

    def resume(
        self,
        data: Any = None,
        callbacks: Sequence[Any] = (),
        quiet: bool = False,
        **changes: Any,
    ) -> "Run":
        """Go on where the latest checkpoint stands, exactly; return the run.

        Args:
            data: the same examples, where they were given in memory and `load` knows their name
                alone.
            callbacks: as for `train`.
            quiet: print nothing.
            **changes: of fields that a run may change, such as `epochs=20`.

        Raises:
            UsageError: another field, or other examples.
        """
        from jaxvae.training.metrics import read_population

        with python_words():
            experiment = with_changes(self.experiment, changes)
            if data is not None:
                source = data.source if isinstance(data, Data) else data
                experiment = replace(experiment, data=replace(experiment.data, source=source))
            population = read_population(self.folder) or Population()
            changed = guards.differences(self.experiment, experiment)
            own = [name for name in guards.CHANGEABLE if name != "data.source"]
            may_change = [name for name in own if name in changed]
            if population != Population():  # whose epochs may change, and nothing else
                may_change = []
            return _train(
                experiment,
                self.folder,
                callbacks,
                self._temporary,
                resume=True,
                may_change=may_change,
                population=population,
                quiet=quiet,
            )

    def member(self, i: int, folder: str | Path | None = None) -> "Run":
        """A member of a population as a run of its own, kept in `folder` or as long as it is used.

        Raises:
            UsageError: not a population, or it has no such member.
        """
        from jaxvae.training.extract import extract

        with python_words():
            temporary = None
            if folder is None:
                temporary = Temporary()
                folder = temporary.name
            where = Path(folder)
            extract(self.folder, i, where, self.experiment)
            experiment, *_ = runs.read_config(where, self.experiment)
            data = self.experiment.data  # which may hold arrays
            return Run(where, replace(experiment, data=data), temporary=temporary)

    def save(self, folder: str | Path) -> "Run":
        """A copy of the run in a new folder.

        Raises:
            FileExistsError: `folder` is not empty.
        """
        with python_words():
            folder = Path(folder)
            guards.refuse_existing(folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as whole:
                copy = Path(whole, "run")
                # Followed by a tracker is the original, not its copy.
                shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("trackers.json"))
                if (copy / "summary.json").exists():
                    runs.write_json(copy / "summary.json", self.summary | {"folder": str(folder)})
                copy.rename(folder)  # at once: there are no halves of a run
            return Run(folder, self.experiment, self._checkpoint)

    def export(
        self,
        folder: str | Path,
        form: Literal["safetensors", "stablehlo", "onnx"] = "safetensors",
    ) -> Path:
        """The model in a new folder: parameters and a model card, or programs (docs/export.md).

        Raises:
            UsageError: what the format needs is not installed.
            FileExistsError: `folder` is not empty.
        """
        from jaxvae.interop.export import export

        with python_words():
            export(self.folder, folder, form, self._checkpoint, self.experiment)
            return Path(folder)

    def push(self, name: str, private: bool = False) -> str:
        """Export to the Hugging Face Hub as OWNER/NAME, with a model card; returns the address.

        Raises:
            UsageError: huggingface_hub is not installed.
        """
        from jaxvae.interop import hub

        with python_words(), tempfile.TemporaryDirectory() as temporary:
            return hub.upload(self.export(Path(temporary, "export")), name, private)

    def _standing(self, trained: "Trained", dataset: "Dataset") -> "Run":
        """The run as it stands while it trains, with the latest parameters."""
        run = Run(self.folder, self.experiment)
        run.trained, run.dataset = trained, dataset
        return run

    def _split(self, x: Any = None) -> "Split":
        """Examples as a split; by default those of the test set."""
        from jaxvae import data

        if x is None:
            return self.dataset.test
        if isinstance(x, Data):
            split, _ = data.whole(x)
            return split if x.limit is None else split.take(range(min(x.limit, len(split.images))))
        return data.Split(as_array("examples", x), None)


def _train(
    experiment: Experiment,
    folder: str | Path | None,
    callbacks: Sequence[Any],
    temporary: "Temporary | None" = None,
    **options: Any,
) -> Run:
    """Train and return the run; `options` are fields of `training.Task`."""
    from jaxvae import processes, training
    from jaxvae.callbacks import Callbacks
    from jaxvae.training.interrupt import is_interactive

    if callbacks and options["population"] != Population():
        raise UsageError("callbacks: must be left out with several members")
    parallel = options.get("parallel", Parallel())
    if parallel.distributed:
        require(folder is not None, "folder", folder, "one for all processes")
        processes.start_process(parallel.coordinator, parallel.processes, parallel.index)
    if folder is None:
        temporary = Temporary()
        folder = temporary.name
    run = Run(Path(folder), experiment, temporary=temporary)
    callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    told = Callbacks(callbacks, run._standing) if callbacks else None
    try:
        with said(options.get("quiet", False)):
            summary = training.carry_out(
                training.Task(experiment, run.folder, listener=told, **options)
            )
        if (falls := still_falls(summary)) and not options.get("quiet", False):
            more = f"run.resume(epochs={2 * summary['epochs']}) goes on"
            print(f"{falls}: {more}", file=sys.stderr)
    except BaseException as error:
        if not isinstance(error, runs.Interrupted) or not is_interactive():
            if temporary is not None and any(run.folder.glob("checkpoints/*")):
                temporary.keep()  # what was saved would go with `run`, which nobody gets
                error.add_note(f"What was saved is kept: jaxvae.load({str(folder)!r})")
            raise
        print(f"{error}; resume() goes on", file=sys.stderr)
    if told is not None:
        told.end(run)
    return run


class Temporary:
    """A folder that is there as long as this value is, unless it is to be kept."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="jaxvae-")
        self._end = weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)

    def keep(self) -> None:
        self._end.detach()
