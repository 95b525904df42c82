"""Names of a file's arrays: prefixes, what is left over, and chains of layers."""

from dataclasses import replace
from pathlib import Path

import pytest

from jaxvae import Model, Objective, runs
from jaxvae.checks import UsageError
from jaxvae.interop import files
from tests.commands import call
from tests.interop.bits import assert_same_bits, assert_same_values, computed

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop.convert import Reading, export_torch, import_torch  # noqa: E402
from tests.interop.theirs import (  # noqa: E402
    IMAGES,
    SHAPE,
    VAE,
    function,
    of_modules,
    state_dict,
)
from torch_parity import published  # noqa: E402

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "pytorch_examples_vae.py"
MAP = """
from jaxvae.interop.maps import dense
weight_map = {"model.0": dense("encoder/Dense_0"), "model.mean": dense("mean"),
              "model.logvar": dense("logvar"), "model.1": dense("decoder/Dense_0"),
              "model.2": dense("decoder/Dense_1")}
"""
NAMES = {"fc1": "0", "fc21": "mean", "fc22": "logvar", "fc3": "1", "fc4": "2"}


def save(path, prefix, names):
    """pytorch/examples's VAE with its layers renamed, behind a prefix."""
    state = {}
    for key, tensor in published.PytorchExamplesVAE().state_dict().items():
        layer, _, array = key.partition(".")
        state[f"{prefix}{names.get(layer, layer)}.{array}"] = tensor
    torch.save(state, path)
    return path


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_a_map_may_name_what_elsewhere_is_a_wrapper(tmp_path, wrapper):
    """A model whose layers are in `self.model`: the map that fits it in `compare` fits here."""
    (tmp_path / "my_map.py").write_text(MAP)
    source, map_name = save(tmp_path / "a.pth", f"{wrapper}model.", NAMES), f"{tmp_path}/my_map.py"
    experiment, shape = runs.load_experiment(EXPERIMENT), (28, 28, 1)
    made = import_torch(source, experiment, tmp_path / "run", Reading(map=map_name), shape)
    assert made["prefix"] == wrapper
    export_torch(tmp_path / "run", tmp_path / "b.pth", map_name=map_name)
    loaded = [torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in "ab"]
    theirs, back = ({key: t.numpy() for key, t in state.items()} for state in loaded)
    assert_same_bits(back, theirs)


REFERENCE = (
    "encoder.dense_0 encoder.dense_1 mean logvar decoder.dense_0 decoder.dense_1 decoder.dense_2"
)
HEAD = {"online_finetuner.weight": torch.zeros(10, 3), "online_finetuner.bias": torch.zeros(10)}
LEFT_OVER = {
    "a head": (HEAD, "'online_finetuner.*'"),
    "a loss and a buffer": (
        {"criterion.vgg.weight": torch.zeros(2, 2), "scale": torch.zeros(())},
        "'criterion.vgg.*' 'scale'",
    ),
    "an array beside weights": ({"model.mean.weight_u": torch.zeros(7)}, "'model.mean.weight_u'"),
    "a BatchNorm's counter": (
        {"probe.num_batches_tracked": torch.tensor(3)},
        "'probe.*'",
    ),
}


@pytest.mark.parametrize(
    ("prefix", "case"),
    [
        ("model.", "a head"),
        ("", "a head"),
        ("model.", "an array beside weights"),
        ("vae.net.", "a loss and a buffer"),
        ("module._orig_mod.", "a BatchNorm's counter"),
    ],
)
def test_what_is_left_over_is_named_and_left_out_only_when_told(tmp_path, case, prefix):
    """Behind whatever prefix most keys share."""
    more, patterns = LEFT_OVER[case]
    state = {f"{prefix}{key}": tensor for key, tensor in state_dict(REFERENCE).items()}
    source = tmp_path / "model.ckpt"
    torch.save({"state_dict": state | more, "epoch": 2}, source)
    with pytest.raises(UsageError) as error:
        import_torch(source, VAE, tmp_path / "run", stored_shape=SHAPE)
    message = str(error.value)
    assert (
        f"fits the model of 'small_vae' by the map 'reference'{', behind' * bool(prefix)}"
        in message
    )
    for key, tensor in more.items():
        assert f"\n  {key}: {tuple(tensor.shape)}" in message
    assert message.endswith(f"--leave-out {patterns}")
    assert not (tmp_path / "run").exists()

    reading = Reading(leave_out=tuple(pattern.strip("'") for pattern in patterns.split()))
    made = import_torch(source, VAE, tmp_path / "run", reading, SHAPE)
    assert (made["map"], made["prefix"]) == ("reference", prefix)
    assert made["left_out"] == [*more, "epoch"]
    assert runs.read_json(tmp_path / "run" / "import.json")["left_out"] == [*more, "epoch"]
    assert_same_values(computed(tmp_path / "run", IMAGES), function(state))
    written = export_torch(tmp_path / "run", tmp_path / "back.pth")
    assert written["left_out"] == [*more, "epoch"]
    back, _ = files.read(tmp_path / "back.pth")
    assert_same_bits(back, {key: tensor.numpy() for key, tensor in state.items()})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_left_over_by_names_that_are_guessed(tmp_path, suffix):
    state = state_dict("m.enc.1 m.enc.3 m.fc_mu m.fc_logvar m.dec.0 m.dec.2 m.dec.4") | HEAD
    source = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save({"model_state_dict": state}, source)
    else:
        files.write(source, {key: tensor.numpy() for key, tensor in state.items()})
    with pytest.raises(UsageError, match=r"online_finetuner: weight \(10, 3\), .* ->  \?") as error:
        import_torch(source, VAE, tmp_path / "run", Reading(accept=True), SHAPE)
    assert str(error.value).endswith("--leave-out 'online_finetuner.*'")
    reading = Reading(leave_out=("online_finetuner.weight", "*.bias"), accept=True)
    with pytest.raises(UsageError, match=r"m.enc.1: weight .* ->  \?"):  # too many are left out
        import_torch(source, VAE, tmp_path / "run", reading, SHAPE)
    reading = Reading(leave_out=("online_*",), accept=True)
    made = import_torch(source, VAE, tmp_path / "run", reading, SHAPE)
    assert (made["map"], made["prefix"], set(made["left_out"])) == ("guess", "m.", {*HEAD})
    del state["online_finetuner.weight"], state["online_finetuner.bias"]
    assert_same_values(computed(tmp_path / "run", IMAGES), function(state))


@pytest.mark.parametrize("pattern", ["head.*", "model", "encoder.dense_9.weight"])
def test_a_pattern_that_leaves_out_nothing_is_refused(tmp_path, pattern):
    torch.save(state_dict(REFERENCE), tmp_path / "model.pth")
    with pytest.raises(UsageError, match=r"--leave-out .*: matches none of its keys \(encoder"):
        import_torch(
            tmp_path / "model.pth", VAE, tmp_path / "run", Reading(leave_out=(pattern,)), SHAPE
        )


def test_encoder_and_decoder_saved_apart_are_joined(tmp_path):
    """And the average that lies beside them is not."""
    state = state_dict(
        "encoder.dense_0 encoder.dense_1 a.mean a.logvar decoder.dense_0"
        " decoder.dense_1 decoder.dense_2"
    )
    parts = {"encoder": {}, "decoder": {}, "a": {}}
    for key, tensor in state.items():
        parts[key.partition(".")[0]][key.partition(".")[2]] = tensor
    source = tmp_path / "model.pt"
    torch.save(parts | {"ema": state}, source)
    reading = Reading(state_dict=("encoder", "decoder", "a"), accept=True)
    made = import_torch(source, VAE, tmp_path / "run", reading, SHAPE)
    assert made["left_out"] == ["ema"]
    assert_same_values(computed(tmp_path / "run", IMAGES), function(state))


def autoencoder(settings):
    return replace(VAE, model=settings, objective=Objective("mse"))


def chain(*modules):
    return torch.nn.Sequential(*modules)


def hidden(before, after, normed, dropout):
    linear = torch.nn.Linear(before, after)
    norm = [torch.nn.BatchNorm1d(after)] if normed else []
    return [linear, *norm, torch.nn.ReLU(), *([torch.nn.Dropout(0.3)] if dropout else [])]


@pytest.mark.parametrize(("normed", "dropout"), [(False, False), (True, False), (True, True)])
def test_a_dense_autoencoder_of_chains(tmp_path, normed, dropout):
    """As mnist_ae is usually written: the code is the encoder's last layer, activated or not."""
    torch.manual_seed(0)
    encoder = chain(*hidden(40, 12, normed, dropout), torch.nn.Linear(12, 3), torch.nn.ReLU())
    decoder = chain(*hidden(3, 12, normed, dropout), torch.nn.Linear(12, 40), torch.nn.Sigmoid())
    model = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).eval()
    settings = Model("AE", hidden_dims=(12,), latent_dim=3, code_activation=True, output="sigmoid")
    settings = replace(settings, batch_norm=normed, dropout=0.3 * dropout)
    torch.save({"model_state_dict": model.state_dict()}, tmp_path / "model.pth")
    experiment, run = autoencoder(settings), tmp_path / "run"
    made = import_torch(tmp_path / "model.pth", experiment, run, stored_shape=SHAPE)
    assert made["map"] == "sequential"
    model.double()
    theirs = of_modules(lambda x: encoder(x.flatten(1)), decoder)
    assert_same_values(computed(run, IMAGES), theirs)


def test_a_convolutional_autoencoder_of_chains(tmp_path):
    """As mnist_cae is usually written."""
    torch.manual_seed(0)
    nn = torch.nn
    encoder = chain(nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
    decoder = chain(
        nn.ConvTranspose2d(6, 4, 3, 2, 1, (1, 0)),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 2, 3, 2, 1, (1, 0)),
        nn.Sigmoid(),
    )
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    torch.save(model.state_dict(), tmp_path / "model.pth")
    experiment = autoencoder(Model("CAE", hidden_dims=(4, 6), output="sigmoid"))
    made = import_torch(
        tmp_path / "model.pth", experiment, tmp_path / "run", stored_shape=(8, 5, 2)
    )
    assert made["map"] == "sequential"
    model.double()
    x = torch.rand(2, 2, 8, 5, dtype=torch.float64)
    with torch.no_grad():
        theirs = {"pixels": decoder(encoder(x)).numpy()}
    assert_same_values(computed(tmp_path / "run", x.numpy()), theirs)


def test_the_command_shows_a_guess_takes_it_and_writes_its_map(tmp_path, capsys):
    """Status 2 and nothing written without --accept; JSON with it."""
    file = EXPERIMENT.parent / "mnist_vae.py"
    state = {}
    for name, size in {"enc.1": (784, 9), "mu": (9, 3), "lv": (9, 3), "dec.0": (3, 9)}.items():
        state |= {f"{name}.{k}": t for k, t in torch.nn.Linear(*size).state_dict().items()}
    state |= {f"dec.2.{k}": t for k, t in torch.nn.Linear(9, 784).state_dict().items()}
    source = tmp_path / "model.pth"
    torch.save({"net": state, "ema": state | {"mu.bias": torch.ones(3)}}, source)
    begin = ["import-torch", source, "--as", file, "--image-shape", 28, 28, 1]
    begin += ["--model.hidden-dims", 9, "--model.latent-dim", 3]
    status, made, err = call(capsys, *begin, "--out", tmp_path / "run")
    assert (status, made) == (2, {}) and "--state-dict net" in err
    begin += ["--state-dict", "net"]
    status, made, err = call(capsys, *begin, "--out", tmp_path / "run")
    assert (status, made) == (
        2,
        {},
    ) and '\n  mu: weight (3, 9), bias (3,)  ->  dense("mean")' in err
    status, made, err = call(capsys, *begin, "--write-map", tmp_path / "m.txt")
    assert status == 2 and "--write-map" in err
    status, made, err = call(capsys, *begin, "--write-map", tmp_path / "m.py", "--accept")
    assert status == 2 and "without --out, --check and --accept" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    status, made, err = call(capsys, *begin, "--write-map", tmp_path / "m.py")
    assert (status, made["complete"], made["left_out"]) == (0, True, ["ema"])
    status, made, err = call(capsys, *begin, "--out", tmp_path / "run", "--accept")
    assert status == 0, err
    assert made["taken"] == ["mu is taken for the means, lv for the log-variances"]
    assert made["left_out"] == ["ema"]
    status, made, err = call(capsys, *begin, "--out", tmp_path / "b", "--map", tmp_path / "m.py")
    assert status == 0, err
    for run in ("run", "b"):
        options = ["--map", tmp_path / "m.py"] if run == "b" else []
        back = tmp_path / f"{run}.pth"
        assert call(capsys, "export-torch", tmp_path / run, back, *options)[0] == 0
        assert_same_bits(files.read(back)[0], {key: t.numpy() for key, t in state.items()})
