"""Every block of shell commands in the documents is carried out, in its order, as a reader would.

Of each document in one folder, where what it asks for is: small runs, photos, arrays, a table,
weights. Trainings and studies are cut short, and on the embedded digits where they would be on
MNIST. Programs that are not `jaxvae` are carried out by other tests and by CI.
"""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxvae
from jaxvae import cli
from tests import documents
from tests.commands import call

ELSEWHERE = {
    "make": "CI calls it, or it is one of CI's jobs",
    ".ci/run": "CI itself",
    "pip install": "CI does so, from the wheel and in a clone",
    "python experiments/jobs/": "minutes; the jobs are carried out in tests/jobs, at small sizes",
    "python -m jaxvae.experiments.jobs": "the same",
    "python -m tests.mutants": "tens of minutes",
    "python -m torch_parity": "minutes; CI carries it out, torch_parity/tests the others of it",
    "python fuzz/": "asks for atheris, which is in no extra",
    "python3 -m gpu": "minutes; tests/gpu rehearses it",
    "jaxvae train mnist_vae --out /shared/a": "two processes in tests/training/test_parallel.py",
}
"""How commands begin that are not carried out here, and why."""


def elsewhere(words: tuple[str, ...]) -> bool:
    """Whether it is one of these."""
    return " ".join(words).startswith(tuple(ELSEWHERE))


def commands(document: str) -> list[tuple[str, ...]]:
    """Those of its blocks that are carried out here."""
    whole = [command.words for command in documents.commands(document) if command.whole]
    return [words for words in whole if not elsewhere(words)]


HERE = [document for document in documents.DOCUMENTS if commands(document)]
CI = ("README.md", "docs/export.md", "docs/report.md")
CAP, IMAGES = 6, 128  # epochs; images of a training


def shortened(words: tuple[str, ...]) -> list[str]:
    """The command's words, of a training or a study with fewer epochs and images."""
    found = list(words)
    if "--anomalies" in found:  # MNIST, which is not to hand everywhere
        found[found.index("--anomalies") + 1] = "more.npz"
    if words[1] == "doctor":
        return [*found, "--quick"]
    if words[1] == "import-torch":
        return [*found, "--data.source", "digits"]
    if words[1] not in ("train", "study"):
        return found
    if "--train.epochs" in found:
        i = found.index("--train.epochs") + 1
        found[i] = str(min(CAP, int(found[i])))
    else:
        found += ["--train.epochs", str(CAP if "--resume" in found else 2)]
    if "--resume" in found:
        return found
    if words[1] == "study":
        return [*found, "--data.limit", "640", "--limit", "300"]
    if "--data.source" not in found and any("mnist" in word for word in found):
        found += ["--data.source", "digits"]
    return [*found, "--data.batch-size", "32", "--data.limit", str(IMAGES)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What documents call runs/a, runs/b, runs/pop and runs/fashion."""
    folder = tmp_path_factory.mktemp("runs")
    short = ["--train.epochs", "2", "--train.figures-every", "None"]
    for name, options in {
        "a": [],
        "b": ["--objective.beta", "2"],
        "fashion": [],
        "pop": ["--population.seeds", "4"],
    }.items():
        cli.main(["train", "digits_vae", "--out", str(folder / name), *short, *options])
    return folder


@pytest.fixture
def folder(runs, monkeypatch, tmp_path):
    """The working directory: with files of data, and what the experiments of documents are."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * IMAGES, 28, 28), np.uint8)
    np.savez("images.npz", images=images)
    np.savez("more.npz", images=images, labels=np.arange(len(images)) % 10)
    Path("photos").mkdir()
    for i, (height, width) in enumerate(rng.integers(50, 120, (IMAGES, 2))):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{i}.jpg")
    with open("table.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("height", "weight", "age"))
        rows.writerows(rng.normal(size=(2 * IMAGES, 3)).tolist())
    Path("sparse.py").write_text(documents.blocks("docs/variants.md", "python")[0].text)
    return tmp_path


def weights(experiment: str) -> None:
    """vae.pth, as its PyTorch model has them, and check.npz, what that does with images."""
    out = f"of_{experiment}"
    short = ["--data.source", "digits", "--train.epochs", "1", "--train.figures-every", "None"]
    cli.main(["train", experiment, "--out", out, *short])
    Path("vae.pth").unlink(missing_ok=True)
    cli.main(["export-torch", out, "vae.pth"])
    run = jaxvae.load(out)
    images = run.dataset.test.images[:8] / np.float32(255)
    outputs = run.reconstruct(images)
    np.savez("check.npz", images=images.reshape(8, -1), outputs=outputs.reshape(8, -1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [pytest.param(d, marks=[pytest.mark.ci] if d in CI else []) for d in HERE],
)
def test_the_blocks_of_a_document_are_carried_out(document, folder, runs, capsys, run_train):
    """What a document does not make itself is there."""
    made = {words[words.index("--out") + 1] for words in commands(document) if "--out" in words}
    for run in runs.iterdir():
        if f"runs/{run.name}" not in made:
            shutil.copytree(run, f"runs/{run.name}")
    for words in commands(document):
        if words[1] == "import-torch":
            weights(words[words.index("--as") + 1])
            capsys.readouterr()
        short = shortened(words)
        if any(word.startswith("--parallel") for word in words):
            run_train(*short[2:], devices=4)
            continue
        status, _, err = call(capsys, *short[1:])
        assert status == 0, (words, err)
