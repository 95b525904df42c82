"""The experiments' numbers in docs and docstrings are those of the ledger."""

import math
import re
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from tests.scripts import script

ROOT = Path(__file__).parents[1]
results = script("results")

LEDGER = results.read()
ENTRIES = {
    name for name, _, kind in (key.partition("/") for key in LEDGER) if kind in ("", "seeds")
}
FILES = {path.stem: path for path in (ROOT / "experiments").rglob("*.py")}
TABLES = [ROOT / "docs" / "recipes.md", ROOT / "docs" / "variants.md"]
JOBS = {
    "denoising": "Denoising",
    "anomalies": "Anomaly detection",
    "bits_back": "Compression",
    "pretraining": "Pretraining",
    "imputation": "Imputation",
    "augmentation": "Augmentation",
    "reduction": "Dimensionality reduction",
    "generation": "Generation",
    "interpolation": "Interpolation",
}
"""Of docs/jobs.md, with their headings."""
NUMBER = r"-?[\d,]+(?:\.\d+)?"
REACHED = re.compile(rf"(?:MSE )?{NUMBER} (?:nats|per pixel|\(epoch)")


def entry_of(name: str) -> dict[str, Any]:
    """A run's, or where it was run as a population alone, that of its first member."""
    if name in LEDGER:
        return dict(LEDGER[name])
    seeds = LEDGER[f"{name}/seeds"]
    return seeds | {"best": seeds["best"][0], "last": seeds["best"][0]}


def says(text: str, value: float) -> bool:
    """Whether a number as it is written is the value, rounded to as many digits."""
    plain = text.replace(",", "")
    digits = len(plain.partition(".")[2])
    return math.isclose(float(plain), value, abs_tol=0.5001 * 10**-digits, rel_tol=0)


def duration(text: str) -> float:
    """Seconds of `36 s` or `3 min`."""
    found = re.search(r"([\d.]+) (s|min)\b", text)
    assert found is not None, text
    return float(found[1]) * {"s": 1, "min": 60}[found[2]]


def expectation(name: str) -> tuple[str, str]:
    """What a docstring expects, and how it is run; each in one line."""
    doc = " ".join(FILES[name].read_text().split('"""')[1].split())
    expect, _, rest = doc.partition("Expect: ")[2].partition(" Run: ")
    return expect, rest


def metric_of(text: str) -> str:
    return "val_mse" if "MSE" in text.partition("nats")[0] else "val_loss"


def wrong(text: str, entry: dict[str, Any]) -> list[str]:
    """The numbers of a docstring's expectation that the ledger does not have."""
    bad = []
    metric = metric_of(text)
    found = re.search(rf"(?:loss|MSE) ({NUMBER})", text)
    if found is None or not says(found[1], entry["best"][metric]):
        bad.append(f"{metric} {entry['best'][metric]}")
    if (epoch := re.search(r"at (?:the best )?epoch \(?(\d+)", text)) and int(epoch[1]) != int(
        entry["best"]["epoch"]
    ):
        bad.append(f"epoch {entry['best']['epoch']}")
    for term in ("recon", "kl"):
        if said := re.search(rf"\b{term} ({NUMBER})", text):
            values = [entry[row][f"val_{term}"] for row in ("best", "last")]
            if not any(says(said[1], value) for value in values):
                bad.append(f"{term} {values}")
    return bad


def wrong_range(text: str, entry: dict[str, Any], metric: str) -> list[str]:
    """The range over seeds, where the ledger has one."""
    values = [row[metric] for row in entry["best"]]
    found = re.search(rf"({NUMBER}) to ({NUMBER})", text)
    if found is None or not (says(found[1], min(values)) and says(found[2], max(values))):
        return [f"{min(values)} to {max(values)}"]
    return []


def test_numbers_that_are_written_and_meant():
    """Rounded as they are written, and no other."""
    assert says("107.0", 107.0187) and says("-13,277", -13276.6) and says("0.0050", 0.00504)
    assert not says("107.1", 107.0187) and not says("0.0050", 0.00506)
    assert duration("36 s, shared") == 36 and duration("3 min") == 180
    row = {"epoch": 9.0, "val_loss": 149.93, "val_recon": 1.0, "val_kl": 5.6}
    entry = {"best": row, "last": row | {"val_recon": 144.3}}
    assert not wrong("lowest loss 149.9 nats at epoch 9 (recon 144.3, kl 5.60)", entry)
    assert len(wrong("lowest loss 150.0 nats at epoch 8 (recon 144.4, kl 5.61)", entry)) == 4


def test_there_is_an_entry_of_every_experiment_that_expects_something():
    assert {*results.names()} == ENTRIES


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_of_the_settings_that_the_experiment_has(name):
    """With others the numbers would be others: `make results RESULTS="NAME --again"`."""
    for key in (name, f"{name}/seeds"):
        if key in LEDGER:
            settings = results.settings_of(name)
            assert LEDGER[key]["settings"] == results.digest(settings), key
            assert LEDGER[key]["epochs"] == settings["train"]["epochs"]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_docstrings(name):
    expect, run = expectation(name)
    entry = entry_of(name)
    assert not wrong(expect, entry)
    if f"{name}/seeds" in LEDGER:
        seeds = expect[expect.lower().index("seeds 0 to 3") + len("seeds 0 to 3") :]
        assert not wrong_range(seeds, LEDGER[f"{name}/seeds"], metric_of(expect))
    assert run.startswith(entry["command"]), run
    assert duration(run) == pytest.approx(entry["seconds"], rel=0.1, abs=0.6)


def rows() -> list[tuple[str, list[str]]]:
    """The cells of the tables' rows that begin with the name of an experiment."""
    found = []
    for path in TABLES:
        for line in path.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            name = cells[0].strip("`")
            if line.startswith("| `") and name in ENTRIES and any(map(REACHED.match, cells)):
                found.append((name, cells))
    return found


def test_tables():
    """Each experiment of the ledger stands in a table, with its number, its range and its time."""
    found = rows()
    elsewhere = ("jobs", "studies")  # told of where what follows from them is
    assert {name for name, _ in found} >= {
        name for name in ENTRIES if FILES[name].parent.name not in elsewhere
    }
    for name, cells in found:
        entry, line = entry_of(name), " | ".join(cells)
        reached = next(c for c in cells if REACHED.match(c))
        metric = metric_of(reached)
        number = re.search(NUMBER, reached)
        assert number is not None and says(number[0], entry["best"][metric]), line
        if epoch := re.search(r"epoch (\d+)", reached):
            assert int(epoch[1]) == entry["best"]["epoch"], line
        if f"{name}/seeds" in LEDGER:
            ranges = next(c for c in cells if re.fullmatch(rf"{NUMBER} to {NUMBER}", c))
            assert not wrong_range(ranges, LEDGER[f"{name}/seeds"], metric), line
        if f"{name}/mnist" in LEDGER:
            mnist = LEDGER[f"{name}/mnist"]["best"]["val_loss"]
            assert cells[-1].endswith(" nats") and says(cells[-1].removesuffix(" nats"), mnist)
        seconds = next(c for c in cells if re.match(r"[\d.]+ (s|min)", c))
        assert duration(seconds) == pytest.approx(entry["seconds"], rel=0.1, abs=0.6), line


def test_reached_and_published():
    """Each of our numbers with decimals is one of the reproductions or of the row's variants."""
    text = (ROOT / "docs" / "variants.md").read_text()
    section = text.partition("\n### Reached and published\n")[2].partition("\n## ")[0]
    claims = [c for one in script("reproductions").read().values() for c in one["claims"]]
    known = [numbers_in([claim["lower"], claim["higher"]]) for claim in claims]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    assert len(table) > 10
    for variants, _, here, _ in table:
        names = re.findall(r"`(\w+)`", variants)
        own = [entry for key, entry in LEDGER.items() if key.partition("/")[0] in names]
        assert names and {*names} <= {*FILES}
        for number in re.findall(r"(?<![\d.])\d+\.\d+", here):
            assert any(says(number, x) for x in numbers_in([known, own])), (variants, number)


def test_where_and_when():
    found = results.record(perf_counter() - 90)
    assert found["device"] == results.machine() and found["date"] == date.today().isoformat()
    assert found["versions"].keys() == {"jaxvae", "jax"} and 90 <= found["seconds"] < 95
    assert "seconds" not in results.record(None)


def numbers_in(value: Any) -> list[float]:
    """All numbers of a job's results, however deep."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [number for each in inner for number in numbers_in(each)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize("key", [key for key in LEDGER if "/seed-" in key])
def test_another_seed(key):
    """Its lowest loss stands in the docstring, beside that of seed 0."""
    name, _, kind = key.partition("/")
    expect, _ = expectation(name)
    _, said, after = expect.partition(f"seed {kind.removeprefix('seed-')} ")
    number = re.match(NUMBER, after)
    assert said and number is not None
    assert says(number[0], LEDGER[key]["best"][metric_of(expect)])


def test_measures():
    """Of the settings that the experiments have, as docs/evaluation.md has them."""
    assert results.table(LEDGER) in (ROOT / "docs" / "evaluation.md").read_text()
    for key in (key for key in LEDGER if key.endswith("/measures")):
        settings = results.settings_of(key.partition("/")[0])
        assert LEDGER[key]["settings"] == results.digest(settings), key
        own = LEDGER[key]["epochs"] == settings["train"]["epochs"]
        assert own or "--train.epochs 5" in LEDGER[key]["command"], key


@pytest.mark.parametrize(
    ("experiment", "column"),
    [("sprites_beta_vae", "beta"), ("sprites_factor_vae", "FactorVAE's gamma")],
)
def test_studies(experiment, column):
    entry = LEDGER[f"{experiment}/study"]
    text = (ROOT / "docs" / "evaluation.md").read_text()
    assert results.study_table(column, entry) in text
    assert entry["settings"] == results.digest(results.settings_of(experiment))


def test_every_job_is_told_of():
    assert {*JOBS} == {*results.jobs()} == {key[5:] for key in LEDGER if key.startswith("jobs/")}


@pytest.mark.parametrize("name", JOBS)
def test_jobs(name):
    """A job's row; and of its section every number with three decimals, or in decibels."""
    entry, text = LEDGER[f"jobs/{name}"], (ROOT / "docs" / "jobs.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| [{name}]"))
    _, number, baseline, _, seconds = [cell.strip() for cell in row.strip("| ").split("|")]
    of_numbers = (number.partition(": ")[2], "number"), (baseline, "baseline")
    for cell, key in of_numbers:
        found = re.search(rf"(?<![\w]){NUMBER}", cell)
        assert found is not None and says(found[0], entry["results"][key]), row
    assert duration(seconds) == pytest.approx(entry["seconds"], rel=0.1, abs=0.6)
    section = text.partition(f"\n## {JOBS[name]}\n")[2].partition("\n## ")[0]
    said = re.findall(r"(?<![\d.,])\d+\.\d{3,}(?!\d)", section)
    said += re.findall(r"(\d+\.\d+)\s+dB", section)
    known = numbers_in(entry["results"])
    elsewhere = {"1.547", "0.0026"}  # after 5 epochs, as the text says; 64 x 32 bits a pixel
    assert {x for x in said if not any(says(x, value) for value in known)} <= elsewhere
