"""A study: many members of one experiment, each measured; one table and one figure.

The folder has the run of the `population`, its `members` as runs of their own, what was measured
(study.json), and from it study.csv and study.png.
"""

import csv
import functools
import json
import logging
import shutil
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxvae import data, figures, runs, training
from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Population
from jaxvae.data.batches import steps_per_epoch
from jaxvae.evaluation import as_stored, beforehand, groups, score
from jaxvae.evaluation.subject import Measuring, Subject
from jaxvae.runs import guards, measured
from jaxvae.training.extract import extract_each
from jaxvae.training.load import load
from jaxvae.training.members import members, value_of
from jaxvae.training.metrics import read_population

TERMS = measured.TERMS
"""What is always measured: the objective's terms with z sampled."""

log = logging.getLogger("jaxvae")


def study(
    experiment: Experiment,
    folder: str | Path,
    population: Population,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    settings: Measuring = Measuring(),  # noqa: B008
) -> dict[str, Any]:
    """Train a population, measure each member on the test set, draw; return what study.json holds.

    The same call goes on where one before was interrupted: training from its latest checkpoint, and
    of the measures with those that are missing. A group that does not apply to a member is noted.

    Args:
        experiment: the recipe.
        folder: a new one, or that of the same study.
        population: seeds, and what is swept.
        metrics: groups, of `jaxvae.evaluation.groups.GROUPS`, or "all".
        limit: measure on the first so many images alone.
        settings: how the groups measure; those of `metrics` that were measured with others are
            measured again.

    Raises:
        UsageError: there is one member alone, no such group, one that cannot apply to any member,
            or the study was begun otherwise.
        FileExistsError: `folder` is not empty, nor a study's.
        Interrupted: training was asked to stop, and has saved.
        NonFiniteError: no member is finite.
    """
    folder = Path(folder)
    alone = population == Population()
    require(not alone, "--sweep", (), "given, or --seeds: a study compares members")
    require(limit is None or limit >= 1, "--limit", limit, "None or at least 1")
    names = [TERMS, *groups.names_of(metrics)]
    everyone = members(experiment, population)
    dataset = data.load(experiment.data)  # once, for training and for every member's measures
    split = dataset.test
    if limit is not None:
        split = split.take(range(min(limit, len(split.images))))
    epoch = steps_per_epoch(len(dataset.train.images), experiment.data.batch_size)
    most = experiment.train.max_steps
    allowed = f"None or at least {epoch}, an epoch: members are measured at the end of one"
    require(most is None or most >= epoch, "train.max_steps", most, allowed)
    held_out = functools.cache(data.held_out)
    if "all" not in metrics:
        beforehand.refuse(names, experiment.data, dataset, split, settings, held_out)
    with guards.held(folder):
        trained = _train(experiment, folder / "population", population, dataset)
        result = _standing(folder, everyone, [*population.values()])
        result |= {"experiment": experiment.name, "images": len(split.images)}
        # As they come back from study.json, which has no tuples.
        of_groups = json.loads(json.dumps({"limit": limit, **asdict(settings)}))
        asked = {name: {"limit": limit} if name == TERMS else of_groups for name in names}
        before = [each["measuring"] for each in result["members"]]
        if left := sorted({n for e in before for n in e if n not in names and e[n] != of_groups}):
            log.warning("%s: left as measured before, with other settings", ", ".join(left))
        missing_of = {}
        for entry in result["members"]:
            if trained["members"][entry["member"]]["best"] is None:
                entry["refused"][TERMS] = "not finite in its first epoch"
                continue
            known = entry["measuring"]
            if missing := [name for name in names if known.get(name) != asked[name]]:
                missing_of[entry["member"]] = missing
        _take_out(missing_of, experiment, folder)
        for number, missing in missing_of.items():
            entry = result["members"][number]
            model, step = load(_own(folder, number), like=everyone[number])
            model = model._replace(experiment=everyone[number])  # which may hold arrays
            stored = as_stored(model, split)
            subject = Subject(model, stored, lambda: dataset, settings, held_out)
            for name in missing:
                _measure(entry, name, subject)
                entry["measuring"][name] = asked[name]
                runs.write_json(folder / "study.json", result)
                _keep(folder, entry, name, subject, {"limit": limit, "step": step})
            log.info("member %d of %d is measured", number, len(everyone))
        result["settings"] = _settings(result)
        _write(folder, result)
    return result


def _standing(folder: Path, everyone: Sequence[Experiment], swept: Sequence[str]) -> dict[str, Any]:
    """What study.json holds, or will hold before anything is measured."""
    if (folder / "study.json").exists():
        standing: dict[str, Any] = runs.read_json(folder / "study.json")
        return standing
    entries: list[dict[str, Any]] = [
        {"member": i, "seed": member.seed, **{name: value_of(member, name) for name in swept}}
        | {"measured": {}, "notes": {}, "refused": {}, "measuring": {}}
        for i, member in enumerate(everyone)
    ]
    return {"folder": str(folder), "sweep": list(swept), "members": entries}


def _train(
    experiment: Experiment, folder: Path, population: Population, dataset: data.Dataset
) -> dict[str, Any]:
    """Train it, or go on with it, as it was begun; its summary."""
    started = (folder / "config.json").exists()
    if started:
        saved, *_ = runs.read_config(folder, like=experiment)
        if changed := guards.differences(saved, experiment):
            listed = ", ".join(f"{name} ({a!r} to {b!r})" for name, (a, b) in changed.items())
            raise UsageError(f"{folder}: a study cannot change {listed}; give another --out")
        before = read_population(folder)
        allowed = f"that of {folder}, {before}; give another --out"
        require(before == population, "population", population, allowed)
        summary = folder / "summary.json"
        if summary.exists() and "members" in (ended := runs.read_json(summary)):
            return dict(ended)
    elif not folder.exists():
        guards.refuse_existing(folder.parent)
    return training.carry_out(
        training.Task(experiment, folder, population, resume=started, dataset=dataset)
    )


def _measure(entry: dict[str, Any], name: str, subject: Subject) -> None:
    """One group, or the terms, of a member; or why there is none, in the place of what was."""
    for part in ("measured", "notes", "refused"):
        entry[part].pop(name, None)
    try:
        if name == TERMS:
            terms = score.terms(subject.trained, subject.split, sampled=True)
            entry["measured"][name] = score.means(terms)
        else:
            found = groups.measure(name, subject)
            entry["measured"][name] = dict(found.values)
            entry["notes"][name] = list(found.notes)
    except (UsageError, score.NotFinite) as error:
        log.warning("member %d: %s: %s", entry["member"], name, error)
        entry["refused"][name] = str(error)


def _keep(
    folder: Path, entry: dict[str, Any], name: str, subject: Subject, how: dict[str, Any]
) -> None:
    """Put what was measured into the member's run folder too, as `evaluate` does."""
    if name not in entry["measured"]:
        return
    source = str(subject.trained.experiment.data.source)
    options = {"checkpoint": "best", "source": source, "split": "test"}
    options |= {} if how["limit"] is None else {"limit": how["limit"]}
    own = {"z": "sampled"} if name == TERMS else measured.heeded(name, subject.settings)
    values, notes = entry["measured"][name], tuple(entry["notes"].get(name, ()))
    n = len(subject.split.images)
    record = measured.Record(name, options | own, values, notes, how["step"], n)
    measured.keep(_own(folder, entry["member"]), [record])


def _own(folder: Path, number: int) -> Path:
    """The run folder of a member."""
    return folder / "members" / str(number)


def _take_out(numbers: Iterable[int], experiment: Experiment, folder: Path) -> None:
    """Give members run folders of their own, those that have none."""
    outs = {number: _own(folder, number) for number in numbers}
    outs = {n: out for n, out in outs.items() if not (out / "config.json").exists()}
    for out in outs.values():
        shutil.rmtree(out, ignore_errors=True)  # config.json is written last
    if outs:
        extract_each(folder / "population", outs, like=experiment)


def rows_of(result: dict[str, Any]) -> list[dict[str, float]]:
    """The table: a row per member of number, seed, what is swept, terms and `group.value`."""
    rows = []
    for entry in result["members"]:
        row = {name: entry[name] for name in ("member", "seed", *result["sweep"])}
        for group, values in entry["measured"].items():
            prefix = "" if group == TERMS else f"{group}."
            row |= {f"{prefix}{name}": value for name, value in values.items()}
        rows.append(row)
    return rows


def _settings(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Mean and standard deviation (n - 1) over the seeds of each setting, by name of the table."""
    names = [name for name in result["sweep"] if name != "seed"]
    by_setting: dict[tuple[float, ...], list[dict[str, float]]] = {}
    for row in rows_of(result):
        by_setting.setdefault(tuple(row[name] for name in names), []).append(row)
    found = []
    for values, of_setting in by_setting.items():
        spread = {}
        columns = dict.fromkeys(name for row in of_setting for name in row)
        for name in [c for c in columns if c not in ("member", "seed", *names)]:
            numbers = [row[name] for row in of_setting if name in row]
            spread[name] = {
                "mean": statistics.fmean(numbers),
                "std": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
                "n": len(numbers),
            }
        found.append({**dict(zip(names, values, strict=True)), "measured": spread})
    return found


def _write(folder: Path, result: dict[str, Any]) -> None:
    """study.json, study.csv and study.png."""
    runs.write_json(folder / "study.json", result)
    rows = rows_of(result)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(folder / "study.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    by = [name for name in result["sweep"] if name != "seed"] or ["seed"]
    figure = figures.sweep_curves(rows, by, f"Study of {result['experiment']}")
    figures.save(figure, folder / "study.png")
