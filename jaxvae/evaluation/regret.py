"""Likelihood regret: how much better a posterior can explain an example than the encoder's does.

Xiao, Yan and Amit 2020 (arXiv:2003.02977): max over q of the ELBO less the ELBO at the encoder's q,
with the decoder as it is. Images that the model was trained on have little; a decoder that explains
any simple image well does not hide it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvae import noise
from jaxvae.batch import Batch
from jaxvae.data import Split
from jaxvae.evaluation.trained import BATCH, Trained, batches
from jaxvae.models import Bound
from jaxvae.models.bottlenecks import reparameterize
from jaxvae.models.output import Output
from jaxvae.noise import Noise
from jaxvae.objectives.divergences import gaussian_kl

STEPS = 100
"""Of Adam, with one draw of the code each, as many as the authors' program takes."""
RATE = 0.05
"""Of learning at the first step; it falls to 0 as a cosine."""
DRAWS = 16
"""Of the code, over which both bounds are averaged; the same for both."""


def likelihood_regret(trained: Trained, split: Split, seed: int = 0) -> np.ndarray:
    """Of each example, (n,), in nats; below 0 only by the noise of the draws.

    Args:
        trained: a model with a Gaussian posterior and a standard normal prior (`has_gaussian`).
        split: the examples.
        seed: of the draws, which follow from each example's position besides.
    """
    compute = jax.jit(_make(trained))
    found = []
    for whole, index in batches(trained, split):
        for start in range(0, len(index), BATCH):
            # The last batch is filled up with copies, so that the program is compiled once.
            rows = np.minimum(
                np.arange(start, start + min(BATCH, len(split.images))), len(index) - 1
            )
            own = Noise(noise.root(seed), 0, jnp.asarray(index[rows]))
            batch = replace(jax.tree.map(lambda x: x[rows], whole), noise=own)  # noqa: B023
            found.append(np.asarray(compute(trained.variables, batch))[: len(index) - start])
    return np.concatenate(found)


def _make(trained: Trained) -> Callable[[Any, Batch], jax.Array]:
    objective, module = trained.experiment.objective, trained.model
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def regret(variables: Any, batch: Batch) -> jax.Array:
        model, own = Bound(module, variables.model), batch.noise
        assert own is not None
        output = model(batch.without_noise())
        start = (output.aux["mean"], output.aux["logvar"])

        def bound(q: tuple[jax.Array, jax.Array], eps: jax.Array) -> jax.Array:
            """The ELBO of each example at one draw, (batch,)."""
            z = reparameterize(*q, eps)
            decoded = model.decode(z, batch)
            recon = objective.recon(Output(decoded, z), batch, variables.objective)
            return -(recon + gaussian_kl(*q))

        def draw(i: jax.Array) -> jax.Array:
            return own.another(i).normal("regret", start[0].shape[1:])

        def improve(state: Any, i: jax.Array) -> tuple[Any, None]:
            q, memory = state
            gradient = jax.grad(lambda q: -jnp.sum(bound(q, draw(i))))(q)
            with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
                updates, memory = optimizer.update(gradient, memory, q)
            return (optax.apply_updates(q, updates), memory), None

        (best, _), _ = jax.lax.scan(
            improve, (start, optimizer.init(start)), DRAWS + jnp.arange(STEPS)
        )

        def gained(i: jax.Array) -> jax.Array:
            return bound(best, draw(i)) - bound(start, draw(i))

        return jnp.mean(jax.lax.map(gained, jnp.arange(DRAWS)), axis=0)

    return regret
