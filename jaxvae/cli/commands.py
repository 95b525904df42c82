"""What the commands of the command line do: each returns its result, and `doctor` prints it.

Heavy imports are inside the commands, so that `--help` is quick.
"""

import contextlib
import functools
import logging
import math
import sys
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import tyro

from jaxvae import runs
from jaxvae.checks import UsageError, refuse_no_page, require
from jaxvae.cli import closing
from jaxvae.cli.options import (
    NO_PREFIX,
    ImportOptions,
    Measured,
    MeasureOptions,
    Saved,
    Shown,
    StudyOptions,
    TrainOptions,
    load_run,
    open_run,
)
from jaxvae.runs import guards
from jaxvae.runs.steps import complete_steps, recorded_best

log = logging.getLogger("jaxvae")


def train(options: Annotated[TrainOptions, NO_PREFIX]) -> dict[str, Any]:
    """Train an experiment, or the demo where none is named; every field of it is an option."""
    if options.resume is not None:
        if options.out is not None or options.or_resume:
            raise UsageError("--out, --or-resume: not allowed with --resume, which names a folder")
        if options.init_from is not None:
            raise UsageError(
                "--init-from: not allowed with --resume, which has all of its own state"
            )
        return _train(options, options.resume, resume=True)
    if options.trust_code and options.init_from is None:
        raise UsageError("--trust-code: left out without --resume and --init-from")
    if options.file is None:
        log.info(
            "no experiment is named: training the demo, %s; `jaxvae experiments` lists the others",
            runs.DEMO,
        )
    if options.out is not None:
        started = (options.out / "config.json").exists()
        return _train(options, options.out, resume=options.or_resume and started)
    if options.or_resume or options.parallel.distributed:
        raise UsageError("--out: needed with --or-resume and with --parallel.distributed")
    folder = guards.claim_folder(options.experiment.name)
    try:
        return _train(options, folder)
    finally:
        for empty in (folder, folder.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()  # only if it is still empty: refused before anything was written


def _train(options: TrainOptions, folder: Path, resume: bool = False) -> dict[str, Any]:
    """The experiment, or a population of it."""
    from jaxvae import processes, training

    parallel, begins_with = options.parallel, options.init_from
    if options.resume is not None and options.trust_code:
        # Without a checkpoint it has to begin again.
        origin = runs.origin_of(folder)
        begins_with = None if origin is None else Path(origin["run"])
    if parallel.distributed:
        processes.start_process(parallel.coordinator, parallel.processes, parallel.index)
    return training.train(
        options.experiment,
        folder,
        resume,
        parallel=parallel,
        may_change=[name.replace("-", "_") for name in options.may_change],
        population=options.population,
        init_from=begins_with and training.Beginning(begins_with, options.trust_code),
    )


def extract(
    run: tyro.conf.Positional[Path],
    member: int,
    out: Path,
    experiment: Path | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Make a member of a population a run of its own: to evaluate, to draw, to train on.

    Args:
        run: The population's run folder.
        member: Which one, from 0, as summary.json lists them.
        out: The new run folder.
        experiment: Its experiment, a name or a file; needed only when that defines classes.
        trust_code: Execute the copy of it that the run folder keeps, instead.
    """
    from jaxvae.training.extract import extract as extracted

    like = None if experiment is None else runs.load_experiment(experiment)
    return extracted(run, member, out, like, trust_code)


def study(options: Annotated[StudyOptions, NO_PREFIX]) -> dict[str, Any]:
    """Train members of an experiment and measure each: one table, one figure; goes on if repeated.

    Every field of the experiment is an option, as for `train`.
    """
    from jaxvae.config import Population
    from jaxvae.evaluation.subject import Measuring
    from jaxvae.study import study as studied

    if options.file is None:
        raise UsageError("study: give an experiment, right after `study`")
    population = Population(options.seeds, options.sweep)
    seed = options.metrics_seed
    require(0 <= seed < 2**32, "--metrics-seed", seed, "in 0..2**32-1")
    settings = Measuring(seed=seed, **asdict(options.how))
    out = options.out
    if out is None:  # always the same, so that the same command goes on
        out = Path("runs", f"study_{options.experiment.name}")
        if population != Population():  # else it is refused
            log.info("the study is kept in %s; the same command goes on with it", out)
    return studied(options.experiment, out, population, options.metrics, options.limit, settings)


def evaluate(
    saved: Saved,
    shown: Shown,
    how: Measured,
    metrics: tuple[str, ...] = (),
    z: Literal["sampled", "mean"] = "sampled",
    limit: int | None = None,
    per_image: Path | None = None,
    seed: int = 0,
    member: int | None = None,
) -> dict[str, Any]:
    """Evaluate a run: loss, recon and kl in nats per image, the pixels' mean squared error, and
    whatever else --metrics asks for (docs/evaluation.md). The run's page shows what was measured.

    Args:
        saved: the run.
        shown: the images.
        how: how the groups measure.
        metrics: Groups of measures, such as nll units; all: every group that applies.
        z: Decode a sample of the posterior (as the ELBO says), or its mean.
        limit: Only the first so many images, in the order of their split.
        per_image: Also write a new .npz with a row per image: each term, index, label and, where
            there are files, name. What depends on the other images of a batch is left out.
        seed: Of the groups' samples, divisions, classifiers, orders; draws of the code follow the
            run's own seed.
        member: Of a population, from 0, as summary.json lists them.
    """
    from jaxvae import data
    from jaxvae.evaluation import per_image as scoring
    from jaxvae.evaluation import score
    from jaxvae.evaluation.subject import Examined, Measuring, Subject
    from jaxvae.runs import measured

    require(limit is None or limit >= 1, "--limit", limit, "None or at least 1")
    if per_image is not None:
        scoring.refuse_path(per_image)
    settings = Measuring(seed=seed, **asdict(how))
    unused = not metrics and (how != MeasureOptions() or seed)
    require(not unused, "--metrics", metrics, "given, since other options are for groups alone")
    if metrics:  # whose libraries take a second to import
        from jaxvae.evaluation import groups

        groups.names_of(metrics)  # before anything is read
    trained, step, images, _, dataset = open_run(saved, shown, member)
    if limit is not None:
        images = images.take(range(min(limit, len(images.images))))
    try:
        scores = score.terms(trained, images, z == "sampled")
        own = functools.partial(data.load, trained.experiment.data, known=True)
        subject = Subject(trained, images, lambda: dataset or own(), settings)
        examined = groups.examine(subject, metrics) if metrics else Examined({}, {})
    except score.NotFinite as error:
        raise runs.RunError(f"{saved.run}: {error}") from error
    written: dict[str, Any] = {}
    if per_image is not None:
        scoring.save(scoring.arrays(scores, examined.rows, images), per_image)
        written = {"per_image": str(per_image), "not_per_image": list(scores.across)}
        written["worst"] = scoring.worst(scores, images)
        for line in scoring.left_out(scores, len(images.images)):
            log.warning("%s: %s", per_image, line)
    source = shown.source or trained.experiment.data.source
    options = {"checkpoint": saved.checkpoint, "source": source, "split": shown.which}
    options |= {n: v for n, v in (("limit", limit), ("member", member)) if v is not None}
    of_terms = options | {"z": z}
    terms = measured.Record(measured.TERMS, of_terms, score.means(scores), (), step, scores.number)
    of_groups = measured.of_groups(examined, settings, options, step, len(images.images))
    kept = measured.keep(saved.run, [terms, *of_groups])
    return {
        "run": str(saved.run),
        **({} if member is None else {"member": member}),
        "checkpoint": saved.checkpoint,
        "checkpoint_step": step,
        "source": source,
        "split": shown.which,
        "images": scores.number,
        "limit": limit,
        "z": z,
        **score.means(scores),
        "beta_eff": trained.experiment.beta_eff(math.prod(trained.info.shape)),
        **examined.as_json(),
        **written,
        "kept": None if kept is None else str(kept),
    }


def fit(saved: Saved, components: int = 10, seed: int = 0, limit: int = 10_000) -> dict[str, Any]:
    """Fit a mixture of Gaussians on the codes of training examples; `sample --prior fitted` draws.

    Args:
        saved: the run.
        components: Gaussians, each with a full covariance.
        seed: Of the fit.
        limit: Codes of at most so many training examples.
    """
    from jaxvae import data
    from jaxvae.evaluation import density

    require(limit >= 1, "--limit", limit, "at least 1")
    trained, step = load_run(saved)
    train = data.load(trained.experiment.data, known=True).train
    fitted, codes = density.fit_on(trained, train, step, components, seed, limit)
    return {
        "density": str(density.save(fitted, saved.run)),
        "checkpoint_step": step,
        "components": components,
        "codes": list(codes.shape),
        "mean_log_prob": float(fitted.log_prob(codes).mean()),
    }


def datasets() -> dict[str, Any]:
    """List the data sets to hand and those that can be fetched: what to type, a line each."""
    from jaxvae import data

    return {"datasets": data.available()}


def list_runs(
    folder: tyro.conf.Positional[Path] = Path("runs"), page: Path | None = None
) -> dict[str, Any]:
    """List the runs in and below a folder: what each is, where it stands, what it came to.

    Args:
        folder: Where to look.
        page: Also write this .html file: the list with a picture of each run, and links to the
            pages of those that have one.
    """
    from jaxvae.runs import listing

    standings = listing.standings(folder)
    found = {"folder": str(folder), "runs": standings}
    if page is None:
        return found
    refuse_no_page("--page", page)
    from jaxvae.report import index

    return found | _written(index.write(folder, standings, page))


def compare(
    run: tyro.conf.Positional[tuple[Path, ...]],
    page: Path | None = None,
    experiment: Path | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Compare runs: the settings in which they differ, what each came to, and the measures of
    `evaluate` that they have in common.

    Args:
        run: The run folders, two at least.
        page: Also write this .html file: their curves over each other, the same images and the same
            codes side by side, rate against distortion.
        experiment: For the page, a name or a file; needed only where that defines classes of a run.
        trust_code: For the page, execute the copies of such files that the run folders keep,
            instead.
    """
    from jaxvae.runs import listing

    if page is None:
        unused = experiment is not None or trust_code
        require(not unused, "--page", page, "given: --experiment and --trust-code are for it alone")
        return listing.compared(run)
    refuse_no_page("--page", page)
    from jaxvae.training.comparison import Given, write_comparison

    like = None if experiment is None else runs.load_experiment(experiment)
    given = [Given(f, None if like is None else runs.template_for(f, like)) for f in run]
    return write_comparison(given, page, trust_code) | _written(page)


def _written(page: Path) -> dict[str, Any]:
    return {"page": str(page), "bytes": page.stat().st_size}


def info(run: tyro.conf.Positional[Path]) -> dict[str, Any]:
    """What a run is and where it stands: configuration, summary, checkpoints, last epoch.

    Args:
        run: The run folder.
    """
    config, summary = runs.saved_config(run), run / "summary.json"
    return {
        "config": config,
        "checkpoints": complete_steps(run / "checkpoints"),
        "best_checkpoint": recorded_best(run / "checkpoints"),
        "last_epoch": _last_epoch(run),
        "summary": runs.read_json(summary) if summary.exists() else None,
    }


def _last_epoch(run: Path) -> dict[str, float | None] | None:
    """The last row of metrics.csv; JSON has no number for what is not finite."""
    rows = runs.read_metrics(run / "metrics.csv")
    if not rows:
        return None
    return {name: value if math.isfinite(value) else None for name, value in rows[-1].items()}


def doctor(quick: bool = False, json: bool = False) -> NoReturn:
    """Examine this machine: what is there, does it compute right, does it repeat, how fast is it.

    Needs no data and no network, and takes a minute or two; the exit status is 1 where something
    computes wrong. Ctrl-C ends it with what was found until then, and the same status.

    Args:
        quick: Fewer cases and one model, in some 20 seconds.
        json: Print the findings as JSON on a terminal too, instead of as a table.
    """
    from jaxvae.doctor import examine

    report = examine(quick)
    as_json = json or not sys.stdout.isatty()
    closing.show(dumps(report.as_json(), indent=2) if as_json else report.as_text())
    raise SystemExit(1 if report.wrong or report.interrupted else 0)


def import_torch(options: Annotated[ImportOptions, NO_PREFIX]) -> dict[str, Any]:
    """Make a run of PyTorch weights whose names and shapes fit; --check compares results too."""
    from jaxvae.interop import convert

    if options.source is None or options.like is None:
        raise UsageError("import-torch: give a file of weights and --as, an experiment")
    source, experiment, shape = options.source, options.experiment, options.image_shape
    reading = convert.Reading(
        options.state_dict, options.leave_out, options.map, accept=options.accept
    )
    if options.write_map is None:
        return convert.import_torch(source, experiment, options.out, reading, shape, options.check)
    unused = (options.out, options.check) != (None, None) or options.accept
    require(
        not unused,
        "--write-map",
        str(options.write_map),
        "a file without --out, --check and --accept",
    )
    return convert.write_map(source, experiment, options.write_map, reading, shape)


def export(
    run: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    format: Literal["safetensors", "stablehlo", "onnx"] = "safetensors",
    checkpoint: Literal["best", "latest"] = "best",
    experiment: Path | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Write the model of a run into a new folder: parameters with a model card, or programs.

    Args:
        run: The run folder.
        folder: A new folder.
        format: safetensors: parameters, which every command takes as a run; stablehlo, onnx:
            encode, decode and (of stablehlo) sample, to run without jaxvae.
        checkpoint: The best by validation, or the latest.
        experiment: The run's, a name or a file; needed only when that defines classes.
        trust_code: Execute the copy of it that the run folder keeps, instead.
    """
    from jaxvae.interop import export as exporting

    like = None if experiment is None else runs.load_experiment(experiment)
    return exporting.export(run, folder, format, checkpoint, like, trust_code)


def export_torch(
    run: tyro.conf.Positional[Path],
    path: tyro.conf.Positional[Path],
    checkpoint: Literal["best", "latest"] = "best",
    map: str | None = None,
    experiment: Path | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Write the weights of a run as a PyTorch state dict.

    Args:
        run: The run folder.
        path: A new file: .pth, .pt, .ckpt, .bin or .safetensors.
        checkpoint: The best by validation, or the latest.
        map: As in import-torch; by default the one of the import, or `reference`.
        experiment: The run's, a name or a file; needed only when that defines classes.
        trust_code: Execute the copy of it that the run folder keeps, instead.
    """
    from jaxvae.interop import convert

    like = None if experiment is None else runs.load_experiment(experiment)
    return convert.export_torch(run, path, checkpoint, map, like, trust_code)
