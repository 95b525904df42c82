"""-log p(x) by importance sampling from the posterior, of each example, and how far to trust it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvae import noise
from jaxvae.batch import Examples, dummy
from jaxvae.checks import UsageError
from jaxvae.config import Experiment
from jaxvae.data import Split
from jaxvae.data.preprocess import preprocess
from jaxvae.evaluation.at_once import most_decoded
from jaxvae.evaluation.evaluate import has_recon_across, padded_batches, recon_of_samples
from jaxvae.evaluation.trained import Trained
from jaxvae.info import Info
from jaxvae.models import Bound
from jaxvae.noise import Noise

DRAWS = 50
"""Of each code that are decoded at once: a pass of the encoder serves so many."""
VALUES = 2**20
"""Decoded values that are in memory at once, about: as many as a processor's cache holds."""


class Weights(NamedTuple):
    """Sums over the importance weights w_k = p(x, z_k) / q(z_k|x) so far, (batch,) each.

    largest: the largest log w. total: sum of w / exp(largest). squares: sum of their squares.
    """

    largest: jax.Array
    total: jax.Array
    squares: jax.Array

    def add(self, log_w: jax.Array) -> "Weights":
        """With more of them, (draws, batch)."""
        largest = jnp.maximum(self.largest, log_w.max(axis=0))
        before, w = jnp.exp(self.largest - largest), jnp.exp(log_w - largest[None])
        return Weights(
            largest,
            self.total * before + w.sum(axis=0),
            self.squares * before**2 + jnp.square(w).sum(axis=0),
        )

    def nll(self, number: int) -> jax.Array:
        """-log 1/K sum_k w_k, for K = `number` of them."""
        return math.log(number) - self.largest - jnp.log(self.total)

    @property
    def effective_size(self) -> jax.Array:
        """(sum w)^2 / sum w^2: by how many of the draws the sum is carried, 1 to K."""
        return self.total**2 / self.squares


def no_weights(n: int) -> Weights:
    """Of no draw of n examples."""
    return Weights(jnp.full(n, -jnp.inf), jnp.zeros(n), jnp.zeros(n))


def make_log_weights(experiment: Experiment, module: Any, info: Info) -> Callable[..., jax.Array]:
    """`log_weights(variables, examples, key, draws)`, pure: log p(x|z) + log p(z) - log q(z|x).

    Shape (draws, batch), in nats, for z the draws of those numbers; draw 0 is the one of which the
    ELBO is evaluated. What is drawn of the data (binarization, corruption) is the same for all.
    """
    objective, data = experiment.objective, experiment.data

    def log_weights(
        variables: Any, examples: Examples, key: jax.Array, draws: jax.Array
    ) -> jax.Array:
        own = Noise(noise.stream(key, "evaluate"), 0, examples.index)
        batch = preprocess(data, examples, own, info)
        model = Bound(module, variables.model)
        output = model.each(lambda model, draw: model(batch.another(draw)), draws)
        assert output.log_ratio is not None  # see log_weights_exist
        return -recon_of_samples(objective, output, batch, variables.objective) - output.log_ratio

    return log_weights


def log_weights_exist(trained: Trained) -> bool:
    """Whether the model says how far q(z|x) and p(z) are apart at a sample."""
    apply, variables = trained.model.apply, trained.variables.model
    return jax.eval_shape(apply, variables, dummy(trained.info)).log_ratio is not None


def nll(trained: Trained, split: Split, number: int) -> tuple[np.ndarray, np.ndarray]:
    """-log 1/K sum_k p(x, z_k) / q(z_k|x), of each example in nats, and its effective sample size.

    It is at least -log p(x) in the mean, and falls with K: Burda, Grosse and Salakhutdinov 2016,
    eq. 8 (arXiv:1509.00519). Near 1, an effective sample size says that it is far above. Examples
    are divided between the devices; what is drawn depends on neither their number nor the parts.

    Args:
        trained: the model.
        split: the examples, of `as_stored`.
        number: K.

    Raises:
        UsageError: the model has no posterior, or not its density; or no example has a likelihood.
    """
    if has_recon_across(trained.experiment, trained.model, trained.info):
        raise UsageError("recon of an example depends on the others of its batch: it has no p(x|z)")
    if not log_weights_exist(trained):
        raise UsageError("this model gives no log q(z|x) - log p(z), so its log p(x) has no bound")
    key = noise.root(trained.experiment.seed)
    log_weights = make_log_weights(trained.experiment, trained.model, trained.info)
    on_cpu = jax.default_backend() == "cpu"
    most = most_decoded(trained.experiment, trained.model, trained.info, on_cpu)
    draws = min(DRAWS, number, most or DRAWS)

    @jax.jit
    def batch_nll(variables: Any, examples: Examples) -> tuple[jax.Array, jax.Array]:
        def part(i: jax.Array, weights: Weights) -> Weights:
            which = i * draws + jnp.arange(draws)
            log_w = log_weights(variables, examples, key, which)
            return weights.add(jnp.where((which < number)[:, None], log_w, -jnp.inf))

        parts = -(-number // draws)
        weights = jax.lax.fori_loop(0, parts, part, no_weights(len(examples.index)))
        return weights.nll(number), weights.effective_size

    devices = jax.local_devices()
    each = max(1, (most or VALUES // math.prod(trained.info.shape)) // draws)
    size = len(devices) * min(each, -(-len(split.images) // len(devices)))
    mesh = Mesh(np.array(devices), "data")
    placed = NamedSharding(mesh, PartitionSpec("data"))
    variables = jax.device_put(trained.variables, NamedSharding(mesh, PartitionSpec()))
    found = []
    for examples, counted in padded_batches(split, len(split.images), size):
        rows = jax.device_get(batch_nll(variables, jax.device_put(examples, placed)))
        found.append([row[counted] for row in rows])
    bound, effective = (
        np.concatenate(rows).astype(np.float64) for rows in zip(*found, strict=True)
    )
    if not np.isfinite(bound).all():
        raise UsageError(
            "log p(x) is not finite for some examples: a weight overflows, or is no number"
        )
    return bound, effective
