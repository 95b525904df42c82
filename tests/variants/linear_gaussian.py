"""p(z) = N(0, 1), p(x|z) = N(scale z + bias, 1), q = N(mean, exp(logvar)): all of it is known.

Each example has parameters of its own, so that the gradients of a batch are as many draws of the
gradient of one. x = 1 everywhere; with scale 1 and bias 0, log p(1) = log N(1; 0, 2) = -1.515512,
and the posterior is N(1/2, 1/2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import Objective, noise
from jaxvae.batch import Batch
from jaxvae.models import Bound, Output, reparameterize
from jaxvae.noise import Noise
from jaxvae.objectives import gaussian_kl, gaussian_kl_per_latent, gaussian_log_density
from jaxvae.variants.samples import CIWAE, IWAE, MIWAE, PIWAE, STL, DReG, Renyi, SeveralSamples
from tests.given import batch as examples_of

LOG_P = -1.515512
ELBO_OF_PRIOR = -1.918939
"""With q = N(0, 1)."""
POSTERIOR, PRIOR, OTHER = (0.5, 0.5), (0.0, 1.0), (0.2, 0.8)
"""Means and variances of q."""
NUMBER = 4000


class LinearGaussian:
    """As a Flax module is applied."""

    def apply(self, variables: Any, batch: Batch) -> Output:
        params = variables["params"]
        mean, logvar, decoder = params["mean"], params["logvar"], params["decoder"]
        assert batch.noise is not None
        z = reparameterize(mean, logvar, batch.noise.normal("eps", (1,)))
        log_ratio = gaussian_log_density(z, mean, logvar) - gaussian_log_density(z)
        per_latent = gaussian_kl_per_latent(mean, logvar)
        aux = {"mean": mean, "logvar": logvar, "kl_per_latent": per_latent}
        decoded = decoder["scale"] * z + decoder["bias"]
        return Output(decoded, z, gaussian_kl(mean, logvar), log_ratio, aux)


def parameters(mean: float, var: float, number: int = NUMBER) -> dict[str, Any]:
    """Those of the model, for each example, (number, 1)."""
    of = {"mean": mean, "logvar": math.log(var), "scale": 1.0, "bias": 0.0}
    each = {name: jnp.full((number, 1), value, jnp.float32) for name, value in of.items()}
    decoder = {name: each.pop(name) for name in ("scale", "bias")}
    return each | {"decoder": decoder}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drawn(Noise):
    """Noise whose draws of the code are `eps`, (draws, batch, 1)."""

    eps: Any = None

    def normal(self, name: str, shape: Any) -> Any:
        return self.eps[self.draw]


def batch(number: int = NUMBER, seed: int = 0) -> Batch:
    """x = 1, and up to 32 draws of the code for each."""
    eps = np.random.default_rng(seed).standard_normal((32, number, 1))
    index = jnp.arange(number)
    own = Drawn(noise.root(0), 0, index, eps=jnp.asarray(eps, jnp.float32))
    return examples_of(jnp.ones((number, 1)), own=own)


def gaussian(objective: Objective, **settings: Any) -> Any:
    """The objective with the likelihood of this model."""
    return replace(objective, likelihood="gaussian", **settings)


def of_samples(number: int) -> dict[str, Objective]:
    """Every objective, of so many samples in all."""
    half = max(1, number // 2)
    each = {
        "k_sample": SeveralSamples(samples=number),
        "iwae": IWAE(samples=number),
        "miwae": MIWAE(samples=number // half, repeats=half),
        "piwae": PIWAE(samples=number // half, repeats=half),
        "ciwae": CIWAE(samples=number, elbo_weight=0.25),
        "renyi": Renyi(samples=number, alpha=0.5),
        "stl": STL(samples=number),
        "dreg": DReG(samples=number),
    }
    return {name: gaussian(objective) for name, objective in each.items()}


class Measured(NamedTuple):
    """Terms, (number,); gradients of each example's own, (number, 1), and of the likelihood's."""

    terms: dict[str, jax.Array]
    gradient: dict[str, Any]
    of_objective: dict[str, Any]


def measure(objective: Objective, params: Any, own: Any = None, given: Any = None) -> Measured:
    """own: parameters of the likelihood. Not compiled as one program, so that the objectives of a
    test share what is compiled of each operation, and the same numbers are the same bits."""
    own, given = own or {}, given or batch(len(params["mean"]))

    def minimised(params: Any, own: Any) -> Any:
        output = objective.outcome(Bound(LinearGaussian(), {"params": params}), given, own)
        terms = objective.terms(output, given, own)
        return jnp.sum(objective.minimised(terms)), terms  # of each example its own

    (gradient, of_own), terms = jax.grad(minimised, (0, 1), has_aux=True)(params, own)
    return Measured(terms, gradient, of_own)


def draws(params: Any, number: int) -> Output:
    """The samples that `measure` is given."""
    return Bound(LinearGaussian(), {"params": params}).draws(batch(len(params["mean"])), number)


def mean_and_error(values: Any) -> tuple[float, float]:
    """The mean over draws, and its standard error."""
    values = np.asarray(values, np.float64).ravel()
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def bound_of_two(
    bound: Callable[[np.ndarray], np.ndarray], mean: float, var: float, beta: float = 1.0
) -> float:
    """E of a bound by the log weights of two samples, by Gauss-Hermite quadrature in float64."""
    x, w = np.polynomial.hermite_e.hermegauss(80)
    z = mean + math.sqrt(var) * x
    log_ratio = 0.5 * (np.square(z) - np.square(x) - math.log(var))
    log_w = -0.5 * np.square(1 - z) - 0.5 * math.log(2 * math.pi) - beta * log_ratio
    pairs = np.stack(np.meshgrid(log_w, log_w))
    return float((bound(pairs) * np.outer(w, w)).sum() / w.sum() ** 2)
