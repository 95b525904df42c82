"""Files whose keys no map has: a guess is shown, confirmed and right; the rest is refused."""

from dataclasses import replace

import pytest

from jaxvae import Model, Objective
from jaxvae.checks import UsageError
from jaxvae.interop import files
from tests.interop.bits import assert_same_bits, assert_same_values, computed

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch import nn  # noqa: E402

from jaxvae.interop.convert import Reading, export_torch, import_torch, write_map  # noqa: E402
from tests.interop.theirs import (  # noqa: E402
    IMAGES,
    SHAPE,
    VAE,
    function,
    state_dict,
)
from torch_parity import published  # noqa: E402

PLAIN, ACCEPT = Reading(), Reading(accept=True)


def save(path, state):
    """In either format; safetensors sorts the keys."""
    if path.suffix == ".safetensors":
        files.write(path, {key: tensor.numpy() for key, tensor in state.items()})
    else:
        torch.save(state, path)
    return path


def take(source, experiment=VAE, reading=ACCEPT):
    run = source.parent / "run"
    return import_torch(source, experiment, run, reading, SHAPE), run


def refusal(source, experiment=VAE, reading=PLAIN):
    """The message; nothing is left behind."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(UsageError) as error:
        take(source, experiment, reading)
    assert sorted(source.parent.rglob("*")) == before
    return str(error.value)


NAMES = {
    "sequential behind a Flatten": "encoder.1 encoder.3 mu log_var decoder.0 decoder.2 decoder.4",
    "numbers": "fc1 fc2 fc_mean fc_logvar fc3 fc4 fc5",
    "as pytorch/examples": "fc1 fc2 fc31 fc32 fc4 fc5 fc6",
    "camel case": "enc.l1 enc.l2 hidden2Mu hidden2LogVar dec.l1 dec.l2 dec.l3",
    "var for logvar": "encoder.0 encoder.2 z_mean z_var decoder.0 decoder.2 decoder.4",
    "no word for the mean": "en1 en2 en3 log_sigma2 de1 de2 de3",
    "behind a prefix": "net.enc.0 net.enc.1 net.mu net.lv net.dec.0 net.dec.1 net.dec.2",
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("case", NAMES)
def test_names_of_a_dense_vae(tmp_path, case, suffix):
    """Shown first; with --accept the same function as theirs, and the same file back."""
    state = state_dict(NAMES[case])
    source = save(tmp_path / f"model{suffix}", state)
    err = refusal(source)
    assert "no known map has its keys; by names, shapes and order" in err and "--accept" in err
    first = NAMES[case].split()[0]
    shown = f'{first}: weight (12, 40), bias (12,)  ->  dense("encoder/Dense_0", flat_in=(2, 4, 5))'
    assert f"\n  {shown}" in err
    assert "activations, strides and paddings are not in the file" in err
    made, run = take(source)
    assert (made["map"], made["prefix"]) == ("guess", "net." if "prefix" in case else "")
    assert_same_values(computed(run, IMAGES), function(state))
    export_torch(run, tmp_path / "back.pth")
    assert_same_bits(files.read(tmp_path / "back.pth")[0], files.read(source)[0])


def test_heads_in_halves(tmp_path):
    names = "encoder.0 encoder.2 stats decoder.0 decoder.2 decoder.4"
    state = state_dict(names, heads=True)
    source = save(tmp_path / "model.pth", state)
    err = refusal(source)
    assert "\n  stats: weight (6, 7), bias (6,)  ->  heads()" in err
    assert "its first 3 outputs are taken for the means, the other 3 for the log-var" in err
    made, run = take(source)
    assert made["taken"] and "its first 3 outputs" in made["taken"][0]
    assert_same_values(computed(run, IMAGES), function(state, heads=True))


@pytest.mark.parametrize("name", ["mu_sigma", "fc_mean_std", "mu_log_sigma"])
def test_halves_of_which_one_is_no_logvar_are_refused(tmp_path, name):
    role = "log sigma" if "log" in name else "sigma"
    for first, second in (("encoder.1", "encoder.3"), ("encoder.0", "encoder.2")):
        names = f"{first} {second} {name} decoder.0 decoder.2 decoder.4"
        source = save(tmp_path / "model.pth", state_dict(names, heads=True))
        err = refusal(source, reading=ACCEPT)
        assert f"\n  {name} has {role} in it by its name, and ours is logvar" in err
        if first == "encoder.1":  # the others are nearly the names of `sequential`
            assert f"\n  {name}: weight (6, 7), bias (6,)  ->  ?" in err


@pytest.mark.parametrize("name", ["fc_log_sigma", "logstd", "enc.lnSigma", "log_scale.0"])
def test_a_head_of_log_sigma_is_doubled(tmp_path, name):
    state = state_dict(f"e1 e2 mu {name} d1 d2 d3")
    source = save(tmp_path / "model.pth", state)
    assert f"{name} is log sigma by its name: logvar = 2 log sigma" in refusal(source)
    _, run = take(source)
    assert_same_values(computed(run, IMAGES), function(state, factor=2.0))
    export_torch(run, tmp_path / "back.pth")
    assert_same_bits(files.read(tmp_path / "back.pth")[0], files.read(source)[0])


@pytest.mark.parametrize("name", ["fc_sigma", "std", "z_scale", "toStd", "heads.sigma"])
def test_a_head_of_sigma_is_refused_with_the_reason(tmp_path, name):
    source = save(tmp_path / "model.pth", state_dict(f"e1 e2 mu {name} d1 d2 d3"))
    for reading in (PLAIN, ACCEPT):
        err = refusal(source, reading=reading)
        assert f"{name} is a standard deviation by its name" in err
        assert f"\n  {name}: weight (3, 7), bias (3,)  ->  ?" in err
        assert '\n  ?: weight (3, 7), bias (3,)  ->  dense("logvar")' in err


def test_a_map_that_calls_a_sigma_logvar_is_taken_and_said(tmp_path):
    source = save(tmp_path / "model.pth", state_dict("e1 e2 mu fc_sigma d1 d2 d3"))
    write_map(source, VAE, tmp_path / "m.py", stored_shape=SHAPE)
    text = (tmp_path / "m.py").read_text()
    (tmp_path / "m.py").write_text(text.replace("?1", "fc_sigma"))
    made, _ = take(source, reading=Reading(map=str(tmp_path / "m.py")))
    assert made["taken"] == ["fc_sigma is sigma by its name; the map takes it for log-variances"]


@pytest.mark.parametrize("heads", ["a b", "heads.left heads.right", "mu1 mu2", "logvar var"])
def test_heads_that_nothing_tells_apart_are_refused(tmp_path, heads):
    source = save(tmp_path / "model.pth", state_dict(f"e1 e2 {heads} d1 d2 d3"))
    err = refusal(source, reading=ACCEPT)
    assert f"nothing tells which of {', '.join(heads.split())} is mean and which is logvar" in err


SQUARE = replace(VAE, model=Model(hidden_dims=(40, 40), latent_dim=3, decoder_dims=(40,)))


def square(*names):
    """Two layers of one shape in the encoder and one in the decoder."""
    torch.manual_seed(0)
    sizes = ((40, 40), (40, 40), (40, 3), (40, 3), (3, 40), (40, 40))
    pairs = zip(names, sizes, strict=True)
    return {
        f"{name}.{key}": t for name, s in pairs for key, t in nn.Linear(*s).state_dict().items()
    }


@pytest.mark.parametrize(
    ("suffix", "names", "understood"),
    [
        (".pth", ("first", "second", "mu", "lv", "from_z", "to_x"), True),  # registered so
        (".safetensors", ("first", "second", "mu", "lv", "from_z", "to_x"), False),  # sorted
        (".pth", ("l1", "l2", "mu", "lv", "l3", "l4"), True),
        (".safetensors", ("l9", "l10", "mu", "lv", "l11", "l12"), True),
        (".pth", ("l2", "l1", "mu", "lv", "l3", "l4"), False),  # order and numbers disagree
        (".safetensors", ("enc.0", "enc.2", "mu", "lv", "dec.0", "dec.2"), True),
        (".pth", ("dec_a", "b", "mu", "lv", "dec_c", "d"), False),  # a decoder's comes first
        (".pth", ("enc_b", "enc_a", "mu", "lv", "dec_b", "dec_a"), True),
    ],
)
def test_layers_of_one_shape_need_an_order(tmp_path, suffix, names, understood):
    state = square(*names)
    source = save(tmp_path / f"model{suffix}", state)
    if not understood:
        assert refusal(source, SQUARE, ACCEPT).count("nothing tells which of ") == 1
        return
    _, run = take(source, SQUARE)
    x = torch.tensor(IMAGES).flatten(1)
    weights = [t.double() for t in state.values()]
    h = torch.relu(nn.functional.linear(x, *weights[0:2]))
    h = torch.relu(nn.functional.linear(h, *weights[2:4]))
    mean, logvar = (nn.functional.linear(h, *weights[i : i + 2]) for i in (4, 6))
    up = torch.relu(nn.functional.linear(mean, *weights[8:10]))
    pixels = torch.sigmoid(nn.functional.linear(up, *weights[10:12])).reshape(IMAGES.shape)
    values = {"pixels": pixels, "mean": mean, "logvar": logvar}
    assert_same_values(computed(run, IMAGES), {k: v.numpy() for k, v in values.items()})


def conv_vae(sides=("encoder", "decoder")):
    """Convolutions, BatchNorm, a ReLU after the expansion."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 6)
    )
    decoder = nn.Sequential(
        nn.Linear(3, 24),
        nn.ReLU(),
        nn.Unflatten(1, (4, 2, 3)),
        nn.ConvTranspose2d(4, 2, 3, 2, 1, (1, 0)),
        nn.Tanh(),
    )
    for tensor in encoder[1].state_dict().values():
        tensor.fill_(2) if tensor.ndim == 0 else tensor.uniform_(0.5, 1.5)
    return nn.ModuleDict(dict(zip(sides, (encoder, decoder), strict=True)))


CONV = replace(
    VAE,
    objective=Objective("mse"),
    model=Model(
        network="conv",
        hidden_dims=(4,),
        latent_dim=3,
        batch_norm=True,
        expansion="activation",
        output="tanh",
    ),
)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("sides", [("encoder", "decoder"), ("down", "up")])
def test_convolutions_batch_norm_and_a_relu_after_the_expansion(tmp_path, suffix, sides):
    """`expansion` says what the file cannot: without it the same weights are another function."""
    model = conv_vae(sides).eval()
    source = save(tmp_path / f"model{suffix}", model.state_dict())
    _, run = take(source, CONV)
    encoder, decoder = model.double().values()
    with torch.no_grad():
        mean, logvar = encoder(torch.tensor(IMAGES)).chunk(2, dim=1)
        values = {"pixels": decoder(mean), "mean": mean, "logvar": logvar}
    theirs = {name: value.numpy() for name, value in values.items()}
    assert_same_values(computed(run, IMAGES), theirs)
    linear = replace(CONV, model=replace(CONV.model, expansion="linear"))
    import_torch(source, linear, tmp_path / "linear", ACCEPT, SHAPE)
    other = computed(tmp_path / "linear", IMAGES)
    assert abs(other["pixels"] - theirs["pixels"]).max() > 1e-2


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convolutions_of_one_shape_in_both_networks(tmp_path, suffix):
    """The model of mnist_conv_vae, small: what tells them apart is "enc", "dec" and the numbers."""
    torch.manual_seed(0)
    leaky = nn.LeakyReLU(0.01)
    down = [nn.Conv2d(2, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)]
    up = [
        nn.ConvTranspose2d(4, 4, 3, 1, 1),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, (1, 0)),
        nn.ConvTranspose2d(4, 2, 3, 1, 1),
    ]
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(*(m for layer in down for m in (layer, leaky)), nn.Flatten()),
            "fc_mu": nn.Linear(24, 3),
            "fc_logvar": nn.Linear(24, 3),
            "decoder_input": nn.Linear(3, 24),
            "decoder": nn.Sequential(up[0], leaky, up[1], leaky, up[2], nn.Sigmoid()),
        }
    )
    source = save(tmp_path / f"model{suffix}", model.state_dict())
    settings = Model(network="conv", hidden_dims=(4,) * 3, strides=(1, 2, 1), latent_dim=3)
    settings = replace(settings, activation="leaky_relu")
    _, run = take(source, replace(VAE, model=settings))
    model.double()
    with torch.no_grad():
        h = model["encoder"](torch.tensor(IMAGES))
        mean, logvar = model["fc_mu"](h), model["fc_logvar"](h)
        pixels = model["decoder"](model["decoder_input"](mean).view(-1, 4, 2, 3))
    values = {"pixels": pixels, "mean": mean, "logvar": logvar}
    assert_same_values(computed(run, IMAGES), {k: v.numpy() for k, v in values.items()})


def test_an_unrelated_file_is_shown_beside_the_layers_that_are_left(tmp_path):
    torch.manual_seed(0)
    state = nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 10)).state_dict()
    source = save(tmp_path / "model.pth", state)
    err = refusal(source, reading=ACCEPT)
    lines = err.split("\n  ")
    assert len(lines) < 12 and all("\n" not in line for line in lines)
    for line in (
        '0: weight (12, 40), bias (12,)  ->  dense("encoder/Dense_0", flat_in=(2, 4, 5))',
        "2: weight (10, 12), bias (10,)  ->  ?",
        '?: weight (3, 7), bias (3,)  ->  dense("mean")',
        '?: weight (12, 7), bias (12,)  ->  dense("decoder/Dense_1")',
        "--write-map FILE.py writes this down as a map, to be completed, for --map",
    ):
        assert line in lines


def test_a_draft_of_a_map_is_completed_and_imports(tmp_path):
    """Two heads that nothing told apart are named by hand; a half-done map says what it lacks."""
    state = state_dict("e1 e2 a b d1 d2 d3")
    source, path = save(tmp_path / "model.pth", state), tmp_path / "my_map.py"
    made = write_map(source, VAE, path, stored_shape=SHAPE)
    assert made == {"map": str(path), "complete": False, "left_out": []}
    text, reading = path.read_text(), Reading(map=str(path))
    assert '    "?1": dense("mean"),  # weight (3, 7), bias (3,)\n' in text
    assert '    # "b": weight (3, 7), bias (3,)\n' in text
    err = refusal(source, reading=reading)
    assert "?2.weight: missing in the state dict, (3, 7) expected" in err
    assert "b.bias: (3,) in the state dict, but the map does not name it" in err
    path.write_text(text.replace("?1", "a").replace("?2", "b"))
    _, run = take(source, reading=reading)
    assert_same_values(computed(run, IMAGES), function(state))
    with pytest.raises(FileExistsError):
        write_map(source, VAE, path, stored_shape=SHAPE)


@pytest.mark.parametrize("names", [NAMES["numbers"], NAMES["behind a prefix"]])
def test_a_guess_is_written_as_the_map_that_it_is(tmp_path, names):
    state = state_dict(names)
    source, path = save(tmp_path / "model.pth", state), tmp_path / "my_map.py"
    assert write_map(source, VAE, path, stored_shape=SHAPE)["complete"]
    made, run = take(source, reading=Reading(map=str(path)))
    assert made["map"] == "my_map.py"
    assert_same_values(computed(run, IMAGES), function(state))


def test_a_known_map_is_written_whatever_is_left_over(tmp_path):
    """Interleaved heads, which a guess would not know."""
    model = published.BurgessVAE((2, 32, 32), 3, width=4, hidden_dim=5)
    state = {f"m.{key}": tensor for key, tensor in model.state_dict().items()}
    source, path = tmp_path / "model.pth", tmp_path / "my_map.py"
    settings = Model(network="conv", hidden_dims=(4,) * 3, dense_dims=(5, 5), latent_dim=3)
    experiment = replace(VAE, model=replace(settings, kernel_size=4))
    torch.save(state | {"head.weight": torch.zeros(2, 3)}, source)
    made = write_map(source, experiment, path, stored_shape=(32, 32, 2))
    assert not made["complete"] and '\n    # "head": weight (2, 3)\n' in path.read_text()
    assert '"encoder.mu_logvar_gen": heads(interleaved=True),' in path.read_text()
    torch.save(state, source)
    path.unlink()
    assert write_map(source, experiment, path, stored_shape=(32, 32, 2))["complete"]
    for run, reading in (("a", PLAIN), ("b", Reading(map=str(path)))):
        import_torch(source, experiment, tmp_path / run, reading, (32, 32, 2))
        export_torch(tmp_path / run, tmp_path / f"{run}.pth", map_name=reading.map)
        assert_same_bits(files.read(tmp_path / f"{run}.pth")[0], files.read(source)[0])


def test_a_damaged_guess_in_a_run_folder_is_refused(tmp_path):
    source = save(tmp_path / "model.pth", state_dict(NAMES["numbers"]))
    _, run = take(source)
    content = (run / "import.json").read_text()
    for old, new in (('"layers"', '"lairs"'), ('"flipped": false', '"flipped": 3')):
        (run / "import.json").write_text(content.replace(old, new, 1))
        with pytest.raises(UsageError, match=r"import.json: (layers|.*flipped = 3)"):
            export_torch(run, tmp_path / "back.pth")
    assert not (tmp_path / "back.pth").exists()


def test_what_is_accepted_is_checked_too(tmp_path):
    state = state_dict(NAMES["numbers"])
    state["fc5.bias"][0] = float("nan")
    err = refusal(save(tmp_path / "model.pth", state), reading=ACCEPT)
    assert "fc5.bias: has values that are not finite" in err
