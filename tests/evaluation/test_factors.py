"""Groups `disentanglement` and `dci`: of codes that are the factors; where they do not apply."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Experiment, Model, Objective
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation import Trained, factors, groups
from jaxvae.evaluation import trained as trained_module
from jaxvae.evaluation.subject import Measuring, Subject
from jaxvae.info import Info
from jaxvae.metrics.disentanglement import mig
from jaxvae.training import initial_state

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, (900, 3), np.int32)
NAMES = ("size", "hue", "place")
ROWS = FACTORS.astype(np.float32)
SCALED = np.diag([1.0, -2, 3])


def linear(matrix: np.ndarray) -> Trained:
    """An autoencoder whose code is x @ matrix, (features, latents)."""
    features, latents = matrix.shape
    experiment = Experiment(
        "linear",
        data=Data(standardise=False),
        model=Model(family="AE", hidden_dims=(), latent_dim=latents, output="linear"),
        objective=Objective("gaussian", beta=0.0),
    )
    info = Info((features,), maximum=None)
    module = experiment.model.build(info)
    variables = initial_state(experiment, module, info).variables

    def set_to(x: jax.Array) -> jax.Array:
        if x.shape == matrix.shape:
            return jnp.asarray(matrix, jnp.float32)
        return jnp.zeros_like(x)

    return Trained(experiment, module, jax.tree.map(set_to, variables), (features,), info)


def subject(matrix=SCALED, rows=ROWS, **factors):
    given = dict(zip(NAMES, FACTORS.T, strict=True)) | factors
    found = {name: column for name, column in given.items() if column is not None}
    # An encoder and a decoder of the same shape would both be set.
    matrix = np.concatenate([matrix, np.zeros((len(matrix), 1))], axis=1)
    split = Split(rows, None, factors=found or None)
    return Subject(linear(matrix), split, lambda: None, Measuring(seed=1))


def values_of(name, given):
    return groups.examine(given, [name]).found[name].values


def test_codes_that_are_factors_have_the_best_scores():
    found = values_of("disentanglement", subject())
    assert list(found) == [
        "mig",
        "sap",
        "sap_r2",
        "modularity",
        *("factor_vae_score", "factor_vae_score_se"),
        *("beta_vae_score", "beta_vae_score_se"),
    ]
    # Below 1 by the information and the correlation that 900 independent draws have by chance.
    assert found["mig"] == pytest.approx(1, abs=0.02)
    assert found["sap_r2"] == pytest.approx(1, abs=0.02)
    assert found["factor_vae_score"] == found["beta_vae_score"] == 1
    assert found["modularity"] == pytest.approx(0.75, abs=0.01)  # one latent of four is dead


def test_dci_of_codes_that_are_factors():
    found = values_of("dci", subject())
    assert found["dci_disentanglement"] > 0.99
    assert found["dci_completeness"] > 0.99
    assert found["dci_informativeness"] == found["dci_informativeness_train"] == 1


def test_a_rotation_loses_what_single_latents_say():
    turned = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    best, found = (
        values_of("disentanglement", subject()),
        values_of("disentanglement", subject(turned)),
    )
    for name in (name for name in best if not name.endswith("_se")):
        assert found[name] < best[name], name
    codes = np.concatenate([ROWS @ turned.astype(np.float32), np.zeros((900, 1))], axis=1)
    assert found["mig"] == pytest.approx(mig(codes, FACTORS), abs=0.01)


def test_neither_order_nor_the_examples_in_a_call_matter(monkeypatch):
    given = subject(np.linalg.qr(RNG.normal(size=(3, 3)))[0])
    order = RNG.permutation(900)
    other = Subject(given.trained, given.split.take(order), given.load, given.settings)
    expected = values_of("disentanglement", given)
    assert values_of("disentanglement", other) == expected
    monkeypatch.setattr("jaxvae.evaluation.trained.BATCH", 77)
    assert values_of("disentanglement", other) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ["disentanglement", "dci"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"size": None, "hue": None, "place": None},
            "the images have no factors, integers that say",
        ),
        ({"size": 0 * FACTORS[:, 0], "hue": None}, "1 factors vary among the images"),
        ({"rows": np.where(ROWS < 3, ROWS, np.float32(np.inf))}, "codes are not finite"),
        ({"matrix": np.zeros((3, 0))}, "codes of one latent"),
    ],
)
def test_where_they_do_not_apply(name, given, message):
    with pytest.raises(UsageError, match=f"--metrics {name}: {message}"):
        values_of(name, subject(**given))


def test_few_images():
    given = subject()
    one = Subject(given.trained, given.split.take(np.arange(3)), given.load, given.settings)
    with pytest.raises(UsageError, match=r"factors vary|too few|alone"):
        values_of("disentanglement", one)


def test_a_factor_that_does_not_vary_is_left_out_and_named():
    found = groups.examine(subject(colour=0 * FACTORS[:, 0]), ["disentanglement"])
    assert found.found["disentanglement"].values == values_of("disentanglement", subject())
    notes = found.found["disentanglement"].notes
    assert notes[1] == "left out, since they do not vary: colour"
    assert notes[0].startswith("factors size, hue, place, of posterior means of 900 images")


def test_a_value_of_one_image_takes_two_scores_and_no_more():
    size = np.where(np.arange(900) == 5, 9, FACTORS[:, 0]).astype(np.int32)
    found = groups.measure("disentanglement", subject(size=size))
    assert [*found.values] == ["mig", "sap", "sap_r2", "modularity"]
    assert "one image alone has a value of size" in found.notes[1]
    assert found.values["mig"] == pytest.approx(
        values_of("disentanglement", subject())["mig"], abs=0.02
    )


def test_what_does_not_converge_is_a_note(monkeypatch):
    monkeypatch.setattr(factors, "beta_vae_score", lambda *args: (0.5, False))
    notes = groups.measure("disentanglement", subject()).notes
    assert notes[1] == "not converged in 1000 iterations: beta_vae_score"


def test_examples_are_prepared_in_parts(monkeypatch):
    sizes, prepare = [], trained_module.prepare

    def counted(trained, split, index=None):
        sizes.append(len(split.images))
        return prepare(trained, split, index)

    monkeypatch.setattr(trained_module, "PART", 400)
    monkeypatch.setattr(trained_module, "prepare", counted)
    expected = values_of("disentanglement", subject())
    assert sizes == [400, 400, 100]
    monkeypatch.undo()
    assert values_of("disentanglement", subject()) == expected


@pytest.mark.slow
@pytest.mark.ci
def test_of_a_run(tmp_path):
    """From the data to the value, with factors of one's own."""
    images = (60 * FACTORS.repeat(4, axis=1)).reshape(900, 3, 4).astype(np.uint8)
    arrays = {"images": images, "factors": FACTORS, "factor_names": np.array(NAMES)}
    run = jaxvae.train(
        "digits_vae", tmp_path / "a", data=arrays, epochs=2, figures_every=0, quiet=True
    )
    found = run.evaluate("disentanglement")["disentanglement"]
    assert all(0 <= value <= 1 for value in found.values())
    assert found == run.evaluate("disentanglement")["disentanglement"]
