"""Public models have the state dicts, activations and outputs that their sources have.

The literals are read off the sources: a module's prefix and the shape of its weight.
"""

from functools import partial
from typing import Any

import pytest

from jaxvae.checks import UsageError

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch_parity.published import (  # noqa: E402
    AntixkVAE,
    BurgessVAE,
    EthanluoycVAE,
    GruheshkurraVAE,
    JacksonKangVAE,
    PytorchExamplesVAE,
    SsakhashVAE,
    pythae_conv_ae,
    pythae_conv_vae,
    pythae_mlp_ae,
    pythae_mlp_vae,
)
from torch_parity.published_codes import TimbmgVAE, ZalandoresearchVQVAE  # noqa: E402

pytestmark = pytest.mark.numeric

Shapes = dict[str, tuple[int, ...]]

PYTHAE_MLP: Shapes = {
    "encoder.layers.0.0": (512, 784),
    "encoder.embedding": (10, 512),
    "decoder.layers.0.0": (512, 10),
    "decoder.layers.1.0": (784, 512),
}
PYTHAE_CONV: Shapes = {
    "encoder.layers.0.0": (128, 1, 4, 4),
    "encoder.layers.0.1": (128,),
    "encoder.layers.1.0": (256, 128, 4, 4),
    "encoder.layers.1.1": (256,),
    "encoder.layers.2.0": (512, 256, 4, 4),
    "encoder.layers.2.1": (512,),
    "encoder.layers.3.0": (1024, 512, 4, 4),
    "encoder.layers.3.1": (1024,),
    "encoder.embedding": (16, 1024),
    "decoder.layers.0": (16384, 16),
    "decoder.layers.1.0 transposed": (1024, 512, 3, 3),
    "decoder.layers.1.1": (512,),
    "decoder.layers.2.0 transposed": (512, 256, 3, 3),
    "decoder.layers.2.1": (256,),
    "decoder.layers.3.0 transposed": (256, 1, 3, 3),
}
BURGESS_DENSE: Shapes = {
    "encoder.lin1": (256, 512),
    "encoder.lin2": (256, 256),
    "encoder.mu_logvar_gen": (20, 256),
    "decoder.lin1": (256, 10),
    "decoder.lin2": (256, 256),
    "decoder.lin3": (512, 256),
}
# The parameters of the first are (784 + 1) 400 + 2 (400 + 1) 20 + (20 + 1) 400 + (400 + 1) 784.
MODELS: dict[str, tuple[Any, int]] = {
    "pytorch_examples": (PytorchExamplesVAE, 652_824),
    "jackson_kang": (JacksonKangVAE, 1_189_984),
    "ethanluoyc": (EthanluoycVAE, 1_079_584),
    "pythae_mlp_ae": (pythae_mlp_ae, 814_874),
    "pythae_mlp_vae": (pythae_mlp_vae, 820_004),
    "pythae_conv_ae": (partial(pythae_conv_ae, 16), 17_215_633),
    "pythae_conv_vae": (partial(pythae_conv_vae, 16), 17_232_033),
    "antixk": (AntixkVAE, 3_937_635),
    "burgess_32": (BurgessVAE, 469_173),
    "burgess_64": (partial(BurgessVAE, (3, 64, 64)), 504_055),
    "gruheshkurra": (GruheshkurraVAE, 470_804),
    "ssakhash": (SsakhashVAE, 661_664),
}
WEIGHTS: dict[str, Shapes] = {
    "pytorch_examples": {
        "fc1": (400, 784),
        "fc21": (20, 400),
        "fc22": (20, 400),
        "fc3": (400, 20),
        "fc4": (784, 400),
    },
    "jackson_kang": {
        "Encoder.FC_input": (400, 784),
        "Encoder.FC_input2": (400, 400),
        "Encoder.FC_mean": (200, 400),
        "Encoder.FC_var": (200, 400),
        "Decoder.FC_hidden": (400, 200),
        "Decoder.FC_hidden2": (400, 400),
        "Decoder.FC_output": (784, 400),
    },
    "ethanluoyc": {
        "encoder.linear1": (512, 784),
        "encoder.linear2": (512, 512),
        "encoder.enc_mu": (8, 512),
        "encoder.enc_log_sigma": (8, 512),
        "decoder.linear1": (512, 8),
        "decoder.linear2": (784, 512),
    },
    "pythae_mlp_ae": PYTHAE_MLP,
    "pythae_mlp_vae": PYTHAE_MLP | {"encoder.log_var": (10, 512)},
    "pythae_conv_ae": PYTHAE_CONV,
    "pythae_conv_vae": PYTHAE_CONV | {"encoder.log_var": (16, 1024)},
    "antixk": {
        "encoder.0.0": (32, 3, 3, 3),
        "encoder.0.1": (32,),
        "encoder.1.0": (64, 32, 3, 3),
        "encoder.1.1": (64,),
        "encoder.2.0": (128, 64, 3, 3),
        "encoder.2.1": (128,),
        "encoder.3.0": (256, 128, 3, 3),
        "encoder.3.1": (256,),
        "encoder.4.0": (512, 256, 3, 3),
        "encoder.4.1": (512,),
        "fc_mu": (128, 2048),
        "fc_var": (128, 2048),
        "decoder_input": (2048, 128),
        "decoder.0.0 transposed": (512, 256, 3, 3),
        "decoder.0.1": (256,),
        "decoder.1.0 transposed": (256, 128, 3, 3),
        "decoder.1.1": (128,),
        "decoder.2.0 transposed": (128, 64, 3, 3),
        "decoder.2.1": (64,),
        "decoder.3.0 transposed": (64, 32, 3, 3),
        "decoder.3.1": (32,),
        "final_layer.0 transposed": (32, 32, 3, 3),
        "final_layer.1": (32,),
        "final_layer.3": (3, 32, 3, 3),
    },
    "burgess_32": BURGESS_DENSE
    | {
        "encoder.conv1": (32, 1, 4, 4),
        "encoder.conv2": (32, 32, 4, 4),
        "encoder.conv3": (32, 32, 4, 4),
        "decoder.convT1 transposed": (32, 32, 4, 4),
        "decoder.convT2 transposed": (32, 32, 4, 4),
        "decoder.convT3 transposed": (32, 1, 4, 4),
    },
    "burgess_64": BURGESS_DENSE
    | {
        "encoder.conv1": (32, 3, 4, 4),
        "encoder.conv2": (32, 32, 4, 4),
        "encoder.conv3": (32, 32, 4, 4),
        "encoder.conv_64": (32, 32, 4, 4),
        "decoder.convT_64 transposed": (32, 32, 4, 4),
        "decoder.convT1 transposed": (32, 32, 4, 4),
        "decoder.convT2 transposed": (32, 32, 4, 4),
        "decoder.convT3 transposed": (32, 3, 4, 4),
    },
    "gruheshkurra": {
        "encoder.0": (256, 784),
        "encoder.1": (256,),
        "encoder.4": (128, 256),
        "encoder.5": (128,),
        "fc_mu": (2, 128),
        "fc_logvar": (2, 128),
        "decoder.0": (128, 2),
        "decoder.1": (128,),
        "decoder.4": (256, 128),
        "decoder.5": (256,),
        "decoder.8": (784, 256),
    },
    "ssakhash": {
        "encoder.0": (400, 784),
        "encoder.2": (40, 400),
        "decoder.0": (40, 20),
        "decoder.2": (400, 40),
        "decoder.4": (784, 400),
    },
}


def build(name: str) -> Any:
    torch.manual_seed(0)
    return MODELS[name][0]()


def state_shapes(weights: Shapes) -> Shapes:
    """All arrays of a state dict: a bias for each weight, BatchNorm's buffers for a vector."""
    shapes: Shapes = {}
    for name, weight in weights.items():
        prefix, transposed = name.removesuffix(" transposed"), name.endswith(" transposed")
        shapes |= {f"{prefix}.weight": weight, f"{prefix}.bias": (weight[1 if transposed else 0],)}
        if len(weight) == 1:
            shapes |= {f"{prefix}.running_mean": weight, f"{prefix}.running_var": weight}
            shapes[f"{prefix}.num_batches_tracked"] = ()
    return shapes


@pytest.mark.parametrize("name", MODELS)
def test_state_dict(name):
    model = build(name)
    shapes = {key: tuple(array.shape) for key, array in model.state_dict().items()}
    assert shapes == state_shapes(WEIGHTS[name])
    assert sum(p.numel() for p in model.parameters()) == MODELS[name][1]


def images(name: str) -> Any:
    shapes = {"jackson_kang": (784,), "ethanluoyc": (784,), "antixk": (3, 64, 64)}
    shapes |= {"gruheshkurra": (784,), "ssakhash": (784,)}
    shapes |= {"burgess_32": (1, 32, 32), "burgess_64": (3, 64, 64)}
    return torch.rand((3, *shapes.get(name, (1, 28, 28))), generator=torch.Generator())


def run(name: str, model: Any, x: Any) -> tuple[Any, Any, Any]:
    """Pixels, mean and standard deviation, from where the source's forward has them."""
    output = model(x)
    if name == "ethanluoyc":
        pixels, posterior = output
        assert (pixels.stddev == 1).all()
        return pixels.mean, posterior.mean, posterior.stddev
    if name.startswith("burgess"):
        pixels, (mean, logvar), _ = output
    elif name == "antixk":
        pixels, same, mean, logvar = output
        assert same is x
    else:
        pixels, mean, logvar, *_ = output
    return pixels, mean, torch.exp(logvar / 2)


def decode(name: str, model: Any, z: Any) -> Any:
    if name in ("pytorch_examples", "antixk"):
        return model.decode(z)
    return (model.Decoder if name == "jackson_kang" else model.decoder)(z)


LATENTS = {"pytorch_examples": 20, "jackson_kang": 200, "ethanluoyc": 8, "antixk": 128}
LATENTS |= {"pythae_conv_vae": 16, "gruheshkurra": 2, "ssakhash": 20}
VAES = [name for name in MODELS if not name.endswith("_ae")]


@pytest.mark.parametrize("name", VAES)
def test_forward_reparameterizes_with_one_draw(name, monkeypatch):
    """The pixels of a forward pass are the decoder's at mean + std eps, of the images' shape."""
    model, x = build(name), images(name)
    if name == "gruheshkurra":
        model.eval()  # dropout and BatchNorm would not be the same twice
    draws: list[Any] = []

    def draw(like: Any) -> Any:
        draws.append(torch.linspace(-2, 2, like.numel()).reshape(like.shape))
        return draws[-1]

    monkeypatch.setattr(torch, "randn_like", draw)
    pixels, mean, std = run(name, model, x)
    assert pixels.shape == ((3, 784) if name == "pytorch_examples" else x.shape)
    assert mean.shape == std.shape == (3, LATENTS.get(name, 10))
    (eps,) = draws
    # The same float32 arithmetic; exp(log sigma) may round otherwise than exp(logvar / 2).
    torch.testing.assert_close(pixels, decode(name, model, mean + std * eps), rtol=0, atol=1e-6)
    assert not torch.allclose(pixels, decode(name, model, mean), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["pythae_mlp_ae", "pythae_conv_ae"])
def test_an_autoencoder_decodes_its_code(name):
    model, x = build(name), images(name)
    pixels, z = model(x)
    assert pixels.shape == x.shape
    assert z.shape == (3, 10 if name == "pythae_mlp_ae" else 16)
    torch.testing.assert_close(pixels, model.decoder(z), rtol=0, atol=0)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "ssakhash"])  # whose output is linear
def test_range_of_the_pixels(name):
    """tanh where the source has it, else sigmoid: with large last weights it reaches its bounds."""
    model, low = build(name), -1 if name in ("ethanluoyc", "antixk") else 0
    last = list(model.parameters())[-2]
    with torch.no_grad():
        torch.nn.init.normal_(last, std=1000)
        pixels = model(images(name))[0]
    pixels = pixels.mean if name == "ethanluoyc" else pixels
    assert (pixels.min().item(), pixels.max().item()) == (low, 1)


@pytest.mark.parametrize("name, slope", [("jackson_kang", 0.2), ("antixk", 0.01)])
def test_slope_of_leaky_relu(name, slope):
    modules = build(name).modules()
    assert {m.negative_slope for m in modules if isinstance(m, torch.nn.LeakyReLU)} == {slope}


def test_second_head_of_ethanluoyc_is_log_sigma():
    model = EthanluoycVAE()
    state = model.state_dict()
    state["encoder.enc_log_sigma.weight"].zero_()
    state["encoder.enc_log_sigma.bias"].fill_(1)
    _, posterior = model(images("ethanluoyc"))
    torch.testing.assert_close(posterior.stddev, torch.full((3, 8), 2.718281828459045))


def test_heads_of_burgess_alternate():
    model = BurgessVAE(latent_dim=3)
    state = model.state_dict()
    state["encoder.mu_logvar_gen.weight"].zero_()
    state["encoder.mu_logvar_gen.bias"].copy_(torch.arange(6.0))
    _, (mean, logvar), _ = model(images("burgess_32"))
    assert mean[0].tolist() == [0, 2, 4]
    assert logvar[0].tolist() == [1, 3, 5]


def test_burgess_evaluates_at_the_mean():
    model = BurgessVAE().eval()
    pixels, (mean, _), z = model(images("burgess_32"))
    assert z is mean
    torch.testing.assert_close(pixels, model.decoder(mean), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64)])
def test_burgess_has_two_sizes(shape):
    with pytest.raises(UsageError, match=r"image_shape = \(.*: must be 32x32 or 64x64"):
        BurgessVAE(shape)


def test_pythae_mlp_takes_any_size():
    x = torch.rand(2, 3, 8, 6)
    assert pythae_mlp_vae(4, (3, 8, 6))(x)[0].shape == x.shape


TIMBMG: Shapes = {
    "encoder.MLP.L0": (256, 794),
    "encoder.linear_means": (2, 256),
    "encoder.linear_log_var": (2, 256),
    "decoder.MLP.L0": (256, 12),
    "decoder.MLP.L1": (784, 256),
}
ZALANDORESEARCH: Shapes = {
    "_encoder._conv_1": (64, 3, 4, 4),
    "_encoder._conv_2": (128, 64, 4, 4),
    "_encoder._conv_3": (128, 128, 3, 3),
    "_pre_vq_conv": (64, 128, 1, 1),
    "_decoder._conv_1": (128, 64, 3, 3),
    "_decoder._conv_trans_1 transposed": (128, 64, 4, 4),
    "_decoder._conv_trans_2 transposed": (64, 3, 4, 4),
}


def test_state_dict_of_timbmg_with_labels():
    state = TimbmgVAE(num_labels=10).state_dict()
    assert {key: tuple(a.shape) for key, a in state.items()} == state_shapes(TIMBMG)


@pytest.mark.parametrize("averages", [False, True])
def test_state_dict_of_zalandoresearch(averages):
    """As swasun/VQ-VAE-Images has stored it, by either of its codebooks."""
    expected = state_shapes(ZALANDORESEARCH) | {"_vq_vae._embedding.weight": (512, 64)}
    for side in ("_encoder", "_decoder"):
        for i in (0, 1):
            block = f"{side}._residual_stack._layers.{i}._block"
            expected |= {f"{block}.1.weight": (32, 128, 3, 3), f"{block}.3.weight": (128, 32, 1, 1)}
    if averages:
        expected |= {"_vq_vae._ema_w": (512, 64), "_vq_vae._ema_cluster_size": (512,)}
    state = ZalandoresearchVQVAE(averages).state_dict()
    assert {key: tuple(a.shape) for key, a in state.items()} == expected


def test_a_block_of_zalandoresearch_adds_to_what_is_behind_its_relu():
    model = ZalandoresearchVQVAE(channels=4, width=2)
    for parameter in model._encoder._residual_stack.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn((2, 4, 3, 3), generator=torch.Generator().manual_seed(0))
    block = model._encoder._residual_stack._layers[0]
    torch.testing.assert_close(block(x.clone()), torch.relu(x), rtol=0, atol=0)
