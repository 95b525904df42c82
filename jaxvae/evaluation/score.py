"""A model's terms over a split: those of each example, and their means."""

import jax

from jaxvae import noise
from jaxvae.data import Split
from jaxvae.evaluation.evaluate import has_terms_across, in_order, make_batch_terms, not_finite
from jaxvae.evaluation.per_image import Scores, score
from jaxvae.evaluation.trained import Trained


class NotFinite(ValueError):
    """A term is no number."""


def terms(trained: Trained, split: Split, sampled: bool) -> Scores:
    """`loss`, `recon`, `kl` in nats, `mse` and what else the objective measures, of each example.

    Args:
        trained: the model.
        split: the examples, of `as_stored`.
        sampled: decode a sample of the posterior, as the ELBO says, or its mean.

    Raises:
        NotFinite: a mean of one is no number.
    """
    experiment, key = trained.experiment, noise.root(trained.experiment.seed)
    batch_terms = jax.jit(make_batch_terms(experiment, trained.model, trained.info, sampled))
    across = has_terms_across(experiment, trained.model, trained.info)
    size = experiment.data.batch_size
    scores = score(batch_terms, trained.variables, split, key, size, across)
    if bad := not_finite(means(scores)):
        raise NotFinite(f"not finite: {', '.join(bad)}")
    return scores


def means(scores: Scores) -> dict[str, float]:
    """Over the examples: loss, recon and kl first."""
    own = {name: float(row.mean(dtype=float)) for name, row in scores.rows.items()}
    return in_order(own | scores.across)
