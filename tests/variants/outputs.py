"""What decoder and encoder may have said of some examples, and what an objective makes of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import Objective
from jaxvae.models import Output
from jaxvae.objectives import gaussian_kl, gaussian_kl_per_latent
from tests.given import batch as examples_of

BATCH, PIXELS, LATENTS = 16, 12, 3


def outputs(n: int = BATCH) -> dict[str, jax.Array]:
    """What decoder and encoder said of n examples."""
    rng = np.random.default_rng(2)
    shapes = {"decoded": (n, PIXELS), "mean": (n, LATENTS), "logvar": (n, LATENTS)}
    return {k: jnp.asarray(rng.standard_normal(s), jnp.float32) for k, s in shapes.items()}


def images(n: int = BATCH, observed: Any = None) -> Any:
    return examples_of(
        jnp.asarray(np.random.default_rng(3).random((n, PIXELS)), jnp.float32), observed=observed
    )


def output(own: dict[str, jax.Array]) -> Output:
    mean, logvar = own["mean"], own["logvar"]
    aux = {"kl_per_latent": gaussian_kl_per_latent(mean, logvar)}
    return Output(own["decoded"], mean, gaussian_kl(mean, logvar), aux=aux)


def measured(objective: Objective, own: Any, given: Any, params: Any = None) -> tuple[Any, Any]:
    """The terms, and the gradient of what is minimised by what the model said."""

    def minimised(own: Any) -> Any:
        terms = objective.terms(output(own), given, params or {})
        return jnp.mean(objective.minimised(terms)), terms

    (_, terms), gradient = jax.value_and_grad(minimised, has_aux=True)(own)
    return terms, gradient
