"""`python -m torch_parity.speed`: its contestants train the same; the arithmetic of its results."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae import data, noise  # noqa: E402
from jaxvae.checks import UsageError  # noqa: E402
from jaxvae.config import Data  # noqa: E402
from torch_parity.recipes import RECIPES  # noqa: E402
from torch_parity.speed import __main__ as speed  # noqa: E402
from torch_parity.speed import ours, pytorch, race  # noqa: E402
from torch_parity.speed.limit import layer_shapes  # noqa: E402
from torch_parity.speed.models import MODELS, shaped  # noqa: E402
from torch_parity.speed.report import (  # noqa: E402
    TOLERANCE,
    Contestant,
    Line,
    Target,
    draw,
    table,
)
from torch_parity.speed.variants import ENTRANTS  # noqa: E402
from torch_parity.speed.workers import Job, Worker, WorkerError, peak_bytes  # noqa: E402


def line(**changed) -> Line:
    contestants = {
        name: Contestant("", seconds, loss, 1.0, 2**20, None)
        for name, seconds, loss in (
            ("tutorial", [8.0, 18.0, 24.0], 100.0),
            ("tuned", [2.0, 3.0, 3.0], 101.0),
            ("streamed", [4.0, 4.0, 4.0], 100.0),
            ("step", [1.0, 3.0, 2.0], 100.0),
            ("loop", [1.0, 2.0, 4.0], 100.0),
        )
    }
    settings = {
        "model": "mnist_vae",
        "title": "MLP VAE",
        "batch_size": 128,
        "num_images": 1280,
        "contestants": contestants,
        "limit_seconds": [0.5, 1.0, 1.0],
        "product_seconds": 0.4,
        "flops_per_second": 1e11,
        "bytes_per_second": 1e10,
        "rejected": {"compiled": "9.000 s"},
        "populations": {8: Contestant("", [4.0, 8.0, 16.0], 100.0, 1.0, 2**20, None)},
        "target": Target(128, 7.0, 2.0, 0.5),
    }
    return Line(**{**settings, **changed})


def test_ratios_are_medians_over_rounds():
    """Of 8, 9, 6 and of 2, 1.5, 0.75; the machine may be slower in one round than in another."""
    assert line().times_as_fast("tutorial") == 8.0
    assert line().times_as_fast("tuned") == 1.5
    assert line().limit_share("loop") == 0.5
    assert [reached >= wanted for _, reached, wanted in line().verdicts()] == [True, False, True]
    assert line().population_gain(8) == 2.0
    assert line(target=None).verdicts() == []


def test_targets_of_other_batch_sizes_of_memory_and_of_files():
    """Memory that fits four times is a 4; of two workers' 12, 12, 12 seconds files take 4."""
    workers = line().contestants | {"workers": Contestant("", [12.0] * 3, 100.0, 1.0, 1, None)}
    files = Target(128, None, 1.0, streamed=1.5, mebibytes=4)
    found = line(contestants=workers, target=files).verdicts()
    assert [(reached, wanted) for _, reached, wanted in found] == [(1.5, 1.0), (3, 1.5), (4, 1)]
    conv = MODELS["mnist_conv_vae"]
    assert conv.target_at(64) == Target(64, 1.4, 1.25) and conv.target_at(128) is None
    assert conv.target_at(1024) == Target(1024, None, 1.5, mebibytes=800)


def test_losses_that_differ_or_are_no_numbers_do_not_agree():
    assert line().losses_agree and line().loss_difference == pytest.approx(0.01)
    for loss in (106.0, 94.0, math.nan, math.inf):
        for name in line().contestants:  # wherever it is: comparisons with NaN depend on the order
            contestants = line().contestants
            contestants[name] = replace(contestants[name], loss=loss)
            assert not line(contestants=contestants).losses_agree, (loss, name)
    negative = {n: replace(c, loss=-c.loss) for n, c in line().contestants.items()}
    assert line(contestants=negative).losses_agree
    negative["loop"] = replace(negative["loop"], loss=-600.0)
    assert not line(contestants=negative).losses_agree


def test_table_and_figure_say_what_was_found():
    text = table(line())
    assert "target met: 8.00 times PyTorch, tutorial (wanted: 7.00)" in text
    assert "target NOT MET: 1.50 times PyTorch, tuned (wanted: 2.00)" in text
    rejected = {"compiled": "9.000 s", "tutorial workers": "no processes"}
    said = table(line(rejected=rejected))
    assert "not taken: PyTorch, tuned (compiled): 9.000 s" in said
    assert "not taken: PyTorch, tutorial workers: no processes" in said
    assert "losses agree" in text and "100 GFLOP/s" in text and "PyTorch, tuned (compiled)" in text
    assert "NOT TO BE QUOTED" in text and line().noisy == ["tutorial", "step", "loop"]
    figure = draw([line(), line(batch_size=256, target=None)], "CPU")
    heights = [patch.get_height() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert heights == [1280 / seconds for seconds in (18, 3, 4, 2, 2)] * 2


def test_each_way_to_tune_pytorch_has_a_row_of_its_own_in_memory():
    """And none where it failed; of two layouts the faster one is taken."""
    assert race.ways("mnist_vae", is_gpu=True, in_memory=True) == {
        "eager": ["tuned"],
        "compiled": ["tuned compiled"],
        "cuda_graph": ["tuned cuda_graph"],
        "compiled cuda_graph": ["tuned compiled cuda_graph"],
        "loop": ["jaxvae loop"],
    }
    rows = race.ways("mnist_cae", is_gpu=True, in_memory=True)
    assert rows["compiled cuda_graph"] == [
        "tuned compiled cuda_graph",
        "tuned compiled channels_last cuda_graph",
    ]
    assert race.ways("mnist_cae", is_gpu=False, in_memory=True).keys() == {
        "eager",
        "compiled",
        "loop",
    }

    class Told(Worker):
        """One that takes so many seconds an epoch."""

        def __init__(self, seconds):
            self.report = {
                "seconds": seconds,
                "loss": 100.0,
                "peak_bytes": 2**20,
                "device_bytes": 2**21,
                "products": 0.1,
                "flops_per_second": 1e13,
                "bytes_per_second": 1e12,
            }

        def epoch(self, count=1):
            return self.report

    workers: dict[str, Worker] = {
        "tuned": Told(4.0),
        "tuned channels_last": Told(3.0),
        "tuned compiled": Told(2.0),
        "jaxvae loop": Told(1.0),
        "limit": Told(0.5),
    }
    first = {name: worker.epoch() for name, worker in workers.items()}
    found = race.measure(
        race.Race("mnist_cae", 64, 640, rows, {}, workers),
        first,
        {"compiled cuda_graph": "no compiler"},
        rounds=2,
    )
    assert list(found.contestants) == ["eager", "compiled", "loop"] and found.verdicts() == []
    assert found.contestants["eager"].options == "channels_last"
    assert found.rejected == {"compiled cuda_graph": "no compiler", "eager": "4.000 s"}
    text = table(found)
    assert "PyTorch, eager (channels_last)" in text and "(compiled cuda_graph): no compiler" in text
    assert len(draw([found], "GPU").axes[0].patches) == 3


def test_products_of_dense_and_convolutional_layers():
    """Worked out by hand for batch 2; a transposed convolution is its mirror image's product."""
    batch = torch.zeros(2, 1, 28, 28)
    dense, cae = (RECIPES[name].model() for name in ("mnist_vae", "mnist_cae"))
    assert layer_shapes(dense, lambda: dense(batch)) == [
        (2, 784, 256),
        (2, 256, 20),
        (2, 256, 20),
        (2, 20, 256),
        (2, 256, 784),
    ]
    down = [(2 * 14 * 14, 9 * 1, 16), (2 * 7 * 7, 9 * 16, 32)]
    assert layer_shapes(cae, lambda: cae(batch)) == [*down, *down[::-1]]


def test_a_layer_asked_twice_for_one_input_computes_once():
    """DReG's decoder is called again with its parameters held; its encoder has no second call."""
    model, images = ENTRANTS["dreg"].model(), torch.rand(2, 784)
    given = ENTRANTS["dreg"].draw(model, 2)
    assert layer_shapes(model, lambda: model.terms(images, **given)) == [
        (2, 784, 256),
        (2, 256, 20),
        (2, 256, 20),
        (5 * 2, 20, 256),
        (5 * 2, 256, 784),
    ]
    layer = torch.nn.Linear(3, 4)
    assert len(layer_shapes(layer, lambda: [layer(torch.full((2, 3), x)) for x in (0.0, 1.0)])) == 2


def test_peak_of_the_memory():
    array = np.ones(2**27, np.uint8)
    assert array.nbytes < peak_bytes() < 2**40


@pytest.fixture
def job(tmp_path) -> Job:
    """The CAE, which has no noise, on 64 digits in batches of 16."""
    digits, _ = data.whole(Data("digits"))
    return race.write_job("mnist_cae", digits.images[:64], 16, 5, str(tmp_path))


@pytest.mark.slow
@pytest.mark.ci
def test_all_contestants_train_the_same(job):
    """20 steps in float32: sums of 784 numbers, taken in other orders, and Adam on top."""
    contestants = {
        "tutorial": pytorch.tutorial(job),
        "tuned": pytorch.tuned(job),
        "channels_last": pytorch.tuned(job, "channels_last"),
        "streamed": ours.train(job, "streamed"),
        "step": ours.train(job, "step"),
        "loop": ours.train(job, "loop"),
    }
    losses = {}
    for name, epochs in contestants.items():
        ready, *reports = itertools.islice(epochs, 6)
        assert ready.keys() == {"device"}
        losses[name] = [report["loss"] for report in reports]
    assert losses["loop"][-1] < 0.99 * losses["loop"][0]  # they train
    for name in contestants:
        np.testing.assert_allclose(losses[name], losses["loop"], rtol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rtol"), [("antixk_vae", TOLERANCE), ("burgess_vae", 1e-4)])
def test_a_published_network_is_the_same_in_both(name, rtol, tmp_path, monkeypatch):
    """Without noise, at its whole size: three epochs of two steps, from the same weights.

    The first loss is equal to rounding, which BatchNorm of so few examples then enlarges.
    """
    monkeypatch.setattr(noise.Noise, "normal", lambda own, _, shape: zeros(own.index, shape))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    digits = shaped(data.whole(Data("digits"))[0].images[:16], MODELS[name].image_shape)
    job = race.write_job(name, digits, 8, 3, str(tmp_path))
    contestants = [ours.train(job, "loop"), pytorch.tuned(job)]
    own, theirs = ([report["loss"] for report in itertools.islice(c, 1, 4)] for c in contestants)
    assert own[-1] < own[0]  # it trains
    assert own[0] == pytest.approx(theirs[0], rel=1e-4)
    np.testing.assert_allclose(own, theirs, rtol=rtol)


def zeros(index, shape):
    return jnp.zeros((len(index), *shape))


def test_a_contestant_that_fails_says_why(job):
    worker = Worker("tutorial", job._replace(folder="/nowhere"))
    try:
        with pytest.raises(WorkerError, match=r"tutorial: FileNotFoundError: .*/nowhere"):
            worker.ready()
    finally:
        worker.close()


def status(**arguments) -> object:
    with pytest.raises(SystemExit) as exit_:
        speed.main(**arguments)
    return exit_.value.code


@pytest.mark.slow
def test_processes_take_turns(monkeypatch, tmp_path, capsys):
    """End to end, without MNIST; torch.compile is left out, since it takes half a minute."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(race, "tuned_options", lambda *_: [""])
    figure = tmp_path / "figures" / "speed.png"
    code = status(
        model=("mnist_vae",),
        batch=(64,),
        rounds=2,
        epochs=2,
        images=330,
        population=(2,),
        figure=figure,
        as_json=True,
    )
    report = json.loads(capsys.readouterr().out)
    assert code == 0 and figure.is_file() and report["data"].startswith("scikit-learn's digits")
    [found] = report["lines"]
    assert found["images"] == 320 and found["losses_agree"]
    assert list(found["contestants"]) == [
        "tutorial",
        "workers",
        "tuned",
        "streamed",
        "step",
        "loop",
    ]
    for contestant in found["contestants"].values():
        assert len(contestant["seconds"]) == 2 and min(contestant["seconds"]) > 0
        assert contestant["peak_bytes"] > 2**26  # NumPy and a framework take more
        assert contestant["loop_is_times_as_fast"] > 0 and contestant["limit_share"] > 0
    assert found["limit"]["flops_per_second"] > 0 and found["limit"]["bytes_per_second"] > 0
    assert found["contestants"]["tuned"]["options"] == "eager" and found["rejected"] == {}
    assert found["populations"].keys() == {"2"} and found["populations"]["2"]["gain"] > 0
    assert found["verdicts"] == []  # targets are those of batch 128


@pytest.mark.slow
def test_lines_in_memory_start_at_once(monkeypatch):
    """As on a GPU; images of a file, and no contestant that decodes them."""
    monkeypatch.setattr(race, "tuned_options", lambda *_: ["", "compiled"])
    images = data.whole(Data("digits"))[0].images[:64]
    lines = speed.compare_speed(
        [("mnist_vae", images, 32), ("mnist_cae", images, 64)],
        rounds=1,
        in_memory=True,
        at_once=True,
    )
    assert [line.batch_size for line in lines] == [32, 64]
    for found in lines:
        assert set(found.contestants) | set(found.rejected) == {"eager", "compiled", "loop"}
        assert found.losses_agree and found.limit_share("loop") > 0


def test_images_of_a_file(tmp_path):
    digits = data.whole(Data("digits"))[0].images[:]
    np.savez(tmp_path / "images.npz", images=digits)
    images, description = speed.training_images(str(tmp_path / "images.npz"))
    assert images.shape == (60000, 28, 28, 1) and "images.npz" in description
    np.savez(tmp_path / "small.npz", images=digits[:, :8])
    with pytest.raises(UsageError, match=r"--source = .*small.npz.*\(28, 28, 1\)"):
        speed.training_images(str(tmp_path / "small.npz"))


def test_losses_that_differ_fail(monkeypatch, capsys):
    contestants = line().contestants
    contestants["loop"] = replace(contestants["loop"], loss=50.0)
    nothing = np.zeros((60000, 28, 28, 1), np.uint8)
    monkeypatch.setattr(speed, "training_images", lambda _: (nothing, "nothing"))
    monkeypatch.setattr(speed, "compare_speed", lambda *_: [line(contestants=contestants)])
    assert status(model=("mnist_vae",), quick=True) == 1
    assert "losses DO NOT AGREE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        {"rounds": 0},
        {"epochs": 0},
        {"batch": (0,)},
        {"batch": (128,), "images": 100},
        {"images": 70000},
        {"population": (0,)},
        {"figure": Path("speed.pdf")},
    ],
)
def test_wrong_use_is_refused_before_anything_runs(arguments, capsys):
    assert status(**arguments) == 2
    assert f"--{list(arguments)[-1]} = " in capsys.readouterr().err
