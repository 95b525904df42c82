"""Every job from end to end, on a few of scikit-learn's digits, which need no download."""

import importlib
import json
import math
from pathlib import Path

import pytest
from PIL import Image

import jaxvae
from jaxvae.runs import names

FOLDER = Path(__file__).parents[2] / "experiments" / "jobs"
EXPERIMENTS = {path.stem for path in names.experiments().values()}
JOBS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in EXPERIMENTS)


def on_digits(source, *args, **fields):
    """`Data` with digits in the place of every set that has a name."""
    return jaxvae.Data("digits" if isinstance(source, str) else source, *args, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_with_a_number_a_baseline_and_a_figure(name, monkeypatch, tmp_path, capsys):
    if name == "bits_back":
        pytest.importorskip("constriction")
    job = importlib.import_module(f"experiments.jobs.{name}")
    monkeypatch.setattr(job, "Data", on_digits)
    results = job.main(limit=200, epochs=1, out=tmp_path / "new" / "out")
    assert json.loads((tmp_path / "new" / "out" / "results.json").read_text()) == results
    assert {"number", "baseline"} < set(results)
    assert all(math.isfinite(value) for value in results.values())
    assert min(Image.open(tmp_path / "new" / "out" / "figure.png").size) > 200
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", JOBS)
def test_a_docstring_says_number_and_command(name):
    text = (FOLDER / f"{name}.py").read_text().partition('"""\n\n')[0]
    assert text.startswith('"""') and text.splitlines()[0].endswith((".", "?"))
    assert "\nNumber: " in text
    assert text.rstrip().endswith(f"\nJob: python -m jaxvae.experiments.jobs.{name}")
