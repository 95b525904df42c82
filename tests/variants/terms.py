"""Terms and gradients of the family's experiments, at any parameters or of any output."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.batch import Batch
from jaxvae.models import Output
from jaxvae.objectives import gaussian_kl_per_latent
from jaxvae.training.state import Variables, initial_state
from jaxvae.training.step import make_loss
from tests.variants.small import INFO


def start(experiment: Any, seed: int = 0) -> Variables:
    """Variables of any values, without compiling an initialisation."""
    module, rng = experiment.model.build(INFO), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initial_state(experiment, module, INFO)).variables
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / 3, x.dtype), shapes)


def fixed(z: Any, kl: jax.Array | None = None, **aux: Any) -> tuple[Output, Batch]:
    """What a model returns that has these codes, and says this of them; a batch of two pixels."""
    z = jnp.asarray(z, jnp.float32)
    x = jnp.linspace(0.1, 0.9, len(z) * 2).reshape(-1, 2)
    own = noise.Noise(noise.root(0), 0, jnp.arange(len(z)))
    given = Batch(x, x, jnp.full(len(z), -1), None, own, INFO)
    if {"mean", "logvar"} <= aux.keys():
        aux["kl_per_latent"] = gaussian_kl_per_latent(aux["mean"], aux["logvar"])
    return Output(x[::-1], z, kl, None, aux), given


def trained(experiment: Any, variables: Variables, given: Batch) -> Any:
    """((what is minimised, `Forward`), its gradient by "model" and "objective") in training."""
    loss = make_loss(experiment.model.build(INFO))
    held = {name: v for name, v in variables.model.items() if name != "params"}
    params = {"model": variables.model["params"], "objective": variables.objective}

    @jax.jit
    def of(params: Any, held: Any, given: Batch) -> Any:
        return jax.value_and_grad(loss, has_aux=True)(params, held, given, experiment.objective)

    return of(params, held, given)


def matches(found: Any, expected: Any) -> None:
    """Each gradient to float rounding: of programs of several terms sums are in another order."""
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(jnp.abs(b).max()))
