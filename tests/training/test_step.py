"""One training step, its metrics, and the compiled loop around it."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train, axis, noise
from jaxvae.batch import Examples
from jaxvae.data.batches import epoch_order
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.objectives import bernoulli_nll, gaussian_kl
from jaxvae.training.members import in_turn, initial_states, stacked, taken
from jaxvae.training.state import initial_state
from jaxvae.training.step import Resident, beta_eff_at, make_advance, make_train_step
from tests.given import batch

pytestmark = pytest.mark.numeric

SHAPE, N, BATCH = (4, 4, 1), 40, 8
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (N, *SHAPE), np.uint8))
LABELS = jnp.full(N, -1)
INDEX = jnp.array([3, 39, 0, 7, 21, 22, 11, 30])
EXAMPLES = Examples(IMAGES[INDEX], LABELS[INDEX], INDEX)
PIXELS = IMAGES[INDEX].astype(jnp.float32) / 255
SGD = Optimizer("sgd", 0.01)
BASE = Experiment(
    "tiny",
    data=Data(batch_size=BATCH),
    model=Model(hidden_dims=(6,), latent_dim=2, activation="tanh"),
    optimizer=SGD,
    train=Train(epochs=4),
)
KEY = noise.root(BASE.seed)
ORDER = epoch_order(KEY, 0, N)
ZEROS = {name: jnp.zeros(()) for name in ("loss", "recon", "kl", "grad_norm")}


class Setup:
    """An experiment with some parts replaced: its module, its step, its state before the first."""

    def __init__(self, **parts) -> None:
        self.experiment = dataclasses.replace(BASE, **parts)
        info = Info(SHAPE)
        self.module = self.experiment.model.build(info)
        self.train_step = make_train_step(self.experiment, self.module, info, steps_per_epoch=5)
        self.step = jax.jit(self.train_step)
        self.state = initial_state(self.experiment, self.module, info)

    def loop(self, chunk_steps: int):
        """advance(state, sums, num_steps), compiled."""
        loop = jax.jit(make_advance(self.train_step, BATCH, N // BATCH, chunk_steps))
        source = Resident(IMAGES, LABELS, ORDER)
        return lambda state, sums, n: loop(state, sums, source, KEY, {}, jnp.int32(n))


@pytest.fixture(scope="module")
def base() -> Setup:
    return Setup()


def take(setup: Setup, n: int):
    """The states after 0..n steps on the same batch."""
    states = [setup.state]
    for _ in range(n):
        states.append(setup.step(states[-1], EXAMPLES, KEY)[0])
    return states


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def moved(before, after):
    """The update of every parameter, in one vector of float64."""
    difference = jax.tree.map(lambda a, b: (np.float64(b) - np.float64(a)).ravel(), before, after)
    return np.concatenate(jax.tree.leaves(difference))


def test_loss_decreases_by_the_rate_times_the_squared_gradient(base):
    """Gradient descent under one and the same noise: step 0 repeated."""
    state, losses, norms = base.state, [], []
    for _ in range(30):
        after, metrics = base.step(state, EXAMPLES, KEY)
        assert set(metrics) == {"loss", "recon", "kl", "grad_norm"}
        losses.append(float(metrics["loss"]))
        norms.append(float(metrics["grad_norm"]))
        state = dataclasses.replace(after, step=base.state.step)
    decreases = -np.diff(losses)
    assert (decreases > 0).all()
    # First order in the rate 0.01; curvatures of about 10 make the second order some 5 % of it.
    np.testing.assert_allclose(decreases, 0.01 * np.square(norms[:-1]), rtol=0.1)


def test_a_step_is_a_pure_function(base):
    step, state = base.step, base.state
    before = jax.tree.map(np.array, state)
    first, again = (step(state, EXAMPLES, KEY) for _ in range(2))
    assert_equal(first, again)
    assert_equal(state, before)
    assert int(first[0].step) == 1
    other, _ = step(state, EXAMPLES, noise.root(1))
    assert moved(first[0].params, other.params).any()  # the key does count


def test_parameters_begin_by_the_seed(base):
    other = initial_state(dataclasses.replace(BASE, seed=1), base.module, Info(SHAPE))
    assert moved(base.state.params["model"], other.params["model"]).any()
    given = initial_state(BASE, base.module, Info(SHAPE), noise.root(1))
    assert_equal(other.params, given.params)


def test_metrics_are_nats_per_image_at_the_state_that_comes_in(base):
    state = dataclasses.replace(base.state, step=jnp.int32(3))
    _, metrics = base.step(state, EXAMPLES, KEY)
    eps = noise.normal(noise.example_keys(noise.stream(KEY, "eps"), 3, INDEX), (2,))
    output = base.module.apply(state.variables.model, batch(PIXELS, eps))
    # The same formulas, compiled elsewhere: sums of 16 pixels, a few 1e-7 relative.
    recon = np.mean(bernoulli_nll(output.decoded, PIXELS))
    kl = np.mean(gaussian_kl(output.aux["mean"], output.aux["logvar"]))
    np.testing.assert_allclose(metrics["recon"], recon, rtol=1e-5)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], recon + kl, rtol=1e-5)


def test_summing_over_the_batch_multiplies_the_gradient_and_not_the_metrics(base):
    state, summed = base.state, Setup(objective=Objective(batch_reduction="sum"))
    by_mean, mean_metrics = base.step(state, EXAMPLES, KEY)
    by_sum, sum_metrics = summed.step(state, EXAMPLES, KEY)
    updates = moved(state.params, by_mean.params), moved(state.params, by_sum.params)
    # Multiplying by 8 is exact; the parameters, about 1, are rounded at 6e-8 after each update.
    np.testing.assert_allclose(updates[1], BATCH * updates[0], atol=9 * 1.2e-7)
    assert np.abs(updates[0]).max() > 1e-3
    for name in ("loss", "recon", "kl"):
        np.testing.assert_array_equal(sum_metrics[name], mean_metrics[name])
    np.testing.assert_allclose(
        sum_metrics["grad_norm"], BATCH * mean_metrics["grad_norm"], rtol=1e-6
    )


def test_the_parts_of_a_batch_are_the_whole(base):
    """Two halves, with `vmap` over the axis's name in the place of devices, and the loss summed
    over the batch: of all 8 images, so that SGD moves 8 times as far as by their mean."""
    summed = Setup(objective=Objective(batch_reduction="sum"))
    halves = jax.tree.map(lambda x: x.reshape(2, BATCH // 2, *x.shape[1:]), EXAMPLES)
    step = jax.vmap(summed.train_step, (None, 0, None), axis_name=axis.NAME)
    parts, metrics = jax.jit(step)(base.state, halves, KEY)
    whole, expected = base.step(base.state, EXAMPLES, KEY)
    update = BATCH * moved(base.state.params, whole.params)
    for half in range(2):
        for name, value in expected.items():
            factor = BATCH if name == "grad_norm" else 1
            # Sums of 8 examples and 16 pixels in another order; a forgotten part is a factor 2.
            np.testing.assert_allclose(metrics[name][half], factor * value, rtol=1e-5)
        params = jax.tree.map(lambda x: x[half], parts.params)  # noqa: B023
        np.testing.assert_allclose(moved(base.state.params, params), update, atol=9 * 1.2e-7)


def test_sgd_moves_by_the_rate_times_the_gradient(base):
    """`grad_norm` is what the update is made of, and `lr_scale` multiplies the rate."""
    step, state = base.step, base.state
    halved = dataclasses.replace(state, lr_scale=jnp.float32(0.5))
    (full, metrics), (half, _) = (step(s, EXAMPLES, KEY) for s in (state, halved))
    update = moved(state.params, full.params)
    # Each of some 200 parameters is rounded at 6e-8 of about 1.
    np.testing.assert_allclose(np.linalg.norm(update), 0.01 * metrics["grad_norm"], rtol=1e-4)
    np.testing.assert_allclose(moved(state.params, half.params), update / 2, atol=2e-7)
    assert float(full.learning_rate) == np.float32(0.01)
    assert float(half.learning_rate) == np.float32(0.005)


def test_a_step_follows_the_schedule():
    settings = Optimizer("sgd", 0.01, schedule="cosine", warmup_steps=4)
    warm = Setup(optimizer=settings)
    for step, rate in [(0, 0.0), (2, 0.005), (4, 0.01), (12, 0.005)]:
        state = dataclasses.replace(warm.state, step=jnp.int32(step))
        after, _ = warm.step(state, EXAMPLES, KEY)
        np.testing.assert_allclose(after.learning_rate, rate, rtol=1e-6)


def test_beta_warms_up_linearly_and_stays():
    objective = Objective(beta=4.0, warmup_steps=8)
    warm = Setup(objective=objective)
    betas = [beta_eff_at(warm.experiment, 16, step) for step in (0, 2, 8, 9, 1000)]
    np.testing.assert_allclose(betas, [0, 1, 4, 4, 4], rtol=1e-6)
    assert beta_eff_at(BASE, 16, 0) == 1
    assert objective.beta == 4  # evaluation has its full weight
    for at, beta in [(0, 0.0), (2, 1.0), (50, 4.0)]:
        here = dataclasses.replace(warm.state, step=jnp.int32(at))
        _, m = warm.step(here, EXAMPLES, KEY)
        np.testing.assert_allclose(m["loss"], m["recon"] + beta * m["kl"], rtol=1e-6)
        assert m["kl"] > 0


def test_the_target_of_denoising_is_clean():
    """With every pixel masked the model sees black images; it is compared with the true ones."""
    data = Data(batch_size=BATCH, corruption="masking", corruption_level=1.0)
    masked = Setup(data=data)
    _, metrics = masked.step(masked.state, EXAMPLES, KEY)
    eps = noise.normal(noise.example_keys(noise.stream(KEY, "eps"), 0, INDEX), (2,))
    black = batch(jnp.zeros((BATCH, *SHAPE)), eps)
    output = masked.module.apply(masked.state.variables.model, black)
    recon = np.mean(bernoulli_nll(output.decoded, PIXELS))
    np.testing.assert_allclose(metrics["recon"], recon, rtol=1e-5)
    kl = np.mean(gaussian_kl(output.aux["mean"], output.aux["logvar"]))
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-5)


def test_average_of_the_parameters_follows_its_recursion(base):
    states = take(Setup(optimizer=Optimizer("sgd", 0.01, ema_decay=0.8)), 4)
    average = jax.tree.map(np.float64, states[0].params)
    for after in states[1:]:
        average = jax.tree.map(lambda a, p: 0.8 * a + 0.2 * np.float64(p), average, after.params)
    jax.tree.map(
        # Four roundings of parameters of about 1.
        lambda ours, exact: np.testing.assert_allclose(ours, exact, atol=4e-7),
        states[-1].ema,
        average,
    )
    assert_equal(states[-1].variables.model["params"], states[-1].ema["model"])  # evaluation's
    plain = take(base, 4)
    assert_equal(plain[-1].params, states[-1].params)  # training does not
    assert plain[-1].ema is None
    assert_equal(plain[-1].variables.model["params"], plain[-1].params["model"])


def test_batch_norm_and_dropout_belong_to_training():
    model = dataclasses.replace(BASE.model, batch_norm=True, dropout=0.5)
    setup = Setup(model=model)
    state = setup.state
    after, metrics = setup.step(state, EXAMPLES, KEY)
    assert all(np.isfinite(value) for value in metrics.values())
    assert moved(state.collections, after.collections).all()  # every statistic was updated
    examples = batch(PIXELS, own=Noise(KEY, 0, INDEX))  # with the step's own masks
    output, _ = setup.module.apply(
        state.variables.model, examples, train=True, mutable=["batch_stats"]
    )
    recon = np.mean(bernoulli_nll(output.decoded, PIXELS))
    np.testing.assert_allclose(metrics["recon"], recon, rtol=1e-5)


def test_statistics_are_not_averaged_again():
    """The moving average is of parameters; what the module keeps besides is the latest."""
    model = dataclasses.replace(BASE.model, batch_norm=True)
    after = take(Setup(model=model, optimizer=Optimizer("sgd", 0.01, ema_decay=0.8)), 2)[-1]
    plain = take(Setup(model=model), 2)[-1]
    assert_equal(after.variables.model["batch_stats"], plain.collections["batch_stats"])
    assert set(after.ema) == {"model", "objective"}
    assert moved(after.ema, after.params).any()


# The compiled loop


@pytest.fixture(scope="module")
def adam() -> Setup:
    return Setup(optimizer=Optimizer("adam", 0.01))


@pytest.fixture(scope="module")
def loops(adam):
    return adam.loop(chunk_steps=100), adam.loop(chunk_steps=1)


def test_what_belongs_to_an_example_is_gathered_with_it():
    labels = jnp.arange(N) % 7
    taken = Resident(IMAGES, labels, ORDER).batch(jnp.int32(2), BATCH)
    index = np.asarray(ORDER)[2 * BATCH : 3 * BATCH]
    expected = Examples(np.asarray(IMAGES)[index], np.asarray(labels)[index], index)
    assert_equal(Examples(*map(np.asarray, taken)), expected)


def test_chunks_equal_single_steps(adam, loops):
    """The step that the loop repeats is the step alone, on the batches of the epoch's order."""
    loop, single = loops
    in_one = loop(adam.state, ZEROS, 5)
    in_two = loop(*loop(adam.state, ZEROS, 2), 3)
    assert_equal(in_two, in_one)  # the same compiled code: bit for bit

    stepped, by_hand, total = (adam.state, ZEROS), adam.state, ZEROS
    for i in range(5):
        stepped = single(*stepped, 1)
        index = ORDER[i * BATCH : (i + 1) * BATCH]
        by_hand, metrics = adam.step(by_hand, Examples(IMAGES[index], LABELS[index], index), KEY)
        total = jax.tree.map(jnp.add, total, metrics)
    assert int(in_one[0].step) == int(stepped[0].step) == 5
    assert_equal(in_one, stepped)
    # By hand the batch is gathered outside: another program, whose sums round differently.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7)
    jax.tree.map(close, (by_hand, total), stepped)


def test_the_loop_of_one_step_takes_one_step(adam, loops):
    loop, single = loops
    assert_equal(single(adam.state, ZEROS, 1), loop(adam.state, ZEROS, 1))
    assert_equal(loop(adam.state, ZEROS, 0), (adam.state, ZEROS))


def test_the_loop_stops_after_the_first_step_that_is_not_finite():
    explosive = Setup(optimizer=Optimizer("sgd", 1e30))
    loop = explosive.loop(chunk_steps=100)
    first, sums = loop(explosive.state, ZEROS, 1)  # its metrics are of the parameters before it
    assert int(first.step) == 1
    assert all(np.isfinite(value) for value in sums.values())
    stopped, sums = loop(explosive.state, ZEROS, 5)
    assert int(stopped.step) == 2
    assert not all(np.isfinite(value) for value in sums.values())
    assert_equal(loop(stopped, sums, 3), (stopped, sums))  # and it stays there


def of_several(factors):
    """Members that differ in the seed and in the learning rate, with the inputs of `advance`."""
    setup = Setup()
    keys = jnp.stack([noise.root(seed) for seed in range(len(factors))])
    state = initial_states(setup.experiment, setup.module, Info(SHAPE), keys)
    orders = jax.vmap(lambda key: epoch_order(key, 0, N))(keys)
    sums = {name: jnp.zeros(len(factors)) for name in ZEROS}
    numbers = {"optimizer.learning_rate": jnp.asarray(factors) * SGD.learning_rate}
    inputs = state, sums, Resident(IMAGES, LABELS, orders), keys, numbers
    return setup.train_step, inputs


@pytest.mark.parametrize("chunk_steps", [pytest.param(1, marks=pytest.mark.slow), 100])
def test_members_in_turn_are_as_each_alone_and_as_all_at_once(chunk_steps):
    train_step, (state, sums, source, keys, numbers) = of_several([1.0, 0.5, 2.0])
    steps, alone = (min(3, chunk_steps), make_advance(train_step, BATCH, N // BATCH, chunk_steps))
    vmapped = make_advance(train_step, BATCH, N // BATCH, chunk_steps, members=True)
    turns, once = (
        jax.jit(advance)(state, sums, source, keys, numbers, jnp.int32(steps))
        for advance in (in_turn(alone), vmapped)
    )
    assert int(turns[0].step) == int(once[0].step) == steps
    # Sums of at most 100 products, each to 1e-7, in three steps.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), turns, once)
    for i in range(3):
        own = dataclasses.replace(taken(stacked(state), i), step=state.step)
        order = source._replace(order=source.order[i])
        inputs = own, taken(sums, i), order, keys[i], taken(numbers, i), jnp.int32(steps)
        after, added = jax.jit(alone)(*inputs)
        found = (
            dataclasses.replace(taken(stacked(turns[0]), i), step=turns[0].step),
            taken(turns[1], i),
        )
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, (after, added)
        )


def test_a_member_in_turn_that_is_not_finite_stops_alone():
    train_step, (state, sums, source, keys, numbers) = of_several([1.0, np.inf, 1.0])
    advance = jax.jit(in_turn(make_advance(train_step, BATCH, N // BATCH, 100)))
    after, sums = advance(state, sums, source, keys, numbers, jnp.int32(5))
    assert int(after.step) == 5 and int(state.step) == 0
    assert np.isfinite(sums["loss"]).tolist() == [True, False, True]
    # Of none finite, the step tells how far the last of them came.
    numbers = jax.tree.map(lambda x: x * jnp.inf, numbers)
    after, sums = advance(state, jax.tree.map(jnp.zeros_like, sums), source, keys, numbers, 5)
    assert int(after.step) == 2 and not np.isfinite(sums["loss"]).any()
