"""One batch through a Flax model and through its PyTorch counterpart, with the same weights."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal, kl_divergence
from torch.nn import functional as F

from jaxvae import noise
from jaxvae.config import Experiment, Model, Objective, UsageError, require
from jaxvae.data.preprocess import image_shape, noise_keys, preprocess
from jaxvae.models import decoder_mean
from jaxvae.objectives import conventions
from jaxvae.training.step import make_loss
from torch_parity.difference import Comparison, difference
from torch_parity.losses import LOSSES
from torch_parity.maps import Map
from torch_parity.noise import shared_noise
from torch_parity.weights import to_flax, to_torch

Loss = Callable[[Tensor, Any, Any, Tensor], Tensor]
Quantities = dict[str, dict[str, np.ndarray]]  # quantity: name of an array: array
Forward = Callable[[nn.Module, Tensor], tuple[Tensor, Any, Any]]

# Relative to the largest entry of an array. Every quantity is a sum of at most some 10^5 products,
# taken in another order: in float64 (epsilon 2e-16) a few 1e-13 were seen; in float32 (6e-8) a few
# 1e-6, and more where PyTorch takes the logarithm of 1 - p with p rounded to near 1.
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}

# Arrays that are 0 but for rounding (the gradient of a bias in front of BatchNorm) are compared to
# this fraction of the largest entry of all. BatchNorm divides by the root of variance + 1e-5, so of
# few examples it enlarges rounding up to 300 times.
FLOOR = 0.1


def compare(
    model: Any,
    torch_model: nn.Module,
    weight_map: Map,
    batch: np.ndarray,
    *,
    experiment: Experiment | None = None,
    loss: Loss = LOSSES["pytorch_examples"],
    forward: Forward = lambda model, x: model(x),
    inputs: Callable[[Tensor], Tensor] = lambda images: images / 255,
    dtype: str = "float64",
) -> Comparison:
    """Compare values, loss terms, all gradients, BatchNorm's statistics and evaluation mode.

    The weights are those of `torch_model`; the noise is drawn once and given to both.

    Args:
        model: a Flax module of ours, or one like them (see `jaxvae.Model.build`).
        torch_model: its counterpart; it is left as it was.
        weight_map: torch layer -> ours, see `torch_parity.maps`; with its dropout layers.
        batch: stored images, uint8 (batch, height, width, channels).
        experiment: its data and objective say what is computed; by default pixels in [0, 1] and the
            loss of pytorch/examples.
        loss: the scalar that PyTorch minimises, of (pixels, mean, logvar, x).
        forward: `torch_model` on images (batch, channels, height, width) to (pixels, mean, logvar):
            pixels are the mean of p(x|z), probabilities where the likelihood is Bernoulli; mean and
            logvar are None for an AE. Noise that it draws through torch is replaced by ours.
        inputs: from pixels 0..255 to what the torch model sees.
        dtype: float64 or float32.

    Raises:
        UsageError: weights that do not fit, listed; a batch that is not uint8 images; a `forward`
            that returns something else, or draws noise more than once.
    """
    require(dtype in TOLERANCE, "dtype", dtype, f"one of {', '.join(TOLERANCE)}")
    images = np.asarray(batch)
    require(
        images.dtype == np.uint8 and images.ndim == 4,
        "batch",
        (images.dtype.name, images.shape),
        "uint8 images (batch, height, width, channels)",
    )
    if experiment is None:
        experiment = Experiment(
            name="compare",
            model=Model(latent_dim=getattr(model, "latent_dim", 1)),
            objective=conventions["pytorch_examples"],
        )
    name = type(torch_model).__name__
    torch_model = copy.deepcopy(torch_model).to(getattr(torch, dtype))
    with exactly(dtype):
        variables = flax_variables(model, torch_model, weight_map, experiment, images.shape[1:])
        ours = flax_values(model, variables, weight_map, images, experiment)
        theirs = torch_values(
            torch_model, weight_map, images, experiment, loss, forward, inputs, dtype
        )
    differences = (
        difference(quantity, ours.get(quantity, {}), arrays, TOLERANCE[dtype], FLOOR)
        for quantity, arrays in theirs.items()
        if arrays or ours.get(quantity)  # a model may have no running statistics
    )
    return Comparison(name, tuple(differences))


@contextlib.contextmanager
def exactly(dtype: str) -> Iterator[None]:
    """In float64, or in float32 without the shorter products (TF32) that GPUs are given."""
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def flax_variables(
    model: Any,
    torch_model: nn.Module,
    weight_map: Map,
    experiment: Experiment,
    stored_shape: tuple[int, ...],
) -> Any:
    """The variables of `model` that hold the weights of `torch_model`.

    Raises:
        UsageError: they do not fit, with everything that does not listed.
    """
    height, width, channels = stored_shape
    x = jnp.zeros((1, *image_shape(experiment.data, (height, width, channels))))
    eps = jnp.zeros((1, experiment.model.latent_dim))
    template = jax.eval_shape(model.init, jax.random.key(0), x, eps)
    arrays = {name: value.detach().numpy() for name, value in torch_model.state_dict().items()}
    return to_flax(arrays, weight_map, template)


def flax_values(
    model: Any, variables: Any, weight_map: Map, images: np.ndarray, experiment: Experiment
) -> Quantities:
    """What one training batch gives, and an evaluation after its update of the statistics."""
    data, latent_dim = experiment.data, experiment.model.latent_dim
    stats = variables.get("batch_stats", {})
    key, index, loss_fn = *_noise_of(experiment, images), make_loss(experiment, model)

    @jax.jit
    def values(variables: Any, images: jax.Array) -> dict[str, Any]:
        (loss, forward), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
            variables["params"], stats, images, index, key, 0
        )
        updated = {"params": variables["params"], "batch_stats": forward.batch_stats}
        x = preprocess(data, images, noise_keys(data, key, 0, index)).input
        evaluated = model.apply(updated, x, noise.eps(key, 0, index, latent_dim))
        output, terms = forward.output, forward.terms
        pixels = {
            "inputs": x,
            "pixels": decoder_mean(output.decoded, model.output),
            "evaluation": decoder_mean(evaluated.decoded, model.output),
        }
        found = {name: jnp.moveaxis(value, -1, 1) for name, value in pixels.items()}
        found |= {"loss": loss, "recon": terms["recon"]}
        if output.mean is not None:
            found |= {"mean": output.mean, "logvar": output.logvar, "kl": terms["kl"]}
        return found | {"gradient": gradient, "updated": updated}

    found = jax.tree.map(np.asarray, values(variables, images))
    gradient = to_torch({"params": found.pop("gradient")}, weight_map, gradient=True)
    statistics = running_statistics(to_torch(found.pop("updated"), weight_map))
    quantities = {name: {"": value} for name, value in found.items()}
    return quantities | {"gradient": gradient, "running statistics": statistics}


def torch_values(
    model: nn.Module,
    weight_map: Map,
    images: np.ndarray,
    experiment: Experiment,
    loss: Loss,
    forward: Forward,
    inputs: Callable[[Tensor], Tensor],
    dtype: str,
) -> Quantities:
    """The same of a PyTorch model, whose gradients and statistics it changes."""
    key, index = _noise_of(experiment, images)
    eps = torch.tensor(np.asarray(noise.eps(key, 0, index, experiment.model.latent_dim)))
    dropout_keys = noise.dropout_keys(key, 0, index)
    x = inputs(torch.tensor(images.astype(dtype))).movedim(-1, 1)

    def outcome() -> tuple[Tensor, Any, Any]:
        with shared_noise(model, eps, dropout_keys, weight_map):
            found = forward(model, x)
        if not isinstance(found, tuple) or len(found) != 3:
            raise UsageError(
                f"forward: returned {type(found).__name__}: must return a tuple of pixels, mean and"
                " logvar (the last two None for an AE)"
            )
        return found

    model.train()
    pixels, mean, logvar = outcome()
    total = loss(pixels, mean, logvar, x)
    model.zero_grad()
    total.backward()
    model.eval()
    with torch.no_grad():
        evaluated, _, _ = outcome()
    pixels = pixels.reshape(x.shape)
    values = {"inputs": x, "pixels": pixels}
    if mean is not None:
        values |= {"mean": mean, "logvar": logvar}
    values |= {"recon": reconstruction(experiment.objective, pixels, x).flatten(1).sum(1)}
    if mean is not None:
        posterior = Normal(mean, torch.exp(0.5 * logvar))
        prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
        values |= {"kl": kl_divergence(posterior, prior).sum(1)}
    values |= {"loss": total, "evaluation": evaluated.reshape(x.shape)}
    quantities = {name: {"": value.detach().numpy()} for name, value in values.items()}
    quantities["gradient"] = {
        name: np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        for name, p in model.named_parameters()
    }
    buffers = {name: buffer.numpy() for name, buffer in model.named_buffers()}
    return quantities | {"running statistics": running_statistics(buffers)}


def _noise_of(experiment: Experiment, images: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The run's root key and the examples' indices."""
    return noise.root(experiment.seed), jnp.arange(len(images))


def reconstruction(objective: Objective, pixels: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) per pixel, in PyTorch's own words; for `mse`, half the squared error."""
    pixels = pixels.reshape(x.shape)
    match objective.likelihood:
        case "bernoulli":
            return F.binary_cross_entropy(pixels, x, reduction="none")
        case "gaussian":
            return -Normal(pixels, objective.sigma).log_prob(x)
        case "laplace":
            return -Laplace(pixels, objective.sigma).log_prob(x)
        case "mse" | "half_mse":
            return F.mse_loss(pixels, x, reduction="none") / 2
    raise UsageError(f"objective.likelihood = {objective.likelihood!r}: has no counterpart here")


def running_statistics(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """BatchNorm's running means and variances among a state dict's arrays."""
    return {n: a for n, a in arrays.items() if n.endswith(("running_mean", "running_var"))}
