"""Batches in parts: the rule for their size, the bits of plain steps and chunks, and resuming."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Population, Train
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.evaluation import at_once
from jaxvae.info import Info
from jaxvae.runs import load_experiment
from jaxvae.training import parts, train
from jaxvae.training.accumulation import parts_of
from jaxvae.variants.kl import OptimalSigma
from tests.training.populations import assert_close, latest_state
from tests.training.test_step import BATCH, EXAMPLES, KEY, ZEROS, Setup, assert_equal

pytestmark = pytest.mark.numeric

CONV = Model("VAE", "conv", hidden_dims=(3,), latent_dim=2, output="sigmoid")


def own(images: int, shape: tuple[int, ...] = (28, 28, 1)) -> Examples:
    """What a device has of a batch, as shapes."""
    number = jax.ShapeDtypeStruct((images,), jnp.int32)
    return Examples(jax.ShapeDtypeStruct((images, *shape), jnp.uint8), number, number)


def chosen(name: str, batch_size: int, on_cpu: bool = True, devices: int = 1) -> int:
    """What the rule makes of an experiment of the package."""
    experiment = load_experiment(name)
    experiment = replace(experiment, data=replace(experiment.data, batch_size=batch_size))
    info = Info((28, 28, 1), num_examples=2000)
    module = experiment.model.build(info)
    found = parts.settled(experiment, module, info, on_cpu, own(batch_size // devices))
    return found.train.sub_batch


@pytest.mark.parametrize(
    ("name", "batch_size", "expected"),
    [
        ("mnist_conv_vae", 64, 16),  # 28x28x64 values, of which 2^18 hold 5
        ("mnist_conv_vae", 1024, 16),
        ("mnist_conv_vae", 100, 10),
        ("mnist_conv_vae", 127, 127),  # a prime
        ("mnist_cae", 64, 64),  # 14x14x16 values: 83 images
        ("mnist_cae", 1024, 64),
        ("mnist_vae", 1024, 1024),  # no convolution
    ],
)
def test_the_rule_follows_the_feature_maps(name, batch_size, expected):
    assert chosen(name, batch_size) == expected
    assert chosen(name, batch_size, on_cpu=False) == batch_size


def test_the_rule_is_for_what_each_device_has():
    assert chosen("mnist_conv_vae", 64, devices=4) == 64  # 16 images each
    assert chosen("mnist_conv_vae", 256, devices=4) == 16


def test_the_rule_leaves_whole_what_looks_across_the_batch(monkeypatch):
    """Whose parts would be refused, or take two passes; and a class of one's own."""
    monkeypatch.setattr(at_once, "LEAST", 2)
    monkeypatch.setattr(at_once, "VALUES", 1)

    class Own(Objective):
        pass

    info = Info((8, 8, 1))
    for changed, expected in (
        ({}, 2),
        ({"model": replace(CONV, batch_norm=True)}, 8),
        ({"objective": OptimalSigma()}, 8),
        ({"objective": Own("mse")}, 8),
    ):
        fields = {"model": CONV, "objective": Objective("mse"), "data": Data(batch_size=8)}
        experiment = Experiment("x", **(fields | changed))
        module = experiment.model.build(info)
        settled = parts.settled(experiment, module, info, True, own(8, (8, 8, 1)))
        assert settled.train.sub_batch == expected
    asked = replace(experiment, train=Train(sub_batch=2))  # who says a number is believed
    assert parts.settled(asked, module, info, True, own(8, (8, 8, 1))) is asked
    with pytest.raises(UsageError, match=r"sub_batch = 2: must be None.*the model's batch_stats"):
        broken = replace(asked, model=replace(CONV, batch_norm=True))
        parts.settled(broken, broken.model.build(info), info, True, own(8, (8, 8, 1)))


def test_what_the_rule_said_elsewhere_binds_only_where_it_fits(caplog):
    """24 images of one device were in parts of 12; two devices have 12 each, three 8, four 6."""
    experiment = Experiment("x", data=Data(batch_size=24), model=CONV, objective=Objective("mse"))
    given = experiment, CONV.build(Info((8, 8, 1))), Info((8, 8, 1)), True
    for images, before, expected in ((24, 12, 12), (12, 12, 12), (6, 12, 12), (8, 4, 4)):
        settled = parts.settled(*given, own(images, (8, 8, 1)), before)
        assert settled.train.sub_batch == expected and not caplog.text
    settled = parts.settled(*given, own(8, (8, 8, 1)), 6)
    assert settled.train.sub_batch == 24
    assert "whole: parts of 6, as the run chose, do not divide the 8 images" in caplog.text
    asked = replace(experiment, train=Train(sub_batch=6))  # by the user
    with pytest.raises(UsageError, match=r"sub_batch = 6: must be a divisor of the 8 images"):
        parts.settled(asked, *given[1:], own(8, (8, 8, 1)))


@given(images=st.integers(1, 2000), most=st.integers(1, 2000))
def test_a_size_divides_and_is_within_the_bound(images, most):
    size = parts.size_for(images, most)
    assert images % size == 0
    if size == images:
        divisors = [n for n in range(most // 2 + 1, most + 1) if images % n == 0]
        assert images <= most or not divisors
    else:
        assert most / 2 < size <= most


def test_what_does_not_divide_is_refused():
    with pytest.raises(UsageError, match=r"^train.sub_batch = 5: must be None, or a divisor of"):
        Experiment("x", data=Data(batch_size=64), train=Train(sub_batch=5))
    assert parts_of(own(16), 32) == 1 and parts_of(own(16), 4) == 4 and parts_of(own(16), None) == 1
    with pytest.raises(UsageError, match=r"^train.sub_batch = 6: must be a divisor of the 16"):
        parts_of(own(16), 6)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Setup().experiment.model, id="dense"),
        pytest.param(CONV, id="conv", marks=[pytest.mark.slow, pytest.mark.ci]),
    ],
)
def test_chunks_of_batches_in_parts_equal_single_steps(model):
    """Bit for bit, as whole batches do; the loss is summed over the batch, of all 8 images."""
    fields = {"model": model, "objective": Objective(batch_reduction="sum")}
    if model is CONV:
        fields["objective"] = Objective("mse", batch_reduction="sum")
    setup = Setup(**fields, train=Train(epochs=4, sub_batch=2), optimizer=Optimizer("adam", 0.01))
    loop, single = setup.loop(chunk_steps=100), setup.loop(chunk_steps=1)
    in_one, stepped = loop(setup.state, ZEROS, 3), (setup.state, ZEROS)
    for _ in range(3):
        stepped = single(*stepped, 1)
    assert_equal(in_one, stepped)
    whole = Setup(**fields)
    _, metrics = whole.step(whole.state, EXAMPLES, KEY)
    _, of_parts = setup.step(setup.state, EXAMPLES, KEY)
    for name, value in metrics.items():  # sums of 8 examples; a forgotten part is a factor
        np.testing.assert_allclose(of_parts[name], value, rtol=1e-5)
    assert BATCH == 8


# Runs


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """48 images of 6x6, 4 steps an epoch, of a small convolutional VAE with dropout."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8))
    return Experiment(
        "small",
        data=Data(str(path), batch_size=12, binarize="dynamic"),
        model=replace(CONV, dropout=0.2),
        objective=Objective("mse"),
        train=Train(epochs=2, figures_every=None),
    )


@pytest.fixture
def small_parts(monkeypatch):
    """The rule chooses 4 of 12 images."""
    monkeypatch.setattr(at_once, "LEAST", 4)
    monkeypatch.setattr(at_once, "VALUES", 1)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def assert_same_state(folder, other):
    (a, _), (b, _) = latest_state(folder), latest_state(other)
    assert int(a.step) == int(b.step) > 0
    assert_equal(a.params, b.params)
    assert_equal(a.opt_state, b.opt_state)


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_goes_on_in_the_parts_it_began_with(experiment, small_parts, tmp_path, monkeypatch):
    """Bit for bit, whatever the rule says by then; the experiment leaves the size open."""
    train(experiment, tmp_path / "whole", quiet=True)
    assert config_of(tmp_path / "whole")["sub_batch"] == 4
    assert config_of(tmp_path / "whole")["experiment"]["train"]["sub_batch"] is None
    once = replace(experiment, train=replace(experiment.train, max_steps=6))
    train(once, tmp_path / "pieces", quiet=True)
    monkeypatch.setattr(at_once, "LEAST", 100)
    train(experiment, tmp_path / "pieces", resume=True, quiet=True)
    assert_same_state(tmp_path / "pieces", tmp_path / "whole")
    assert config_of(tmp_path / "pieces")["sub_batch"] == 4
    asked = replace(experiment, train=replace(experiment.train, sub_batch=6, epochs=3))
    with pytest.raises(UsageError, match=r"train.sub_batch \(None to 6\); unless told so"):
        train(asked, tmp_path / "pieces", resume=True, quiet=True)
    train(asked, tmp_path / "pieces", resume=True, quiet=True, may_change=["train.sub_batch"])
    assert config_of(tmp_path / "pieces")["sub_batch"] == 6
    damaged = config_of(tmp_path / "whole") | {"sub_batch": 5}
    (tmp_path / "whole" / "config.json").write_text(json.dumps(damaged))
    with pytest.raises(UsageError, match=r"config.json: sub_batch = 5: must be a divisor of"):
        train(experiment, tmp_path / "whole", resume=True, quiet=True)


@pytest.mark.slow
def test_the_first_line_says_that_batches_are_in_parts(experiment, small_parts, tmp_path, capfd):
    once = replace(experiment, train=replace(experiment.train, max_steps=1))
    train(once, tmp_path / "parts")
    assert "best so far); batches in parts of 4\n" in capfd.readouterr().err
    train(replace(once, train=replace(once.train, sub_batch=12)), tmp_path / "whole")
    assert "best so far)\n" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_from_before_there_were_parts_took_whole_batches(experiment, small_parts, tmp_path):
    whole = replace(experiment, train=replace(experiment.train, sub_batch=12))
    train(whole, tmp_path / "whole", quiet=True)
    half = replace(experiment, train=replace(experiment.train, max_steps=6, sub_batch=12))
    train(half, tmp_path / "old", quiet=True)
    config = config_of(tmp_path / "old")
    del config["sub_batch"], config["experiment"]["train"]["sub_batch"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    train(experiment, tmp_path / "old", resume=True, quiet=True)
    assert_same_state(tmp_path / "old", tmp_path / "whole")
    assert config_of(tmp_path / "old")["sub_batch"] == 12


@pytest.mark.slow
def test_members_take_the_same_parts(experiment, small_parts, tmp_path):
    """One of two seeds is the run alone, to the rounding of grouped convolutions."""
    train(experiment, tmp_path / "all", quiet=True, population=Population(seeds=2))
    train(replace(experiment, seed=1), tmp_path / "alone", quiet=True)
    assert config_of(tmp_path / "all")["sub_batch"] == 4
    from jaxvae.training.extract import extract

    extract(tmp_path / "all", 1, tmp_path / "one")
    assert config_of(tmp_path / "one")["sub_batch"] == 4
    (state, _), (other, _) = (latest_state(tmp_path / name) for name in ("one", "alone"))
    assert_close(state.params, other.params)
