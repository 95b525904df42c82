"""What the members of a population are, before any of them is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Experiment, Model, Optimizer, Population, noise
from jaxvae.info import Info
from jaxvae.training import members
from jaxvae.training.state import initial_state

BASE = Experiment(
    "members",
    seed=3,
    model=Model(hidden_dims=(4,), latent_dim=2),
    optimizer=Optimizer(ema_decay=0.9),
)
SWEEP = Population(2, ("objective.beta=0.5,4", "optimizer.learning-rate=1e-3,2e-4"))
INFO = Info((3, 3, 1))


def test_every_combination_is_a_member_from_the_experiments_seed_on():
    everyone = members.members(BASE, SWEEP)
    fields = [(m.seed, m.objective.beta, m.optimizer.learning_rate) for m in everyone]
    assert fields == [(s, b, r) for s in (3, 4) for b in (0.5, 4.0) for r in (1e-3, 2e-4)]
    assert all(m.optimizer.ema_decay == 0.9 for m in everyone)
    seeds = members.members(BASE, Population(sweep=("seed=7,0",)))
    assert [m.seed for m in seeds] == [7, 0]


def test_each_member_has_its_own_numbers_and_key():
    everyone = members.members(BASE, SWEEP)
    names = ["objective.beta", "optimizer.learning_rate"]
    numbers = members.numbers_of(everyone, ["seed", *names])
    assert list(numbers) == names
    np.testing.assert_array_equal(numbers[names[0]], np.float32([0.5, 0.5, 4, 4] * 2))
    np.testing.assert_array_equal(numbers[names[1]], np.float32([1e-3, 2e-4] * 4))
    keys = members.root_keys(everyone)
    assert keys.shape == (8,)
    for key, seed in zip(keys, [3] * 4 + [4] * 4, strict=True):
        assert (jax.random.key_data(key) == jax.random.key_data(noise.root(seed))).all()


MODULE = BASE.model.build(INFO)


@pytest.fixture(scope="module")
def both():
    """The states of seeds 3 and 4."""
    keys = jnp.stack([noise.root(3), noise.root(4)])
    return jax.jit(lambda keys: members.initial_states(BASE, MODULE, INFO, keys))(keys)


def test_each_member_begins_as_it_would_alone(both):
    initial = jax.jit(lambda key: initial_state(BASE, MODULE, INFO, key))
    stacked = members.stacked(both)
    for i, seed in enumerate((3, 4)):
        alone = initial(noise.root(seed))
        own = jax.tree.map(lambda x: x[i], stacked)  # noqa: B023
        # Initial weights are drawn by the same bits; a scale may be multiplied in another order.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), own, alone)
    kernel = both.params["model"]["encoder"]["Dense_0"]["kernel"]
    assert (kernel[0] != kernel[1]).all()


def test_the_best_state_of_a_member_is_replaced_where_it_improved(both):
    latest = jax.tree.map(lambda x: x + jnp.ones((), x.dtype), both)
    best = members.keep_best(latest, members.first_best(both), jnp.array([False, True]))
    old, new = members.stacked(both), members.stacked(latest)
    for part in ("step", "params", "ema", "lr_scale"):
        leaves = [jax.tree.leaves(getattr(state, part)) for state in (best, old, new)]
        for kept, before, after in zip(*leaves, strict=True):
            np.testing.assert_array_equal(kept[0], before[0])
            np.testing.assert_array_equal(kept[1], after[1])
