"""A model's terms over a split: their means, and those of each example."""

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.data import LazyImages, Split
from jaxvae.evaluation.evaluate import (
    counted_examples,
    evaluate_streamed,
    has_terms_across,
    in_order,
    make_batch_sums,
    make_batch_terms,
    make_evaluate,
    not_finite,
)
from jaxvae.evaluation.per_image import Scores, score
from jaxvae.evaluation.trained import Trained


class NotFinite(ValueError):
    """A term is no number."""


def mean_terms(trained: Trained, split: Split, sampled: bool) -> tuple[dict[str, float], int]:
    """Means over a split, stored as the run's own: `loss`, `recon`, `kl` in nats per example, `mse`
    and what else the objective measures; and over how many examples they are.

    Args:
        trained: the model.
        split: the examples, of `as_stored`.
        sampled: decode a sample of the posterior, as the ELBO says, or its mean.

    Raises:
        NotFinite: one is no number.
    """
    experiment, key = trained.experiment, noise.root(trained.experiment.seed)
    sums = make_batch_sums(experiment, trained.model, trained.info, sampled)
    batch_size = experiment.data.batch_size
    across = has_terms_across(experiment, trained.model, trained.info)
    if isinstance(split.images, LazyImages):
        means = evaluate_streamed(
            jax.jit(sums), trained.variables, split, key, batch_size, across=across
        )
    else:
        evaluate = jax.jit(make_evaluate(sums, batch_size, across))
        resident = jnp.asarray(split.images), jnp.asarray(split.every_label)
        means = evaluate(trained.variables, *resident, key)
    values = in_order(means)
    if bad := not_finite(values):
        raise NotFinite(f"not finite: {', '.join(bad)}")
    return values, counted_examples(len(split.images), batch_size, across)


def terms_per_example(trained: Trained, split: Split, sampled: bool) -> Scores:
    """The same terms of each example; see `per_image.score`."""
    experiment, key = trained.experiment, noise.root(trained.experiment.seed)
    terms = jax.jit(make_batch_terms(experiment, trained.model, trained.info, sampled))
    across = has_terms_across(experiment, trained.model, trained.info)
    return score(terms, trained.variables, split, key, experiment.data.batch_size, across)
