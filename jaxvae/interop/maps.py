"""Which layer of ours each module of a PyTorch model is, and how its arrays are laid out.

A map names every module with weights: prefix in the state dict -> `Layer`. `jaxvae.interop.weights`
applies it in either direction. A map of your own is a dict, {"fc1": dense("encoder/Dense_0"), ...},
in a Python file that defines `weight_map`. Channels come last here and first in PyTorch, so a dense
layer next to a feature map needs its shape (channels, height, width), of a signal (channels,
length): `flat_in` before the layer, `flat_out` after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxvae.config import Model
from jaxvae.models.networks import feature_shapes

Shape = tuple[int, ...]

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
    """(channels, height, width) or (channels, length) that PyTorch flattens into the inputs."""
    flat_out: Shape | None = None
    """(channels, height, width) or (channels, length) that PyTorch unflattens the outputs to."""
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


def conv(path: str, axes: int = 2) -> Layer:
    """A Conv2d: (out, in, k, k) there, (k, k, in, out) here; with k = 1 a dense layer fits too.

    With `axes` = 1 a Conv1d: (out, in, k) there, (k, in, out) here.
    """
    return Layer((path,), axes=(*range(2, 2 + axes), 1, 0))


def conv_transpose(path: str, axes: int = 2) -> Layer:
    """A ConvTranspose2d: (in, out, k, k) there, (k, k, in, out) here, not flipped.

    With `axes` = 1 a ConvTranspose1d: (in, out, k) there, (k, in, out) here.
    """
    return Layer((path,), axes=(*range(2, 2 + axes), 0, 1))


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

    With `flat_out` ours are images or signals, (..., height, width, channels) or (..., length,
    channels), and theirs rows.
    """
    return Layer((path,), {"": f"{collection}/{{}}"}, flat_out=flat_out)


def reference_map(
    settings: Model, shape: Shape, learned_variance: bool = False
) -> dict[str, Layer]:
    """The map of the reference models (`torch_parity.reference`): any `Model` and its PyTorch twin.

    Their layers are encoder.dense_i, encoder.conv_i, encoder.norm_i (the BatchNorm of the i-th
    hidden layer), code or mean and logvar, decoder.dense_i, decoder.conv_i (transposed) and
    decoder.norm_i; and x_logvar with a learned variance.

    Args:
        settings: the model.
        shape: of an example: height, width and channels of an image, length and channels of a
            signal, the length of a row.
        learned_variance: whether the likelihood is `gaussian_learned`.

    Raises:
        ValueError: the images or signals are too small for the strides.
    """
    dims, dense_dims, padding = settings.hidden_dims, settings.dense_dims, settings.padding
    decoder_dims = dims[::-1] if settings.decoder_dims is None else settings.decoder_dims
    if settings.network == "conv" or settings.family == "CAE":
        strides, k = settings.strides or (2,) * len(dims), settings.kernel_size
        into = _channels_first(feature_shapes(shape, dims, strides, k, padding)[-1])
        out_of = into
        if settings.decoder_dims is not None:
            strides = settings.decoder_strides[::-1] or (2,) * len(decoder_dims)
            k = settings.decoder_kernel_size or k
            shapes = feature_shapes(shape, decoder_dims[::-1], strides, k, padding)
            out_of = _channels_first(shapes[-1])
        convs, transposed = len(dims), len(decoder_dims)
        expands_hidden = settings.expands == "hidden" and settings.family != "CAE"
        denses = len(dense_dims)
        expansions = 0 if settings.family == "CAE" else denses + 1
        decoder_hidden = denses + expands_hidden + transposed - 1
    else:
        into = out_of = _channels_first(shape)
        convs = transposed = 0
        expands_hidden = False
        denses, expansions = len(dims), len(decoder_dims) + 1
        decoder_hidden = len(decoder_dims)

    axes = len(shape) - 1
    layers = {f"encoder.conv_{i}": conv(f"encoder/Conv_{i}", axes) for i in range(convs)}
    for i in range(denses):
        layers[f"encoder.dense_{i}"] = dense(f"encoder/Dense_{i}", into if i == 0 else None)
    codes = {"VAE": ("mean", "logvar"), "AE": ("code",), "CAE": ()}[settings.family]
    for name in codes:
        layers[name] = dense(name, None if denses else into)
    for i in range(expansions):
        flat_out = out_of if i == expansions - 1 else None
        layers[f"decoder.dense_{i}"] = dense(f"decoder/Dense_{i}", flat_out=flat_out)
    for i in range(transposed):
        layers[f"decoder.conv_{i}"] = conv_transpose(f"decoder/ConvTranspose_{i}", axes)
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
    return shape[-1:] + shape[:-1]


def source_of(layer: Layer) -> str:
    """The call of the functions above that makes a layer, as Python source."""
    name = "dense"
    if len(layer.paths) == 2:
        name = "heads"
    elif layer.arrays == BATCH_NORM:
        name = "batch_norm"
    elif not layer.arrays:
        name = "dropout"
    elif "" in layer.arrays:
        name = "parameter"
    elif len(layer.axes) == 4:
        kinds = {(2, 3, 1, 0): "conv", (2, 3, 0, 1): "conv_transpose"}
        name = "flipped_conv" if layer.flipped else kinds[layer.axes]
    arguments = [f'"{path}"' for path in layer.paths if layer.paths != ("mean", "logvar")]
    given = {"flat_in": layer.flat_in, "flat_out": layer.flat_out, "interleaved": layer.interleaved}
    arguments += [f"{option}={value}" for option, value in given.items() if value]
    if layer.factor != 1:
        arguments.append(f"factor={layer.factor}")
    if name == "parameter" and (collection := layer.arrays[""].partition("/")[0]) != "params":
        arguments.append(f'collection="{collection}"')
    return f"{name}({', '.join(arguments)})"
