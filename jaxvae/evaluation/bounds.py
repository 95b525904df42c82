"""The evidence, and bounds on it, of each example in nats."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.data.preprocess import preprocess
from jaxvae.evaluation import importance, score
from jaxvae.evaluation.active import has_posterior
from jaxvae.evaluation.evaluate import recon_of_samples
from jaxvae.evaluation.posterior import posteriors
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import Trained
from jaxvae.models import Bound
from jaxvae.noise import Noise
from jaxvae.objectives.divergences import gaussian_log_density

GRID_IMAGES = 10
"""Examples of which log p(x) is integrated over a grid of codes."""
GRID_POINTS = 400
"""Of the grid along each of the two latents."""


def elbo(subject: Subject) -> Findings:
    """The objective's terms and the ELBO at weight 1, at a sample of the posterior and at its mean.

    elbo = -(recon + kl), whatever weight the KL had in training. elbo_at_mean decodes the posterior
    mean, and is no bound. Terms across the batch are means over full batches, and named so.
    """
    trained, split = subject.trained, subject.split
    sampled, at_mean = (score.terms(trained, split, draws) for draws in (True, False))
    values: dict[str, float] = {}
    first = [name for name in ("loss", "recon", "kl", "mse") if name in sampled.rows]
    for name in dict.fromkeys([*first, *sampled.rows]):
        values |= mean_of(name, sampled.rows[name])
    for name, mean in sampled.across.items():
        values[f"{name}_over_full_batches"] = mean
    notes = unnormalised(trained)
    if "recon" not in sampled.rows:
        notes.append("no elbo: recon of an example depends on the others of its batch")
    elif "kl" in sampled.rows and has_posterior(trained):
        found = -(sampled.rows["recon"] + sampled.rows["kl"])
        values |= mean_of("elbo", found)
        values |= mean_of("elbo_at_mean", -(at_mean.rows["recon"] + at_mean.rows["kl"]))
        notes.append("elbo_at_mean decodes the posterior mean: it is no bound on log p(x)")
        more, why = bits_per_dim(subject, -found)
        values |= more
        notes += why
    for name in ("recon", "mse"):
        if name in at_mean.rows:
            values |= mean_of(f"{name}_at_mean", at_mean.rows[name])
    return Findings(values, tuple(notes))


def nll(subject: Subject) -> Findings:
    """-log p(x), bounded from above by importance sampling with K draws: `importance.nll`.

    ess: the mean effective sample size, of K; where it is near 1, the bound is loose. With two
    latents also log p(x) itself for some examples, by summing over a grid of codes, beside the
    ELBO and the bound of the same examples.
    """
    trained, split, number = subject.trained, subject.split, subject.settings.num_samples
    bound, effective = importance.nll(trained, split, number)
    values = mean_of("nll", bound) | {"num_samples": float(number)}
    values |= mean_of("ess", effective) | {"ess_smallest": float(effective.min())}
    more, notes = bits_per_dim(subject, bound)
    values |= more
    notes += unnormalised(trained)
    if has_two_latents(trained, split):
        more, why = _grid(trained, split, bound)
        values |= more
        notes += why
    return Findings(values, tuple(notes), {"nll": bound, "ess": effective})


def has_two_latents(trained: Trained, split: Split) -> bool:
    """Whether the prior is N(0, I) of two latents, so that p(x) can be summed over a grid."""
    try:
        mean, _ = posteriors(trained, split.take([0]))
    except UsageError:
        return False
    return mean.shape[1] == 2


def _grid(trained: Trained, split: Split, bound: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """ELBO, bound and log p(x) of the first examples, or why there are none."""
    some = split.take(range(min(GRID_IMAGES, len(split.images))))
    try:
        exact = log_p_by_grid(trained, some)
    except UsageError as error:
        return {}, [f"no log p(x) by a grid: {error}"]
    minus_elbo, _ = importance.nll(trained, some, 1)
    values = {"grid_images": float(len(exact))} | mean_of("grid_elbo", -minus_elbo)
    values |= mean_of("grid_bound", -bound[: len(exact)]) | mean_of("grid_log_p", exact)
    return values, []


def bits_per_dim(subject: Subject, nats: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """nats / (values log 2), where p(x|z) is a probability: Bernoulli, of pixels that are 0 or 1.

    Elsewhere nothing, and the sentence that says why.
    """
    experiment, info = subject.trained.experiment, subject.trained.info
    if experiment.objective.likelihood != "bernoulli":
        return {}, ["no bits per dimension: the likelihood is a density, which has none"]
    if experiment.data.binarize == "none":
        images = subject.split.images
        if info.maximum is None or experiment.data.resize or not isinstance(images, np.ndarray):
            return {}, ["no bits per dimension: only of pixels that are known to be 0 or 1"]
        if not np.isin(images, np.array([0, info.maximum])).all():
            return {}, ["no bits per dimension: Bernoulli is no probability of grey pixels"]
    return mean_of("bits_per_dim", nats / math.prod(info.shape) / math.log(2)), []


def unnormalised(trained: Trained) -> list[str]:
    """What a likelihood leaves out, or is not."""
    if trained.experiment.objective.likelihood in ("mse", "half_mse"):
        return ["recon is half the squared error, without the constant D/2 log(2 pi) of a Gaussian"]
    if trained.experiment.objective.likelihood == "log_cosh":
        return ["recon is scale log cosh(error / scale), without its density's constant"]
    return []


def log_p_by_grid(trained: Trained, split: Split) -> np.ndarray:
    """log p(x) of each example in nats, (n,): the sum of p(x|z) p(z) over a grid of two latents.

    A sum over equal steps is exact, but for exp(-2 pi^2 s^2 / h^2), where the posterior is a
    Gaussian of standard deviation s and the step is h. The grid reaches 5 standard deviations of
    the prior and of the posteriors.

    Raises:
        UsageError: the prior is not N(0, I) of two latents; or the step is too wide.
    """
    mean, logvar = posteriors(trained, split)
    if mean.shape[1] != 2:
        raise UsageError(f"a grid needs two latents: this model has {mean.shape[1]}")
    reach = max(5.0, float((np.abs(mean) + 5 * np.exp(0.5 * logvar)).max()))
    axis = jnp.linspace(-reach, reach, GRID_POINTS)
    step = 2 * reach / (GRID_POINTS - 1)
    narrow = float(np.exp(0.5 * logvar).min())
    if narrow < step / 2:  # of such a Gaussian the sum is wrong by up to 3 %, or 0.03 nats
        raise UsageError(
            f"a posterior of standard deviation {narrow:.2g} is narrower than half of a step,"
            f" {step:.2g}"
        )
    codes = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    experiment, variables = trained.experiment, trained.variables
    key = noise.stream(noise.root(experiment.seed), "evaluate")
    log_cell = gaussian_log_density(codes) + 2 * math.log(step)
    n = len(split.images)
    together = max(1, importance.VALUES // (n * math.prod(trained.info.shape)))

    @jax.jit
    def log_p(examples: Examples) -> jax.Array:
        own = Noise(key, 0, examples.index)
        batch = preprocess(experiment.data, examples, own, trained.info).without_noise()
        model = Bound(trained.model, variables.model)

        def log_likelihood(z: jax.Array) -> jax.Array:
            """log p(x|z) of every example; a decoder that sees no label decodes once for all."""

            def of_one(row: Any) -> jax.Array:
                one = jax.tree.map(lambda x: x[None], row)
                output = model(one)._replace(decoded=model.decode(z[None], one))
                return -recon_of_samples(experiment.objective, output, one, variables.objective)[0]

            return jax.vmap(of_one)(batch)

        found = jax.lax.map(log_likelihood, codes, batch_size=together)
        return jax.nn.logsumexp(found + log_cell[:, None], axis=0)

    index = np.arange(n, dtype=np.int32)
    return np.asarray(log_p(Examples(split.images[:], split.every_label, index)), np.float64)
