"""Weight maps of published models, derived from an experiment's model: any depth, width and size.

Each rule is a function of `ours`, the layers of the reference model (`jaxvae.interop.maps`) by
their names there, and says what a source calls them. A model that lacks one of them is none of the
source's: a KeyError.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from jaxvae.interop.maps import Layer, Map, flipped_conv, heads

Rule = Callable[[Map], dict[str, Layer]]


def _numbered(ours: Map, kind: str, name: str) -> dict[str, Layer]:
    """Layers `kind`_0, `kind`_1, ... of ours; `name` has {} for the number, {n} for it plus one."""
    return {name.format(i, n=i + 1): ours[f"{kind}_{i}"] for i in range(_count(ours, kind))}


def _count(ours: Map, kind: str) -> int:
    return sum(name.startswith(f"{kind}_") for name in ours)


def _heads(ours: Map, mean: str, logvar: str) -> dict[str, Layer]:
    return {mean: ours["mean"], logvar: ours["logvar"]}


def pytorch_examples(ours: Map) -> dict[str, Layer]:
    """pytorch/examples, vae/main.py."""
    names = {"fc1": "encoder.dense_0", "fc3": "decoder.dense_0", "fc4": "decoder.dense_1"}
    return {theirs: ours[name] for theirs, name in names.items()} | _heads(ours, "fc21", "fc22")


def jackson_kang(ours: Map) -> dict[str, Layer]:
    """Jackson-Kang/Pytorch-VAE-tutorial, 01_Variational_AutoEncoder.ipynb."""
    names = {
        "Encoder.FC_input": "encoder.dense_0",
        "Encoder.FC_input2": "encoder.dense_1",
        "Decoder.FC_hidden": "decoder.dense_0",
        "Decoder.FC_hidden2": "decoder.dense_1",
        "Decoder.FC_output": "decoder.dense_2",
    }
    layers = {theirs: ours[name] for theirs, name in names.items()}
    return layers | _heads(ours, "Encoder.FC_mean", "Encoder.FC_var")


def ethanluoyc(ours: Map) -> dict[str, Layer]:
    """ethanluoyc/pytorch-vae, vae.py: its second head is log sigma."""
    return {
        **_numbered(ours, "encoder.dense", "encoder.linear{n}"),
        "encoder.enc_mu": ours["mean"],
        "encoder.enc_log_sigma": replace(ours["logvar"], factor=2.0),
        **_numbered(ours, "decoder.dense", "decoder.linear{n}"),
    }


def _pythae(ours: Map, vae: bool) -> dict[str, Layer]:
    if vae:
        return _heads(ours, "encoder.embedding", "encoder.log_var")
    return {"encoder.embedding": ours["code"]}


def pythae_mlp(ours: Map, vae: bool) -> dict[str, Layer]:
    """pythae, models/nn/default_architectures.py."""
    encoder = _numbered(ours, "encoder.dense", "encoder.layers.{}.0")
    decoder = _numbered(ours, "decoder.dense", "decoder.layers.{}.0")
    return encoder | decoder | _pythae(ours, vae)


def pythae_conv(ours: Map, vae: bool) -> dict[str, Layer]:
    """pythae, models/nn/benchmarks/*/convnets.py: convolutions, BatchNorm, dense heads."""
    return {
        **_numbered(ours, "encoder.conv", "encoder.layers.{}.0"),
        **_numbered(ours, "encoder.norm", "encoder.layers.{}.1"),
        "decoder.layers.0": ours["decoder.dense_0"],
        **_numbered(ours, "decoder.conv", "decoder.layers.{n}.0"),
        **_numbered(ours, "decoder.norm", "decoder.layers.{n}.1"),
        **_pythae(ours, vae),
    }


def antixk(ours: Map) -> dict[str, Layer]:
    """AntixK/PyTorch-VAE, models/vanilla_vae.py: any hidden_dims.

    The last transposed convolution but one is `final_layer.0`, the last a convolution there.
    """
    up = _numbered(ours, "decoder.conv", "decoder.{}.0")
    norms = _numbered(ours, "decoder.norm", "decoder.{}.1")
    final = len(up) - 2
    (path,) = ours[f"decoder.conv_{final + 1}"].paths
    del up[f"decoder.{final + 1}.0"]
    return {
        **_numbered(ours, "encoder.conv", "encoder.{}.0"),
        **_numbered(ours, "encoder.norm", "encoder.{}.1"),
        **_heads(ours, "fc_mu", "fc_var"),
        "decoder_input": ours["decoder.dense_0"],
        "final_layer.0": up.pop(f"decoder.{final}.0"),
        "final_layer.1": norms.pop(f"decoder.{final}.1"),
        "final_layer.3": flipped_conv(path),
        **up,
        **norms,
    }


def burgess(ours: Map, down: tuple[str, ...], up: tuple[str, ...]) -> dict[str, Layer]:
    """YannDubs/disentangling-vae, disvae/models: Burgess et al. 2018.

    Its convolutions by their names, in the order in which they are applied.
    """
    return {
        **{f"encoder.{name}": ours[f"encoder.conv_{i}"] for i, name in enumerate(down)},
        **_numbered(ours, "encoder.dense", "encoder.lin{n}"),
        "encoder.mu_logvar_gen": heads(interleaved=True, flat_in=ours["mean"].flat_in),
        **_numbered(ours, "decoder.dense", "decoder.lin{n}"),
        **{f"decoder.{name}": ours[f"decoder.conv_{i}"] for i, name in enumerate(up)},
    }


def timbmg(ours: Map) -> dict[str, Layer]:
    """timbmg/VAE-CVAE-MNIST, models.py: conditional or not."""
    return {
        **_numbered(ours, "encoder.dense", "encoder.MLP.L{}"),
        **_heads(ours, "encoder.linear_means", "encoder.linear_log_var"),
        **_numbered(ours, "decoder.dense", "decoder.MLP.L{}"),
    }


def zalandoresearch(ours: Map) -> dict[str, Layer]:
    """zalandoresearch/pytorch-vq-vae, vq-vae.ipynb, with either of its codebooks."""
    last = _count(ours, "encoder.conv") + 1
    layers = {
        **_numbered(ours, "encoder.conv", "_encoder._conv_{n}"),
        f"_encoder._conv_{last}": ours["encoder.stack"],
        **_residual(ours, "encoder", "_encoder._residual_stack._layers"),
        "_pre_vq_conv": ours["projection"],
        "_vq_vae._embedding.weight": ours["codes"],
        "_decoder._conv_1": ours["decoder.stack"],
        **_residual(ours, "decoder", "_decoder._residual_stack._layers"),
        **_numbered(ours, "decoder.conv", "_decoder._conv_trans_{n}"),
    }
    averages = {"sums": "_vq_vae._ema_w", "counts": "_vq_vae._ema_cluster_size"}
    return layers | {theirs: ours[name] for name, theirs in averages.items() if name in ours}


def _residual(ours: Map, side: str, place: str) -> dict[str, Layer]:
    """A side's residual blocks: ReLU, 3x3, ReLU, 1x1. Their first ReLU is in place."""
    layers: dict[str, Layer] = {}
    for i in range(_count(ours, f"{side}.residual") // 2):
        block = f"{side}.residual_{i}"
        layers[f"{place}.{i}._block.1"] = ours[f"{block}.inner"]
        layers[f"{place}.{i}._block.3"] = ours[f"{block}.outer"]
    return layers


def gruheshkurra(ours: Map) -> dict[str, Layer]:
    """GruheshKurra/VariationalAutoencoders: Linear, BatchNorm, ReLU and Dropout for each layer."""
    layers = _chains(ours, step=4) | _heads(ours, "fc_mu", "fc_logvar")
    layers["encoder.1"] = ours["encoder.norm_0"]  # without BatchNorm it is none of these
    return layers


def sequential(ours: Map) -> dict[str, Layer]:
    """Encoder and decoder are each an nn.Sequential of layers, BatchNorm, activations and Dropout.

    An AE's code is the encoder's last layer, and so is the one of a VAE's heads, in halves, as in
    ssakhash/Autoencoders-using-PyTorch, VAE.ipynb.
    """
    step = 2 + ("encoder.norm_0" in ours) + ("encoder.dropout_0" in ours)
    layers, last = _chains(ours, step), f"encoder.{step * _count(ours, 'encoder.dense')}"
    if "code" in ours:
        layers[last] = ours["code"]
    elif "mean" in ours:
        layers[last] = heads(flat_in=ours["mean"].flat_in)
    return layers


def _chains(ours: Map, step: int) -> dict[str, Layer]:
    """Both networks as chains in which a hidden layer, with what follows it, has `step` places."""
    if "encoder.conv_0" in ours and "decoder.dense_0" in ours:
        raise KeyError("one kind of layer")
    found = {}
    for side in ("encoder", "decoder"):
        for kind, after in (("dense", 0), ("conv", 0), ("norm", 1)):
            for i in range(_count(ours, f"{side}.{kind}")):
                found[f"{side}.{step * i + after}"] = ours[f"{side}.{kind}_{i}"]
    return found


def published_map(name: str, ours: Map) -> dict[str, Layer] | None:
    """The map of a published model, for the model whose reference map is `ours`.

    None where the source has no model with the same kinds of layers.
    """
    try:
        return PUBLISHED[name](ours)
    except KeyError:
        return None


PUBLISHED: dict[str, Rule] = {
    "pytorch_examples": pytorch_examples,
    "jackson_kang": jackson_kang,
    "ethanluoyc": ethanluoyc,
    "pythae_mlp_vae": partial(pythae_mlp, vae=True),
    "pythae_mlp_ae": partial(pythae_mlp, vae=False),
    "pythae_conv_vae": partial(pythae_conv, vae=True),
    "pythae_conv_ae": partial(pythae_conv, vae=False),
    "antixk": antixk,
    "burgess_32": partial(
        burgess, down=("conv1", "conv2", "conv3"), up=("convT1", "convT2", "convT3")
    ),
    "burgess_64": partial(
        burgess,
        down=("conv1", "conv2", "conv3", "conv_64"),
        up=("convT_64", "convT1", "convT2", "convT3"),
    ),
    "timbmg": timbmg,
    "zalandoresearch": zalandoresearch,
    "gruheshkurra": gruheshkurra,
    "sequential": sequential,
}
"""Rules by name. All images are flattened as PyTorch does, channels first."""
