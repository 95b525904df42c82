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
from jaxvae.variants.codebooks import RQ, VQ, QuantisedModel
from jaxvae.variants.labels import Conditional

Shape = tuple[int, ...]

AFFINE = {"weight": "params/{}/kernel", "bias": "params/{}/bias"}
UNBIASED = {"weight": "params/{}/kernel"}
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
    labelled: bool = False
    """Behind the inputs of `flat_in` come those of a label."""


Map = Mapping[str, Layer]


def dense(
    path: str,
    flat_in: Shape | None = None,
    flat_out: Shape | None = None,
    factor: float = 1.0,
    labelled: bool = False,
) -> Layer:
    """A Linear; a head of log sigma has factor 2, since logvar = 2 log sigma.

    `labelled`: its inputs are those of `flat_in`, and behind them a one-hot label.
    """
    return Layer((path,), flat_in=flat_in, flat_out=flat_out, factor=factor, labelled=labelled)


def conv(path: str, axes: int = 2, bias: bool = True) -> Layer:
    """A Conv2d: (out, in, k, k) there, (k, k, in, out) here; with k = 1 a dense layer fits too.

    With `axes` = 1 a Conv1d: (out, in, k) there, (k, in, out) here.
    """
    arrays = AFFINE if bias else UNBIASED
    return Layer((path,), arrays, axes=(*range(2, 2 + axes), 1, 0))


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
    decoder.norm_i; and x_logvar with a learned variance. Of models with a map of codes: projection
    and, of those that have codebooks, codes, sums and counts; of their residual stacks
    encoder.stack, encoder.residual_i.inner and .outer, and the decoder's.

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
    blocks = settings.residual_blocks if isinstance(settings, QuantisedModel) else 0
    stack = blocks + (blocks > 0)  # its hidden layers
    layers = {f"encoder.conv_{i}": conv(f"encoder/Conv_{i}", axes) for i in range(convs)}
    layers |= _residual_stack("encoder", convs, blocks, axes)
    labelled = isinstance(settings, Conditional)

    def after_input(path: str, is_first: bool) -> Layer:
        return dense(path, into if is_first else None, labelled=labelled and is_first)

    for i in range(denses):
        layers[f"encoder.dense_{i}"] = after_input(f"encoder/Dense_{i}", i == 0)
    codes = {"VAE": ("mean", "logvar"), "AE": ("code",), "CAE": ()}[settings.family]
    for name in codes:
        layers[name] = after_input(name, denses == 0)
    if isinstance(settings, QuantisedModel):
        layers |= _of_codes(settings, axes)
    for i in range(expansions):
        flat_out = out_of if i == expansions - 1 else None
        layers[f"decoder.dense_{i}"] = dense(f"decoder/Dense_{i}", flat_out=flat_out)
    layers |= _residual_stack("decoder", 0, blocks, axes)
    for i in range(transposed):
        layers[f"decoder.conv_{i}"] = conv_transpose(f"decoder/ConvTranspose_{i}", axes)
    hidden_layers = {"encoder": convs + stack + denses, "decoder": stack + decoder_hidden}
    for side, hidden in hidden_layers.items():
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


def _residual_stack(side: str, number: int, blocks: int, axes: int) -> dict[str, Layer]:
    """Of a side whose 3x3 convolution is the one of that number."""
    if not blocks:
        return {}
    layers = {f"{side}.stack": conv(f"{side}/Conv_{number}", axes)}
    for i in range(blocks):
        for j, name in enumerate(("inner", "outer")):
            path = f"{side}/Residual_{i}/Conv_{j}"
            layers[f"{side}.residual_{i}.{name}"] = conv(path, axes, bias=False)
    return layers


def _of_codes(settings: QuantisedModel, axes: int) -> dict[str, Layer]:
    """What is between encoder and decoder: a 1x1 convolution, and codebooks."""
    layers = {"projection": conv("projection", axes)}
    if isinstance(settings, VQ) and settings.decay is None:
        return layers | {"codes": parameter("codes")}
    if isinstance(settings, VQ | RQ):
        layers |= {name: parameter(name, "codebook") for name in ("codes", "sums", "counts")}
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
    elif len(layer.axes) > 2:
        last = {(1, 0): "conv", (0, 1): "conv_transpose"}
        name = "flipped_conv" if layer.flipped else last[layer.axes[-2], layer.axes[-1]]
    arguments = [f'"{path}"' for path in layer.paths if layer.paths != ("mean", "logvar")]
    given = {"flat_in": layer.flat_in, "flat_out": layer.flat_out, "interleaved": layer.interleaved}
    arguments += [f"{option}={value}" for option, value in given.items() if value]
    says = {"axes=1": len(layer.axes) == 3, "bias=False": layer.arrays == UNBIASED}
    says["labelled=True"] = layer.labelled
    arguments += [argument for argument, is_said in says.items() if is_said]
    if layer.factor != 1:
        arguments.append(f"factor={layer.factor}")
    if name == "parameter" and (collection := layer.arrays[""].partition("/")[0]) != "params":
        arguments.append(f'collection="{collection}"')
    return f"{name}({', '.join(arguments)})"
