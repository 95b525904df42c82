"""Terms and gradients of the family's experiments, at parameters of any value."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Batch
from jaxvae.models import Bound
from jaxvae.training.state import Variables, initial_state
from jaxvae.training.step import make_loss
from tests.variants.small import INFO


def start(experiment: Any, seed: int = 0) -> Variables:
    """Variables of any values, without compiling an initialisation."""
    module, rng = experiment.model.build(INFO), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initial_state(experiment, module, INFO)).variables
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / 3, x.dtype), shapes)


def terms(experiment: Any, variables: Variables, given: Batch) -> Any:
    """What the objective says of a batch in evaluation, and what the model returns."""
    module, objective = experiment.model.build(INFO), experiment.objective

    @jax.jit
    def of(variables: Variables, given: Batch) -> Any:
        output = objective.outcome(Bound(module, variables.model), given, variables.objective)
        return objective.terms(output, given, variables.objective), output

    return of(variables, given)


def trained(experiment: Any, variables: Variables, given: Batch) -> Any:
    """((what is minimised, `Forward`), its gradient by "model" and "objective") in training."""
    loss = make_loss(experiment.model.build(INFO))
    held = {name: v for name, v in variables.model.items() if name != "params"}
    params = {"model": variables.model["params"], "objective": variables.objective}

    @jax.jit
    def of(params: Any, held: Any, given: Batch) -> Any:
        return jax.value_and_grad(loss, has_aux=True)(params, held, given, experiment.objective)

    return of(params, held, given)
