"""The evidence, and bounds on it, of each example in nats."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.data.preprocess import preprocess
from jaxvae.evaluation import importance, score
from jaxvae.evaluation.evaluate import recon_of_samples
from jaxvae.evaluation.posterior import posteriors
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import Trained
from jaxvae.models import Bound
from jaxvae.noise import Noise
from jaxvae.objectives.divergences import gaussian_log_density

GRID_IMAGES = 50
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
    if np.any(sampled.rows.get("kl", 0)):
        found = -(sampled.rows["recon"] + sampled.rows["kl"])
        values |= mean_of("elbo", found)
        values |= mean_of("elbo_at_mean", -(at_mean.rows["recon"] + at_mean.rows["kl"]))
        notes.append("elbo_at_mean decodes the posterior mean: it is no bound on log p(x)")
        more, why = bits_per_dim(subject, -found)
        values |= more
        notes += why
    values |= mean_of("recon_at_mean", at_mean.rows["recon"])
    values |= mean_of("mse_at_mean", at_mean.rows["mse"])
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
    try:
        some = split.take(range(min(GRID_IMAGES, len(split.images))))
        exact = log_p_by_grid(trained, some)
    except UsageError:  # not two latents: then there is no grid, and nobody expects one
        return Findings(values, tuple(notes), {"nll": bound, "ess": effective})
    minus_elbo, _ = importance.nll(trained, some, 1)
    values |= {
        "grid_images": float(len(exact)),
        "grid_elbo": float(-minus_elbo.mean()),
        "grid_bound": float(-bound[: len(exact)].mean()),
        "grid_log_p": float(exact.mean()),
    }
    return Findings(values, tuple(notes), {"nll": bound, "ess": effective})


def bits_per_dim(subject: Subject, nats: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """nats / (values log 2), where p(x|z) is a probability: Bernoulli, of pixels that are 0 or 1.

    Elsewhere nothing, and the sentence that says why.
    """
    experiment = subject.trained.experiment
    if experiment.objective.likelihood != "bernoulli":
        return {}, ["no bits per dimension: the likelihood is a density, which has none"]
    images, brightest = subject.split.images, subject.trained.info.maximum
    binary = experiment.data.binarize != "none"
    if not binary and isinstance(images, np.ndarray) and brightest is not None:
        binary = bool(np.isin(images, np.array([0, brightest])).all())
    if not binary:
        why = "no bits per dimension: Bernoulli is no probability of grey pixels"
        return {}, [why]
    return mean_of("bits_per_dim", nats / math.prod(subject.trained.info.shape) / math.log(2)), []


def unnormalised(trained: Trained) -> list[str]:
    """What a likelihood leaves out, or is not."""
    if trained.experiment.objective.likelihood in ("mse", "half_mse"):
        return ["recon is half the squared error, without the constant D/2 log(2 pi) of a Gaussian"]
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
    codes = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    experiment, variables = trained.experiment, trained.variables
    key = noise.stream(noise.root(experiment.seed), "evaluate")
    values = math.prod(trained.info.shape)
    together = max(1, importance.VALUES // values)
    log_cell = gaussian_log_density(codes) + 2 * math.log(step)

    @jax.jit
    def of_one(one: Examples) -> jax.Array:
        batch = preprocess(experiment.data, one, Noise(key, 0, one.index), trained.info)
        batch = batch.without_noise()
        model = Bound(trained.model, variables.model)

        def log_likelihood(z: jax.Array) -> jax.Array:
            output = model(batch)._replace(decoded=model.decode(z[None], batch))
            return -recon_of_samples(experiment.objective, output, batch, variables.objective)[0]

        found = jax.lax.map(log_likelihood, codes, batch_size=together)
        return jax.nn.logsumexp(found + log_cell)

    x, labels = np.asarray(split.images[:]), split.every_label
    rows = [np.array([i], np.int32) for i in range(len(x))]
    return np.array([of_one(Examples(x[i], labels[i], i)) for i in rows], np.float64)
