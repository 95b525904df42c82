"""Parts of variants by themselves: a critic, a label, two layers, pseudo-inputs."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.evaluation import Trained, reconstruct
from jaxvae.models import Output
from jaxvae.training.state import Variables, initial_state
from tests.variants.small import BATCH, INFO, batch, small

pytestmark = pytest.mark.numeric


def start(experiment: Any) -> Variables:
    """Any parameters, without compiling an initialisation."""
    module, rng = experiment.model.build(INFO), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: initial_state(experiment, module, INFO)).variables
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / 3, x.dtype), shapes)


def test_pseudo_inputs_are_kept_within_the_range_of_pixels():
    experiment = small("vamp_prior_vae")
    params, module = start(experiment).model["params"], experiment.model.build(INFO)
    shape = params["pseudo_inputs"].shape
    u = jnp.asarray(np.random.default_rng(1).standard_normal(shape) + 0.5, jnp.float32)

    @jax.jit
    def components(u: jax.Array) -> Any:
        variables = {"params": params | {"pseudo_inputs": u}}
        return module.apply(variables, batch(experiment), method="of_components")

    inside = components(jnp.clip(u, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, components(u), inside)
    assert (inside[0] != components(0.5 * u)[0]).any()


def test_two_layers_with_heads_of_zeros_are_their_noise():
    """Then q(z1|x) = q(z2|z1) = N(0, I), and with p(z1|z2) = N(1, I) the lower layer's KL is one
    sample of KL(N(0, I) || N(1, I)): log N(z1; 0) - log N(z1; 1)."""
    experiment = small("two_layer_vae")
    variables, given = start(experiment), batch(experiment)
    params = variables.model["params"]
    zero = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("q1", "q2", "p1")}
    zero["p1"]["mean"]["bias"] = jnp.ones_like(zero["p1"]["mean"]["bias"])
    output = jax.jit(experiment.model.build(INFO).apply)({"params": params | zero}, given)
    z1, z2 = output.z["z1"], output.z["z2"]
    # Another program may round what makes a normal draw otherwise in its last place.
    for z, name in ((z1, "eps"), (z2, "eps2")):
        np.testing.assert_allclose(z, given.noise.normal(name, z.shape[1:]), rtol=1e-6)
    lower = 0.5 * (np.square(z1 - 1.0) - np.square(z1)).sum(axis=1)
    np.testing.assert_allclose(output.kl["z1"], lower, atol=1e-5)
    np.testing.assert_allclose(output.log_ratio, lower, atol=1e-5)


def test_a_critic_judges_by_its_logits_and_trains_alone():
    """It says e to 1 for codes of the posterior, whatever they are: tc = log D0 - log D1 = 1."""
    experiment = small("factor_vae")
    objective, variables, given = experiment.objective, start(experiment), batch(experiment)
    critic = jax.tree.map(jnp.zeros_like, variables.objective["critic"])
    last = max(critic)  # Dense_2, after the hidden layers
    critic[last]["bias"] = jnp.array([1.0, 0.0])
    z = jnp.asarray(np.random.default_rng(1).standard_normal((BATCH, 3)), jnp.float32)
    output = Output(jnp.zeros_like(given.target), z, kl=jnp.zeros(BATCH))
    found = objective.terms(output, given, {"critic": critic})
    assert float(found["tc"]) == pytest.approx(1, abs=1e-6)
    both = math.log1p(math.exp(-1)), math.log1p(math.exp(1))  # -log D0 and -log D1
    assert float(found["critic"]) == pytest.approx(sum(both) / 2, rel=1e-6)

    @jax.jit
    def gradients(params: Any, z: jax.Array) -> Any:
        def value(params: Any, z: jax.Array, term: str) -> jax.Array:
            return jnp.mean(objective.terms(output._replace(z=z), given, params)[term])

        return [jax.grad(value, (0, 1))(params, z, term) for term in ("tc", "critic")]

    (of_critic, of_codes), (own, other) = gradients(variables.objective, z)
    assert not any(leaf.any() for leaf in jax.tree.leaves(of_critic)) and of_codes.any()
    assert any(leaf.any() for leaf in jax.tree.leaves(own)) and not other.any()


def test_the_label_counts_in_both_directions():
    """The code of an image, and the image of a code, are those of a class."""
    experiment = small("conditional_vae")
    variables, given = start(experiment), batch(experiment)
    module = experiment.model.build(INFO)
    z, images = [], []
    for label in range(3):
        of_class = replace(given, label=jnp.full(BATCH, label))
        z.append(module.apply(variables.model, of_class, method="embed"))
        images.append(module.apply(variables.model, z[0], of_class, method="decode"))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (z[a] != z[b]).all(axis=1).any() and (images[a] != images[b]).any()
    trained = Trained(experiment, module, variables, INFO.shape, INFO)
    own = given.without_noise()
    decoded = jax.nn.sigmoid(module.apply(variables.model, own).decoded)
    np.testing.assert_allclose(reconstruct(trained, own), decoded, rtol=1e-5, atol=1e-6)
