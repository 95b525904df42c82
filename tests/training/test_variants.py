"""What an objective may bring along: parameters, optimizers, numbers, several passes of a model."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train, noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.config import with_fields, with_number
from jaxvae.data.batches import epoch_order
from jaxvae.info import Info
from jaxvae.models import Bound
from jaxvae.training.optimizer import joined, make_optimizers, settings_of, trained_by
from jaxvae.training.program import refuse_ignored, to_initialise_from
from jaxvae.training.state import initial_state
from jaxvae.training.step import make_loss, make_train_step, metric_names
from tests.given import batch
from tests.variants.small import dataset, small

pytestmark = pytest.mark.numeric

N, KEY = 8, noise.root(0)
LIKELIHOODS = get_args(get_type_hints(Objective)["likelihood"])
ROWS = jnp.asarray(np.random.default_rng(0).standard_normal((N, 5)), jnp.float32)
EXAMPLES = Examples(ROWS, jnp.full(N, -1), jnp.arange(N))
BASE = Experiment(
    "rows",
    data=Data(batch_size=N),
    model=Model(hidden_dims=(6,), latent_dim=2, activation="tanh", output="linear"),
    objective=Objective("half_mse"),
    optimizer=Optimizer("sgd", 0.01),
    train=Train(epochs=4),
)


class Setup:
    """An experiment with some parts replaced, over rows of five numbers."""

    def __init__(self, info: Info = Info((5,)), **parts) -> None:  # noqa: B008
        self.experiment = dataclasses.replace(BASE, **parts)
        self.module = self.experiment.model.build(info)
        self.train_step = make_train_step(self.experiment, self.module, info, steps_per_epoch=5)
        self.step = jax.jit(self.train_step)
        self.state = initial_state(self.experiment, self.module, info)


def test_rows_of_a_table_train():
    setup, losses = Setup(optimizer=Optimizer("adam", 0.05)), []
    state = setup.state
    for _ in range(100):
        state, metrics = setup.step(state, EXAMPLES, KEY)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]


def test_what_was_not_observed_has_no_influence():
    """The step of rows with holes is that of rows with 0 there, on the other values alone."""
    setup = Setup(Info((5,), missing=True))
    missing = np.random.default_rng(1).random(ROWS.shape) < 0.3
    holes = EXAMPLES._replace(x=jnp.where(missing, jnp.nan, ROWS))
    after, metrics = setup.step(setup.state, holes, KEY)
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(after.params))
    zeros = EXAMPLES._replace(x=jnp.where(missing, 0, ROWS))
    _, of_zeros = Setup().step(setup.state, zeros, KEY)
    np.testing.assert_allclose(metrics["kl"], of_zeros["kl"], rtol=1e-6)  # the encoder sees 0
    assert metrics["recon"] < of_zeros["recon"]


@dataclass(frozen=True)
class Blind(Objective):
    """Counts what was not observed, as 0."""

    def recon(self, output, batch, params):
        return jnp.square(output.decoded - batch.target).sum(axis=-1)


@dataclass(frozen=True)
class BlindInPart(Blind):
    """Logs what it should minimise."""

    def terms(self, output, batch, params):
        rest = super().terms(output, batch, params)
        return rest | {"seen": Objective.recon(self, output, batch, params)}


@pytest.mark.parametrize("objective", [Blind("mse"), BlindInPart("mse")], ids=["recon", "terms"])
def test_a_loss_that_counts_what_was_not_observed_is_refused(objective):
    own = dataclasses.replace(BASE, objective=objective)
    module = own.model.build(Info((5,)))
    with pytest.raises(UsageError, match=f"objective {type(objective).__name__}: its loss does"):
        refuse_ignored(own, module, Info((5,), missing=True))
    refuse_ignored(own, module, Info((5,)))  # nothing is missing


@pytest.mark.parametrize("family", ["AE", "VAE"])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_leaves_out_what_was_not_observed(name, family):
    """Of an AE, too, which begins with zeros: it would reconstruct a row of zeros without error."""
    output = "logits" if name == "bernoulli" else "linear"
    model = dataclasses.replace(BASE.model, output=output, family=family)
    own = dataclasses.replace(BASE, objective=Objective(name), model=model)
    refuse_ignored(own, own.model.build(Info((5,))), Info((5,), missing=True))


# Parameters of the objective's own


def test_the_learned_variance_is_trained_with_the_model():
    """One more parameter; its first step is along its own derivative."""
    learned = Setup(objective=Objective("gaussian_learned"))
    plain = Setup(objective=Objective("gaussian"))
    assert learned.state.params["objective"] == {"logvar": 0}
    assert plain.state.params["objective"] == {}
    after, metrics = learned.step(learned.state, EXAMPLES, KEY)
    # At logvar = 0: d/dlogvar of 5 (squared / 2 exp(-logvar) + logvar / 2) per example.
    unit = 5 * np.log(2 * np.pi) / 2
    slope = 5 / 2 - (float(metrics["recon"]) - unit)
    logvar = after.params["objective"]["logvar"]
    np.testing.assert_allclose(logvar, -0.01 * slope, rtol=1e-4)
    assert float(after.variables.objective["logvar"]) == float(logvar)
    beside, _ = plain.step(plain.state, EXAMPLES, KEY)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        after.params["model"],
        beside.params["model"],
    )


def test_the_average_holds_the_objectives_parameters_too():
    settings = Optimizer("sgd", 0.01, ema_decay=0.8)
    setup = Setup(objective=Objective("gaussian_learned"), optimizer=settings)
    after, _ = setup.step(setup.state, EXAMPLES, KEY)
    logvar = 0.2 * float(after.params["objective"]["logvar"])
    assert float(after.variables.objective["logvar"]) == pytest.approx(logvar, rel=1e-5)


# Optimizers of the objective's own


@dataclass(frozen=True)
class Shifted(Objective):
    """The squared distance of two parameters from 1: `own` has an optimizer, `rest` has not."""

    weight: float = 1.0
    own: Optimizer = field(default_factory=lambda: Optimizer("sgd", 0.5))

    def init(self, key: Any, output: Any) -> dict[str, Any]:
        return {"own": {"w": jnp.zeros(3)}, "rest": jnp.zeros(3)}

    def terms(self, output: Any, batch: Any, params: Any) -> dict[str, Any]:
        terms = super().terms(output, batch, params)
        distance = sum(jnp.sum(jnp.square(p - 1)) for p in jax.tree.leaves(params))
        return terms | {"distance": self.weight * distance / 2}

    def minimised(self, terms: Any) -> Any:
        return terms["loss"] + terms["distance"]


def test_two_optimizers_each_train_their_own():
    """Gradient descent from 0 towards 1 at each one's rate; the model is not touched by it."""
    setup, plain = Setup(objective=Shifted("half_mse")), Setup()
    assert set(settings_of(setup.experiment)) == set(setup.state.opt_state) == {"model", "own"}
    after, metrics = setup.step(setup.state, EXAMPLES, KEY)
    assert metrics["distance"] == 3  # six parameters at 0
    assert after.params["objective"]["own"]["w"].tolist() == [0.5] * 3
    np.testing.assert_allclose(after.params["objective"]["rest"], np.full(3, 0.01), rtol=1e-6)
    beside, _ = plain.step(plain.state, EXAMPLES, KEY)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        after.params["model"],
        beside.params["model"],
    )
    assert float(after.learning_rate) == np.float32(0.01)  # what is logged is the model's


def test_an_optimizer_of_its_own_has_a_schedule_but_no_plateau():
    warm = Shifted("half_mse", own=Optimizer("sgd", 0.5, warmup_steps=4))
    setup = Setup(objective=warm)
    at = dataclasses.replace(setup.state, step=jnp.int32(2), lr_scale=jnp.float32(0.1))
    after, _ = setup.step(at, EXAMPLES, KEY)
    assert after.params["objective"]["own"]["w"].tolist() == [0.25] * 3  # half of its rate
    assert float(after.learning_rate) == pytest.approx(0.001, rel=1e-6)  # a tenth: the model's

    def refused(match: str, **settings) -> None:
        objective = Shifted("half_mse", own=Optimizer(**settings))
        with pytest.raises(UsageError, match=match):
            make_optimizers(dataclasses.replace(BASE, objective=objective))

    refused(r"objective.own.schedule = 'plateau': must be 'constant', 'c", schedule="plateau")
    refused(r"objective.own.ema_decay = 0.9: must be None", ema_decay=0.9)
    refused(r"objective.own.name = 'adm': .*adam, adamw, sgd", name="adm")
    refused(r"objective.own.options = 'b3': must be one of b1", options={"b3": 0.9})


def test_parameters_are_parted_and_joined():
    experiment = dataclasses.replace(BASE, objective=Shifted("half_mse"))
    params = {"model": {"w": 1}, "objective": {"own": 2, "rest": 3}}
    parts = {name: trained_by(name, experiment, params) for name in settings_of(experiment)}
    assert parts == {"model": {"model": {"w": 1}, "objective": {"rest": 3}}, "own": 2}
    assert joined(parts) == params


# Numbers in the place of fields


@pytest.mark.parametrize(
    "name, value", [("objective.weight", 0.5), ("optimizer.learning_rate", 0.2)]
)
def test_a_number_takes_the_place_of_its_field(name, value):
    """The program that is given a number computes what the experiment with that number does."""
    setup = Setup(objective=Shifted("half_mse"))
    given, _ = setup.step(setup.state, EXAMPLES, KEY, {name: jnp.float32(value)})
    written = with_number(setup.experiment, name, value)
    other = Setup(objective=written.objective, optimizer=written.optimizer)
    expected, _ = other.step(setup.state, EXAMPLES, KEY)
    plain, _ = setup.step(setup.state, EXAMPLES, KEY)
    for a, b in zip(*map(jax.tree.leaves, (given.params, expected.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(*map(jax.tree.leaves, (given.params, plain.params)), strict=True)
    )


def test_fields_are_replaced_without_a_check_and_numbers_with_one():
    experiment = dataclasses.replace(BASE, objective=Shifted("half_mse"))
    traced = with_fields(experiment, {"objective.own.learning_rate": -1.0})
    assert (
        traced.objective.own.learning_rate == -1 and experiment.objective.own.learning_rate == 0.5
    )
    changed = with_number(experiment, "objective.own.learning_rate", 0.25)
    assert changed.objective.own == Optimizer("sgd", 0.25)
    assert changed == dataclasses.replace(experiment, objective=changed.objective)


@pytest.mark.parametrize(
    "name, message",
    [
        ("objective.gamma", "must be one of objective.beta, objective.sigma, objective.wei"),
        ("objective.warmup_steps", "must be one of objective.beta, objective.sigma, objective.wei"),
        ("objective.likelihood", "must be one of objective.beta"),
        ("objective.beta.x", "must be one of objective.beta"),
        ("objective.own.rate", r"must be one of objective.own.decay, objective.own.learning_rate"),
        ("optimizer.name", "must be one of optimizer.decay, optimizer.learning_rate"),
    ],
)
def test_what_is_no_number_is_refused_with_those_that_are(name, message):
    experiment = dataclasses.replace(BASE, objective=Shifted("half_mse"))
    with pytest.raises(UsageError, match=message) as error:
        with_number(experiment, name, 1.0)
    assert str(error.value).startswith(f"population.sweep = {name!r}")


def test_a_number_that_its_field_does_not_allow_is_refused():
    with pytest.raises(UsageError, match=r"objective.beta = -1.0: must be at least 0"):
        with_number(BASE, "objective.beta", -1.0)


# Several passes of a model


def test_terms_that_are_always_logged_may_not_be_left_out():
    class Lacking(Objective):
        def terms(self, output: Any, batch: Any, params: Any) -> dict[str, Any]:
            return {"loss": self.recon(output, batch, params)}

    setup = Setup(objective=Lacking("half_mse"))
    with pytest.raises(UsageError, match=r"objective.terms: lacks kl, recon"):
        metric_names(setup.train_step, setup.state, EXAMPLES, KEY)


DRAWN = batch(ROWS, own=noise.Noise(KEY, 0, jnp.arange(N)))


@pytest.mark.slow
@pytest.mark.ci
def test_several_draws_are_those_of_each_number():
    """At once as one by one; the first is the usual one."""
    setup = Setup()
    model = Bound(setup.module, setup.state.variables.model)
    several = model.draws(DRAWN, 3)
    assert several.decoded.shape == (3, N, 5) and several.kl.shape == (3, N)
    for draw in range(3):
        alone = model(DRAWN.another(draw) if draw else DRAWN)
        for of_all, one in zip(*map(jax.tree.leaves, (several, alone)), strict=True):
            np.testing.assert_allclose(of_all[draw], one, rtol=1e-5, atol=1e-5)
    assert (several.z[0] != several.z[1]).all()


@pytest.mark.slow
@pytest.mark.ci
def test_statistics_are_those_of_the_first_pass():
    setup = Setup(model=dataclasses.replace(BASE.model, batch_norm=True))
    model, several = (Bound(setup.module, setup.state.variables.model, True) for _ in range(2))
    model(DRAWN)
    first = model.updated
    model(batch(2 * ROWS))
    jax.tree.map(np.testing.assert_array_equal, model.updated, first)
    several.draws(DRAWN, 3)
    for of_all, one in zip(*map(jax.tree.leaves, (several.updated, first)), strict=True):
        np.testing.assert_allclose(of_all, one, rtol=1e-5, atol=1e-6)


def test_parts_that_are_held_get_no_gradient():
    class Held(Objective):
        def outcome(self, model: Any, batch: Any, params: Any) -> Any:
            return model.holding("encoder", "mean")(batch)

    setup = Setup(objective=Held("half_mse"))
    objective, loss = setup.experiment.objective, make_loss(setup.module)
    slope = jax.grad(loss, has_aux=True)(setup.state.params, {}, DRAWN, objective)[0]["model"]
    for name, part in slope.items():
        moves = any(leaf.any() for leaf in jax.tree.leaves(part))
        assert moves == (name not in ("encoder", "mean")), name
    assert setup.state.params["model"].keys() == slope.keys()
    with pytest.raises(KeyError, match="critic"):
        Bound(setup.module, setup.state.variables.model).holding("critic")


def test_a_model_begins_with_the_first_examples_of_its_first_epoch():
    """Of each member by its own seed; a model that takes nothing from data reads nothing."""
    experiment, train = small("vamp_prior_vae"), dataset().train
    everyone = [dataclasses.replace(experiment, seed=seed) for seed in (0, 5)]
    found = to_initialise_from(everyone, train)
    for i, member in enumerate(everyone):
        order = np.asarray(epoch_order(noise.root(member.seed), 0, 48))
        np.testing.assert_array_equal(found.index[i], order)
        np.testing.assert_array_equal(found.x[i], train.images[order])
        np.testing.assert_array_equal(found.label[i], train.labels[order])
    assert to_initialise_from([BASE], train) is None
