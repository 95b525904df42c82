"""Whether loop, members and runners compute the same as plain steps.

All in float32 products: programs that differ are compiled differently, so they may differ by
rounding, which a step that is wrong exceeds by far.
"""

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae import data, noise
from jaxvae.batch import Examples
from jaxvae.config import Experiment, Parallel
from jaxvae.data import Dataset
from jaxvae.data.batches import epoch_order
from jaxvae.doctor import recipes
from jaxvae.doctor.compare import in_float32, judged, relative
from jaxvae.doctor.report import NOT_CHECKED, Check, Checks
from jaxvae.training import devices, initial_state
from jaxvae.training import members as population
from jaxvae.training import program as programs
from jaxvae.training.state import TrainState
from jaxvae.training.step import make_train_step

ROUNDING = 1e-4
"""Allowed after 20 steps of float32, each of which may round some sums in another order: 1e-6 at
once, which steps pass on and add to; the same bound as in comparisons of whole runs."""


class Trained(NamedTuple):
    """What some steps came to, on the host."""

    sums: dict[str, np.ndarray]  # of each step's metrics
    params: np.ndarray  # one vector
    collections: np.ndarray  # one vector


def trained(sums: Any, state: TrainState) -> Trained:
    """One vector each, so that errors are relative to the largest of all entries: the gradient of a
    bias in front of BatchNorm is 0 but for rounding, and so is what becomes of it."""

    def vector(tree: Any) -> np.ndarray:
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)] or [np.zeros(0)])

    sums = {name: np.asarray(value) for name, value in sums.items()}
    return Trained(sums, vector(state.params), vector(state.collections))


def plain_steps(experiment: Experiment, dataset: Dataset, steps: int) -> Trained:
    """After so many calls of the bare step.

    The state is not donated, and batches are gathered on the host: nothing but the step is shared
    with the loops.
    """
    images, batch_size = dataset.train.images[:], experiment.data.batch_size
    info = data.info(dataset, experiment.data)
    model = experiment.model.build(info)
    step = jax.jit(make_train_step(experiment, model, info, len(images) // batch_size))
    labels = dataset.train.every_label

    key = noise.root(experiment.seed)
    order = np.asarray(jax.jit(epoch_order, static_argnums=2)(key, 0, len(images)))
    one = devices.choose(Parallel("jit", 1), batch_size)
    state = one.make(functools.partial(initial_state, experiment, model, info))
    sums: dict[str, Any] = {}
    for i in range(steps):
        index = order[i * batch_size : (i + 1) * batch_size]
        state, metrics = step(state, Examples(images[index], labels[index], index), key)
        sums = {name: sums.get(name, 0.0) + np.float64(metrics[name]) for name in metrics}
    return trained(sums, state)


def compiled_steps(
    program: programs.Program, state: TrainState, steps: int, halt: int | None = None
) -> Trained:
    """The same by the package's own program, which consumes each state; maybe halted on the way."""
    sums = program.sums()
    for first, stop in ((0, steps),) if halt is None else ((0, halt), (halt, steps)):
        for source, number in program.chunks(first, stop):
            state, sums = program.advance(state, sums, source, number)
    return trained(*devices.local((sums, state)))


def loop(quick: bool) -> list[Check]:
    """The compiled loop, which gets its state donated, against plain steps."""
    checks = []
    for experiment in (recipes.TINY, recipes.TINY_CONVOLUTIONAL)[: 1 if quick else None]:
        dataset = recipes.dataset(recipes.STEPS, experiment.data.batch_size, recipes.SIDE)
        with in_float32():
            plain = plain_steps(experiment, dataset, recipes.STEPS)
            program, state = programs.build(experiment, dataset, Parallel("jit", 1))
            found = compiled_steps(program, state, recipes.STEPS)
        name = f"compiled loop against plain steps, {experiment.model.network}"
        checks.append(judged(name, relative(found, plain), ROUNDING))
    return checks


def members(quick: bool) -> list[Check]:
    """Two members that differ in seed and beta, in one program, against each alone."""
    name, steps, first = "members under vmap against each alone", recipes.STEPS, recipes.TINY
    if quick:
        return [Check(name, None, None, NOT_CHECKED, "left out by --quick")]
    second = replace(first, seed=1, objective=replace(first.objective, beta=0.5))
    dataset = recipes.dataset(steps, first.data.batch_size, recipes.SIDE)
    with in_float32():
        alone = [plain_steps(member, dataset, steps) for member in (first, second)]
        both = (first, second)
        program, state = programs.build(first, dataset, everyone=both, names=["objective.beta"])
        sums = program.sums()
        for order, number in program.chunks(0, steps):
            state, sums = program.advance(state, sums, order, number)
    sums, state = jax.device_get((sums, population.stacked(state)))
    together = [
        trained(*jax.tree.map(lambda x, i=i: x[i], (sums, state))) for i in range(len(alone))
    ]
    return [judged(name, relative(together, alone), ROUNDING)]


def runners(quick: bool) -> list[Check]:
    """Each way to divide a batch over the devices that are there, against one device."""
    count, steps = jax.local_device_count(), recipes.STEPS
    if quick and count == 1:
        return [Check("runners", None, None, NOT_CHECKED, "one device: there is nothing to divide")]
    data = replace(recipes.TINY.data, batch_size=8 * count)
    experiment = replace(recipes.TINY, data=data)
    dataset = recipes.dataset(steps, 8 * count, recipes.SIDE)
    checks = []
    with in_float32():
        alone = plain_steps(experiment, dataset, steps)
        for name in ("sharded", "shard_map", "pmap"):
            parallel = Parallel(name, count)  # type: ignore[arg-type]
            program, state = programs.build(experiment, dataset, parallel)
            error = relative(compiled_steps(program, state, steps), alone)
            checks.append(judged(f"runner {program.runner.describe()}", error, ROUNDING))
    return checks


CHECKS: Checks = {
    "compiled loop against plain steps": loop,
    "members under vmap against each alone": members,
    "runners": runners,
}
