"""What machines do to a run: kill it, ask it to stop, damage its files, fill its disk.

Each is done for real, to a run in a process of its own where the process matters. The table in
docs/faults.md says how often.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Optimizer, Train, cli, runs
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import train
from jaxvae.training.load import load

TIMES = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """600 random images of 6x6: 480 train, in 120 steps an epoch."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (600, 6, 6), np.uint8))
    return path


@pytest.fixture(scope="module")
def experiment(images):
    return Experiment(
        "faulty",
        data=Data(str(images), batch_size=4),
        model=Model(hidden_dims=(8,), latent_dim=2, batch_norm=True, dropout=0.2),
        optimizer=Optimizer("sgd", 1e-3, {"momentum": 0.9}, ema_decay=0.9),
        train=Train(epochs=3, figures_every=None, chunk_steps=10),
    )


@pytest.fixture(scope="module")
def file(images):
    """The same as an experiment file."""
    path = images.with_name("faulty.py")
    path.write_text(
        "from jaxvae import Data, Experiment, Model, Optimizer, Train\n"
        f"experiment = Experiment('faulty', data=Data({str(images)!r}, batch_size=4),\n"
        "    model=Model(hidden_dims=(8,), latent_dim=2, batch_norm=True, dropout=0.2),\n"
        "    optimizer=Optimizer('sgd', 1e-3, {'momentum': 0.9}, ema_decay=0.9),\n"
        "    train=Train(epochs=3, figures_every=None, chunk_steps=10))\n"
    )
    return path


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    """The run of 3 epochs that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(experiment, folder, quiet=True)
    return folder


def wait_for(process: subprocess.Popen, path: Path) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def rows(folder: Path) -> list[dict[str, float]]:
    found = runs.read_metrics(folder / "metrics.csv")
    return [{name: v for name, v in row.items() if name not in TIMES} for row in found]


def parameters(folder: Path, which: str = "latest") -> object:
    return jax.tree.map(np.asarray, load(folder, which)[0].variables)


def entries(folder: Path) -> list[Path]:
    """What is in a run folder, up to the items of each checkpoint."""
    found = [p for pattern in ("*", "*/*", "*/*/*") for p in folder.glob(pattern)]
    return sorted(path.relative_to(folder) for path in found)


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit: parameters, the best parameters, metrics; and no file more or less.

    How many files Orbax writes for the numbers of one checkpoint is by chance.
    """
    jax.tree.map(np.testing.assert_array_equal, parameters(a), parameters(b))
    jax.tree.map(np.testing.assert_array_equal, parameters(a, "best"), parameters(b, "best"))
    assert rows(a) == rows(b)
    assert entries(a) == entries(b)


def latest_step(run: Path) -> int:
    names = [path.name for path in (run / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("times", [pytest.param(3, marks=pytest.mark.ci), 30])
def test_kill_9(start_train, run_train, file, tmp_path, times):
    """Killed so many times at random moments, started each time by the same command."""
    chance = random.Random(times)
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    options = ("--train.epochs", 4000 * times, "--train.checkpoint-steps", 50, "--or-resume")
    killed, steps = 0, []
    while killed < times:
        process, before = start_train(file, "--out", run, *options), latest_step(run)
        if killed % 2:  # at some moment after it has saved something
            while latest_step(run) == before and process.poll() is None:
                time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.0 if killed % 2 else 9.0))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
        killed += 1
        steps.append(latest_step(run))
    assert steps == sorted(steps) and steps[-1] > 0  # each life went on from the one before
    epochs = steps[-1] // 120 + 2
    short = ("--train.epochs", epochs, "--train.checkpoint-steps", 50)
    run_train("--resume", run, *short)
    run_train(file, "--out", undisturbed, *short)
    assert_same(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.ci), signal.SIGINT]
)
def test_asked_to_stop(start_train, run_train, file, tmp_path, number):
    """It saves in mid-epoch, says so by its exit status, and the same command continues it."""
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    command = (file, "--out", run, "--or-resume", "--train.epochs", 4000)
    process = start_train(*command)
    wait_for(process, run / "metrics.csv")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said.splitlines()[-1].startswith(f"jaxvae: {run}: interrupted at step")
    status = json.loads((run / "summary.json").read_text())["status"]
    step = int(status.split("step ")[1].split()[0])
    assert status.startswith("interrupted") and (run / "checkpoints" / str(step)).is_dir()

    epochs = step // 120 + 2
    run_train(file, "--out", run, "--or-resume", "--train.epochs", epochs)
    run_train(file, "--out", undisturbed, "--train.epochs", epochs)
    jax.tree.map(np.testing.assert_array_equal, parameters(run), parameters(undisturbed))
    assert rows(run) == rows(undisturbed)


@pytest.mark.slow
@pytest.mark.ci
def test_a_second_signal_ends_it_at_once(start_train, file, tmp_path):
    """While a chunk runs that takes many seconds."""
    run = tmp_path / "run"
    wide = ("--model.hidden-dims", 4096, 4096, 4096, "--train.chunk-steps", 120)
    process = start_train(file, "--out", run, *wide)
    wait_for(process, run / "config.json")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None  # the chunk runs on
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=2)
    assert process.returncode == -signal.SIGTERM


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def numbers(checkpoint: Path) -> list[Path]:
    """The files that hold them; others, which may be larger, only describe them."""
    return [path for path in checkpoint.rglob("d/*") if path.stat().st_size]


@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path, damage, caplog):
    """Every file of the latest one: what is read then is whole, the latest or the one before."""
    files = [
        p for p in (whole / "checkpoints" / "360").rglob("*") if p.is_file() and p.stat().st_size
    ]
    assert len(files) > 4
    latest = parameters(whole)
    earlier = tmp_path / "earlier"
    shutil.copytree(whole, earlier)
    shutil.rmtree(earlier / "checkpoints" / "360")
    expected = {360: latest, 240: parameters(earlier)}
    passed_over = 0
    for file in files:
        run = tmp_path / "run"
        shutil.copytree(whole, run)
        damage(run / file.relative_to(whole))
        caplog.clear()
        trained, step = load(run, "latest")
        jax.tree.map(np.testing.assert_array_equal, trained.variables, expected[step])
        if step == 240:
            passed_over += 1
            assert "the checkpoint of step 360 is damaged" in caplog.text
            assert "using the checkpoint of step 240" in caplog.text
        shutil.rmtree(run)
    assert passed_over >= 2  # at least the numbers themselves, and the record


@pytest.mark.parametrize("damage", [truncate, empty, flip])
def test_a_run_goes_on_from_the_checkpoint_before(experiment, whole, tmp_path, damage, caplog):
    """The damaged one is moved aside, and the run ends as if nothing had happened."""
    run = tmp_path / "run"
    two = replace(experiment, train=replace(experiment.train, epochs=2))
    train(two, run, quiet=True)
    for path in numbers(run / "checkpoints" / "240"):
        damage(path)
    train(experiment, run, resume=True, quiet=True)
    assert "using the checkpoint of step 120" in caplog.text
    assert [p.name for p in (run / "damaged-checkpoints").iterdir()] == ["240"]
    shutil.rmtree(run / "damaged-checkpoints")
    assert_same(run, whole)


def test_a_half_written_checkpoint_is_none(experiment, whole, tmp_path):
    """A folder that Orbax had not renamed yet is not listed, and removed by the next run."""
    run = tmp_path / "run"
    two = replace(experiment, train=replace(experiment.train, epochs=2))
    train(two, run, quiet=True)
    checkpoints = run / "checkpoints"
    shutil.copytree(checkpoints / "240", checkpoints / "300.orbax-checkpoint-tmp")
    (run / ".metrics.csv.99999.tmp").write_text("epoch,st")
    train(experiment, run, resume=True, quiet=True)
    assert_same(run, whole)


def test_no_good_checkpoint_is_left(experiment, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in (run / "checkpoints").rglob("*"):
        if path.is_file():
            empty(path)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(runs.RunError, match=r"every checkpoint is damaged \(steps \[.*360\]\)"):
        load(run)
    longer = replace(experiment, train=replace(experiment.train, epochs=4))
    with pytest.raises(runs.RunError, match="every checkpoint is damaged"):
        train(longer, run, resume=True, quiet=True)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.slow
@pytest.mark.ci
def test_best_falls_back_too(experiment, tmp_path, caplog):
    """The best, of an earlier epoch, damaged: the latest is used, and the warning says so."""
    run = tmp_path / "run"
    worse = replace(
        experiment,
        optimizer=Optimizer("adam", 0.3),
        train=replace(experiment.train, epochs=40, early_stopping=3),
    )
    train(worse, run, quiet=True)
    with Checkpoints(run / "checkpoints", read_only=True) as checkpoints:
        best, steps = checkpoints.best_step(), checkpoints.steps()
    assert best < steps[-2] and len(steps) == 3
    for path in numbers(run / "checkpoints" / str(best)):
        flip(path)
    assert load(run, "best")[1] == steps[-1]
    assert f"the checkpoint of step {best} is damaged" in caplog.text


def in_small_disk(script: str, folder: Path, size: str = "3m") -> subprocess.CompletedProcess:
    """Run a shell script with `disk`, a file system of so many bytes, in a mount namespace."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o size={size} tmpfs {disk} && cd {disk} && {{\n{script}\n}}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted],
        env={**os.environ, "PYTHON": sys.executable, "OUT": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.ci
def test_disk_full_while_checkpointing(file, tmp_path):
    """It fails with the reason; what is complete stays, and once there is room the run goes on."""
    options = "--model.hidden-dims 1500 --optimizer.learning-rate 1e-4"
    done = in_small_disk(
        f"""
        $PYTHON -m jaxvae train {file} --out run {options} --train.epochs 9 2> $OUT/said
        echo status $?
        ls run/checkpoints | sort -n | tr '\\n' ' '; echo
        $PYTHON -m jaxvae evaluate run --checkpoint latest > $OUT/evaluated || exit 3
        mount -o remount,size=64m $OUT/disk
        $PYTHON -m jaxvae train --resume run --train.epochs 9 > $OUT/resumed || exit 4
        """,
        tmp_path,
        size="4m",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status, kept = done.stdout.splitlines()[:2]
    said = (tmp_path / "said").read_text()
    assert status == "status 1"
    assert "a checkpoint could not be written" in said and "No space left" in said
    assert "Traceback" not in said
    complete = [int(name) for name in kept.split() if name.isdigit()]
    assert json.loads((tmp_path / "evaluated").read_text())["checkpoint_step"] == complete[-1]
    assert json.loads((tmp_path / "resumed").read_text())["steps"] == 9 * 120


@pytest.mark.slow
def test_disk_full_while_writing_metrics(file, tmp_path):
    """metrics.csv and config.json stay what they were."""
    done = in_small_disk(
        f"""
        $PYTHON -m jaxvae train {file} --out run --train.epochs 1 > $OUT/first || exit 3
        cp -r run $OUT/before
        head -c 9m /dev/zero > filler 2> /dev/null
        $PYTHON -m jaxvae train --resume run --train.epochs 2 2> $OUT/said; echo status $?
        cp -r run $OUT/after; rm filler
        $PYTHON -m jaxvae train --resume run --train.epochs 2 > $OUT/second || exit 4
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "status 1" in done.stdout
    said = (tmp_path / "said").read_text()
    assert "No space left" in said and "Traceback" not in said
    for name in ("config.json", "metrics.csv"):
        assert (tmp_path / "after" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()
    assert not list((tmp_path / "after").glob(".*.tmp"))


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(file, tmp_path):
    """Neither a new run below it nor a resumed one in it; nothing changes."""
    done = in_small_disk(
        f"""
        $PYTHON -m jaxvae train {file} --out run --train.epochs 1 > $OUT/first || exit 3
        cp -r run $OUT/before
        mount -o remount,ro $OUT/disk
        $PYTHON -m jaxvae train {file} --out new 2> $OUT/new; echo new $?
        $PYTHON -m jaxvae train --resume run --train.epochs 2 2> $OUT/resumed; echo resumed $?
        cp -r run $OUT/after
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["new", "1", "resumed", "1"]
    for name in ("new", "resumed"):
        said = (tmp_path / name).read_text()
        assert "Read-only file system" in said and "Traceback" not in said
    names = [p.relative_to(tmp_path / "before") for p in (tmp_path / "before").rglob("*")]
    for name in names:
        if (tmp_path / "before" / name).is_file():
            same = (tmp_path / "after" / name).read_bytes()
            assert same == (tmp_path / "before" / name).read_bytes()


@pytest.mark.slow
def test_two_runs_in_one_folder(start_train, run_train, file, tmp_path):
    """The second is refused while the first lives, whether it would start or resume."""
    run = tmp_path / "run"
    first = start_train(file, "--out", run, "--train.epochs", 4000)
    wait_for(first, run / "metrics.csv")
    for options in ((file, "--out", run, "--or-resume"), ("--resume", run)):
        said = run_train(*options, "--train.epochs", 5000, status=2)
        assert said == f"jaxvae: {run}: another process is training in it\n"
    first.kill()
    first.communicate()
    step = max(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit())
    run_train("--resume", run, "--train.epochs", step // 120 + 2)  # the lock died with it


def edit_config(run: Path, **changes: object) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.slow
@pytest.mark.ci
def test_of_another_version_or_experiment(experiment, whole, tmp_path):
    """Refused with what differs, unless told that it may; nothing is overwritten."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    edit_config(run, jaxvae="0.0.1")
    before = (run / "config.json").read_bytes()
    longer = replace(experiment, train=replace(experiment.train, epochs=4))
    with pytest.raises(ValueError, match=r"jaxvae \('0.0.1' to .*--may-change jaxvae"):
        train(longer, run, resume=True, quiet=True)
    assert (run / "config.json").read_bytes() == before
    train(longer, run, resume=True, quiet=True, may_change=["jaxvae"])

    faster = replace(
        longer,
        optimizer=replace(longer.optimizer, learning_rate=2e-3),
        train=replace(longer.train, epochs=5),
    )
    with pytest.raises(
        ValueError, match=r"learning_rate \(0.001 to 0.002\); unless .*--may-change"
    ):
        train(faster, run, resume=True, quiet=True)
    wider = replace(faster, model=replace(faster.model, hidden_dims=(9,)))
    with pytest.raises(ValueError, match=r"model.hidden_dims .*learning_rate \(0.001 to 0.002\)$"):
        train(wider, run, resume=True, quiet=True)
    with pytest.raises(ValueError, match=r"--may-change = 'model.hidden_dims': must be one of"):
        train(wider, run, resume=True, quiet=True, may_change=["model.hidden_dims"])
    train(faster, run, resume=True, quiet=True, may_change=["optimizer.learning_rate"])
    assert rows(run)[-1]["learning_rate"] == pytest.approx(2e-3)


def test_fields_of_another_version(whole, tmp_path, capsys):
    """A configuration that this version cannot read: one line, and nothing is written."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["model"]["attention_heads"] = 4
    (run / "config.json").write_text(json.dumps(config))
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "--resume", str(run), "--train.epochs", "9"])
    assert exit.value.code == 2
    said = capsys.readouterr().err
    assert "attention_heads" in said and len(said.splitlines()) == 1
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
