"""Schedules, optimizers by hand, the plateau rule."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae import Optimizer
from jaxvae.training.monitor import Monitor, Standing
from jaxvae.training.optimizer import make_optimizer, make_schedule

pytestmark = pytest.mark.numeric


def rates(settings: Optimizer, steps, steps_per_epoch: int = 10, epochs: int = 4) -> list[float]:
    schedule = make_schedule(settings, steps_per_epoch, epochs)
    with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
        return [float(schedule(jnp.int32(step))) for step in steps]


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant_schedule(schedule):
    # The plateau's factor is not in the schedule. 1e-6: the rate is a float32.
    np.testing.assert_allclose(
        rates(Optimizer(learning_rate=0.02, schedule=schedule), [0, 7, 10_000]), 0.02, rtol=1e-6
    )


def test_cosine_falls_to_zero_at_the_last_epoch():
    settings = Optimizer(learning_rate=0.02, schedule="cosine")
    steps = np.arange(0, 41, 5)
    expected = 0.02 * (1 + np.cos(np.pi * steps / 40)) / 2
    np.testing.assert_allclose(rates(settings, steps), expected, atol=0.02 * 1e-6)
    assert rates(settings, [40, 50]) == [0, 0]


def test_exponential_steps_once_per_epoch():
    settings = Optimizer(learning_rate=0.02, schedule="exponential", decay=0.8)
    steps = [0, 9, 10, 19, 20, 39]
    expected = [0.02 * 0.8 ** (step // 10) for step in steps]
    np.testing.assert_allclose(rates(settings, steps), expected, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_warmup_rises_linearly_and_then_the_schedule_begins(schedule):
    plain = Optimizer(learning_rate=0.02, schedule=schedule)
    warm = Optimizer(learning_rate=0.02, schedule=schedule, warmup_steps=8)
    np.testing.assert_allclose(
        rates(warm, range(8)), 0.02 * np.arange(8) / 8, rtol=1e-6, atol=1e-12
    )
    if schedule == "cosine":  # still 0 at the last epoch: it spans the steps that are left
        expected = 0.02 * (1 + np.cos(np.pi * np.arange(33) / 32)) / 2
    else:
        expected = rates(plain, range(33))
    np.testing.assert_allclose(rates(warm, range(8, 41)), expected, rtol=1e-6, atol=0.02 * 1e-6)


def test_cosine_survives_a_warmup_longer_than_the_run():
    values = rates(Optimizer(schedule="cosine", warmup_steps=100), [0, 50, 100, 101])
    assert np.isfinite(values).all()


# Optimizers


def trajectory(settings: Optimizer, gradients, rates=None) -> list[np.ndarray]:
    """Parameters after each update, from zeros; the learning rate is set as a step sets it."""
    optimizer = make_optimizer(settings)
    params = {"w": jnp.zeros(2)}
    state = optimizer.init(params)
    path = []
    with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
        for i, gradient in enumerate(gradients):
            if rates is not None:
                state = optax.tree.set(state, learning_rate=jnp.float32(rates[i]))
            updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params)
            params = optax.apply_updates(params, updates)
            path.append(np.asarray(params["w"]))
    return path


GRADIENTS = [[1.0, -2.0], [0.5, 0.25], [-3.0, 4.0]]


def test_sgd_with_momentum_by_hand():
    momentum, position, expected = np.zeros(2), np.zeros(2), []
    for gradient, rate in zip(GRADIENTS, [0.1, 0.1, 0.01], strict=True):
        momentum = 0.7 * momentum + gradient  # PyTorch's form: no dampening, rate outside
        position = position - rate * momentum
        expected.append(position)
    settings = Optimizer("sgd", 0.1, {"momentum": 0.7})
    # Float32 of a handful of operations.
    np.testing.assert_allclose(trajectory(settings, GRADIENTS, [0.1, 0.1, 0.01]), expected, 1e-6)


@pytest.mark.parametrize("b1", [0.9, 0.5])
def test_adam_by_hand(b1):
    m, v, position, expected = np.zeros(2), np.zeros(2), np.zeros(2), []
    for t, gradient in enumerate(np.array(GRADIENTS), start=1):
        m, v = b1 * m + (1 - b1) * gradient, 0.999 * v + 0.001 * gradient**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - 0.999**t)
        position = position - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
        expected.append(position)
    settings = Optimizer("adam", 0.01, {} if b1 == 0.9 else {"b1": b1})
    # 1 - 0.999 and 1 - 0.999^t are rounded at 6e-8, that is at 6e-5 of 0.001; the root halves it.
    np.testing.assert_allclose(trajectory(settings, GRADIENTS), expected, rtol=3e-5)


def test_clipping_scales_to_the_norm_and_only_when_larger():
    settings = Optimizer("sgd", 1.0, clip_norm=1.0)
    path = trajectory(settings, [[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(path[0], [-0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(path[1] - path[0], [-0.3, -0.4], rtol=1e-6)


def test_clipping_comes_before_the_optimizer():
    """Adam divides by the gradient's size, so what it is given must be clipped, not what it says.

    A gradient of norm 5, then one of norm 0.5, clipped at 1. Of the first alone nothing is seen:
    Adam's first step is the rate times the sign, however large the gradient is.
    """
    m, v, position, expected = np.zeros(2), np.zeros(2), np.zeros(2), []
    for t, gradient in enumerate(np.array([[0.6, 0.8], [0.3, 0.4]]), start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        position = position - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected.append(position)
    settings = Optimizer("adam", 0.01, clip_norm=1.0)
    path = trajectory(settings, [[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(path, expected, rtol=3e-5)  # as of Adam by hand
    unclipped = trajectory(Optimizer("adam", 0.01), [[3.0, 4.0], [0.3, 0.4]])
    assert np.abs(np.array(unclipped[1]) - expected[1]).min() > 1e-4


def test_momentum_and_decay_are_not_clipped():
    """Relatives: the velocity gathers clipped gradients and may be larger; so may the decay."""
    path = trajectory(Optimizer("sgd", 1.0, {"momentum": 0.9}, clip_norm=1.0), [[3.0, 4.0]] * 2)
    np.testing.assert_allclose(path[1], -(1 + 1.9) * np.array([0.6, 0.8]), rtol=1e-6)
    # AdamW: the first step is the sign, then the rate times the decay times the weights, -0.1.
    settings = Optimizer("adamw", 0.1, {"weight_decay": 5.0}, clip_norm=1e-3)
    first, second = trajectory(settings, [[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(first, [-0.1, -0.1], rtol=1e-4)
    # m_hat = 0.09 / 0.19 g, v_hat = 0.000999 / 0.001999 g^2, and 0.1 * 5 of the weights back.
    step = 0.1 * (0.09 / 0.19) / np.sqrt(0.000999 / 0.001999)
    np.testing.assert_allclose(second, first * 0.5 - step, rtol=1e-3)


@pytest.mark.parametrize("name", ["adm", "adam_", "chain", "apply_updates", "Schedule"])
def test_unknown_optimizer_is_named_with_what_is_allowed(name):
    with pytest.raises(ValueError, match=rf"optimizer\.name = '{name}': .*adam, adamw, sgd"):
        make_optimizer(Optimizer(name))


def test_unknown_option_is_named_with_what_is_allowed():
    with pytest.raises(ValueError, match=r"optimizer\.options = 'momentun': .*momentum"):
        make_optimizer(Optimizer("sgd", options={"momentun": 0.9}))
    with pytest.raises(ValueError, match=r"optimizer\.options = 'learning_rate'"):
        make_optimizer(Optimizer("sgd", options={"learning_rate": 0.9}))


# The plateau rule


def torch_reduce_on_plateau(losses, factor: float, patience: int) -> list[float]:
    """ReduceLROnPlateau(mode="min", threshold=1e-4, threshold_mode="rel"), from its documentation.

    "If patience = 0 the rate is reduced on the first epoch without improvement"; an improvement is
    a loss below best * (1 - threshold); after a reduction the count of bad epochs starts over.
    """
    best, bad, scale, scales = math.inf, 0, 1.0, []
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            scale, bad = scale * factor, 0
        scales.append(scale)
    return scales


# Few distinct values, some within the threshold of each other: ties and near ties are the cases.
loss_sequences = st.lists(st.sampled_from([100.0, 99.995, 99.98, 99.0, 98.0, 101.0]), max_size=40)


@given(losses=loss_sequences, patience=st.integers(1, 4), decay=st.sampled_from([0.1, 0.5]))
def test_plateau_rule_is_that_of_torch(losses, patience, decay):
    settings = Optimizer(schedule="plateau", decay=decay, patience=patience)
    monitor, scales = Monitor(), []
    for epoch, loss in enumerate(losses, start=1):
        monitor = monitor.update(epoch, loss, settings)
        scales.append(monitor.lr_scale)
    assert scales == torch_reduce_on_plateau(losses, decay, patience)
    if losses:  # the first epoch with the lowest loss
        assert monitor.best_loss == min(losses)
        assert monitor.best_epoch == 1 + losses.index(min(losses))


def test_the_rate_falls_after_patience_epochs_and_one():
    settings = Optimizer(schedule="plateau", decay=0.5, patience=5)
    monitor, scales = Monitor(), []
    for epoch in range(1, 14):
        monitor = monitor.update(epoch, 100.0, settings)
        scales.append(monitor.lr_scale)
    assert scales == [1.0] * 6 + [0.5] * 6 + [0.25]


def test_a_rise_of_a_negative_loss_is_no_improvement():
    """Densities of continuous values may have losses below 0."""
    settings = Optimizer(schedule="plateau", decay=0.5, patience=1)
    monitor, scales = Monitor(), []
    for epoch, loss in enumerate([-100.0, -99.995, -99.999, -100.005, -100.02], start=1):
        monitor = monitor.update(epoch, loss, settings)
        scales.append(monitor.lr_scale)
    assert scales == [
        1,
        1,
        0.5,
        0.5,
        0.5,
    ]  # the fourth is lower by less than 1e-4, the last by more
    assert (monitor.plateau_loss, monitor.plateau_epochs, monitor.best_epoch) == (-100.02, 0, 5)


def test_the_validation_loss_is_what_counts():
    standing = Standing()
    for epoch, (train, val) in enumerate([(3.0, 1.0), (2.0, 2.0), (1.0, 1.5)], start=1):
        row = {"epoch": epoch, "train_loss": train, "val_loss": val, "finite": 1}
        standing = standing.update(row, Optimizer())
    assert (standing.monitor.best_epoch, standing.monitor.best_loss) == (1, 1.0)
    assert standing.improved(1) and not standing.improved(3)
    # Stopped before epoch 4 where two epochs without improvement are too many, not before epoch 3.
    assert [standing.is_stale(epoch, 2) for epoch in (2, 3, 4)] == [False, False, True]
    failed = standing.update({"epoch": 4, "val_loss": 0.0, "finite": 0}, Optimizer())
    assert failed.failed_epoch == 4 and failed.monitor == standing.monitor
    assert failed.is_stale(5, None) and not failed.improved(1)


@given(losses=loss_sequences)
def test_other_schedules_keep_the_factor_at_one(losses):
    monitor = Monitor()
    for epoch, loss in enumerate(losses, start=1):
        monitor = monitor.update(epoch, loss, Optimizer(patience=1))
    assert monitor.lr_scale == 1.0
