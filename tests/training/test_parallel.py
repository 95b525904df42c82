"""The answer does not depend on the devices: every runner against one device, on four CPU devices.

The numbers come from `runners.py`, in a process of its own: how many devices JAX has is decided
when it starts.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxvae import Parallel, runs
from jaxvae.training import devices

pytestmark = pytest.mark.numeric

SCRIPT = Path(__file__).with_name("runners.py")
TIMES = {"seconds", "images_per_second"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("float64", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("float32", marks=pytest.mark.slow),
    ],
)
def found(request, tmp_path_factory):
    """The precision, and every runner's numbers."""
    out = tmp_path_factory.mktemp("runners") / "found.npz"
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_ENABLE_X64": str(request.param == "float64").lower(),
    }
    subprocess.run([sys.executable, SCRIPT, out], env={**os.environ, **settings}, check=True)
    return request.param, dict(np.load(out))


def test_every_runner_computes_the_same(found):
    """Noise bit for bit; the rest to the rounding of sums in another order.

    Raw gradients are compared, and steps of SGD: Adam divides by the gradient's size and would hide
    a factor. 36 rows of float32 are summed: 1e-5 of the largest entry is a hundred roundings.
    """
    precision, numbers = found
    runners = {"-".join(key.split("-")[:2]) for key in numbers} - {"jit-0"}
    assert len(runners) == (8 if precision == "float32" else 4)
    tolerance = 1e-5 if precision == "float32" else 1e-12
    for runner in runners:
        for name in ("gradient", "collections", "first", "losses"):
            ours, one = numbers[f"{runner}-{name}"], numbers[f"jit-1-{name}"]
            assert np.abs(one).max() > 0
            assert np.abs(ours - one).max() <= tolerance * np.abs(one).max(), (runner, name)
        if precision == "float32":
            streamed = numbers[f"{runner}-streamed"] - numbers["jit-1-losses"]
            assert np.abs(streamed).max() <= tolerance * np.abs(numbers["jit-1-losses"]).max()
        np.testing.assert_array_equal(numbers[f"{runner}-eps"], numbers["jit-1-eps"])
        if not runner.startswith("pmap"):
            assert numbers[f"{runner}-is_divided"]  # and not computed on every device
    assert len(np.unique(numbers["jit-1-eps"])) == 12 * 4


def test_every_runner_takes_batches_in_parts(found):
    """One image after another, of those that each device has: what whole batches on one give, also
    of total correlations, which look across the batch."""
    precision, numbers = found
    tolerance = 1e-5 if precision == "float32" else 1e-12
    for runner in ("jit-1", "sharded-4", "shard_map-4", "pmap-4"):
        for name in ("first", "losses", "across-first", "across-losses"):
            ours, whole = numbers[f"{runner}-parts-{name}"], numbers[f"jit-0-{name}"]
            assert np.abs(ours - whole).max() <= tolerance * np.abs(whole).max(), (runner, name)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An experiment file over 60 random images, 48 of them to train on: 12 steps an epoch."""
    folder = tmp_path_factory.mktemp("experiment")
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
    np.savez(folder / "images.npz", images=images)
    (folder / "images").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{i:02d}.png")
    (folder / "small.py").write_text(
        "from jaxvae import Data, Experiment, Model, Optimizer, Train\n"
        "experiment = Experiment('small',\n"
        f"    data=Data({str(folder / 'images.npz')!r}, batch_size=4),\n"
        "    model=Model(hidden_dims=(8,), latent_dim=2, batch_norm=True, dropout=0.3),\n"
        "    optimizer=Optimizer('sgd', learning_rate=0.001),\n"
        "    train=Train(epochs=3, figures_every=0, checkpoint_steps=5))\n"
    )
    return folder


def rows(run: Path) -> np.ndarray:
    """metrics.csv without its times.

    Those of other devices differ by the rounding of float32 sums that three epochs carry on: 1e-5
    or so. Twice the learning rate moves them by 1e-3 at least, so 1e-4 tells the two apart.
    """
    return np.array(
        [
            [value for name, value in row.items() if name not in TIMES]
            for row in runs.read_metrics(run / "metrics.csv")
        ]
    )


@pytest.fixture(scope="module")
def alone(files, run_train):
    """The run on one device."""
    run_train(files / "small.py", "--out", files / "alone")
    return rows(files / "alone")


def free_port() -> int:
    """One that nobody listens at, below those that systems hand out by themselves."""
    for port in np.random.default_rng(os.getpid()).permutation(np.arange(20000, 30000)):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", int(port)))
            return int(port)
    raise AssertionError("every port is taken")


@pytest.fixture
def start_together(files, start_train):
    """Start two processes of two devices each, over localhost."""

    def start(out: Path, *options: object) -> list[subprocess.Popen]:
        coordinator = f"127.0.0.1:{free_port()}"
        shared = ("--out", out, *options, "--parallel.distributed")
        return [
            start_train(
                *(files / "small.py", *shared, "--parallel.coordinator", coordinator),
                *("--parallel.processes", 2, "--parallel.index", i),
                devices=2,
            )
            for i in range(2)
        ]

    return start


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Their exit statuses and what they said."""
    said = [process.communicate(timeout=300)[1] for process in processes]
    return [(p.returncode, text) for p, text in zip(processes, said, strict=True)]


@pytest.fixture
def together(start_together):
    return lambda *arguments: ended(start_together(*arguments))


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_are_one_run(together, run_train, alone, tmp_path):
    """The same curve; one folder, written by the first process; resumed on one device."""
    run = tmp_path / "run"
    first, second = together(run, "--train.epochs", 2)
    assert first[0] == second[0] == 0, (first, second)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["runner"] == "sharded over 4 devices of 2 processes"
    np.testing.assert_allclose(rows(run), alone[:2], rtol=1e-4)
    assert (run / "figures" / "samples.png").stat().st_size > 0
    assert second[1].splitlines() == [first[1].splitlines()[0]]  # the first speaks for both
    assert second[1].startswith("waiting for the other processes at 127.0.0.1:")
    assert not list(run.glob(".*.tmp"))

    run_train("--resume", run, "--train.epochs", 3)
    np.testing.assert_allclose(rows(run), alone, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_stream(files, together, alone, tmp_path):
    """The same curve again, each process decoding the rows of its own devices."""
    streamed = ("--data.source", files / "images", "--data.streaming")
    assert [status for status, _ in together(tmp_path / "run", *streamed)] == [0, 0]
    np.testing.assert_allclose(rows(tmp_path / "run"), alone, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_stop_and_go_on(start_together, together, run_train, alone, tmp_path):
    """One is asked to stop: both save and say so. Then their checkpoint is damaged: both go on from
    the one before, which the first moves aside."""
    run = tmp_path / "run"
    processes = start_together(run, "--train.epochs", 4000)
    while not (run / "metrics.csv").exists():
        time.sleep(0.05)
        assert all(process.poll() is None for process in processes), ended(processes)
    processes[1].terminate()
    assert [status for status, _ in ended(processes)] == [75, 75]

    latest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in latest.rglob("d/*"):
        path.write_bytes(b"")
    epochs = runs.read_metrics(run / "metrics.csv")[-1]["epoch"] + 1
    both = together(run, "--or-resume", "--train.epochs", epochs)
    assert [status for status, _ in both] == [0, 0], both
    assert [path.name for path in (run / "damaged-checkpoints").iterdir()] == [latest.name]
    found = rows(run)
    assert len(found) == epochs
    np.testing.assert_allclose(found[:3], alone[: len(found)][:3], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "different, words",
    [
        (("--seed", 3), r"seed \(0, here 3\)"),
        (("--data.source", "other.npz"), r"images .* data.source"),
        (("--out", "elsewhere"), "one folder that all processes see"),
    ],
)
def test_processes_that_were_started_differently(
    files, start_train, tmp_path, monkeypatch, different, words
):
    """All end, in a second, and say why; otherwise they would train different models, or hang."""
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", images=np.zeros((60, 6, 6), np.uint8))
    coordinator = f"127.0.0.1:{free_port()}"
    shared = (files / "small.py", "--out", "run", "--parallel.distributed")
    shared += ("--parallel.coordinator", coordinator, "--parallel.processes", 2)
    processes = [
        start_train(*shared, "--parallel.index", i, *(different if i else ())) for i in range(2)
    ]
    (first, one), (second, two) = ended(processes)
    assert (first, second) == (2, 2), (one, two)
    assert re.search(words, two), two
    assert "another one, which says in what" in one or words in one
    assert not Path("run").exists() and not Path("elsewhere").exists()


OWN_ROWS = """
import sys, jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from jaxvae import Parallel
from jaxvae.training import devices
found = jax.devices()
jax.devices = lambda: found[::2] + found[1::2]  # processes in turn, as the chips of a TPU pod lie
print(devices.choose(Parallel(), 12).own_rows(12))
"""


def test_each_process_reads_its_own_rows():
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "-c", OWN_ROWS, f"127.0.0.1:{free_port()}"]
    processes = [
        subprocess.Popen([*command, str(i)], env=settings, stdout=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert said == ["slice(0, 6, None)\n", "slice(6, 12, None)\n"]


def test_refusal_of_one_ends_all(together, tmp_path):
    """Only the first process looks at the folder, and the second hears of it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    first, second = together(tmp_path / "run")
    assert first[0] == second[0] == 2
    assert "exists and is not empty" in first[1]
    assert "refused by the first process" in second[1]


@pytest.mark.slow
@pytest.mark.parametrize("resumed_on", [1, 2])
def test_a_run_moves_to_fewer_devices(files, run_train, alone, tmp_path, resumed_on):
    """Stopped in mid-epoch on 4 devices, continued on fewer: the same curve."""
    run = tmp_path / "run"
    run_train(files / "small.py", "--out", run, "--train.max-steps", 17, devices=4)
    options = ("--train.max-steps", "None", "--parallel.devices", resumed_on)
    run_train("--resume", run, *options, devices=2)
    np.testing.assert_allclose(rows(run), alone, rtol=1e-4)


def test_what_is_refused(monkeypatch):
    """With the numbers that do not fit."""
    with pytest.raises(ValueError, match=r"parallel.devices = 2: must be in 1..1"):
        devices.choose(Parallel(devices=2), 8)
    with pytest.raises(ValueError, match=r"all three"):
        Parallel(coordinator="localhost:1")
    with pytest.raises(ValueError, match=r"parallel.index = 2"):
        Parallel(distributed=True, coordinator="localhost:1", processes=2, index=2)
    for coordinator in ("nonsense", "host:", ":1234", "host:port", "host:99999"):
        with pytest.raises(ValueError, match=r"parallel.coordinator = .*must be HOST:PORT"):
            Parallel(distributed=True, coordinator=coordinator, processes=2, index=0)
    four = [SimpleNamespace(process_index=0, id=i) for i in range(4)]
    monkeypatch.setattr(devices.jax, "devices", lambda: four)
    with pytest.raises(ValueError, match=r"= 6: must be a multiple of the 4 .*devices 3$"):
        devices.choose(Parallel(), 6)
    with pytest.raises(ValueError, match=r"parallel.runner = 'jit'"):
        devices.choose(Parallel("jit", 4), 8)
