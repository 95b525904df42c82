"""A model's terms over a split: those of each example, and their means."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxvae import noise
from jaxvae.config import Experiment, with_fields
from jaxvae.data import Split
from jaxvae.evaluation.at_once import evaluated_at_once, most_at_once
from jaxvae.evaluation.evaluate import has_terms_across, in_order, make_batch_terms, not_finite
from jaxvae.evaluation.per_image import Scores, score
from jaxvae.evaluation.subject import mean_of
from jaxvae.evaluation.trained import Trained
from jaxvae.info import Info


class NotFinite(ValueError):
    """A term is no number."""


class Program(NamedTuple):
    """What evaluates a model.

    terms: of `make_batch_terms`, compiled when it is first called.
    across: whether the objective has terms across the batch.
    at_once: images in a batch.
    """

    terms: Callable[..., Any]
    across: bool
    at_once: int


@functools.lru_cache(maxsize=32)
def _program(experiment: Experiment, model: Any, info: Info, sampled: bool) -> Program:
    terms = jax.jit(make_batch_terms(experiment, model, info, sampled))
    across = has_terms_across(experiment, model, info)
    most = most_at_once(experiment, model, info, jax.default_backend() == "cpu")
    size = evaluated_at_once(experiment.data.batch_size, most, across)
    return Program(terms, across, size)


def program_for(trained: Trained, sampled: bool) -> Program:
    """The same one for every state and seed of a model: what evaluates each epoch, or the members
    of a study, compiles once."""
    # Not with arrays in memory, which would be kept as long as the program is; and without the
    # seed, which is in the keys.
    of_all = {"data.source": str(trained.experiment.data.source), "seed": 0}
    settings = with_fields(trained.experiment, of_all), trained.model, trained.info
    try:
        hash(settings)
    except TypeError:  # a class of one's own may hold a list, or an array
        return _program.__wrapped__(*settings, sampled)
    return _program(*settings, sampled)


def terms(trained: Trained, split: Split, sampled: bool) -> Scores:
    """`loss`, `recon`, `kl` in nats, `mse` and what else the objective measures, of each example.

    Args:
        trained: the model.
        split: the examples, of `as_stored`.
        sampled: decode a sample of the posterior, as the ELBO says, or its mean.

    Raises:
        NotFinite: a mean of one is no number.
    """
    experiment, program = trained.experiment, program_for(trained, sampled)
    key, size = noise.root(experiment.seed), program.at_once
    scores = score(program.terms, trained.variables, split, key, size, program.across)
    if bad := not_finite(means(scores)):
        raise NotFinite(f"not finite: {', '.join(bad)}")
    return scores


def means(scores: Scores) -> dict[str, float]:
    """Over the examples, loss, recon and kl first; `NAME_se` is the standard error of NAME.

    One example has no error, nor have terms across the batch, which no example has of its own.
    """
    found: dict[str, float] = {}
    for name, row in scores.rows.items():
        found |= mean_of(name, row)
    return in_order(found | scores.across)
