"""In parts of what size batches are taken: the rule by which `train.sub_batch` None is a number."""

import logging
from dataclasses import replace
from typing import Any

import jax

from jaxvae import axis, noise
from jaxvae.batch import Examples
from jaxvae.config import Experiment
from jaxvae.evaluation.at_once import most_at_once
from jaxvae.evaluation.evaluate import has_terms_across
from jaxvae.info import Info
from jaxvae.training.accumulation import parts_of
from jaxvae.training.state import initial_state
from jaxvae.training.step import make_train_step, metric_names

log = logging.getLogger("jaxvae")


def settled(
    experiment: Experiment,
    module: Any,
    info: Info,
    on_cpu: bool,
    own: Examples,
    before: int | None = None,
) -> Experiment:
    """The experiment, where `train.sub_batch` is None with a number: that of the rule.

    Whole batches but where fewer images at once are faster, and nothing looks across the batch,
    which would take two passes over the parts.

    Args:
        experiment: the recipe.
        module: its model.
        info: what is known about the data.
        on_cpu: whether it is trained on one.
        own: what a device has of a batch; it may be abstract.
        before: what the rule said where a resumed run has trained until now. It is kept, but where
            it does not divide what a device has here: then whole batches, which is said.

    Raises:
        UsageError: the number that is set does not divide what a device has of a batch, or the
            model looks across the batch, or the objective without asking for it.
    """
    if experiment.train.sub_batch is not None:
        refuse_across(experiment, module, info, own)
        return experiment
    whole = with_parts(experiment, experiment.data.batch_size)
    images = len(own.index)
    if before is not None:
        if before < images and images % before:
            log.warning(
                "batches are taken whole: parts of %d, as the run chose, do not divide the %d"
                " images of a batch that a device has here",
                *(before, images),
            )
            return whole
        return with_parts(experiment, before)
    most = most_at_once(experiment, module, info, on_cpu)
    size = images if most is None else size_for(images, most)
    if size == images or has_terms_across(experiment, module, info):
        return whole
    in_parts = with_parts(experiment, size)
    try:
        refuse_across(in_parts, module, info, own)
    except axis.WholeBatchError:
        return whole
    return in_parts


def with_parts(experiment: Experiment, size: int) -> Experiment:
    """The experiment with this `train.sub_batch`."""
    return replace(experiment, train=replace(experiment.train, sub_batch=size))


def refuse_across(experiment: Experiment, module: Any, info: Info, own: Examples) -> None:
    """Raise a UsageError unless a step can be taken in the experiment's parts: it is traced."""
    if parts_of(own, experiment.train.sub_batch) == 1:
        return
    state = jax.eval_shape(lambda: initial_state(experiment, module, info))
    key = jax.eval_shape(lambda: noise.root(0))
    metric_names(make_train_step(experiment, module, info, 1), state, own, key)


def size_for(images: int, most: int) -> int:
    """Of so many images the largest divisor up to `most`, if above its half; else all of them."""
    if images <= most:
        return images
    fitting = (size for size in range(most, most // 2, -1) if images % size == 0)
    return next(fitting, images)
