"""What Gaussian posteriors say over many examples: which latents are used, what the KL is."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation.active import has_posterior, number_active, variances
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import Trained, batches, gaussian_posterior
from jaxvae.models.bottlenecks import reparameterize
from jaxvae.objectives import aggregated as parts
from jaxvae.objectives.divergences import gaussian_kl_per_latent

CODES = 10_000
"""At most so many codes are drawn, of the first training examples."""
BATCH = 1000
"""The largest batch of the estimators: they hold batch x batch x latents numbers."""
TOGETHER = (50, 500)
"""Codes and posteriors whose densities are in memory at once."""
EPSILON = 0.01
"""Nats below which a KL is none, and the fraction of examples that may have more."""


def posteriors(trained: Trained, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Mean and logvar of q(z|x) of each example, (n, latents) each.

    Raises:
        UsageError: they are not Gaussians whose prior is N(0, I), or not finite.
    """
    found = []
    for batch, _ in batches(trained, split):
        posterior = gaussian_posterior(trained, batch)
        if posterior is None:
            raise UsageError("q(z|x) of this model is no Gaussian with N(0, I) as the prior")
        found.append(posterior)
    mean, logvar = (np.concatenate(rows) for rows in zip(*found, strict=True))
    if not (np.isfinite(mean).all() and np.isfinite(logvar).all()):
        raise UsageError("q(z|x) is not finite for some examples")
    return mean, logvar


def units(subject: Subject) -> Findings:
    """Which latents are used: active units, KL per latent, collapse.

    active: latents whose posterior mean has a variance above 0.01 over the first 10,000 examples
    (Burda et al. 2016, arXiv:1509.00519, section 5.2). collapsed: latents whose KL is below 0.01
    nats for at least 99 % of the examples (Lucas et al. 2019, arXiv:1911.02469, with epsilon and
    delta 0.01). kl_1, kl_2, ...: mean KL(q(z_j|x) || N(0, 1)) of each latent.

    Raises:
        UsageError: the model has no posterior; there is one example, or all are the same; codes are
            not finite.
    """
    trained, split = subject.trained, subject.split
    if not has_posterior(trained):
        raise UsageError("this model has no posterior, so none of its latents can be unused")
    by_layer = variances(trained, split)
    if by_layer is None:
        n = len(split.images)
        given = "one image" if n == 1 else f"{n:,} images that are all the same"
        raise UsageError(f"{given}: a latent is active where the codes of images differ")
    if not all(np.isfinite(variance).all() for variance in by_layer.values()):
        raise UsageError("codes are not finite")  # no variance would be above any threshold
    values: dict[str, float] = {}
    for name, variance in by_layer.items():
        end = f"_{name}" if name else ""
        values |= {f"active{end}": number_active(variance), f"latents{end}": variance.size}
    notes = []
    if dead := [name for name, variance in by_layer.items() if number_active(variance) == 0]:
        whose = f" of {', '.join(dead)}" if dead[0] else ""
        notes.append(f"no latent{whose} is active: the codes say nothing about the examples")
    try:
        kl = np.asarray(gaussian_kl_per_latent(*map(jnp.asarray, posteriors(trained, split))))
    except UsageError as error:
        return Findings(values, (*notes, f"no KL per latent: {error}"))
    values["collapsed"] = float(np.sum(np.mean(kl < EPSILON, axis=0) >= 1 - EPSILON))
    for j, of_latent in enumerate(kl.T):
        values |= mean_of(f"kl_{j + 1}", of_latent)
    return Findings(values, tuple(notes))


@partial(jax.jit, static_argnames=("number", "estimator"))
def _of_batches(
    z: jax.Array, mean: jax.Array, logvar: jax.Array, number: int, estimator: parts.Estimator
) -> parts.Decomposition:
    """By the estimator, of batches (batches, batch, latents)."""
    log_w = parts.log_mixture_weights(estimator, z.shape[1], number)

    def of_one(batch: tuple[jax.Array, jax.Array, jax.Array]) -> parts.Decomposition:
        z, mean, logvar = batch
        return parts.decomposition(z, mean, logvar, parts.aggregated(z, mean, logvar, log_w))

    return jax.lax.map(of_one, (z, mean, logvar))


@jax.jit
def _exactly(z: jax.Array, mean: jax.Array, logvar: jax.Array, rows: Any) -> parts.Decomposition:
    """With the posteriors of all examples as the mixture, for codes of `rows` of them."""

    def of_some(some: tuple[jax.Array, jax.Array]) -> parts.Decomposition:
        codes, index = some
        q = parts.aggregated_in_parts(codes, mean, logvar, TOGETHER[1])
        return parts.decomposition(codes, mean[index], logvar[index], q)

    return jax.lax.map(of_some, (z, rows))


def decomposition(subject: Subject) -> Findings:
    """E KL(q(z|x) || p(z)) = mutual information + total correlation + dimension-wise KL.

    Over the training examples: codes of at most 10,000 of them, drawn, under the posteriors of
    all; and the same by estimators that see a batch of `data.batch_size` alone, as a loss can:
    mws, mss and plain (`jaxvae.objectives.aggregated`). Standard errors are over the codes; those
    of the estimators over batches, since the codes of a batch share its mixture.
    """
    trained = subject.trained
    train = subject.dataset.train
    n, seed = len(train.images), subject.settings.seed
    # Neighbours in a file may be of one class: a batch of them is none of those of training.
    order = np.random.default_rng(seed).permutation(n)
    mean, logvar = (jnp.asarray(x[order]) for x in posteriors(trained, train))
    key = noise.stream(noise.root(seed), "decomposition")
    number = min(n, CODES)
    eps = jax.random.normal(key, (number, mean.shape[1]))
    z = reparameterize(mean[:number], logvar[:number], eps)
    together = TOGETHER[0]
    rows = jnp.minimum(jnp.arange(-(-number // together) * together), number - 1)
    exact = _exactly(
        z[rows].reshape(-1, together, z.shape[1]), mean, logvar, rows.reshape(-1, together)
    )
    kl = np.asarray(gaussian_kl_per_latent(mean[:number], logvar[:number])).sum(axis=1)
    values = mean_of("kl", kl)
    for name, found in exact._asdict().items():
        values |= mean_of(name, np.asarray(found).reshape(-1)[:number])
    size = min(trained.experiment.data.batch_size, number, BATCH)
    notes = [
        f"of the run's own training examples, whatever else is measured: codes of {number:,} under"
        f" the posteriors of {n:,}; _mws, _mss and _plain see {size} at a time"
    ]
    if size < 2:
        return Findings(values, (*notes, "a batch of one has no estimators"))
    whole = number // size * size
    batches = [x[:whole].reshape(-1, size, x.shape[1]) for x in (z, mean, logvar)]
    for estimator in ("mws", "mss", "plain"):
        estimated = _of_batches(*batches, n, estimator)
        for name, found in estimated._asdict().items():
            values |= mean_of(f"{name}_{estimator}", np.asarray(found, np.float64).mean(axis=1))
    notes.append("mutual information is at most log N = " + f"{np.log(n):.2f} nats")
    return Findings(values, tuple(notes))
