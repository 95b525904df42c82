"""The objective and the pixel error of a model over a whole split, compiled."""

import contextlib
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import axis, noise
from jaxvae.batch import Batch, Examples, dummy
from jaxvae.config import Experiment, Objective, with_fields
from jaxvae.data import Split
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import preprocess, to_unit
from jaxvae.data.streaming import stream
from jaxvae.info import Info
from jaxvae.models import Bound, decoder_mean
from jaxvae.noise import Noise
from jaxvae.objectives.likelihoods import bernoulli_nll_of_samples

Means = dict[str, jax.Array]


def in_order(means: Mapping[str, jax.Array | float]) -> dict[str, float]:
    """As plain numbers: loss, recon and kl first, then what else there is."""
    first = ["loss", "recon", "kl"]
    return {name: float(means[name]) for name in [*first, *(n for n in means if n not in first)]}


def not_finite(values: Mapping[str, float]) -> list[str]:
    """The names of those that are infinite or not a number."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def make_batch_terms(
    experiment: Experiment, module: Any, info: Info, sampled: bool = True
) -> Callable[..., dict[str, jax.Array]]:
    """`terms(variables, examples, key, numbers={})`, pure, over one batch.

    Returns each term of the objective, in nats, with schedules at their end, and `mse`, the mean
    squared error per value of the reconstruction, with pixels in [0, 1]: (batch,), or () of a term
    of the whole batch. Noise depends on (key, index) alone.

    Args:
        experiment: settings of the data, model and objective.
        module: the model's.
        info: what is known about the data.
        sampled: decode z ~ q(z|x), one sample per image; otherwise the posterior mean.
    """
    data = experiment.data

    def batch_terms(
        variables: Any,
        examples: Examples,
        key: jax.Array,
        numbers: Mapping[str, jax.Array] | None = None,
    ) -> dict[str, jax.Array]:
        objective = with_fields(experiment, numbers or {}).objective
        own = Noise(noise.stream(key, "evaluate"), 0, examples.index)
        batch = preprocess(data, examples, own, info)
        batch = batch if sampled else batch.without_noise()
        output = objective.outcome(Bound(module, variables.model), batch, variables.objective)
        terms = objective.terms(output, batch, variables.objective)
        recon = to_unit(data, decoder_mean(output.decoded, experiment.model.output))
        return terms | {"mse": squared_error(recon, batch, to_unit(data, batch.target))}

    return batch_terms


def make_batch_sums(
    experiment: Experiment, module: Any, info: Info, sampled: bool = True
) -> Callable[..., Means]:
    """`sums(variables, examples, counted, key, numbers={})`, pure, over one batch.

    Returns the sum over the examples that are `counted`, (batch,), of each of `make_batch_terms`,
    whose arguments these are. A term of the whole batch counts once per example.
    """
    batch_terms = make_batch_terms(experiment, module, info, sampled)

    def batch_sums(
        variables: Any,
        examples: Examples,
        counted: jax.Array,
        key: jax.Array,
        numbers: Mapping[str, jax.Array] | None = None,
    ) -> Means:
        terms = batch_terms(variables, examples, key, numbers)
        return {
            name: jnp.sum(jnp.where(counted, jnp.broadcast_to(term, counted.shape), 0.0))
            for name, term in terms.items()
        }

    return batch_sums


def squared_error(recon: jax.Array, batch: Batch, target: jax.Array) -> jax.Array:
    """Mean over the values of an example that were observed, and over samples, (batch,)."""
    n, samples = len(target), [1] * (recon.ndim - target.ndim)
    error = jnp.square(recon - target.reshape(*samples, *target.shape))
    error = error.reshape(*recon.shape[: len(samples)], n, -1)
    if batch.observed is None:
        error = jnp.mean(error, axis=-1)
    else:
        known = batch.observed.reshape(*samples, n, -1)
        number = jnp.sum(known, axis=-1, dtype=error.dtype)
        error = jnp.sum(jnp.where(known, error, 0.0), axis=-1) / jnp.maximum(number, 1.0)
    return jnp.mean(error.reshape(-1, n), axis=0) if samples else error


def recon_of_samples(objective: Objective, output: Any, batch: Batch, params: Any) -> jax.Array:
    """`objective.recon`, in the form that is fastest where nothing is derived."""
    if objective.likelihood == "bernoulli" and type(objective).recon is Objective.recon:
        return bernoulli_nll_of_samples(output.decoded, batch.target, batch.observed)
    return objective.recon(output, batch, params)


def has_terms_across(experiment: Experiment, module: Any, info: Info) -> bool:
    """Whether the objective has terms of the whole batch, of shape (): nothing is computed."""
    if (
        type(experiment.objective).terms is Objective.terms
    ):  # which has none, and is not traced for it
        return False

    terms = jax.eval_shape(lambda: _terms_of_two(experiment, module, dummy(info)))
    return any(term.shape == () for term in terms.values())


def has_recon_across(experiment: Experiment, module: Any, info: Info) -> bool:
    """Whether recon of an example depends on the others of its batch, as where a variance follows
    from their errors: then no example has a likelihood of its own."""
    objective = experiment.objective
    if type(objective).recon is Objective.recon:
        return False
    two = jax.tree.map(lambda x: jnp.concatenate([x, x]), dummy(info))

    @jax.jit
    def first(other: jax.Array) -> jax.Array:
        output, _ = module.init_with_output(jax.random.key(0), two)
        params = objective.init(jax.random.key(0), output)
        targets = jnp.stack([jnp.ones(info.shape), other])
        return objective.recon(output, replace(two, target=targets), params)[0]

    # Unlike 0 and 1, of which a sigmoid's 0.5 is as far from one as from the other.
    return bool(first(jnp.ones(info.shape)) != first(jnp.full(info.shape, 3.0)))


def uses_observed(experiment: Experiment, module: Any, info: Info) -> bool:
    """Whether the loss of an example depends on which of its values were observed."""
    ones = jnp.ones((1, *info.shape))  # unlike what a model begins with, which may be 0
    one = replace(dummy(info), input=ones, target=ones)

    @jax.jit
    def loss(observed: jax.Array) -> jax.Array:
        return _terms_of_two(experiment, module, replace(one, observed=observed))["loss"]

    everything = jnp.ones(one.target.shape, bool)
    return bool(jnp.any(loss(everything) != loss(~everything)))


def _terms_of_two(experiment: Experiment, module: Any, one: Batch) -> dict[str, jax.Array]:
    """The objective's terms of an example and its copy, for variables before any step.

    Of two, since terms across the batch may be those of pairs.
    """
    objective = experiment.objective
    output, variables = module.init_with_output(jax.random.key(0), one)
    params = objective.init(jax.random.key(0), output)
    two = jax.tree.map(lambda x: jnp.concatenate([x, x]), one)
    batch = replace(two, noise=Noise(noise.root(0), 0, jnp.arange(2)))
    return objective.terms(
        objective.outcome(Bound(module, variables), batch, params), batch, params
    )


def counted_examples(n: int, batch_size: int, across: bool) -> int:
    """How many of n examples are evaluated: all, or with terms across the batch full batches alone.

    The last partial batch is padded with copies of an example, which such a term would see.
    """
    return n // batch_size * batch_size if across and n >= batch_size else n


def make_evaluate(
    batch_sums: Callable[..., Means], batch_size: int, across: bool = False
) -> Callable[..., Means]:
    """`evaluate(variables, x, labels, key, numbers={})`, pure, over stored examples (n, ...).

    Returns the mean over the examples of what `batch_sums` sums up. The last partial batch is
    padded and not counted beyond its examples, so every example counts once; with terms `across`
    the batch it is left out. Epochs are compared under the same draw of the noise.
    """

    def evaluate(
        variables: Any,
        x: jax.Array,
        labels: jax.Array,
        key: jax.Array,
        numbers: Mapping[str, jax.Array] | None = None,
    ) -> Means:
        n = counted_examples(x.shape[0], batch_size, across)

        def sums_from(start: jax.Array) -> Means:
            position = axis.divide(start + jnp.arange(batch_size))
            index = jnp.minimum(position, n - 1)
            examples = Examples(x[index], labels[index], index)
            return batch_sums(variables, examples, position < n, key, numbers)

        sums = jax.lax.map(sums_from, jnp.arange(0, n, batch_size))
        return jax.tree.map(lambda s: jnp.sum(s) / n, sums)

    return evaluate


def evaluate_streamed(
    batch_sums: Callable[..., Means],
    variables: Any,
    split: Split,
    key: jax.Array,
    batch_size: int,
    own: slice = slice(None),
    place: Callable[[Any], Any] = lambda parts: parts,
    across: bool = False,
) -> dict[str, float]:
    """What `make_evaluate` returns, for images that stay in their files, batch by batch.

    Args:
        batch_sums: of `make_batch_sums`, compiled.
        variables: of the model.
        split: its images, `LazyImages`, and their labels.
        key: the run's root key.
        batch_size: images at once.
        own: the rows of a batch that this process reads.
        place: brings those rows to the devices.
        across: as for `make_evaluate`.
    """
    n = counted_examples(len(split.images), batch_size, across)
    total: dict[str, float] = {}
    with contextlib.closing(padded_batches(split, n, batch_size, own)) as batches:
        for batch in batches:
            # Fetched one by one: of two programs at once, processes on CPUs may begin either.
            for name, value in batch_sums(variables, *place(batch), key).items():
                total[name] = total.get(name, 0.0) + float(value)
    return {name: value / n for name, value in total.items()}


def padded_batches(
    split: Split, n: int, batch_size: int, own: slice = slice(None)
) -> Generator[tuple[Examples, np.ndarray], None, None]:
    """The first n examples in batches of equal size on the host, and which of each count, (batch,).

    The last batch is padded with copies of the last example. Images in their files are read ahead.
    """
    images, labels = split.images, split.every_label
    position = np.arange(-(-n // batch_size) * batch_size).reshape(-1, batch_size)
    index = np.minimum(position, n - 1).astype(np.int32)[:, own]
    with contextlib.ExitStack() as closing:
        parts: Iterable[np.ndarray] = (images[rows] for rows in index)
        if isinstance(images, LazyImages):
            chunks = closing.enter_context(contextlib.closing(stream(images, index, 1)))
            parts = (chunk[0] for chunk in chunks)
        for rows, x, counted in zip(index, parts, position[:, own] < n, strict=True):
            yield Examples(x, labels[rows], rows), counted
