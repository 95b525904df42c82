"""Which layer of ours each module of a PyTorch model is, and how its arrays are laid out.

A map names every module with weights: prefix in the state dict -> `Layer`. `jaxvae.interop.weights`
applies it in either direction. A map of your own is a dict like those below, in a Python file that
defines `weight_map`. Images are NHWC here and NCHW in PyTorch, so a dense layer next to a feature
map needs its shape (channels, height, width): `flat_in` before the layer, `flat_out` after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxvae.config import Model
from jaxvae.models.networks import feature_shapes

Shape = tuple[int, int, int]

AFFINE = {"weight": "params/{}/kernel", "bias": "params/{}/bias"}
BATCH_NORM = {
    "weight": "params/{}/scale",
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}


@dataclass(frozen=True)
class Layer:
    """What a PyTorch module is here; made by the functions below."""

    paths: tuple[str, ...]
    """Our layer, such as ("encoder/Dense_0",); two of them side by side for `heads`."""
    arrays: Mapping[str, str] = field(default_factory=lambda: AFFINE)
    """Names of its arrays in PyTorch -> ours, with {} for the path."""
    axes: tuple[int, ...] = (1, 0)
    """kernel = weight.transpose(axes)."""
    flipped: bool = False
    """The kernel is also reversed along height and width."""
    flat_in: Shape | None = None
    """(channels, height, width) that PyTorch flattens into the inputs."""
    flat_out: Shape | None = None
    """(channels, height, width) that PyTorch unflattens the outputs to."""
    factor: float = 1.0
    """Ours = factor x theirs."""
    interleaved: bool = False
    """The outputs of two heads alternate, instead of one half each."""


Map = Mapping[str, Layer]


def dense(
    path: str, flat_in: Shape | None = None, flat_out: Shape | None = None, factor: float = 1.0
) -> Layer:
    """A Linear; a head of log sigma has factor 2, since logvar = 2 log sigma."""
    return Layer((path,), flat_in=flat_in, flat_out=flat_out, factor=factor)


def conv(path: str) -> Layer:
    """A Conv2d: (out, in, k, k) there, (k, k, in, out) here; with k = 1 a dense layer fits too."""
    return Layer((path,), axes=(2, 3, 1, 0))


def conv_transpose(path: str) -> Layer:
    """A ConvTranspose2d: (in, out, k, k) there, (k, k, in, out) here, not flipped."""
    return Layer((path,), axes=(2, 3, 0, 1))


def flipped_conv(path: str) -> Layer:
    """A Conv2d of stride 1 and padding (k - 1) / 2 that is a transposed convolution here.

    The two are the same function once the kernel is reversed along height and width.
    """
    return Layer((path,), axes=(2, 3, 1, 0), flipped=True)


def batch_norm(path: str, flat_out: Shape | None = None) -> Layer:
    """A BatchNorm with its running statistics."""
    return Layer((path,), BATCH_NORM, flat_out=flat_out)


def dropout(path: str, flat_out: Shape | None = None) -> Layer:
    """A Dropout, which has no arrays; a comparison gives both sides the same masks."""
    return Layer((path,), {}, flat_out=flat_out)


def heads(
    mean: str = "mean",
    logvar: str = "logvar",
    interleaved: bool = False,
    flat_in: Shape | None = None,
) -> Layer:
    """One Linear of 2 L outputs that holds both heads.

    Its outputs are L means, then L log-variances (a view as (2, L)), or `interleaved`: mean and
    logvar of the first latent, of the second, ... (a view as (L, 2)).
    """
    return Layer((mean, logvar), flat_in=flat_in, interleaved=interleaved)


def parameter(path: str, collection: str = "params", flat_out: Shape | None = None) -> Layer:
    """An nn.Parameter of its own, or a buffer that is in a collection here, of the same shape.

    With `flat_out` ours are images, (..., height, width, channels), and theirs rows.
    """
    return Layer((path,), {"": f"{collection}/{{}}"}, flat_out=flat_out)


def reference_map(
    settings: Model, image_shape: Shape, learned_variance: bool = False
) -> dict[str, Layer]:
    """The map of the reference models (`torch_parity.reference`): any `Model` and its PyTorch twin.

    Their layers are encoder.dense_i, encoder.conv_i, encoder.norm_i (the BatchNorm of the i-th
    hidden layer), code or mean and logvar, decoder.dense_i, decoder.conv_i (transposed) and
    decoder.norm_i; and x_logvar with a learned variance.

    Args:
        settings: the model.
        image_shape: height, width and channels of its input.
        learned_variance: whether the likelihood is `gaussian_learned`.

    Raises:
        ValueError: the images are too small for the strides.
    """
    dims, dense_dims, padding = settings.hidden_dims, settings.dense_dims, settings.padding
    decoder_dims = dims[::-1] if settings.decoder_dims is None else settings.decoder_dims
    if settings.network == "conv" or settings.family == "CAE":
        strides, k = settings.strides or (2,) * len(dims), settings.kernel_size
        into = _channels_first(feature_shapes(image_shape, dims, strides, k, padding)[-1])
        out_of = into
        if settings.decoder_dims is not None:
            strides = settings.decoder_strides[::-1] or (2,) * len(decoder_dims)
            k = settings.decoder_kernel_size or k
            shapes = feature_shapes(image_shape, decoder_dims[::-1], strides, k, padding)
            out_of = _channels_first(shapes[-1])
        convs, transposed = len(dims), len(decoder_dims)
        expands_hidden = settings.expands == "hidden" and settings.family != "CAE"
        denses = len(dense_dims)
        expansions = 0 if settings.family == "CAE" else denses + 1
        decoder_hidden = denses + expands_hidden + transposed - 1
    else:
        into = out_of = _channels_first(image_shape)
        convs = transposed = 0
        expands_hidden = False
        denses, expansions = len(dims), len(decoder_dims) + 1
        decoder_hidden = len(decoder_dims)

    layers = {f"encoder.conv_{i}": conv(f"encoder/Conv_{i}") for i in range(convs)}
    for i in range(denses):
        layers[f"encoder.dense_{i}"] = dense(f"encoder/Dense_{i}", into if i == 0 else None)
    codes = {"VAE": ("mean", "logvar"), "AE": ("code",), "CAE": ()}[settings.family]
    for name in codes:
        layers[name] = dense(name, None if denses else into)
    for i in range(expansions):
        flat_out = out_of if i == expansions - 1 else None
        layers[f"decoder.dense_{i}"] = dense(f"decoder/Dense_{i}", flat_out=flat_out)
    for i in range(transposed):
        layers[f"decoder.conv_{i}"] = conv_transpose(f"decoder/ConvTranspose_{i}")
    for side, hidden in (("encoder", convs + denses), ("decoder", decoder_hidden)):
        for i in range(hidden):
            is_expansion = side == "decoder" and expands_hidden and i == denses
            flat_out = out_of if is_expansion else None
            if settings.batch_norm:
                layers[f"{side}.norm_{i}"] = batch_norm(f"{side}/Hidden_{i}/BatchNorm_0", flat_out)
            if settings.dropout:
                layers[f"{side}.dropout_{i}"] = dropout(f"{side}/Hidden_{i}/Dropout_0", flat_out)
    if learned_variance:
        layers["x_logvar"] = parameter("x_logvar")
    return layers


def _channels_first(shape: Shape) -> Shape:
    height, width, channels = shape
    return channels, height, width


MNIST = (1, 28, 28)

# pytorch/examples, vae/main.py
PYTORCH_EXAMPLES = {
    "fc1": dense("encoder/Dense_0", flat_in=MNIST),
    "fc21": dense("mean"),
    "fc22": dense("logvar"),
    "fc3": dense("decoder/Dense_0"),
    "fc4": dense("decoder/Dense_1", flat_out=MNIST),
}

# Jackson-Kang/Pytorch-VAE-tutorial, 01_Variational_AutoEncoder.ipynb
JACKSON_KANG = {
    "Encoder.FC_input": dense("encoder/Dense_0", flat_in=MNIST),
    "Encoder.FC_input2": dense("encoder/Dense_1"),
    "Encoder.FC_mean": dense("mean"),
    "Encoder.FC_var": dense("logvar"),
    "Decoder.FC_hidden": dense("decoder/Dense_0"),
    "Decoder.FC_hidden2": dense("decoder/Dense_1"),
    "Decoder.FC_output": dense("decoder/Dense_2", flat_out=MNIST),
}

# ethanluoyc/pytorch-vae, vae.py
ETHANLUOYC = {
    "encoder.linear1": dense("encoder/Dense_0", flat_in=MNIST),
    "encoder.linear2": dense("encoder/Dense_1"),
    "encoder.enc_mu": dense("mean"),
    "encoder.enc_log_sigma": dense("logvar", factor=2.0),
    "decoder.linear1": dense("decoder/Dense_0"),
    "decoder.linear2": dense("decoder/Dense_1", flat_out=MNIST),
}

# pythae, models/nn/default_architectures.py: Encoder_VAE_MLP, Encoder_AE_MLP, Decoder_AE_MLP
_PYTHAE_MLP = {
    "encoder.layers.0.0": dense("encoder/Dense_0", flat_in=MNIST),
    "decoder.layers.0.0": dense("decoder/Dense_0"),
    "decoder.layers.1.0": dense("decoder/Dense_1", flat_out=MNIST),
}
_PYTHAE_VAE_HEADS = {"encoder.embedding": dense("mean"), "encoder.log_var": dense("logvar")}
_PYTHAE_AE_CODE = {"encoder.embedding": dense("code")}
PYTHAE_MLP_VAE = _PYTHAE_MLP | _PYTHAE_VAE_HEADS
PYTHAE_MLP_AE = _PYTHAE_MLP | _PYTHAE_AE_CODE

# pythae, models/nn/benchmarks/mnist/convnets.py: Encoder_Conv_VAE_MNIST, Encoder_Conv_AE_MNIST,
# Decoder_Conv_AE_MNIST. The encoder ends in 1x1 pixels: nothing to reorder.
_PYTHAE_CONV = {
    **{f"encoder.layers.{i}.0": conv(f"encoder/Conv_{i}") for i in range(4)},
    **{f"encoder.layers.{i}.1": batch_norm(f"encoder/Hidden_{i}/BatchNorm_0") for i in range(4)},
    "decoder.layers.0": dense("decoder/Dense_0", flat_out=(1024, 4, 4)),
    **{f"decoder.layers.{i + 1}.0": conv_transpose(f"decoder/ConvTranspose_{i}") for i in range(3)},
    **{f"decoder.layers.{i + 1}.1": batch_norm(f"decoder/Hidden_{i}/BatchNorm_0") for i in (0, 1)},
}
PYTHAE_CONV_VAE = _PYTHAE_CONV | _PYTHAE_VAE_HEADS
PYTHAE_CONV_AE = _PYTHAE_CONV | _PYTHAE_AE_CODE

# AntixK/PyTorch-VAE, models/vanilla_vae.py, for 64x64 pixels
ANTIXK = {
    **{f"encoder.{i}.0": conv(f"encoder/Conv_{i}") for i in range(5)},
    **{f"encoder.{i}.1": batch_norm(f"encoder/Hidden_{i}/BatchNorm_0") for i in range(5)},
    "fc_mu": dense("mean", flat_in=(512, 2, 2)),
    "fc_var": dense("logvar", flat_in=(512, 2, 2)),
    "decoder_input": dense("decoder/Dense_0", flat_out=(512, 2, 2)),
    **{f"decoder.{i}.0": conv_transpose(f"decoder/ConvTranspose_{i}") for i in range(4)},
    **{f"decoder.{i}.1": batch_norm(f"decoder/Hidden_{i}/BatchNorm_0") for i in range(4)},
    "final_layer.0": conv_transpose("decoder/ConvTranspose_4"),
    "final_layer.1": batch_norm("decoder/Hidden_4/BatchNorm_0"),
    "final_layer.3": flipped_conv("decoder/ConvTranspose_5"),
}

# YannDubs/disentangling-vae, disvae/models: Burgess et al. 2018, for 32x32 and 64x64 pixels
_BURGESS_DENSE = {
    "encoder.lin1": dense("encoder/Dense_0", flat_in=(32, 4, 4)),
    "encoder.lin2": dense("encoder/Dense_1"),
    "encoder.mu_logvar_gen": heads(interleaved=True),
    "decoder.lin1": dense("decoder/Dense_0"),
    "decoder.lin2": dense("decoder/Dense_1"),
    "decoder.lin3": dense("decoder/Dense_2", flat_out=(32, 4, 4)),
}


def _burgess(encoder: tuple[str, ...], decoder: tuple[str, ...]) -> dict[str, Layer]:
    """Convolutions by their names in the source, in the order in which they are applied."""
    down = {f"encoder.{name}": conv(f"encoder/Conv_{i}") for i, name in enumerate(encoder)}
    up = {
        f"decoder.{name}": conv_transpose(f"decoder/ConvTranspose_{i}")
        for i, name in enumerate(decoder)
    }
    return down | up | _BURGESS_DENSE


BURGESS_32 = _burgess(("conv1", "conv2", "conv3"), ("convT1", "convT2", "convT3"))
BURGESS_64 = _burgess(
    ("conv1", "conv2", "conv3", "conv_64"), ("convT_64", "convT1", "convT2", "convT3")
)

PUBLISHED: dict[str, Map] = {
    "pytorch_examples": PYTORCH_EXAMPLES,
    "jackson_kang": JACKSON_KANG,
    "ethanluoyc": ETHANLUOYC,
    "pythae_mlp_vae": PYTHAE_MLP_VAE,
    "pythae_mlp_ae": PYTHAE_MLP_AE,
    "pythae_conv_vae": PYTHAE_CONV_VAE,
    "pythae_conv_ae": PYTHAE_CONV_AE,
    "antixk": ANTIXK,
    "burgess_32": BURGESS_32,
    "burgess_64": BURGESS_64,
}
"""By name. Those of dense models are for 28x28 images of one channel, as their sources are."""
