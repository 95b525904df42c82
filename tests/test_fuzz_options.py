"""Random options: a result or one clear error, and nothing left behind."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxvae import cli

DIGITS = Path(__file__).parents[1] / "experiments" / "digits_vae.py"
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
WORDS = st.sampled_from(
    ["nan", "inf", "-inf", "1e400", "-0.0", "1e-320", "None", "True", "", "-", "--", "0x10", "1_0"]
) | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 10**30]).map(str)
VALUES = TEXT | WORDS | st.integers().map(str) | st.floats().map(str)
OPTIONS = [
    *("name", "seed", "data.batch-size", "data.limit", "data.range", "data.resize", "data.pad"),
    *("data.quantize", "data.binarize", "model.family", "model.hidden-dims", "model.latent-dim"),
    *("model.dropout", "model.batch-norm", "objective.likelihood", "objective.beta"),
    *("objective.convention", "optimizer.name", "optimizer.learning-rate", "optimizer.options"),
    *("train.epochs", "train.chunk-steps", "population.seeds", "population.sweep", "out", "data"),
]


@settings(EXAMPLES, max_examples=50)
@given(
    options=st.lists(
        st.tuples(st.sampled_from(OPTIONS), st.lists(VALUES, max_size=3)), min_size=1, max_size=3
    )
)
def test_options_with_any_values(capsys, monkeypatch, tmp_path, options):
    """Without data, so that what is allowed ends there."""
    monkeypatch.chdir(tmp_path)
    words = [word for name, values in options for word in (f"--{name}", *values)]
    words += ["--data.source", "./none.npz"]
    with pytest.raises(SystemExit) as error:
        cli.main(["train", str(DIGITS), *words])
    out, err = capsys.readouterr()
    helped = error.value.code == 0
    assert helped or (error.value.code in (1, 2) and out == "")
    assert "Traceback" not in err and "JAXVAE_TRACEBACK" not in err, err
    assert helped or (err.startswith("jaxvae: ") and err.count("\n") == 1), err
    assert list(tmp_path.iterdir()) == []


INTEGERS = st.integers(-1, 6) | st.sampled_from([2**31, 2**40, 10**30])
FLOATS = st.sampled_from([0.0, 1e-3, 0.5, 1.0, -1.0, 1e30, 1e-320, math.inf, math.nan])
CHOICES = {
    "data.batch-size": INTEGERS,
    "data.limit": INTEGERS,
    "data.validation-fraction": FLOATS,
    "data.resize": st.tuples(INTEGERS, INTEGERS),
    "data.pad": INTEGERS,
    "data.quantize": INTEGERS,
    "data.binarize": st.sampled_from(["threshold", "static", "dynamic"]),
    "data.corruption-level": FLOATS,
    "data.range": st.tuples(FLOATS, FLOATS),
    "model.family": st.sampled_from(["AE", "CAE", "VAE"]),
    "model.network": st.just("conv"),
    "model.hidden-dims": st.lists(INTEGERS, max_size=3),
    "model.strides": st.lists(INTEGERS, max_size=3),
    "model.kernel-size": INTEGERS,
    "model.latent-dim": INTEGERS,
    "model.dropout": FLOATS,
    "objective.beta": FLOATS,
    "objective.warmup-steps": INTEGERS,
    "optimizer.name": st.sampled_from(
        ["sgd", "adamw", "lbfgs", "scale_by_adam", "contrib", "chain"]
    ),
    "optimizer.learning-rate": FLOATS,
    "optimizer.options": st.tuples(st.sampled_from(["b1", "eps", "momentum", "decay"]), FLOATS),
    "optimizer.warmup-steps": INTEGERS,
    "optimizer.clip-norm": FLOATS,
    "optimizer.ema-decay": FLOATS,
    "train.chunk-steps": INTEGERS,
    "train.max-steps": INTEGERS,
    "train.checkpoint-steps": INTEGERS,
    "population.seeds": st.sampled_from([0, 2, 10**9]),
}
SETTINGS = st.dictionaries(st.sampled_from(sorted(CHOICES)), st.none(), min_size=1, max_size=3)


@pytest.mark.slow
@pytest.mark.ci
@settings(EXAMPLES, max_examples=10)
@given(d=st.data(), names=SETTINGS)
def test_settings_with_any_numbers(capsys, monkeypatch, tmp_path, d, names):
    """With data: it trains, or says what is wrong and leaves nothing, or how it failed."""
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("run", ignore_errors=True)
    np.save("set.npy", IMAGES)
    words = ["--data.source", "./set.npy", "--data.batch-size", "4", "--train.epochs", "1"]
    words += ["--train.figures-every", "None", "--out", "run"]
    for name in names:
        value = d.draw(CHOICES[name], name)
        words += [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    status = 0
    try:
        cli.main(["train", str(DIGITS), *words])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "JAXVAE_TRACEBACK" not in err, err
    assert status in (0, 1, 2)
    if status == 2:
        assert [path.name for path in tmp_path.iterdir()] == ["set.npy"], err
    elif status == 1:
        assert "not finite" in err.splitlines()[-1]
    else:
        assert json.loads(out)["steps"] >= 1
