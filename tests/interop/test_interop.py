"""Imported runs go on like any run, and go back bit for bit; what does not fit is refused."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae import Data, data, runs
from jaxvae.interop import files
from jaxvae.training.load import load
from tests.commands import call
from tests.interop.bits import assert_same_bits
from torch_parity.experiments import EXPERIMENTS

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop.convert import export_torch, import_torch  # noqa: E402
from torch_parity import published  # noqa: E402
from torch_parity.recipes import RECIPES  # noqa: E402

# A model that has BatchNorm, on scikit-learn's digits:
FILE = EXPERIMENTS / "mnist_vae_bn.py"
SMALL = ["--data.source", "digits", "--data.limit", "256", "--data.batch-size", "64"]
SMALL += ["--model.dropout", "0", "--train.figures-every", "None"]


@pytest.fixture(scope="module")
def reference():
    model = RECIPES["mnist_vae_bn"].model()
    torch.manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.dtype == torch.int64:
            tensor.fill_(40)
    return model.eval()


def save(path, model, prefix=""):
    tensors = {prefix + key: tensor.clone() for key, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        files.write(path, {key: tensor.numpy() for key, tensor in tensors.items()})
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_import_export_import_is_exact_through_files(tmp_path, capsys, reference, suffix):
    source = save(tmp_path / f"model{suffix}", reference, prefix="module.model.")
    for run, file, back in (("a", source, "b"), ("b", tmp_path / f"b{suffix}", "c")):
        status, made, err = call(
            capsys, "import-torch", file, "--as", FILE, "--out", tmp_path / run, *SMALL
        )
        assert status == 0, err
        assert (made["map"], made["prefix"]) == ("reference", "module.model.")
        assert (made["parameters"], made["beta_eff"]) == (470_804, 1)
        status, written, err = call(
            capsys, "export-torch", tmp_path / run, tmp_path / f"{back}{suffix}"
        )
        assert status == 0, err
        assert (written["map"], written["parameters"]) == ("reference", 470_804)
        assert_same_bits(files.read(tmp_path / f"{back}{suffix}")[0], files.read(source)[0])
    if suffix == ".pth":
        loaded = torch.load(tmp_path / "c.pth", weights_only=True)
        assert set(loaded) == {f"module.model.{key}" for key in reference.state_dict()}
        strict = {key.removeprefix("module.model."): value for key, value in loaded.items()}
        RECIPES["mnist_vae_bn"].model().load_state_dict(strict, strict=True)


@pytest.mark.slow
@pytest.mark.ci
def test_an_imported_run_evaluates_as_pytorch_does_and_draws(tmp_path, capsys, reference):
    source, run = save(tmp_path / "model.pth", reference), tmp_path / "run"
    assert call(capsys, "import-torch", source, "--as", FILE, "--out", run, *SMALL)[0] == 0
    status, values, err = call(capsys, "evaluate", run, "--z", "mean")
    assert status == 0, err
    images = data.load(Data("digits", limit=256)).test.images[:]
    x = torch.tensor(images.astype(np.float32) / 255).movedim(-1, 1)
    with torch.no_grad():
        h = reference.encoder(x).flatten(1)
        mean, logvar = reference.mean(h), reference.logvar(h)
        pixels = reference.decoder(mean)
    bce = torch.nn.functional.binary_cross_entropy(pixels, x, reduction="sum") / len(x)
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum() / len(x)
    # Means of sums of 784 terms in single precision (6e-8).
    np.testing.assert_allclose(values["recon"], bce, rtol=1e-5)
    np.testing.assert_allclose(values["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(values["mse"], ((pixels - x) ** 2).mean(), rtol=1e-4)

    for command in ("sample", "figures", "reconstruct", "info"):
        status, _, err = call(capsys, command, run)
        assert status == 0, err
    assert (run / "outputs" / "sample.png").exists()
    assert (run / "figures" / "manifold.png").exists()


@pytest.mark.slow
def test_an_imported_run_trains_on(tmp_path, capsys, reference):
    source, run = save(tmp_path / "model.pth", reference), tmp_path / "run"
    rate = 1e-6
    options = [*SMALL, "--optimizer.learning-rate", rate, "--optimizer.schedule", "constant"]
    assert call(capsys, "import-torch", source, "--as", FILE, "--out", run, *options)[0] == 0
    status, summary, err = call(capsys, "train", "--resume", run, "--train.epochs", "1")
    assert status == 0, err
    assert (summary["epochs"], summary["steps"]) == (1, 4)
    assert len(runs.read_metrics(run / "metrics.csv")) == 1
    assert call(capsys, "export-torch", run, tmp_path / "tuned.pth")[0] == 0
    before, after = files.read(source)[0], files.read(tmp_path / "tuned.pth")[0]
    assert int(after["encoder.norm_0.num_batches_tracked"]) == 40 + 4
    moved = [abs(after[key] - before[key]).max() for key, _ in reference.named_parameters()]
    # Adam moves a weight by at most about its rate in a step (and 1.0 may round by 6e-8).
    assert 0 < max(moved) < 4 * rate * 1.1 + 1e-7


@pytest.mark.slow
def test_a_new_run_begins_with_imported_weights(tmp_path, capsys, reference):
    """All of them, running statistics included, on fewer images."""
    source, run = save(tmp_path / "model.pth", reference), tmp_path / "run"
    assert call(capsys, "import-torch", source, "--as", FILE, "--out", run, *SMALL)[0] == 0
    options = [*SMALL, "--data.limit", "128", "--train.epochs", "1", "--init-from", run]
    options += ["--optimizer.learning-rate", "1e-6"]
    status, summary, err = call(capsys, "train", FILE, "--out", tmp_path / "tuned", *options)
    assert status == 0, err
    origin = summary["init_from"]
    assert (origin["initialised"], origin["not_taken"]) == ([], [])
    folders = (run, tmp_path / "tuned")
    theirs, ours = (load(folder)[0].variables.model["params"] for folder in folders)
    # Adam moves a weight by at most about its rate in each of 2 steps (and 1.0 may round by 6e-8).
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2.2e-6 + 1e-7), ours, theirs)


def test_a_run_that_was_trained_here_is_exported_by_the_reference_map(tmp_path, capsys):
    run = tmp_path / "run"
    assert call(capsys, "train", FILE, "--out", run, *SMALL, "--train.epochs", "1")[0] == 0
    status, written, err = call(capsys, "export-torch", run, tmp_path / "model.pth")
    assert status == 0, err
    assert (written["map"], written["prefix"], written["checkpoint_step"]) == ("reference", "", 4)
    model = RECIPES["mnist_vae_bn"].model()
    loaded = torch.load(tmp_path / "model.pth", weights_only=True)
    model.load_state_dict(loaded, strict=True)
    assert {int(n) for k, n in loaded.items() if k.endswith("num_batches_tracked")} == {4}
    status, _, err = call(capsys, "export-torch", run, tmp_path / "model.pth")
    assert status == 2 and "exists" in err


def test_an_average_of_the_parameters_starts_at_the_imported_ones(tmp_path, reference):
    source = save(tmp_path / "model.pth", reference)
    experiment = runs.load_experiment(FILE)
    experiment = replace(experiment, optimizer=replace(experiment.optimizer, ema_decay=0.9))
    import_torch(source, experiment, tmp_path / "run", stored_shape=(28, 28, 1))
    export_torch(tmp_path / "run", tmp_path / "back.pth")  # writes the average
    assert_same_bits(files.read(tmp_path / "back.pth")[0], files.read(source)[0])


MAP = """
from jaxvae.interop.maps import dense
weight_map = {"a": dense("encoder/Dense_0"), "b": dense("mean"), "c": dense("logvar"),
              "d": dense("decoder/Dense_0"), "e": dense("decoder/Dense_1")}
"""


def test_a_map_of_ones_own(tmp_path, capsys):
    source, run = tmp_path / "model.pth", tmp_path / "run"
    names = dict(zip(("fc1", "fc21", "fc22", "fc3", "fc4"), "abcde", strict=True))
    state = published.PytorchExamplesVAE().state_dict()
    torch.save(
        {f"model.{names[k.split('.')[0]]}.{k.split('.')[1]}": v for k, v in state.items()}, source
    )
    file = EXPERIMENTS / "pytorch_examples_vae.py"
    begin = ["import-torch", source, "--as", file, "--out", run, "--data.source", "digits"]
    (tmp_path / "my_map.py").write_text(MAP)
    status, made, err = call(capsys, *begin, "--map", tmp_path / "my_map.py")
    assert status == 0, err
    assert (made["map"], made["prefix"]) == ("my_map.py", "model.")
    back = tmp_path / "back.pth"
    status, _, err = call(capsys, "export-torch", run, back)
    assert status == 2 and "give it with --map" in err  # nothing of a run folder is executed
    status, _, err = call(capsys, "export-torch", run, back, "--map", tmp_path / "my_map.py")
    assert status == 0, err
    assert list(torch.load(back, weights_only=True)) == list(torch.load(source, weights_only=True))
    assert_same_bits(files.read(back)[0], files.read(source)[0])
    status, written, _ = call(capsys, "export-torch", run, tmp_path / "r.pth", "--map", "reference")
    assert (status, written["prefix"]) == (0, "")


def refused(capsys, folder, *args):
    """The message of a command that is used wrongly and leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    status, result, err = call(capsys, *args)
    assert (status, result) == (2, {}), err
    assert sorted(folder.rglob("*")) == before
    return err


def test_what_does_not_fit_is_listed_and_leaves_nothing(tmp_path, capsys, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    source = save(tmp_path / "model.pth", reference)
    begin = ["import-torch", source, "--as", FILE, *SMALL]

    err = refused(capsys, tmp_path, *begin, "--model.latent-dim", "3", "--out", "run")
    assert "model.pth: does not fit the model of 'mnist_vae_bn' by the map 'reference'" in err
    for line in (
        "mean.weight: (2, 128) in the state dict, (3, 128) expected",
        "logvar.bias: (2,) in the state dict, (3,) expected",
        "decoder.dense_0.weight: (128, 2) in the state dict, (128, 3) expected",
    ):
        assert f"\n  {line}" in err

    err = refused(capsys, tmp_path, *begin, "--model.hidden-dims", "256", "--out", "run")
    assert "by the closest built-in map, 'reference'" in err
    for line in (
        "encoder.dense_1.weight: (128, 256) in the state dict, but the map does not name it",
        "encoder.norm_1.running_var: (128,) in the state dict, but the map does not name it",
        "mean.weight: (2, 128) in the state dict, (2, 256) expected",
    ):
        assert f"\n  {line}" in err

    state = reference.state_dict()
    del state["logvar.bias"], state["decoder.norm_0.running_mean"]
    state["head.weight"] = torch.zeros(5)
    torch.save(state, tmp_path / "edited.pth")
    err = refused(capsys, tmp_path, "import-torch", "edited.pth", "--as", FILE, *SMALL)
    for line in (
        "logvar.bias: missing in the state dict, (2,) expected",
        "decoder.norm_0.running_mean: missing in the state dict, (128,) expected",
        "head.weight: (5,) in the state dict, but the map does not name it",
    ):
        assert f"\n  {line}" in err

    err = refused(capsys, tmp_path, *begin, "--map", "pytorch_examples")
    assert "fc1.weight: missing in the state dict" in err
    err = refused(capsys, tmp_path, *begin, "--map", "pytorch_example")
    assert "--map = 'pytorch_example': must be one of reference, pytorch_examples, " in err
    (tmp_path / "none.py").write_text("weight_map = {'a': 'encoder/Dense_0'}\n")
    (tmp_path / "wrong.py").write_text("import nothing_of_this_name\n")
    assert "must define weight_map" in refused(capsys, tmp_path, *begin, "--map", "none.py")
    assert "nothing_of_this_name" in refused(capsys, tmp_path, *begin, "--map", "wrong.py")
    assert "absent.py: no such file" in refused(capsys, tmp_path, *begin, "--map", "absent.py")


def test_other_wrong_uses_leave_nothing(tmp_path, capsys, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    source = save(tmp_path / "model.pth", reference)
    (tmp_path / "cut.pth").write_bytes(source.read_bytes()[:5000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    begin = ["import-torch", source, "--as", FILE, *SMALL]
    cases = {
        "cut.pth: damaged": ["import-torch", "cut.pth", "--as", FILE, *SMALL],
        "no.pth: no such file": ["import-torch", "no.pth", "--as", FILE, *SMALL],
        "give a file of weights and --as": ["import-torch", source],
        "'no.py': no such file": ["import-torch", source, "--as", "no.py"],
        "full: exists and is not empty": [*begin, "--out", "full"],
        "file: exists and is not empty": [*begin, "--out", "file"],
        "model.latent_dim = 0": [*begin, "--model.latent-dim", "0"],
        "--image-shape = (0, 28, 1)": [*begin, "--image-shape", "0", "28", "1"],
        "--image-shape HEIGHT WIDTH CHANNELS": [*begin, "--data.source", "./absent"],
        "one of b1, b2": [*begin, "--optimizer.options", "speed", "3"],
        "not a run folder": ["export-torch", "full", "out.pth"],
    }
    for message, args in cases.items():
        assert message in refused(capsys, tmp_path, *args)

    assert call(capsys, *begin, "--out", "run")[0] == 0
    err = refused(capsys, tmp_path, "export-torch", "run", "out.onnx")
    assert "must end in .pth" in err
    for name in ("antixk", "guess"):
        err = refused(capsys, tmp_path, "export-torch", "run", "out.pth", "--map", name)
        assert f"--map = '{name}': must be one of reference, " in err


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch, reference):
    source = save(tmp_path / "model.pth", reference)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(runs, "write_json", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="no space left"):
        import_torch(source, runs.load_experiment(FILE), tmp_path / "run", stored_shape=(28, 28, 1))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_default_folder_is_the_first_that_is_free(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    source = save(tmp_path / "model.pth", reference)
    experiment = runs.load_experiment(FILE)
    for expected in ("runs/mnist_vae_bn", "runs/mnist_vae_bn-2"):
        assert import_torch(source, experiment, stored_shape=(28, 28, 1))["run"] == expected
        assert load(expected)[1] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "mnist_vae_bn",
        "mnist_vae_bn-2",
    ]
