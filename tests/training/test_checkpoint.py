"""What a checkpoint gives back: every kind of array, at another precision, or nothing at all."""

import json
import shutil
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.runs import RunError
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.runs.steps import RECORD, complete_steps, recorded_best


@jax.tree_util.register_dataclass
@dataclass
class State:
    step: jax.Array
    weights: jax.Array
    small: jax.Array
    key: jax.Array


def state(step: int) -> State:
    weights = jax.random.normal(jax.random.key(step), (5, 3), jnp.result_type(float))
    return State(jnp.int32(step), weights, weights.astype(jnp.bfloat16), jax.random.key(step))


def shapes() -> State:
    return jax.eval_shape(lambda: state(0))


def assert_equal(a: State, b: State) -> None:
    assert jax.random.key_data(a.key).tolist() == jax.random.key_data(b.key).tolist()
    for name in ("step", "weights", "small"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_kind_of_array_comes_back(tmp_path):
    """bfloat16 and typed PRNG keys, which some of Optax's optimizers hold, among them."""
    progress = {"loss": float("inf"), "rate": 0.1, "list": [1, None]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(3), progress)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        restored, found = checkpoints.restore("latest", shapes())
    assert_equal(restored, state(3))
    assert found == progress and restored.key.dtype == state(3).key.dtype


def test_the_best_is_kept_across_a_restart(tmp_path):
    """What resumes knows which was the best, though nothing says so again."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(1), {}, is_best=True)
        checkpoints.save(state(2), {})
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore("latest", shapes())
        assert_equal(restored, state(2))
        for step in (3, 4, 5):
            checkpoints.save(state(step), {})
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == complete_steps(tmp_path) == [1, 4, 5]
        assert checkpoints.best_step() == recorded_best(tmp_path) == 1
        assert_equal(checkpoints.restore("best", shapes())[0], state(1))


def test_numbers_of_another_checkpoint_are_damage(tmp_path, caplog):
    """They can be read, but are not those that the record tells of."""
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state(step), {"epoch": step})
    shutil.rmtree(tmp_path / "2" / "state")
    shutil.copytree(tmp_path / "1" / "state", tmp_path / "2" / "state")
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        restored, progress = checkpoints.restore("latest", shapes())
    assert_equal(restored, state(1))
    assert progress == {"epoch": 1}
    assert "step 2 is damaged (ValueError: its numbers do not match their digest)" in caplog.text


def test_another_precision(tmp_path):
    """Saved in float64 and read in float32, and the other way round: the same, rounded."""
    with jax.enable_x64(True), Checkpoints(tmp_path / "64") as checkpoints:
        saved = np.asarray(state(3).weights)
        checkpoints.save(state(3), {})
    with Checkpoints(tmp_path / "64", read_only=True) as checkpoints:
        weights = checkpoints.restore("latest", shapes())[0].weights
    assert saved.dtype == np.float64 and weights.dtype == np.float32
    np.testing.assert_array_equal(weights, saved.astype(np.float32))

    with Checkpoints(tmp_path / "32") as checkpoints:
        checkpoints.save(state(3), {})
    with jax.enable_x64(True), Checkpoints(tmp_path / "32", read_only=True) as checkpoints:
        wide = np.asarray(checkpoints.restore("latest", shapes())[0].weights)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, np.asarray(state(3).weights, np.float64))


def test_a_state_that_does_not_fit(tmp_path, caplog):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(3), {})
    wide = shapes()
    wide.weights = jax.ShapeDtypeStruct((5, 4), jnp.float32)
    with (
        Checkpoints(tmp_path, read_only=True) as checkpoints,
        pytest.raises(RunError, match="every checkpoint is damaged"),
    ):
        checkpoints.restore("latest", wide)
    assert "holds an array (5, 3) where (5, 4) is needed" in caplog.text


def test_the_record_is_verified_too(tmp_path, caplog):
    """Which step is the best is believed only of a record that matches its digest."""
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state(step), {}, is_best=step == 1)
    path = tmp_path / "3" / "record" / "metadata"
    record = json.loads(path.read_text())
    assert record["best_step"] == 1
    path.write_text(json.dumps(record | {"best_step": 2}))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.best_step() == 1  # as the record before says
        assert_equal(checkpoints.restore("best", shapes())[0], state(1))
        assert_equal(checkpoints.restore("latest", shapes())[0], state(2))
    assert "step 3 is damaged (ValueError: its record does not match its digest)" in caplog.text


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"best_step": 2}', '{"digest": 1}'])
def test_which_was_best_is_of_the_latest_record_that_can_be_read(damage, tmp_path):
    """By its file, and by Orbax."""
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state(step), {}, is_best=step == 1)
    (tmp_path / "3.orbax-checkpoint-tmp-7").mkdir()  # of a process that was killed
    (tmp_path / "2" / RECORD).write_text(damage)
    assert complete_steps(tmp_path) == [1, 2] and recorded_best(tmp_path) == 1
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == [1, 2] and checkpoints.best_step() == 1
    (tmp_path / "1" / RECORD).unlink()
    assert recorded_best(tmp_path) is None


def test_there_may_be_none(tmp_path):
    assert complete_steps(tmp_path / "nowhere") == [] and recorded_best(tmp_path) is None
