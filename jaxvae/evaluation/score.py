"""A model's terms over a split: their means, and those of each example."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.config import Experiment, with_fields
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
from jaxvae.info import Info


class NotFinite(ValueError):
    """A term is no number."""


class Programs(NamedTuple):
    """What evaluates a model, each compiled when it is first called.

    sums, means, terms: of `make_batch_sums`, `make_evaluate` and `make_batch_terms`.
    across: whether the objective has terms across the batch.
    """

    sums: Callable[..., Any]
    means: Callable[..., Any]
    terms: Callable[..., Any]
    across: bool


@functools.lru_cache(maxsize=8)
def _programs(experiment: Experiment, model: Any, info: Info, sampled: bool) -> Programs:
    across = has_terms_across(experiment, model, info)
    sums = make_batch_sums(experiment, model, info, sampled)
    return Programs(
        jax.jit(sums),
        jax.jit(make_evaluate(sums, experiment.data.batch_size, across)),
        jax.jit(make_batch_terms(experiment, model, info, sampled)),
        across,
    )


def programs_for(trained: Trained, sampled: bool) -> Programs:
    """The same ones for every state of a model, so that what evaluates each epoch compiles once."""
    # Not with arrays in memory, which would be kept as long as the programs are.
    name = {"data.source": str(trained.experiment.data.source)}
    settings = with_fields(trained.experiment, name), trained.model, trained.info
    try:
        hash(settings)
    except TypeError:  # a class of one's own may hold a list, or an array
        return _programs.__wrapped__(*settings, sampled)
    return _programs(*settings, sampled)


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
    programs, batch_size = programs_for(trained, sampled), experiment.data.batch_size
    across = programs.across
    if isinstance(split.images, LazyImages):
        means = evaluate_streamed(
            programs.sums, trained.variables, split, key, batch_size, across=across
        )
    else:
        resident = jnp.asarray(split.images), jnp.asarray(split.every_label)
        means = programs.means(trained.variables, *resident, key)
    values = in_order(means)
    if bad := not_finite(values):
        raise NotFinite(f"not finite: {', '.join(bad)}")
    return values, counted_examples(len(split.images), batch_size, across)


def terms_per_example(trained: Trained, split: Split, sampled: bool) -> Scores:
    """The same terms of each example; see `per_image.score`."""
    experiment, key = trained.experiment, noise.root(trained.experiment.seed)
    programs, batch_size = programs_for(trained, sampled), experiment.data.batch_size
    return score(programs.terms, trained.variables, split, key, batch_size, programs.across)
