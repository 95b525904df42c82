"""A run over images that stay in their files is the run over images in memory."""

import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, Experiment, Model, Optimizer, Train, noise, runs
from jaxvae.cli import commands
from jaxvae.cli.options import Images, MeasureOptions, SavedRun
from jaxvae.config import Parallel, Population
from jaxvae.data import Split
from jaxvae.data.batches import epoch_order
from jaxvae.data.lazy import LazyImages
from jaxvae.training import devices, train
from jaxvae.training import program as programs
from jaxvae.training.load import load
from jaxvae.training.program import make_chunks

pytestmark = pytest.mark.numeric

TIMES = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 random PNG files of 6x6."""
    path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).save(path / f"{i:02d}.png")
    return path


@pytest.fixture(scope="module")
def experiment(folder):
    """48 images to train on, 9 steps an epoch and 3 images over; 12 to validate on: an odd 2.4."""
    return Experiment(
        "streamed",
        data=Data(f"{folder}", batch_size=5, binarize="dynamic"),
        model=Model(hidden_dims=(8,), latent_dim=2, batch_norm=True, dropout=0.3),
        optimizer=Optimizer("sgd", 1e-3),
        train=Train(epochs=3, figures_every=0, chunk_steps=4),
    )


@pytest.fixture(scope="module")
def streaming(experiment):
    return replace(experiment, data=replace(experiment.data, streaming=True))


@pytest.fixture(scope="module")
def resident(experiment, tmp_path_factory):
    run = tmp_path_factory.mktemp("resident") / "run"
    train(experiment, run, quiet=True)
    return run


def assert_same(a, b):
    """Parameters bit for bit; the validation's sums are added up batch by batch, to rounding."""
    left, right = load(a, "latest")[0].variables, load(b, "latest")[0].variables
    jax.tree.map(np.testing.assert_array_equal, left, right)
    for one, other in zip(
        runs.read_metrics(a / "metrics.csv"), runs.read_metrics(b / "metrics.csv"), strict=True
    ):
        for name in one.keys() - TIMES:
            tolerance = 1e-6 if name.startswith("val_") else 0
            assert one[name] == pytest.approx(other[name], rel=tolerance, abs=0)


@pytest.mark.slow
@pytest.mark.ci
def test_the_same_run(streaming, resident, tmp_path):
    """Figures too; and `evaluate`, on either kind of images."""
    run = tmp_path / "run"
    train(streaming, run, quiet=True)
    assert_same(run, resident)
    names = {path.name for path in (resident / "figures").iterdir()}
    assert {path.name for path in (run / "figures").iterdir()} == names
    for which in ("test", "all"):
        streamed, held = (
            commands.evaluate(SavedRun(folder), Images(which), MeasureOptions())
            for folder in (run, resident)
        )
        assert streamed["images"] == held["images"] == {"test": 12, "all": 60}[which]
        assert streamed["loss"] == pytest.approx(held["loss"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.ci
def test_resumed_in_mid_epoch(streaming, experiment, resident, tmp_path):
    """Streamed to step 13, of 9 an epoch; then streamed to 20; then from memory to the end."""
    run = tmp_path / "run"
    for max_steps, settings in ((13, streaming), (20, streaming), (None, experiment)):
        stopped = replace(settings, train=replace(settings.train, max_steps=max_steps))
        train(stopped, run, resume=max_steps != 13, quiet=True)
    assert_same(run, resident)


@pytest.mark.parametrize(("limit", "steps"), [(1, 1), (180, 1), (400, 2), (10_000, 4)])
def test_chunks_are_bounded(streaming, monkeypatch, limit, steps):
    """A chunk is at most so many bytes, but at least one batch; each step once, in its place."""
    from jaxvae import data

    monkeypatch.setattr(programs, "STREAMED_BYTES", limit)  # a batch has 5 x 36
    dataset = data.load(streaming.data)
    program, _ = programs.build(streaming, dataset, Parallel())
    sizes, first = [], 0
    for source, num_steps in program.chunks(0, program.steps_per_epoch):
        assert int(source.first) == first
        assert source.examples.x.nbytes == steps * 180
        first += num_steps
        sizes.append(num_steps)
    assert sum(sizes) == 9 and set(sizes[:-1]) == {steps}


def test_damage_behind_a_header_stops_the_run(streaming, folder, tmp_path):
    """With the file's name; the run before it is kept."""
    damaged = tmp_path / "images"
    damaged.mkdir()
    for path in folder.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    broken = damaged / "07.png"
    content = bytearray(broken.read_bytes())
    content[-30:] = bytes(30)  # of the pixels; the header is whole
    broken.write_bytes(content)
    bad = replace(streaming, data=replace(streaming.data, source=str(damaged)))
    with pytest.raises(ValueError, match=r"07\.png: not a readable image"):
        train(bad, tmp_path / "run", quiet=True)


def test_a_population_holds_its_images(streaming, tmp_path):
    with pytest.raises(ValueError, match=r"data.streaming = True: must be left out"):
        train(streaming, tmp_path / "run", quiet=True, population=Population(seeds=2))
    assert not (tmp_path / "run").exists()


TWENTY_GB = """
import sys
from pathlib import Path
import numpy as np
from jaxvae import Data, Experiment, Model, Train, data
from jaxvae.data import Dataset, Split
from jaxvae.data.lazy import LazyImages
from jaxvae.training import train

SHAPE, N = (64, 64, 3), 1_700_000  # 20.9 GB of pixels, made from their index when they are read
noise = np.random.default_rng(0).integers(0, 256, (1000, *SHAPE), np.uint8)
read = lambda records: (noise[record % 1000] ^ np.uint8(record // 1000 % 256) for record in records)
train_images = LazyImages(read, np.arange(N), SHAPE)
held_out = Split(train_images.take(np.arange(2000)), None)
data.load = lambda settings: Dataset("big", Split(train_images, None), held_out, held_out, None, "")
experiment = Experiment(
    "big",
    data=Data("big", batch_size=500, streaming=True),
    model=Model(hidden_dims=(4,), latent_dim=2),
    train=Train(epochs=1, figures_every=None),
)
summary = train(experiment, sys.argv[1], quiet=True)
# Of this program alone, while getrusage starts from the memory of whoever started it.
(peak,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
print(summary["steps"], int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
def test_twenty_gigabytes_in_two(tmp_path):
    """An epoch over more pixels than the memory it takes, ten times; only the size is simulated."""
    command = [sys.executable, "-c", TWENTY_GB, tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    steps, megabytes = map(int, done.stdout.split())
    assert steps == 3400
    assert megabytes < 2000


@pytest.mark.parametrize("streamed", [False, True])
def test_the_batches_of_the_rest_of_an_epoch(streamed):
    """From the second of five steps of epoch 2, two at a time: images, labels and numbers."""
    n, batch_size = 23, 4
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    held = LazyImages(lambda records: (images[i] for i in records), np.arange(n), (1, 1, 1))
    split = Split(held if streamed else images, 100 + np.arange(n, dtype=np.int32))
    data, key = Data("x", batch_size=batch_size), noise.root(1)
    experiment = Experiment("x", data=data, train=Train(chunk_steps=2))
    chunks = make_chunks(experiment, split, devices.choose(Parallel(devices=1), batch_size), key)
    order, step, lengths = np.asarray(epoch_order(key, 1, n)), 1, []
    for source, length in chunks(6, 10):
        for _ in range(length):
            taken = source.batch(jnp.int32(step), batch_size)
            index = order[step * batch_size : (step + 1) * batch_size]
            np.testing.assert_array_equal(taken.index, index)
            np.testing.assert_array_equal(np.ravel(taken.x), index)
            np.testing.assert_array_equal(taken.label, 100 + index)
            step += 1
        lengths.append(length)
    assert lengths == [2, 2]
