"""What one batch gives: by a Flax model, and by its PyTorch counterpart with the same weights."""

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal, kl_divergence
from torch.nn import functional as F

from jaxvae import noise
from jaxvae.batch import Examples, dummy
from jaxvae.checks import UsageError
from jaxvae.config import Experiment, Objective
from jaxvae.data.preprocess import preprocess
from jaxvae.data.splits import seen_shape
from jaxvae.info import Info
from jaxvae.interop.maps import Map
from jaxvae.interop.weights import to_flax, to_torch
from jaxvae.models import decoder_mean
from jaxvae.noise import Noise
from jaxvae.training.step import make_loss
from torch_parity.kinks import Kinks
from torch_parity.losses import LOSSES
from torch_parity.noise import shared_noise

Loss = Callable[[Tensor, Any, Any, Tensor], Tensor]
Forward = Callable[[nn.Module, Tensor], tuple[Tensor, Any, Any]]


class Counterpart(NamedTuple):
    """A PyTorch model, and what is computed with it; see `compare`."""

    model: nn.Module
    weight_map: Map
    loss: Loss = LOSSES["pytorch_examples"]
    forward: Forward = lambda model, x: model(x)
    inputs: Callable[[Tensor], Tensor] = lambda images: images / 255

    def to(self, dtype: str) -> "Counterpart":
        """A copy in that precision, on the CPU."""
        return self._replace(model=copy.deepcopy(self.model).to("cpu", getattr(torch, dtype)))


class Values(NamedTuple):
    """What one batch gave, by name of the quantity and of the array."""

    quantities: dict[str, dict[str, np.ndarray]]
    kinks: list[np.ndarray]
    """The inputs of the activations, in order; of PyTorch's, of those that have a kink."""


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
    info = Info(seen_shape(experiment.data, stored_shape))
    template = jax.eval_shape(model.init, jax.random.key(0), dummy(info))
    arrays = {name: value.detach().numpy() for name, value in torch_model.state_dict().items()}
    return to_flax(arrays, weight_map, template)


def flax_values(
    model: Any, variables: Any, weight_map: Map, images: np.ndarray, experiment: Experiment
) -> Values:
    """What one training batch gives, and an evaluation after its update of the statistics."""
    info = Info(seen_shape(experiment.data, images.shape[1:]))
    collections = {name: value for name, value in variables.items() if name != "params"}
    own, loss_fn = _noise_of(experiment, images), make_loss(model)
    labels = jnp.full(len(images), -1)

    @jax.jit
    def values(variables: Any, images: jax.Array) -> dict[str, Any]:
        batch = preprocess(experiment.data, Examples(images, labels, own.index), own, info)
        (loss, forward), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
            {"model": variables["params"], "objective": {}},
            collections,
            batch,
            experiment.objective,
        )
        gradient, x = gradient["model"], batch.input
        updated = {"params": variables["params"], **forward.collections}
        evaluated = model.apply(updated, batch)
        _, kept = model.apply(
            variables, batch, train=True, mutable=[*collections, "preactivations"]
        )
        output, terms = forward.output, forward.terms
        pixels = {
            "inputs": x,
            "pixels": decoder_mean(output.decoded, model.output),
            "evaluation": decoder_mean(evaluated.decoded, model.output),
        }
        found = {name: jnp.moveaxis(value, -1, 1) for name, value in pixels.items()}
        found |= {"loss": loss, "recon": terms["recon"]}
        if "mean" in output.aux:
            found |= {name: output.aux[name] for name in ("mean", "logvar")} | {"kl": terms["kl"]}
        kept = kept.get("preactivations", {})
        return found | {"gradient": gradient, "updated": updated, "kept": kept}

    found = jax.tree.map(np.asarray, values(variables, images))
    kept = _in_order(found.pop("kept"))
    if experiment.objective.likelihood == "laplace":
        kept.append(np.moveaxis(found["inputs"] - found["pixels"], 1, -1))
    gradient = to_torch({"params": found.pop("gradient")}, weight_map, gradient=True)
    statistics = running_statistics(to_torch(found.pop("updated"), weight_map))
    quantities = {name: {"": value} for name, value in found.items()}
    return Values(quantities | {"gradient": gradient, "running statistics": statistics}, kept)


def _in_order(kept: Any) -> list[np.ndarray]:
    """The inputs of activations that our modules keep, in the order in which they are computed."""
    stages = ("encoder", "code", "decoder", "output")

    def position(path: str) -> list[Any]:
        stage = next((i for i, name in enumerate(stages) if path.startswith(name)), len(stages))
        return [stage, *(int(number) for number in re.findall(r"\d+", path))]

    found = {
        "/".join(str(getattr(key, "key", getattr(key, "idx", ""))) for key in path): np.asarray(x)
        for path, x in jax.tree_util.tree_leaves_with_path(kept)  # idx: of a module's i-th call
    }
    return [found[path] for path in sorted(found, key=position)]


def torch_values(
    counterpart: Counterpart,
    images: np.ndarray,
    experiment: Experiment,
    sides: list[np.ndarray] | None = None,
) -> Values:
    """The same of a PyTorch model, whose gradients and statistics it changes not.

    With `sides` of the kinks: see `torch_parity.kinks.Kinks`.
    """
    counterpart = counterpart._replace(model=copy.deepcopy(counterpart.model))
    model = counterpart.model
    model.train()
    with Kinks(sides) as kinks:
        pixels, mean, logvar, x = torch_outcome(counterpart, images, experiment)
        total = counterpart.loss(pixels, mean, logvar, x)
    model.zero_grad()
    total.backward()
    model.eval()
    with torch.no_grad():
        evaluated, *_ = torch_outcome(counterpart, images, experiment)
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
    quantities["running statistics"] = running_statistics(buffers)
    return Values(quantities, kinks.inputs)


def torch_outcome(
    counterpart: Counterpart, images: np.ndarray, experiment: Experiment
) -> tuple[Tensor, Any, Any, Tensor]:
    """Pixels, mean, logvar and what the model sees, with our noise, in the model's present mode."""
    model, weight_map, _, forward, inputs = counterpart
    dtype = next(model.parameters()).dtype
    own = _noise_of(experiment, images)
    eps = own.normal("eps", (experiment.model.latent_dim,))
    x = inputs(torch.tensor(images).to(dtype)).movedim(-1, 1)
    given = torch.tensor(np.asarray(eps)).to(dtype)
    with shared_noise(model, given, own.keys("dropout"), weight_map):
        found = forward(model, x)
    if not isinstance(found, tuple) or len(found) != 3:
        raise UsageError(
            f"forward: returned {type(found).__name__}: must return a tuple of pixels, mean and"
            " logvar (the last two None for an AE)"
        )
    return *found, x


def _noise_of(experiment: Experiment, images: np.ndarray) -> Noise:
    """That of the run's first step for the first examples."""
    return Noise(noise.root(experiment.seed), 0, jnp.arange(len(images)))


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
