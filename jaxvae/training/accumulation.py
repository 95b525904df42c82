"""The gradient of a batch, at once or in parts that are added up (gradient accumulation)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters.partial_eval import dce_jaxpr

from jaxvae import axis
from jaxvae.batch import Examples
from jaxvae.checks import require
from jaxvae.models import Output
from jaxvae.training.state import PyTree

Metrics = dict[str, jax.Array]


class Forward(NamedTuple):
    """What a training batch gave besides what is minimised."""

    output: Output
    terms: dict[str, jax.Array]  # (batch,) or (), in nats
    collections: dict[str, PyTree]  # those of the module, updated


def parts_of(examples: Examples, size: int | None) -> int:
    """In how many parts of so many examples a device takes what it has of a batch; None: in one.

    Raises:
        UsageError: it does not have a multiple of them, nor fewer.
    """
    own = len(examples.index) // axis.devices()
    if size is None or size >= own:
        return 1
    allowed = f"a divisor of the {own} images of a batch that a device has, or at least as many"
    require(own % size == 0, "train.sub_batch", size, allowed)
    return own // size


LossOf = Callable[[PyTree, Examples], tuple[jax.Array, Forward]]


def derived(
    loss_of: LossOf, params: PyTree, examples: Examples
) -> tuple[PyTree, Metrics, dict[str, PyTree]]:
    """The gradient, the means of the terms, and the module's collections, updated."""
    gradient, forward = jax.grad(loss_of, has_aux=True)(params, examples)
    terms = {name: jnp.mean(term) for name, term in forward.terms.items()}
    return gradient, terms, forward.collections


def mean_of_parts(
    loss_of: LossOf, params: PyTree, examples: Examples, parts: int
) -> tuple[PyTree, Metrics]:
    """The means over the parts of a batch, one after the other, of gradient and terms.

    What a part needs is freed before the next one: a part that fits a processor's cache is faster.
    Where terms look across the batch, a pass before this one has what they look at.
    """
    own = axis.split(examples, parts)
    try:
        known = asked_of_all(partial(loss_of, params), own, parts)

        def add(total: PyTree, each: tuple[jax.Array, Examples]) -> tuple[PyTree, Metrics]:
            index, part = each
            with axis.one_of(axis.Part(parts, index, known)):
                gradient, terms, _ = derived(loss_of, params, part)
            return jax.tree.map(jnp.add, total, gradient), terms

        nothing = jax.tree.map(jnp.zeros_like, params)
        total, terms = jax.lax.scan(add, nothing, (jnp.arange(parts), own))
    except (axis.WholeBatchError, jax.errors.UnexpectedTracerError) as error:
        inside = "it is asked for within another transformation, such as vmap"
        why = error if isinstance(error, axis.WholeBatchError) else inside
        size = len(examples.index) // axis.devices() // parts
        whole = f"None, or data.batch_size, since the whole batch is needed: {why}"
        raise axis.WholeBatchError(f"train.sub_batch = {size}: must be {whole}") from error
    return jax.tree.map(lambda x: x / parts, total), jax.tree.map(jnp.mean, terms)


def asked_of_all(
    loss_of: Callable[[Examples], tuple[jax.Array, Forward]], own: Examples, parts: int
) -> tuple[jax.Array, ...]:
    """What the terms ask for of the whole batch, such as its codes, of every part, (parts, ...).

    Raises:
        WholeBatchError: two passes do not do: what is asked for follows from what else is, or a
            term of shape () from a part alone; or the loss depends on what is asked for by another
            slope in each part, which the others would have to know.
    """

    def seen(part: Examples, known: tuple[jax.Array, ...]) -> tuple[jax.Array, Any]:
        of_all = axis.Part(parts, known=known)
        with axis.one_of(of_all):
            loss, forward = loss_of(part)
        numbers = {n: term for n, term in forward.terms.items() if jnp.shape(term) == ()}
        return loss, (tuple(of_all.asked), numbers)

    one = jax.tree.map(lambda x: x[0], own)
    shapes, numbers = jax.eval_shape(seen, one, ())[1]
    if not shapes and not numbers:
        return ()
    known = tuple(jax.ShapeDtypeStruct((parts, *x.shape), x.dtype) for x in shapes)
    slopes = jax.grad(seen, argnums=1, has_aux=True, allow_int=True)
    traced, of_part = jax.make_jaxpr(slopes)(one, known).jaxpr, len(jax.tree.leaves(one))

    def inputs_of(output: int) -> list[bool]:
        """Which inputs it follows from: those of the part, then what is known of all."""
        return dce_jaxpr(traced, [i == output for i in range(len(traced.outvars))])[1]

    count = len(shapes)
    if any(any(inputs_of(i)[:of_part]) for i in range(count)):
        raise axis.WholeBatchError("examples weigh a term across the batch each in its own way")
    if any(any(inputs_of(i)[of_part:]) for i in range(count, 2 * count)):
        raise axis.WholeBatchError("what is asked for follows from what was asked for before")
    for i, name in enumerate(sorted(numbers), 2 * count):
        if any(inputs_of(i)[:of_part]):
            raise axis.WholeBatchError(
                f"{name!r} is one number, of a part by itself: ask jaxvae.axis for the batch"
            )
    return jax.lax.scan(lambda _, part: (None, seen(part, ())[1][0]), None, own)[1]
