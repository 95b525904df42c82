"""Active latents: the variance of posterior means against 0.01, by hand; whom it is asked of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Population, Train, runs
from jaxvae.data import Split
from jaxvae.evaluation import Trained, active
from jaxvae.evaluation import trained as trained_module
from jaxvae.info import Info
from jaxvae.training import collapse, initial_state, train
from tests.commands import call
from tests.variants import small

SHAPE = (4, 4, 1)


def trained_of(experiment: Experiment, info: Info = Info(SHAPE)) -> Trained:  # noqa: B008
    """With all parameters 0."""
    module = experiment.model.build(info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, info)).variables
    variables = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract)
    return Trained(experiment, module, variables, info.shape, info)


def linear(weights) -> Trained:
    """Latent j has the posterior mean weights[j] x[0], x[0] the first pixel."""
    trained = trained_of(Experiment("a", model=Model(hidden_dims=(), latent_dim=len(weights))))
    params = trained.variables.model["params"]
    kernel = jnp.zeros((16, len(weights))).at[0].set(jnp.asarray(weights))
    params = params | {"mean": {"kernel": kernel, "bias": jnp.full(len(weights), 7.0)}}
    return trained._replace(variables=trained.variables._replace(model={"params": params}))


def black_and_white(n: int) -> Split:
    """Every other image is white: the first pixel has the variance 1/4."""
    images = np.zeros((n, *SHAPE), np.uint8)
    images[::2] = 255
    return Split(images, None)


@pytest.mark.parametrize("part", [7, 1000])
def test_variances_on_both_sides_of_a_hundredth(monkeypatch, part):
    """w^2 / 4 of 0.0101, 0.0099, 0 and 1; the mean of the means, 7, does not count."""
    monkeypatch.setattr(trained_module, "PART", part)
    trained = linear([2 * 0.0101**0.5, 2 * 0.0099**0.5, 0.0, -2.0])
    assert active.active_latents(trained, black_and_white(20)) == {"active": 2, "of": 4}


def test_the_first_images_alone_are_looked_at(monkeypatch):
    """The first image is white and the others black: 1/10 9/10 w^2, or 1/20 19/20 w^2."""
    images = np.zeros((20, *SHAPE), np.uint8)
    images[0] = 255
    trained = linear([0.4])
    assert 0.09 * 0.16 > active.VARIANCE > 0.0475 * 0.16
    assert active.active_latents(trained, Split(images, None)) == {"active": 0, "of": 1}
    monkeypatch.setattr(active, "LIMIT", 10)
    assert active.active_latents(trained, Split(images, None)) == {"active": 1, "of": 1}


def test_over_one_image_or_copies_of_one_nothing_varies():
    """So a training that is validated on these does not say that its codes say nothing."""
    trained = linear([0.4])
    for n in (1, 5):
        white = Split(np.full((n, *SHAPE), 255, np.uint8), None)
        assert active.active_latents(trained, white) is None


def test_equal_images_of_several_classes_differ_for_a_conditional_model():
    experiment = small.small("conditional_vae")
    module = experiment.model.build(small.INFO)
    variables = initial_state(experiment, module, small.INFO).variables
    trained = Trained(experiment, module, variables, small.INFO.shape, small.INFO)
    same = np.repeat(small.dataset().validation.images[:1], 6, axis=0)
    assert active.active_latents(trained, Split(same, np.arange(6) % 2)) is not None
    assert active.active_latents(trained, Split(same, np.zeros(6, int))) is None


@pytest.mark.parametrize("family", ["AE", "CAE"])
def test_without_a_posterior_there_are_none(family):
    trained = trained_of(Experiment("a", model=Model(family, hidden_dims=(4,))))
    assert active.active_latents(trained, black_and_white(4)) is None


@pytest.mark.parametrize("name", small.MOSTLY_SLOW)
def test_variants(name):
    """Codebooks and codes without noise have none; two layers count by themselves."""
    experiment = small.small(name)
    trained = trained_of(experiment, small.INFO)
    found = active.active_latents(trained, small.dataset().validation)
    if "vq" in name or name in ("fsq_vae", "wae_mmd", "swae", "aae"):
        assert found is None
    elif name == "two_layer_vae":
        assert found == {"z1": {"active": 0, "of": 3}, "z2": {"active": 0, "of": 2}}
        lower, upper = collapse.lines([found], alone=True)
        assert "of the 3 latents of z1" in lower and "of the 2 latents of z2" in upper
    else:
        categories = {"gumbel_vae": 3 * 4, "joint_vae": 3 + 4}  # entries of one-hot vectors
        assert found == {"active": 0, "of": categories.get(name, 3)}


# Of a training


def digits(beta: int) -> Experiment:
    return Experiment(
        "collapse",
        data=Data("digits", limit=200, batch_size=20),
        model=Model(hidden_dims=(32,), latent_dim=4),
        objective=Objective(beta=float(beta)),
        optimizer=Optimizer(learning_rate=3e-3),
        train=Train(epochs=5, figures_every=None),
    )


@pytest.mark.slow
@pytest.mark.ci
def test_a_collapse_is_said_and_noted(tmp_path, capsys):
    """A KL that weighs 300 times as much leaves no latent."""
    summary = train(digits(300), tmp_path)
    assert summary["active_latents"] == {"active": 0, "of": 4}
    assert summary == runs.read_json(tmp_path / "summary.json")
    said = capsys.readouterr().err
    assert said.count("none of the 4 latents is active") == 1
    assert "smaller objective.beta" in said and "warm-up" in said


@pytest.mark.slow
def test_of_a_population_by_member(tmp_path, capsys):
    """Each as if it were alone, from its own best epoch; at weight 1 nothing is said."""
    both = Population(sweep=("objective.beta=1,300",))
    summary = train(digits(1), tmp_path / "both", population=both)
    kept, lost = [member["active_latents"] for member in summary["members"]]
    assert kept["active"] > 0 and lost == {"active": 0, "of": 4}
    assert "active_latents" not in summary
    assert "\nmember 1: none of the 4 latents is active" in capsys.readouterr().err
    assert train(digits(1), tmp_path / "alone")["active_latents"] == kept
    assert "is active" not in capsys.readouterr().err


def test_a_kl_of_nothing_is_told_once_while_training():
    """Below 0.005 nats, of the member that it belongs to; not of a model without a KL."""

    def rows(*kls):
        return [{"member": i, "val_kl": kl} for i, kl in enumerate(kls)]

    (said,) = collapse.begun(rows(0.004, 0.006), rows(1.0, 1.0))
    assert said.startswith("member 0: validation kl 0.004 nats")
    assert not collapse.begun(rows(0.003, 0.006), rows(0.004, 1.0))  # told before
    assert not collapse.begun(rows(0.0), []) and not collapse.begun(rows(0.0), rows(0.0))
    (again,) = collapse.begun(rows(0.002), rows(0.1))
    assert again.startswith("validation kl 0.002")


def test_who_is_told_of():
    """Nobody without a posterior; of a population those without a latent, and none that failed."""
    dead, alive = {"active": 0, "of": 2}, {"active": 1, "of": 2}
    assert collapse.noted({"seed": 0}, [None], alone=True) == {"seed": 0}
    assert not [*collapse.lines([None, None], alone=False)]
    (said,) = collapse.lines([dead, alive, None, dead], alone=False)
    assert said.startswith("members 0, 3: none of the 2 latents is active")
    noted = collapse.noted({"members": [{}, {}]}, [None, dead], alone=False)
    assert noted == {"members": [{"active_latents": None}, {"active_latents": dead}]}


@pytest.mark.slow
def test_it_is_the_best_checkpoint_that_counts(tmp_path, capsys):
    """The rate of the fifth epoch destroys the model; the fourth is the best, and told of."""
    experiment = digits(1)

    def exploding(settings, steps_per_epoch, epochs):
        return lambda step: jnp.where(step < 40, 3e-3, 0.2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.training.step.make_schedule", exploding)
        summary = train(experiment, tmp_path / "run", quiet=True)
    assert summary["best"]["epoch"] == 4
    counts = []
    for which in ("best", "latest"):
        options = ["--split", "validation", "--checkpoint", which]
        status, found, _ = call(capsys, "embed", tmp_path / "run", *options)
        assert status == 0
        counts.append(int((np.load(found["arrays"])["codes"].var(axis=0) > 0.01).sum()))
    assert summary["active_latents"]["active"] == counts[0] != counts[1]
