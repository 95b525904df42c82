"""What a run is, as one value: frozen dataclasses that validate themselves.

An experiment file holds one `Experiment`; the command line overrides its fields; a run folder
stores it as `config.json`. This module imports neither JAX nor Flax, so that `--help` is instant:
the two methods that build something import what they need when they are called.

A new variant subclasses `Model` (and overrides `build`) or `Objective` (and overrides `terms`) in
its own experiment file. Fields that it adds appear on the command line like any other.
"""

import copy
import difflib
import functools
import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, InitVar, dataclass, field, fields, is_dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jaxvae.checks import require
from jaxvae.held import hold

if TYPE_CHECKING:
    import jax
    from flax import linen as nn

    from jaxvae.batch import Batch
    from jaxvae.info import Info
    from jaxvae.models import Bound, Output


Settings = TypeVar("Settings")

# In Python also arrays, which become a name (`jaxvae.held`); on the command line always words.
# A size is two numbers once it is checked, and may be given as one.
if TYPE_CHECKING:
    Source = Any
    Size = Any
else:
    Source = str
    Size = tuple[int, ...]


def with_fields(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """A copy in which fields, by dotted name, have values that are not checked: traced numbers."""
    changed = copy.copy(settings)
    for name, value in values.items():
        first, _, rest = name.partition(".")
        new = with_fields(getattr(changed, first), {rest: value}) if rest else value
        object.__setattr__(changed, first, new)
    return changed


def with_number(settings: Any, name: str, value: float, prefix: str = "") -> Any:
    """A copy in which one number, a field by dotted name, has another value, which is checked.

    Raises:
        UsageError: there is no such field, it is no float, or the value is not allowed.
    """
    first, _, rest = name.partition(".")
    part = getattr(settings, first, None)
    if rest and is_dataclass(part):
        return replace(settings, **{first: with_number(part, rest, value, f"{prefix}{first}.")})
    floats = sorted(f.name for f in fields(settings) if type(getattr(settings, f.name)) is float)
    listed = ", ".join(prefix + number for number in floats) or "another one"
    require(first in floats and not rest, "population.sweep", prefix + name, f"one of {listed}")
    return replace(settings, **{first: value})


def _short(self: Any) -> str:
    """The fields that differ from their defaults, within 200 characters."""
    changed = []
    for f in fields(self):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if (value := getattr(self, f.name)) != default:
            changed.append(f"{f.name}={value!r}")
    text = f"{type(self).__name__}({', '.join(changed)})"
    return text if len(text) <= 200 else f"{text[:196]}...)"


def _spelt(cls: type[Settings]) -> type[Settings]:
    """The class, whose error for an argument that it has not says which may have been meant."""
    init = cls.__init__

    @functools.wraps(init)
    def checked(self: Settings, *args: Any, **kwargs: Any) -> None:
        known = [*inspect.signature(init).parameters][1:] if kwargs else []
        for name in kwargs.keys() - {*known}:
            near = difflib.get_close_matches(name, known, n=3)
            meant = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{cls.__name__}: {name}: no such field; {meant}")
        init(self, *args, **kwargs)

    setattr(cls, "__init__", checked)  # noqa: B010 - subclasses have their own
    return cls


def _two(given: Any) -> tuple[int, int]:
    """Height and width, which may be one number."""
    size = tuple(given) if isinstance(given, tuple | list) else (given,)
    whole = len(size) in (1, 2) and all(isinstance(n, int) and n >= 1 for n in size)
    allowed = "None, a height and a width of at least 1 pixel, or one number for both"
    require(whole, "data.resize", given, allowed)
    return size[0], size[-1]


@_spelt
@dataclass(frozen=True, repr=False)
class Data:
    """Which images, how they are split, and how a `uint8` image becomes the model's input."""

    __repr__ = _short

    source: Source = "mnist"
    """mnist, fashion_mnist, kmnist, emnist/letters, cifar10 (fetched where they are not to hand),
    another name of TensorFlow Datasets, `digits` (scikit-learn's 8x8 digits resized to 28x28),
    `sprites` or `sprites/32` (rendered shapes, of known factors), or a path to a folder of images
    (./photos) or to a file (docs/data.md). In Python also arrays: Data(images), Data(images,
    labels), or by name Data({"images": images, "test_images": ...})."""
    labels: InitVar[Any] = None  # of examples in memory; kept with them, so no setting
    batch_size: int = 128
    """Images per training step (global); the last partial batch of an epoch is dropped."""
    validation_fraction: float | None = None
    """Fraction of the training images held out for validation, drawn with `seed`. None: validate on
    the set's own test split; a set that has none gives 0.2 of its images."""
    limit: int | None = None
    """Use only the first `limit` images of each split (for a quick try)."""
    labelled: int | None = None
    """Keep the labels of so many training examples, as many of each class, drawn with `seed`; the
    rest are -1. Each batch then has a fixed share of labelled ones. None: keep what there is."""
    streaming: bool = False
    """Decode images while training instead of holding all of them in memory: for prepared sets of
    TensorFlow Datasets and folders of images (extra `stream`)."""
    seed: int = 0
    """Seed of the split and of static binarization; it does not follow the experiment's seed."""
    resize: Size | None = None
    """Height and width to resize to (bilinear, antialiased); one number: a square."""
    aspect: Literal["stretch", "crop", "pad"] = "stretch"
    """Where `resize` is of another aspect than an image. stretch: the image is. crop: its middle is
    used. pad: it is resized to within that size, on `background`."""
    resize_rule: Literal["jax", "pillow"] = "jax"
    """jax: resized on the device, in floats. pillow: as Pillow does it, rounded to whole numbers,
    which some published numbers rest on."""
    background: Literal["white", "black"] = "white"
    """What is seen where images are transparent, and around them with `aspect` pad."""
    pad: int = 0
    """Rows and columns of zeros added on each side."""
    quantize: int | None = None
    """Replace each 0..255 value x by the integer round(x / quantize)."""
    binarize: Literal["none", "threshold", "static", "dynamic"] = "none"
    """threshold: x > 0.5. static: one fixed Bernoulli draw per image. dynamic: a draw per step."""
    range: tuple[float, float] = (0.0, 1.0)
    """The values that the darkest and the brightest pixel are scaled to."""
    standardise: bool = True
    """Of values that are no images: subtract the mean and divide by the standard deviation of each
    feature of a table's rows, or channel of signals, over the training examples."""
    corruption: Literal["none", "gaussian", "masking", "salt_pepper"] = "none"
    """Noise on the input while the target stays clean (denoising)."""
    corruption_level: float = 0.0
    """Standard deviation (gaussian), or fraction of the pixels hit (masking, salt_pepper)."""

    def __post_init__(self, labels: Any = None) -> None:  # noqa: RUF033 - subclasses lack it
        if isinstance(self.source, os.PathLike):
            object.__setattr__(self, "source", os.fspath(self.source))
        if labels is not None or not isinstance(self.source, str):
            object.__setattr__(self, "source", hold(self.source, labels))
        require(self.source != "", "data.source", self.source, "a data set's name or a path")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        f = self.validation_fraction
        require(
            f is None or 0 < f < 1, "data.validation_fraction", f, "None or between 0 and 1 (excl.)"
        )
        require(
            self.limit is None or self.limit >= 1, "data.limit", self.limit, "None or at least 1"
        )
        n = self.labelled
        require(n is None or n >= 1, "data.labelled", n, "None or at least 1")
        allowed = "at least 2 with data.labelled: one labelled, one not"
        require(n is None or self.batch_size >= 2, "data.batch_size", self.batch_size, allowed)
        require(0 <= self.seed < 2**32, "data.seed", self.seed, "in 0..2**32-1")
        if self.resize is not None:
            object.__setattr__(self, "resize", _two(self.resize))
        for name in ("resize_rule", "aspect"):
            value, usual = getattr(self, name), getattr(Data, name)
            allowed = f"{usual!r} where data.resize is None"
            require(self.resize is not None or value == usual, f"data.{name}", value, allowed)
        require(self.pad >= 0, "data.pad", self.pad, "at least 0")
        q = self.quantize
        require(q is None or 1 <= q <= 255, "data.quantize", q, "None or in 1..255")
        require(
            q is None or self.binarize == "none",
            "data.quantize",
            q,
            f"None when data.binarize = {self.binarize!r}",
        )
        low, high = self.range
        require(
            math.isfinite(low) and math.isfinite(high) and low < high,
            "data.range",
            self.range,
            "two finite numbers, the lower one first",
        )
        level = self.corruption_level
        if self.corruption == "none":
            require(level == 0, "data.corruption_level", level, "0 when data.corruption = 'none'")
        elif self.corruption == "gaussian":
            allowed = "positive and finite with data.corruption = 'gaussian'"
            require(0 < level < math.inf, "data.corruption_level", level, allowed)
        else:
            allowed = f"in (0, 1] with data.corruption = {self.corruption!r}"
            require(0 < level <= 1, "data.corruption_level", level, allowed)


# The command line and `dataclasses.replace` take all that is there for a field.
del Data.__dataclass_fields__["labels"]


Family = Literal["AE", "CAE", "VAE"]


@_spelt
@dataclass(frozen=True, repr=False)
class Model:
    """An AE, CAE or VAE over dense or convolutional networks."""

    __repr__ = _short

    def __init_subclass__(cls) -> None:
        setattr(cls, "__repr__", _short)  # noqa: B010 - in the place of the dataclass's own

    family: Family = "VAE"
    """AE: a vector code. CAE: convolutional, the code is a feature map. VAE: Gaussian posterior."""
    network: Literal["dense", "conv"] = "dense"
    """Dense layers, or convolutions mirrored by transposed convolutions (a CAE is always conv): of
    images in two dimensions, of signals (length, channels) in one, along their length."""
    hidden_dims: tuple[int, ...] = (256,)
    """Widths of the encoder's hidden layers (channels, for convolutions)."""
    decoder_dims: tuple[int, ...] | None = None
    """Widths of the decoder's hidden layers; None mirrors the encoder. Of convolutions: the input
    channels of each transposed convolution, from the code outwards (a CAE is always mirrored)."""
    latent_dim: int = 20
    """Number of latents (of an AE: the length of the code). A CAE ignores it."""
    dense_dims: tuple[int, ...] = ()
    """Dense hidden layers between the convolutions and the code, mirrored in the decoder."""
    expansion: Literal["linear", "activation", "hidden"] | None = None
    """After the dense layer that expands a code to the decoder's feature map: nothing, the
    activation alone, or all of a hidden layer. None: hidden where there are `dense_dims`, else
    linear."""
    strides: tuple[int, ...] = ()
    """Stride of each convolution; empty: 2 everywhere."""
    kernel_size: int = 3
    """Side of the convolutions' kernels."""
    decoder_strides: tuple[int, ...] = ()
    """Stride of each transposed convolution of `decoder_dims`; empty: 2 everywhere."""
    decoder_kernel_size: int | None = None
    """Side of the transposed convolutions' kernels with `decoder_dims`; None: `kernel_size`."""
    padding: int = 1
    """Zeros around the input of each convolution."""
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    """After each hidden layer."""
    negative_slope: float = 0.01
    """Slope of leaky_relu below 0."""
    code_activation: bool = False
    """Apply the activation to an AE's code too."""
    output: Literal["logits", "sigmoid", "tanh", "relu", "linear"] = "logits"
    """What the decoder returns: logits (bernoulli), or pixel values, squashed or not."""
    batch_norm: bool = False
    """BatchNorm between each hidden layer and its activation."""
    dropout: float = 0.0
    """Dropout rate after each hidden activation."""
    init: Literal["flax", "torch"] = "flax"
    """flax: LeCun normal, zero biases. torch: U(+-1/sqrt(fan_in)) for weights and biases."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Precision of the products of hidden layers and decoder; parameters, posterior, BatchNorm and
    losses stay float32."""

    def __post_init__(self) -> None:
        dims = self.hidden_dims
        several = isinstance(dims, tuple | list)
        require(several, "model.hidden_dims", dims, "widths of layers, such as (256,)")
        convolutional = self.network == "conv" or self.family == "CAE"
        require(min(dims, default=1) >= 1, "model.hidden_dims", dims, "widths of at least 1")
        require(
            not convolutional or len(dims) >= 1,
            "model.hidden_dims",
            dims,
            "at least one number of channels for a convolutional model",
        )
        d = self.decoder_dims
        require(
            d is None or (self.family != "CAE" and min(d, default=1) >= 1),
            "model.decoder_dims",
            d,
            "None, or widths of at least 1 (a CAE is mirrored)",
        )
        require(
            not convolutional or d != (),
            "model.decoder_dims",
            d,
            "None, or at least one number of channels for a convolutional model",
        )
        vector_code = convolutional and self.family != "CAE"
        require(
            self.dense_dims == () or (vector_code and min(self.dense_dims) >= 1),
            "model.dense_dims",
            self.dense_dims,
            "empty, or widths of at least 1 for a convolutional AE or VAE",
        )
        require(
            self.expansion is None or vector_code,
            "model.expansion",
            self.expansion,
            "None unless the model is a convolutional AE or VAE",
        )
        require(self.latent_dim >= 1, "model.latent_dim", self.latent_dim, "at least 1")
        require(
            self.strides == () or (len(self.strides) == len(dims) and min(self.strides) >= 1),
            "model.strides",
            self.strides,
            f"empty, or one stride of at least 1 per entry of model.hidden_dims = {dims}",
        )
        require(self.kernel_size >= 1, "model.kernel_size", self.kernel_size, "at least 1")
        channels = (d or ()) if convolutional else ()
        require(
            self.decoder_strides == ()
            or (len(self.decoder_strides) == len(channels) and min(self.decoder_strides) >= 1),
            "model.decoder_strides",
            self.decoder_strides,
            "empty, or one stride of at least 1 per entry of a convolutional model's "
            f"model.decoder_dims = {d}",
        )
        side = self.decoder_kernel_size
        require(
            side is None or (len(channels) > 0 and side >= 1),
            "model.decoder_kernel_size",
            side,
            "None, or at least 1 with model.decoder_dims of a convolutional model",
        )
        smallest = min(self.kernel_size, self.kernel_size if side is None else side)
        require(
            0 <= self.padding < smallest,
            "model.padding",
            self.padding,
            f"at least 0 and below the kernels' side, {smallest}",
        )
        slope = self.negative_slope
        require(
            0 <= slope < 1 and (slope == 0.01 or self.activation == "leaky_relu"),
            "model.negative_slope",
            slope,
            "in [0, 1), and 0.01 unless model.activation = 'leaky_relu'",
        )
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")

    @property
    def expands(self) -> Literal["linear", "activation", "hidden"]:
        """`expansion`, with what None comes to."""
        return self.expansion or ("hidden" if self.dense_dims else "linear")

    def build(self, info: "Info") -> "nn.Module":
        """Return the Flax module for these data; `jaxvae.models.Module` says what it must offer.

        Raises:
            UsageError: images or signals too small for the strides, or a network made for others.
        """
        from jaxvae.build import build

        return build(self, info)

    def initialise(
        self, module: "nn.Module", variables: dict[str, Any], batch: "Batch", key: "jax.Array"
    ) -> dict[str, Any]:
        """Initial variables that follow from data: pseudo-inputs, codebooks; by default none do.

        Args:
            module: what `build` returned.
            variables: as `module.init` gave them.
            batch: up to 1000 training examples, in the order of the first epoch, with their noise.
            key: for whatever else is random.
        """
        return variables


Reduction = Literal["sum", "mean"]
Likelihood = Literal[
    "bernoulli", "gaussian", "gaussian_learned", "laplace", "log_cosh", "mse", "half_mse"
]


@_spelt
@dataclass(frozen=True, repr=False)
class Objective:
    """`scale * (recon + beta_eff * kl)`: what is minimised, and how its source reduces it.

    `recon` and `kl` are always logged in nats per image (sums over pixels and latents); the
    reductions below only decide `scale` and `beta_eff`.
    """

    __repr__ = _short

    def __init_subclass__(cls) -> None:
        setattr(cls, "__repr__", _short)  # noqa: B010 - in the place of the dataclass's own

    likelihood: Likelihood = "bernoulli"
    """bernoulli: BCE on logits. gaussian: fixed sigma. gaussian_learned: one learned sigma.
    laplace: fixed scale. log_cosh: between the last two, without its constant. mse: the squared
    error, of which half is logged as recon (nats); half_mse minimises that half. All but bernoulli
    need a --model.output other than logits."""
    sigma: float = 1.0
    """Standard deviation of `gaussian`, scale of `laplace` and `log_cosh`."""
    beta: float = 1.0
    """Weight of the KL as the source writes it; 1 with sums is the ELBO."""
    warmup_steps: int = 0
    """Steps over which beta rises linearly from 0; evaluation always uses the full beta."""
    recon_reduction: Reduction = "sum"
    """Over the pixels of an image."""
    kl_reduction: Reduction = "sum"
    """Over the latents."""
    batch_reduction: Reduction = "mean"
    """Over the images of a batch."""

    def __post_init__(self) -> None:
        require(0 < self.sigma < math.inf, "objective.sigma", self.sigma, "positive and finite")
        require(0 <= self.beta < math.inf, "objective.beta", self.beta, "at least 0 and finite")
        require(self.warmup_steps >= 0, "objective.warmup_steps", self.warmup_steps, "at least 0")
        require(
            self.sigma == 1 or self.likelihood in ("gaussian", "laplace", "log_cosh"),
            "objective.sigma",
            self.sigma,
            f"1 for objective.likelihood = {self.likelihood!r}",
        )

    def init(self, key: "jax.Array", output: "Output") -> dict[str, Any]:
        """Parameters of the objective's own, by name; by default those of its likelihood.

        A field of the objective that is an `Optimizer` trains the parameters of its name; the rest
        are trained with the model's.

        Args:
            key: of their initial values.
            output: what the model returns for one example, for its shapes.
        """
        import jax.numpy as jnp

        return {"logvar": jnp.zeros(())} if self.likelihood == "gaussian_learned" else {}

    def at(self, step: "jax.Array") -> "Objective":
        """The objective at a step of the training, whose schedules have come to traced numbers.

        By default beta, warmed up. Evaluation uses the objective itself.
        """
        if self.warmup_steps == 0:
            return self
        import jax.numpy as jnp

        warm = jnp.minimum(1.0, jnp.asarray(step, float) / self.warmup_steps)
        return with_fields(self, {"beta": self.beta * warm})

    def outcome(self, model: "Bound", batch: "Batch", params: dict[str, Any]) -> "Output":
        """What the terms are computed from; by default one pass of the model.

        Args:
            model: its pure functions: `model(batch)`, `model.decode(z, batch)`, several at once by
                `model.each`, parts of it held by `model.holding`.
            batch: the examples.
            params: those of `init`.
        """
        return model(batch)

    def recon(self, output: "Output", batch: "Batch", params: dict[str, Any]) -> "jax.Array":
        """-log p(x|z) in nats, (..., batch): leading axes are those of several samples."""
        from jaxvae.objectives import reconstruction

        return reconstruction(
            self.likelihood,
            output.decoded,
            batch.target,
            batch.observed,
            self.sigma,
            params.get("logvar"),
        )

    def terms(
        self, output: "Output", batch: "Batch", params: dict[str, Any]
    ) -> dict[str, "jax.Array"]:
        """`loss`, `recon` and `kl` in nats per example, (batch,), and whatever else is logged.

        `loss` is what is monitored. A term across the batch has shape () and is that of the whole
        batch, on however many devices it is (see `jaxvae.axis`).
        """
        from jaxvae.objectives import elbo_terms

        beta = self.beta_eff(math.prod(batch.target.shape[1:]), output.num_latents)
        return elbo_terms(self.recon(output, batch, params), output.kl_of_example, beta)

    def minimised(self, terms: "dict[str, jax.Array]") -> "jax.Array":
        """What is minimised, before `scale` and the mean over the batch; by default the loss."""
        return terms["loss"]

    def _recon_factor(self, num_pixels: int) -> float:
        """What the coded reconstruction term is, as a multiple of nats per image."""
        coded = 2.0 if self.likelihood == "mse" else 1.0  # squared error = 2 x half squared error
        return coded / num_pixels if self.recon_reduction == "mean" else coded

    def beta_eff(self, num_pixels: int, num_latents: int) -> float:
        """The weight of the KL once the coded loss is written c (recon + beta_eff kl), in nats."""
        kl_factor = 1.0 / num_latents if self.kl_reduction == "mean" else 1.0
        return self.beta * kl_factor / self._recon_factor(num_pixels)

    def scale(self, num_pixels: int, batch_size: int) -> float:
        """The constant c above: coded loss of a batch / mean over the batch of nats per image."""
        batch_factor = batch_size if self.batch_reduction == "sum" else 1
        return batch_factor * self._recon_factor(num_pixels)


@_spelt
@dataclass(frozen=True, repr=False)
class Optimizer:
    """An Optax optimizer, its learning rate over time, and what surrounds it."""

    __repr__ = _short

    name: str = "adam"
    """adam, adamw, sgd, or any optimizer of `optax` that takes a learning rate."""
    learning_rate: float = 1e-3
    """The (peak) learning rate."""
    options: dict[str, float] = field(default_factory=dict)
    """Further arguments of the optimizer, such as `momentum 0.9` or `weight_decay 0.01`."""
    schedule: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    """cosine: to 0 at the last epoch. exponential: times `decay` per epoch. plateau: times `decay`
    whenever the validation loss stops improving, see `patience`."""
    decay: float = 0.5
    """Factor of the exponential and plateau schedules."""
    patience: int = 5
    """The plateau schedule acts when more epochs than this brought no improvement by 1e-4
    (relative), as PyTorch's ReduceLROnPlateau does."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0, before any schedule."""
    clip_norm: float | None = None
    """Scale the gradient down to this global norm where it is larger."""
    ema_decay: float | None = None
    """Keep an exponential moving average of the parameters, which starts at the initial ones (no
    bias correction); evaluation then uses it. BatchNorm's statistics are not averaged again."""

    def __hash__(self) -> int:  # of `options` the dictionary has none
        return hash((self.name, self.learning_rate, *sorted(self.options)))

    def __post_init__(self) -> None:
        require(self.name.isidentifier(), "optimizer.name", self.name, "the name of an optimizer")
        finite = all(math.isfinite(value) for value in self.options.values())
        require(finite, "optimizer.options", self.options, "finite numbers")
        require(
            0 < self.learning_rate < math.inf,
            "optimizer.learning_rate",
            self.learning_rate,
            "positive and finite",
        )
        require(0 < self.decay <= 1, "optimizer.decay", self.decay, "in (0, 1]")
        require(self.patience >= 1, "optimizer.patience", self.patience, "at least 1")
        require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "at least 0")
        c, e = self.clip_norm, self.ema_decay
        require(c is None or 0 < c < math.inf, "optimizer.clip_norm", c, "None or positive")
        require(e is None or 0 < e < 1, "optimizer.ema_decay", e, "None or in (0, 1)")


@_spelt
@dataclass(frozen=True, repr=False)
class Train:
    """How long to train and what to write on the way."""

    __repr__ = _short

    epochs: int = 10
    """Passes over the training images."""
    max_steps: int | None = None
    """Stop after this many steps in all, with a checkpoint to resume from."""
    early_stopping: int | None = None
    """Stop when the validation loss has not improved for this many epochs."""
    chunk_steps: int = 100
    """Steps per call of the compiled loop; 1 calls the plain step."""
    sub_batch: int | None = None
    """Take each batch in parts of so many images, whose gradients are added up: the same step, but
    for rounding, in less memory; in two passes where terms look across the batch. On several
    devices each takes its own share so. None: parts that fit a CPU's cache, of models with large
    feature maps or many draws of each image, where nothing looks across the batch, else whole
    batches; the batch size: whole batches."""
    checkpoint_steps: int | None = None
    """Also checkpoint every so many steps within an epoch (each epoch's end always is)."""
    figures_every: int | None = 10
    """Epochs between figures while training, of several members those of the best one then; 0: only
    at the end (where the best checkpoint is drawn); None: no figures."""
    figure_formats: tuple[Literal["pdf", "svg"], ...] = ()
    """Also write the figures at the end in these formats, for papers, beside PNG."""
    figure_footer: bool = True
    """Below each figure, small: the run, the epoch and the data."""
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """Also send numbers, figures and settings to these: tensorboard (files in the run folder),
    mlflow, wandb (Weights & Biases). Each needs the extra of its name."""
    report: bool = False
    """Also write report.html at the end, a page that holds the model, as `jaxvae report` does."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        for name in ("max_steps", "early_stopping", "checkpoint_steps", "sub_batch"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"train.{name}", value, "None or at least 1")
        require(self.chunk_steps >= 1, "train.chunk_steps", self.chunk_steps, "at least 1")
        every = self.figures_every
        require(every is None or every >= 0, "train.figures_every", every, "None or at least 0")


@_spelt
@dataclass(frozen=True)
class Population:
    """Members of one experiment, trained at once; by default there is one, the experiment itself.

    Not a part of `Experiment`: each member is an experiment of its own.
    """

    seeds: int = 1
    """Train with so many seeds: the experiment's own and those that follow it."""
    sweep: tuple[str, ...] = ()
    """Train with several values of a number of the objective or of an optimizer:
    objective.beta=0.5,1,4 or optimizer.learning-rate=1e-3,3e-4 or seed=0,7. Every combination is a
    member."""

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "population.seeds", self.seeds, "at least 1")
        require(self.seeds <= 10_000, "population.seeds", self.seeds, "at most 10000")
        single = self.seeds == 1 or "seed" not in self.values()
        require(single, "population.seeds", self.seeds, "1 where population.sweep names the seeds")

    def values(self) -> dict[str, tuple[float, ...]]:
        """What `sweep` says: the values of each field that it names.

        Raises:
            UsageError: it is written differently, or names a field of which one program cannot take
                several values.
        """
        found: dict[str, tuple[float, ...]] = {}
        for text in self.sweep:
            name, _, listed = text.partition("=")
            name = name.replace("-", "_")
            allowed = (
                "FIELD=VALUE,VALUE,... with FIELD seed or a number of the objective or of an"
                " optimizer, such as objective.beta: one program takes these as numbers, while any"
                " other field changes the program itself"
            )
            parts = name.split(".")
            of_program = parts[0] in ("objective", "optimizer") and len(parts) >= 2
            require(name == "seed" or of_program, "population.sweep", text, allowed)
            number = int if name == "seed" else float
            try:
                values = tuple(number(value) for value in listed.split(","))
            except ValueError:
                values = ()
            distinct = name not in found and 0 < len(set(values)) == len(values)
            allowed = f"{name}=VALUE,VALUE,... once, with different {number.__name__} values"
            require(distinct, "population.sweep", text, allowed)
            found[name] = values
        return found


@_spelt
@dataclass(frozen=True)
class Parallel:
    """On which devices a run computes.

    Not a part of `Experiment`: what is computed does not depend on it, but for rounding.
    """

    runner: Literal["auto", "jit", "sharded", "shard_map", "pmap"] = "auto"
    """jit: one device. sharded: one program over all devices, which XLA divides. shard_map, pmap:
    each device runs the program on its part of the batch. auto: jit on one device, else sharded."""
    devices: int | None = None
    """Use so many of the devices that are there; None: all of them."""
    distributed: bool = False
    """This process is one of several. Slurm, GKE and TPU pods tell JAX which; elsewhere say it with
    the next three. All processes write to the same --out."""
    coordinator: str | None = None
    """HOST:PORT at which the first process is reached."""
    processes: int | None = None
    """How many processes there are."""
    index: int | None = None
    """Which of them this is, from 0."""

    def __post_init__(self) -> None:
        d = self.devices
        require(d is None or d >= 1, "parallel.devices", d, "None or at least 1")
        given = (self.coordinator, self.processes, self.index)
        require(
            given == (None,) * 3 or (self.distributed and None not in given),
            "parallel.coordinator, .processes, .index",
            given,
            "all three with parallel.distributed, or none",
        )
        host, _, port = (self.coordinator or "localhost:1").rpartition(":")
        known = bool(host) and port.isdecimal() and int(port) < 2**16
        require(known, "parallel.coordinator", self.coordinator, "HOST:PORT, such as node1:1234")
        n, i = self.processes, self.index
        require(n is None or n >= 1, "parallel.processes", n, "at least 1")
        allowed = "at least 0 and below parallel.processes"
        require(i is None or n is None or 0 <= i < n, "parallel.index", i, allowed)


def _check_sizes(part: object, prefix: str) -> None:
    """Refuse whole numbers that no program can count to, or that no image or layer can measure."""
    for f in fields(part):  # type: ignore[arg-type]
        value = getattr(part, f.name)
        numbers = value if isinstance(value, tuple) else (value,)
        measures = prefix == "model." or f.name in ("pad", "resize")
        largest = 2**20 if measures else 2**31 - 1
        too_large = any(isinstance(n, int) and n > largest for n in numbers)
        allowed = f"at most {largest}"
        require(not too_large or f.name == "seed", f"{prefix}{f.name}", value, allowed)


@_spelt
@dataclass(frozen=True, repr=False)
class Experiment:
    """One recipe: with its seed, it determines a run."""

    __repr__ = _short

    name: str
    """Names the run folder when --out is not given."""
    seed: int = 0
    """Seed of initialisation, shuffling and all noise."""
    data: Data = Data()
    model: Model = Model()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    train: Train = Train()

    def __post_init__(self) -> None:
        require(isinstance(self.name, str), "name", self.name, "text, the experiment's name")
        plain = self.name == PurePath(self.name).name and not self.name.startswith(".")
        plain = plain and self.name.isprintable()
        require(plain and bool(self.name), "name", self.name, "a plain name without slashes")
        for part in (Data, Model, Objective, Optimizer, Train):
            name = part.__name__.lower()
            value = getattr(self, name)
            require(isinstance(value, part), name, value, f"a jaxvae.{part.__name__}")
            _check_sizes(value, f"{name}.")
        require(0 <= self.seed < 2**32, "seed", self.seed, "in 0..2**32-1")
        size, whole = self.train.sub_batch, self.data.batch_size
        allowed = f"None, or a divisor of data.batch_size = {whole}"
        require(size is None or whole % size == 0, "train.sub_batch", size, allowed)
        bernoulli = self.objective.likelihood == "bernoulli"
        require(
            bernoulli == (self.model.output == "logits"),
            "model.output",
            self.model.output,
            ("'logits'" if bernoulli else "'sigmoid', 'tanh', 'relu' or 'linear'")
            + f" with objective.likelihood = {self.objective.likelihood!r}",
        )
        require(
            not bernoulli or (self.data.range[0] >= 0 and self.data.range[1] <= 1),
            "data.range",
            self.data.range,
            "within [0, 1] for objective.likelihood = 'bernoulli'",
        )

    def beta_eff(self, num_pixels: int) -> float:
        """The effective KL weight of this experiment; 0 for a model that has no KL."""
        if self.model.family != "VAE":
            return 0.0
        return self.objective.beta_eff(num_pixels, self.model.latent_dim)
