"""Every block of Python in the documents runs, each alone, as it is written.

Where a block asks for a run or a file, a small one of that name is there; trainings are cut short.
"""

import contextlib
import io
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Experiment, Objective
from tests import documents
from tests.commands import call
from tests.documents import ROOT
from tests.hub import Hub

SHORT: dict[str, Any] = {"epochs": 1, "limit": 128, "figures_every": None, "quiet": True}
EVERY = [
    (document, n)
    for document in documents.DOCUMENTS
    for n in range(len(documents.blocks(document, "python")))
]
"""Blocks, by their document and place in it."""
APART = {("docs/data.md", 0), ("docs/variants.md", 0), ("docs/variants.md", 1)}
"""Those of which more is asked below than that they run."""
ELSEWHERE = {
    **{("docs/parity.md", n): "torch_parity/tests/test_documentation.py" for n in range(2)},
    **{("docs/walkthrough.md", n): "tests/test_walkthrough.py" for n in range(11)},
    ("docs/python.md", 1): "tests/test_estimator.py",
}
"""Those that other tests run, since they need PyTorch, belong together or take long."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of the digits."""
    return jaxvae.train("digits_vae", tmp_path_factory.mktemp("runs") / "a", **SHORT)


@pytest.fixture
def folder(small, monkeypatch, tmp_path):
    """The working directory: with runs/a and more.npz; a training in it is short, and on digits
    where it would be on MNIST."""
    monkeypatch.chdir(tmp_path)
    small.save("runs/a")
    test = small.dataset.test
    np.savez("more.npz", images=test.images[:], labels=test.every_label)
    train = jaxvae.train

    def short(experiment, **changes):
        stand_in = {"data": "digits"} if experiment == "mnist_vae" else {}
        return train(experiment, **(changes | stand_in | SHORT))

    monkeypatch.setattr(jaxvae, "train", short)
    return tmp_path


def source(document: str, n: int) -> str:
    """A block, with as many lines before it as in the document, so that errors name its own."""
    block = documents.blocks(document, "python")[n]
    return "\n" * (block.line - 1) + block.text


def carry_out(code: str, document: str, **names: Any) -> dict[str, Any]:
    """All names that are known when it is done."""
    names["__name__"] = "a_document"
    exec(compile(code, str(ROOT / document), "exec"), names)
    return names


LONG = {("docs/evaluation.md", 0), ("docs/index.md", 0)}
"""Half a minute, and ten seconds."""


@pytest.mark.parametrize(
    ("document", "n"),
    [
        pytest.param(*each, marks=[pytest.mark.slow, pytest.mark.ci] if each in LONG else [])
        for each in EVERY
        if each not in {*APART, *ELSEWHERE}
    ],
)
def test_a_block_runs(document, n, folder, small, monkeypatch):
    if document == "docs/export.md":
        small.export("programs", "stablehlo")
        monkeypatch.setitem(sys.modules, "huggingface_hub", Hub("mnist-vae"))
    carry_out(source(document, n), document)


def test_no_block_is_left_out():
    assert {*APART, *ELSEWHERE} <= {*EVERY} and not APART & ELSEWHERE.keys()
    for (document, _), test in ELSEWHERE.items():
        assert Path(document).name in (ROOT / test).read_text(), (document, test)
    for document in documents.DOCUMENTS:
        found = documents.blocks(document)
        assert {block.language for block in found} <= {"python", "sh", "text", "math"}, document
        fences = re.findall("^ *```", (ROOT / document).read_text(), re.MULTILINE)
        assert len(fences) == 2 * len(found), document


def test_a_variant_in_one_file_trains(folder):
    """That of docs/variants.md, as the file it is to be; what it adds to the loss is logged."""
    Path("sparse.py").write_text(source("docs/variants.md", 0))
    run = jaxvae.train("sparse.py", **{"objective.sparsity": 2.0})
    loss, l1 = (np.array(run.history[f"val_{name}"]) for name in ("loss", "l1"))
    plain = sum(np.array(run.history[f"val_{name}"]) for name in ("recon", "kl"))
    np.testing.assert_allclose(loss, plain + 2 * l1, rtol=1e-5)
    assert (l1 > 0).all()


def test_a_term_across_the_batch_trains(folder):
    """That of docs/variants.md, of which the text shows the method; an estimate of MMD is given."""

    def mmd(z, y):
        def kernel(a, b):
            return jnp.exp(-jnp.square(a[:, None] - b[None]).sum(axis=-1)).mean()

        return kernel(z, z) + kernel(y, y) - 2 * kernel(z, y)

    head = "@dataclass(frozen=True)\nclass MMD(Objective):\n    weight: float = 10.0\n\n"
    code = re.sub(
        r"^def terms.*",
        lambda method: head + textwrap.indent(method[0], "    "),
        source("docs/variants.md", 1),
        flags=re.MULTILINE | re.DOTALL,
    )
    before = "from dataclasses import dataclass\nfrom jaxvae import Objective\n"
    found = carry_out(before + code, "docs/variants.md", mmd=mmd)
    [objective] = (v for v in found.values() if isinstance(v, type) and Objective in v.__bases__)
    run = jaxvae.train(Experiment("mmd", data=Data("digits"), objective=objective()))
    row = {name: values[-1] for name, values in run.history.items()}
    added = objective().weight * row["val_mmd"]
    assert added > 0 and row["val_loss"] == pytest.approx(row["val_recon"] + row["val_kl"] + added)


@pytest.mark.slow
@pytest.mark.parametrize(
    "epochs", [pytest.param(2, marks=[pytest.mark.ci]), pytest.param(None, id="as_documented")]
)
def test_the_table_of_tumours(epochs, folder, capsys):
    """The commands that stand before the block; it prints what docs/data.md says, of which two
    numbers are those of baselines and need no training."""
    text = (ROOT / "docs" / "data.md").read_text()
    short = ["--train.epochs", epochs, "--train.figures-every", None] if epochs else []
    for command in documents.commands("docs/data.md"):
        if command.whole and {"breast_cancer", "runs/bc"} & {*command.words}:
            more = short if command.words[1] == "train" else []
            status, _, said = call(capsys, *command.words[1:], *more)
            assert status == 0, said
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        carry_out(source("docs/data.md", 0), "docs/data.md")
    area, area_of_sum, off, off_of_mean = map(float, printed.getvalue().split())

    def said_to_be(words: str) -> float:
        [number] = re.findall(words.replace(" ", r"\s+").replace("N", r"(\d\.\d+)"), text)
        return float(number)

    assert area_of_sum == pytest.approx(said_to_be("does so with N:"), abs=0.005)
    assert off_of_mean == pytest.approx(said_to_be("means are off by N"), abs=0.005)
    if epochs is None:
        assert area == pytest.approx(said_to_be("area under the ROC curve of N;"), abs=0.015)
        assert off == pytest.approx(said_to_be("are off by N standard"), abs=0.03)
