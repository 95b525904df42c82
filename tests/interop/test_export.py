"""Exported runs: the same model again, as a run, as StableHLO without the package, as ONNX."""

import json
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Experiment
from jaxvae.checks import UsageError
from jaxvae.interop import programs
from jaxvae.interop.export import export
from jaxvae.runs import measured
from jaxvae.runs.folder import PARAMETERS
from jaxvae.variants.codebooks import VQ, Quantisation
from tests.commands import call
from tests.hub import Hub

SMALL = {"resize": (8, 8), "limit": 64, "epochs": 1, "figures_every": None, "quiet": True}
CONV = {"network": "conv", "hidden_dims": (4, 8), "latent_dim": 3}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A dense VAE whose pixels are in [-1, 1]."""
    folder = tmp_path_factory.mktemp("runs") / "dense"
    settings = {"hidden_dims": (16,), "latent_dim": 3, "range": (-1.0, 1.0), "output": "tanh"}
    return jaxvae.train("digits_vae", folder=folder, **settings, likelihood="mse", **SMALL)


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "conv"
    return jaxvae.train("digits_vae", folder=folder, batch_norm=True, **CONV, **SMALL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An AE, whose `encode` gives a code."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    settings = {"family": "AE", "hidden_dims": (16,), "latent_dim": 3}
    return jaxvae.train("digits_vae", folder=folder, **settings, **SMALL)


@pytest.fixture(scope="module")
def plain_conv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "plain_conv"
    return jaxvae.train("digits_vae", folder=folder, family="AE", **CONV, **SMALL)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A CAE, whose codes are feature maps."""
    folder = tmp_path_factory.mktemp("runs") / "maps"
    settings = {"family": "CAE", "network": "conv", "hidden_dims": (4, 3)}
    return jaxvae.train("digits_vae", folder=folder, **settings, **SMALL)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "conditional"
    return jaxvae.train("conditional_vae", folder=folder, hidden_dims=(16,), latent_dim=3, **SMALL)


@pytest.fixture(scope="module")
def vq(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vq"
    experiment = Experiment(
        "vq",
        data=Data("digits", batch_size=32),
        model=VQ(network="conv", hidden_dims=(4, 8), latent_dim=3, codes=8),
        objective=Quantisation("bernoulli"),
    )
    return jaxvae.train(experiment, folder=folder, **SMALL)


IMAGES = np.random.default_rng(0).random((5, 8, 8, 1)).astype(np.float32)


def same(ours, theirs):
    # Two compilations of the same float32 arithmetic, of sums of up to 64 numbers around 1.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


SLOW = [
    pytest.param("dense", marks=[pytest.mark.slow, pytest.mark.ci]),
    pytest.param("conditional", marks=pytest.mark.slow),
    pytest.param("conv", marks=[pytest.mark.slow, pytest.mark.ci]),
    pytest.param("vq", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", ["dense", *SLOW[1:]])
def test_parameters_are_a_run_again(name, request, tmp_path):
    run = request.getfixturevalue(name)
    out = run.export(tmp_path / "out")
    again = jaxvae.load(out, like=run.experiment)
    for a, b in zip(
        jax.tree.leaves(run.trained.variables),
        jax.tree.leaves(again.trained.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(run.reconstruct(), again.reconstruct())
    files = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "README.md", "summary.json"} <= files
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name:") and run.experiment.name in card
    assert f"{run.summary['best']['val_loss']:.5g} nats per image" in card


def test_the_card_has_what_was_measured_on_this_checkpoint(dense, tmp_path):
    """With its standard error, its unit and its definition."""
    run = jaxvae.load(shutil.copytree(dense.folder, tmp_path / "run"))
    step = run.summary["best"]["step"]
    options = {"checkpoint": "best", "source": "digits", "split": "test"}
    for at, nll in ((step, 123.456), (step + 1, 99.0)):
        values = {"nll": nll, "nll_se": 0.25, "num_samples": 7}
        record = measured.Record("nll", options | {"at": at}, values, ("a note",), at, 360)
        measured.keep(run.folder, [record])
    card = (run.export(tmp_path / "out") / "README.md").read_text()
    assert "| Bound on -log p(x) (360 test examples) | value |" in card
    assert "| nll | 123.46 ± 0.25 nats | a bound on -log p(x)" in card
    assert "99 ±" not in card and "\na note" in card


def test_commands_take_it(dense, tmp_path, capsys):
    out = tmp_path / "out"
    status, found, _ = call(capsys, "export", dense.folder, out)
    assert status == 0 and found["files"] == sorted(path.name for path in out.iterdir())
    one, two = (call(capsys, "evaluate", folder)[1] for folder in (dense.folder, out))
    assert one["loss"] == two["loss"] and one["checkpoint_step"] == two["checkpoint_step"] > 0
    status, _, err = call(capsys, "train", "--resume", out, "--train.epochs", 2)
    assert status == 2 and "--init-from" in err
    status, _, err = call(capsys, "export", dense.folder, out)
    assert status == 2 and "not empty" in err
    begun = jaxvae.train(dense.experiment, init_from=out, folder=tmp_path / "begun", quiet=True)
    assert begun.summary["epochs"] == 1


@pytest.mark.parametrize("name", SLOW)
def test_stablehlo_runs_without_the_package(name, request, tmp_path):
    """Read again in a process that imports JAX and NumPy alone, for two batch sizes."""
    run = request.getfixturevalue(name)
    out = run.export(tmp_path / "hlo", "stablehlo")
    labels = np.arange(5, dtype=np.int32)
    np.savez(tmp_path / "in.npz", x=IMAGES, label=labels, key=np.array([0, 7], np.uint32))
    script = f"""
        import json, sys
        import numpy as np
        from jax import export

        given = dict(np.load({str(tmp_path / "in.npz")!r}))
        given["index"] = np.arange(5, dtype=np.int32)
        described = json.load(open({str(out / "programs.json")!r}))["programs"]
        found = {{}}
        for name, says in described.items():
            with open({str(out)!r} + "/" + says["file"], "rb") as file:
                program = export.deserialize(bytearray(file.read()))
            names = [a["name"] for a in says["arguments"]]
            for n in (5, 2):
                cut = [given[a] if a == "key" else given[a][:n] for a in names]
                result = program.call(*cut)
                result = result[0] if isinstance(result, (tuple, list)) else result
                found[f"{{name}}_{{n}}"] = np.asarray(result)
            given.setdefault("z", found["encode_5"])
        assert not {{"flax", "jaxvae", "optax"}} & {{*sys.modules}}
        np.savez({str(tmp_path / "out.npz")!r}, **found)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path)
    theirs = dict(np.load(tmp_path / "out.npz"))
    known = name == "conditional"
    made = programs.programs(run.trained)
    z = theirs["encode_5"]
    unit = np.float32(np.round(IMAGES * 255) / 255)
    codes = made["encode"].function(jnp.asarray(unit), *([jnp.asarray(labels)] if known else []))
    codes = codes[0] if isinstance(codes, tuple) else codes
    if not known:
        same(run.embed(unit), codes)
    same(theirs["decode_5"], run.decode(z, labels if known else None))
    same(theirs["decode_2"], theirs["decode_5"][:2])
    if "sample_5" in theirs:
        assert theirs["sample_5"].min() >= 0 and theirs["sample_5"].max() <= 1
        same(theirs["sample_2"], theirs["sample_5"][:2])
        if not known:
            same(theirs["sample_5"], run.sample(5, seed=7))


OF_ONNX = [
    *SLOW[:3],
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("plain", "plain_conv", "maps")),
]


@pytest.mark.parametrize("name", OF_ONNX)
def test_onnx_computes_the_same(name, request, tmp_path):
    import onnxruntime

    run = request.getfixturevalue(name)
    out = run.export(tmp_path / "onnx", "onnx")
    assert {path.name for path in out.iterdir()} == {
        *("encode.onnx", "decode.onnx", "programs.json", "README.md")
    }
    made = programs.programs(run.trained)
    code = (2, 2, 3) if name == "maps" else (3,)
    z = np.random.default_rng(1).standard_normal((5, *code)).astype(np.float32)
    label = [np.arange(5, dtype=np.int32)] if name == "conditional" else []
    for part, x in (("encode", IMAGES), ("decode", z)):
        session = onnxruntime.InferenceSession(out / f"{part}.onnx")
        names = [each.name for each in session.get_inputs()]
        given = [x, *label]
        theirs = session.run(None, dict(zip(names, given, strict=True)))
        ours = jax.tree.leaves(made[part].function(*map(jnp.asarray, given)))
        assert len(theirs) == len(ours)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_damaged_and_other_parameters_are_refused(dense, tmp_path):
    out = dense.export(tmp_path / "out")
    path = out / PARAMETERS
    content = path.read_bytes()
    path.write_bytes(content[:100])
    with pytest.raises(UsageError, match=r"model.safetensors: cannot be read"):
        _ = jaxvae.load(out).trained
    path.write_bytes(content.replace(b"model/params/mean/kernel", b"model/params/mine/kernel"))
    with pytest.raises(UsageError, match=r"mean/kernel: missing; .*mine/kernel: not of this model"):
        _ = jaxvae.load(out).trained
    config = json.loads((out / "config.json").read_text())
    config["experiment"]["model"]["hidden_dims"] = [17]
    (out / "config.json").write_text(json.dumps(config))
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"kernel: float32 \(64, 16\), where the model has"):
        _ = jaxvae.load(out).trained


def test_nothing_is_left_of_what_fails(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "as_stablehlo", lambda program: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(dense.folder, tmp_path / "out", "stablehlo")
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(UsageError, match="exported run"):
        jaxvae.load(dense.export(tmp_path / "whole")).resume(epochs=2)


def test_a_package_that_is_missing_is_named(dense, tmp_path, monkeypatch):
    for module, form in (("safetensors", "safetensors"), ("jax2onnx", "onnx")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UsageError, match=f"needs {module}, which is not installed"):
            dense.export(tmp_path / form, form)

    assert [*tmp_path.iterdir()] == []


def test_the_hub(dense, tmp_path, monkeypatch):
    out = dense.export(tmp_path / "out")
    hub = Hub(out)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert jaxvae.from_pretrained(out).folder == out and not hub.asked
    run = jaxvae.from_pretrained("me/digits", revision="v1")
    np.testing.assert_array_equal(run.reconstruct(), dense.reconstruct())
    assert dense.push("me/digits", private=True) == "address of me/digits"
    files = sorted(path.name for path in out.iterdir())
    assert hub.asked == [("me/digits", "v1"), ("me/digits", True, True), ("me/digits", files)]
    for name in ("digits", "./out/no", tmp_path / "nothing"):
        with pytest.raises(UsageError, match="no such folder, and no id of the Hub"):
            jaxvae.from_pretrained(name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="needs huggingface_hub, which is not installed"):
        jaxvae.from_pretrained("me/digits")
