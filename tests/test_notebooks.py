"""Notebooks run from top to bottom, show pictures, and survive an interrupt."""

import time
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
PICTURES = {"first_steps": 3, "own_images": 3, "a_variant": 1}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Jupyter's parts


def test_each_is_known():
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.ci) if p.stem == "first_steps" else p for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook(path, tmp_path):
    """Without an error, with as many pictures as it means to show, and nothing on stderr but what
    trainings say."""
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(shown) == PICTURES[path.stem]
    said = "".join(o["text"] for o in outputs if o.get("name") == "stderr")
    assert "Warning" not in said and "Traceback" not in said


INTERRUPTED = [
    "import numpy as np, jaxvae\n"
    "images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)\n"
    "small = jaxvae.Experiment('small', data=jaxvae.Data(images, batch_size=12),\n"
    "    model=jaxvae.Model(hidden_dims=(8,), latent_dim=2),\n"
    "    train=jaxvae.Train(epochs=1000000, figures_every=None))\n"
    "def begun(run, row):\n"
    "    if row['epoch'] == 2: open('begun', 'w')\n",
    "run = jaxvae.train(small, callbacks=[begun], quiet=True)",
    "before = len(run.history['epoch'])\n"
    "run = run.resume(epochs=before + 2)\n"
    "print(before >= 2, len(run.history['epoch']) == before + 2, run.sample(2).shape)",
]


def test_a_kernel_that_is_interrupted_goes_on(tmp_path):
    """In mid-training: the cell returns the run as it stands, and the next cell resumes it."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        client.execute_interactive(INTERRUPTED[0], timeout=120)
        client.execute(INTERRUPTED[1])
        until = time.monotonic() + 300
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < until and manager.is_alive()
            time.sleep(0.2)
        manager.interrupt_kernel()
        said = []
        reply = client.execute_interactive(INTERRUPTED[2], timeout=300, output_hook=said.append)
        assert reply["content"]["status"] == "ok", reply["content"]
        printed = [m["content"]["text"] for m in said if m["msg_type"] == "stream"]
        assert "True True (2, 6, 6, 1)\n" in printed
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
