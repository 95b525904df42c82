"""Batches in parts: the whole batch's step of every variant whose model does not look across it.

Terms may: of capacities, free bits, variances, total correlations, discrepancies, critics.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Objective, Optimizer, Train, axis, noise
from jaxvae.batch import Examples
from jaxvae.training.state import AXES, initial_state
from jaxvae.training.step import make_train_step, metric_names
from tests.variants.small import BATCH, INFO, NAMES, dataset, small

pytestmark = pytest.mark.numeric

ACROSS = {
    **dict.fromkeys(("vq_vae", "vq_vae_restart", "residual_vq_vae", "cifar_vq_vae"), "codebook"),
    **dict.fromkeys(("vq_vae_gradient", "fsq_vae"), "over the batch"),
}
"""What needs the whole batch at once, and what of the error says why: a model that looks across it.

Not by its mathematics: sums over the parts would do (docs/training.md).
"""


def examples() -> Examples:
    images, labels, *_ = dataset().train.take(np.arange(BATCH))
    return Examples(images, labels, np.arange(BATCH, dtype=np.int32))


def step_of(experiment, size: int):
    """Its step of SGD, which is the gradient, with batches in parts; the module; the pure step."""
    experiment = replace(
        experiment,
        optimizer=Optimizer("sgd", 1.0),
        train=replace(experiment.train, sub_batch=size),
    )
    module = experiment.model.build(INFO)
    return experiment, module, make_train_step(experiment, module, INFO, steps_per_epoch=3)


def test_the_list_names_variants():
    assert {*ACROSS} < {*NAMES}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.ci] if name == "beta_tc_vae" else [])
        for name in NAMES
        if name not in ACROSS
    ],
)
def test_parts_are_the_whole_batch(name):
    assert_parts_are_the_whole_batch(small(name))


def assert_parts_are_the_whole_batch(asked):
    """Values and gradients, in float64: sums of 16 examples in another order, 1e-15 each."""
    with jax.enable_x64(True):
        experiment, module, whole = step_of(asked, BATCH)
        state = initial_state(experiment, module, INFO)
        rng = np.random.default_rng(0)  # heads and biases that begin as zeros have gradients too
        moved = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape), state.params)
        state, key = replace(state, step=jnp.int32(2), params=moved), noise.root(5)

        @jax.jit
        def both(state):
            steps = (whole, *(step_of(asked, size)[2] for size in (4, 1)))
            return [step(state, examples(), key) for step in steps]

        (after, metrics), *others = both(state)
        for of_parts, own_metrics in others:
            assert metrics.keys() == own_metrics.keys()
            for term, value in metrics.items():
                np.testing.assert_allclose(own_metrics[term], value, rtol=1e-12, atol=1e-13)
            for old, new, by_parts in zip(
                *map(jax.tree.leaves, (moved, after.params, of_parts.params)), strict=True
            ):
                gradient, size = np.asarray(old - new), np.abs(np.asarray(old)).max()
                tolerance = 1e-12 * np.abs(gradient).max() + 4e-16 * size
                np.testing.assert_allclose(old - by_parts, gradient, rtol=0, atol=tolerance)
        grad_norm = float(metrics["grad_norm"])
    assert grad_norm > 0.01


@pytest.mark.parametrize("name", ACROSS)
def test_what_looks_across_the_batch_is_refused(name):
    """By tracing alone; whole batches are not."""
    for size in (BATCH, 4):
        experiment, module, step = step_of(small(name), size)
        state = jax.eval_shape(lambda: initial_state(experiment, module, INFO))  # noqa: B023
        args = step, state, jax.eval_shape(examples), jax.eval_shape(lambda: noise.root(0))
        if size == BATCH:
            assert "loss" in metric_names(*args)
            continue
        with pytest.raises(axis.WholeBatchError) as error:
            metric_names(*args)
        text = str(error.value)
        assert text.startswith("train.sub_batch = 4: must be None, or data.batch_size")
        assert ACROSS[name] in text and "\n" not in text


class Spread(Objective):
    """Logs a number of the whole batch, without asking for it by `jaxvae.axis`."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        return terms | {"spread": jnp.var(terms["kl"])}


class Summed(Objective):
    """Minimises one number of the whole batch."""

    def minimised(self, terms):
        return jnp.square(jnp.mean(terms["loss"]))


class Nested(Objective):
    """A spread about a mean over the batch: a second look, at what the first one was for."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        mean = axis.mean(jnp.mean(terms["kl"]))
        return terms | {"spread": axis.mean(jnp.mean(jnp.square(terms["kl"] - mean)))}


class Both(Objective):
    """A number that was asked for, and one of the part alone."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        own, whole = jnp.var(terms["kl"]), jnp.var(axis.gather(terms["kl"]))
        return terms | {"own": own, "whole": whole}


class Contrast(Objective):
    """InfoNCE of codes and their noiseless selves: each example looks at all others by itself."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        logits = output.z @ axis.gather(output.aux["mean"]).T
        return terms | {"loss": terms["loss"] + jax.nn.logsumexp(logits, axis=1)}


class Weighed(Objective):
    """A number of the batch that each example weighs by its KL."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        mean = axis.mean(jnp.mean(terms["recon"]))
        return terms | {"loss": terms["loss"] + terms["kl"] * mean}


class Bent(Objective):
    """What is minimised is no sum of the terms of the examples and one of the batch."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        return terms | {"loss": terms["loss"] + axis.mean(jnp.mean(terms["kl"]))}

    def minimised(self, terms):
        return jnp.square(terms["loss"])


class Inside(Objective):
    """Asks within `vmap`, where what it gets belongs to that."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        spread = jnp.var(jax.vmap(axis.gather, 1, 1)(output.z))
        return terms | {"spread": spread, "loss": terms["loss"] + spread}


class Early(Objective):
    """Asks before there are terms."""

    def outcome(self, model, batch, params):
        output = model(batch)
        return output._replace(aux=output.aux | {"centre": axis.mean(jnp.mean(output.z))})


@pytest.mark.parametrize(
    ("own", "what"),
    [
        (Spread, "'spread' is one number, of a part by itself: ask jaxvae.axis"),
        (Both, "'own' is one number, of a part by itself: ask jaxvae.axis"),
        (Summed, "what Summed minimises is one number"),
        (Nested, "what is asked for follows from what was asked for before"),
        *((own, "each in its own way") for own in (Contrast, Weighed, Bent)),
        (Inside, "within another transformation, such as vmap"),
        (Early, "a mean over the batch, which terms alone may ask for"),
    ],
)
def test_what_two_passes_would_get_wrong_is_refused(own, what):
    experiment = replace(small("beta_vae"), objective=own(), train=Train(sub_batch=4))
    module = experiment.model.build(INFO)
    step = make_train_step(experiment, module, INFO, 3)
    state = jax.eval_shape(lambda: initial_state(experiment, module, INFO))
    with pytest.raises(axis.WholeBatchError, match=what):
        metric_names(step, state, jax.eval_shape(examples), jax.eval_shape(lambda: noise.root(0)))


class Spreads(Objective):
    """An objective of one's own, with terms of the whole batch by each of the ways to ask."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        z = axis.gather(output.z)
        last = jnp.sum(jnp.square(z[-1] - z[0]))  # which depends on the order of the examples
        square = axis.mean(jnp.mean(jnp.square(output.z), axis=0))
        total = axis.total(jnp.sum(terms["recon"])) / 100
        right, label = axis.gather(output.z[:, 0] > 0), axis.gather(batch.label)
        between = jnp.sum(jnp.where(right & (label > 0), z[:, 1], 0.0))  # of bools and integers
        loss = terms["loss"] + last + jnp.sum(jnp.square(square)) + jnp.square(total) + between
        numbers = {"last": last, "square": jnp.sum(square), "total": total, "between": between}
        return terms | numbers | {"loss": loss, "width": jnp.asarray(1.5, z.dtype)}


def test_terms_of_ones_own_may_ask_for_the_whole_batch():
    assert_parts_are_the_whole_batch(replace(small("beta_vae"), objective=Spreads()))


def test_members_under_vmap_look_across_their_batches():
    """As on an accelerator: traced alone, two members."""
    experiment, module, step = step_of(small("beta_tc_vae"), 4)

    def both():
        state = initial_state(experiment, module, INFO)
        everyone = jax.tree.map(lambda x: jnp.stack([x, x]), replace(state, step=None))
        given = jax.tree.map(lambda x: jnp.stack([x, x]), examples())
        keys = jnp.stack([noise.root(0), noise.root(1)])
        together = jax.vmap(step, (AXES, 0, 0), (AXES, 0))
        return together(replace(everyone, step=state.step), given, keys)[1]

    assert {x.shape for x in jax.tree.leaves(jax.eval_shape(both))} == {(2,)}
