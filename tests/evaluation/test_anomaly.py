"""Group anomaly: scores by closed forms, what is anomalous, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation import Trained
from jaxvae.evaluation import anomaly as group
from jaxvae.evaluation.anomaly import anomaly, entropies
from jaxvae.evaluation.regret import likelihood_regret
from jaxvae.evaluation.trained import gaussian_posterior, has_gaussian, prepare
from jaxvae.training import initial_state
from tests.evaluation.subjects import SIDE, dataset, images, subject, trained
from tests.variants.small import FILES, INFO, MOSTLY_SLOW, SHAPE, small

DENSE = Experiment("dense", data=Data(batch_size=16), model=Model(hidden_dims=(8,), latent_dim=4))
AUTOENCODER = replace(DENSE, model=replace(DENSE.model, family="AE"))


def test_by_label():
    found = anomaly(subject(DENSE, normal=(0, 1)))
    rows, truth = found.rows, images(30, seed=1).labels == 2
    assert found.values["anomalous"] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(rows["anomalous"], truth)
    names = {name.removeprefix("score_") for name in rows} - {"anomalous"}
    assert names == {
        *("recon", "negative_elbo", "kl", "recon_at_mean", "mse_at_mean"),
        *("recon_minus_entropy", "likelihood_regret", "negative_bound"),
    }
    for name in names:
        area = roc_auc_score(truth, rows[f"score_{name}"].astype(np.float64))
        assert found.values[f"auroc_{name}"] == pytest.approx(area)
        assert {f"auroc_{name}_se", f"average_precision_{name}"} < found.values.keys()
    np.testing.assert_allclose(rows["score_negative_elbo"], rows["score_recon"] + rows["score_kl"])


@pytest.fixture
def no_regret(monkeypatch):
    """Without the score that takes most of the time, where it is not what is tested."""
    monkeypatch.setattr(group, "has_gaussian", lambda trained: False)


@pytest.mark.slow
def test_by_another_source(no_regret):
    """White images, which noise with a stripe is not: the squared error of a model that has learned
    nothing, and decodes grey, is the larger."""
    white = np.full((7, SIDE, SIDE, 1), 255, np.uint8)
    found = anomaly(subject(DENSE, anomalies=white))
    assert found.values["anomalous"] == pytest.approx(7 / 37)
    assert found.values["auroc_mse_at_mean"] == 1
    assert len(found.rows["anomalous"]) == 30 and not found.rows["anomalous"].any()
    assert found.notes[0].startswith("anomalous: 7 images of")
    both = anomaly(subject(DENSE, anomalies=white, normal=[0, 1]))
    assert both.values["anomalous"] == pytest.approx(17 / 37)


def test_an_autoencoder_has_fewer_scores():
    found = anomaly(subject(AUTOENCODER, normal=0))
    names = {n.removeprefix("auroc_") for n in found.values if n.startswith("auroc_")}
    names = {name for name in names if not name.endswith("_se")}
    assert names == {"recon", "recon_at_mean", "mse_at_mean", "recon_minus_entropy"}


def test_order_and_batches_do_not_matter():
    """Of scores at the mean: a draw follows from an image's position."""
    order = np.random.default_rng(0).permutation(30)
    here = anomaly(subject(DENSE, normal=(0,)))
    there = anomaly(subject(DENSE, split=dataset().test.take(order), normal=(0,)))
    smaller = replace(DENSE, data=replace(DENSE.data, batch_size=7))
    batches = anomaly(subject(smaller, normal=(0,)))
    for name in ("score_recon_at_mean", "score_mse_at_mean"):
        np.testing.assert_allclose(there.rows[name], here.rows[name][order], rtol=1e-6)
    for name, row in here.rows.items():
        np.testing.assert_allclose(batches.rows[name], row, rtol=1e-5, atol=1e-5, err_msg=name)


def test_entropy_is_the_floor(no_regret):
    """128/255 at every pixel is about ln 2 each; black and white have none; no recon is below."""
    grey = Split(np.full((2, SIDE, SIDE, 1), 128, np.uint8), None)
    grey.images[1] = 0
    grey.images[1, 0] = 255
    model = subject(DENSE).trained
    p = 128 / 255
    expected = -SIDE * SIDE * (p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(entropies(model, grey), [expected, 0], rtol=1e-6)
    assert np.all(anomaly(subject(DENSE, normal=(0,))).rows["score_recon_minus_entropy"] > 0)
    binary = replace(DENSE, data=replace(DENSE.data, binarize="threshold"))
    assert entropies(subject(binary).trained, grey) is None
    gaussian = replace(
        DENSE, model=replace(DENSE.model, output="linear"), objective=Objective("gaussian")
    )
    assert entropies(subject(gaussian).trained, grey) is None


@pytest.mark.slow
@pytest.mark.ci
def test_the_pitfall_is_said_where_it_is_one(no_regret):
    def says(experiment: Experiment) -> bool:
        notes = anomaly(subject(experiment, normal=(0,))).notes
        return any("Bernoulli on grey pixels" in note for note in notes)

    assert says(DENSE) and says(AUTOENCODER)
    assert not says(replace(DENSE, data=replace(DENSE.data, binarize="dynamic")))


def test_likelihood_regret_in_closed_form():
    """A linear decoder with unit variance: the true posterior is N(s w.x, s), s = 1/(1 + |w|^2),
    and of an encoder that says N(s w.x + a, s e^b) the regret is its KL to that,
    1/2 (e^b - 1 - b + a^2 / s): the ELBO of the best q is log p(x)."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 6)).astype(np.float32)
    experiment = Experiment(
        "linear",
        data=Data(batch_size=8, standardise=False),
        model=Model(hidden_dims=(), latent_dim=1, output="linear"),
        objective=Objective("gaussian"),
    )
    split = Split(rows, None)
    model = trained(experiment, dataset(split, split))
    w = np.array([0.5, -0.3, 0.8, 0.1, -0.6, 0.2])
    s = 1 / (1 + np.sum(w**2))

    def regret(a: float, b: float) -> np.ndarray:
        params = {
            "mean": {"kernel": s * w[:, None], "bias": np.array([a])},
            "logvar": {"kernel": np.zeros((6, 1)), "bias": np.array([np.log(s) + b])},
            "decoder": {"Dense_0": {"kernel": w[None], "bias": np.zeros(6)}},
        }
        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
        variables = model.variables._replace(model={"params": params})
        return likelihood_regret(model._replace(variables=variables), split)

    assert has_gaussian(model)
    for a, b in ((1.0, 0.0), (0.0, 1.0), (-1.5, -0.5)):
        kl = 0.5 * (np.expm1(b) - b + a**2 / s)
        # 16 draws know the mean over 40 examples to about 3 %; the optimizer leaves less.
        assert regret(a, b).mean() == pytest.approx(kl, rel=0.1), (a, b)
    nothing = regret(0, 0)
    # The optimizer moves a little by the noise of its draws, and 16 others tell what that cost.
    assert abs(nothing.mean()) < 0.03 and np.abs(nothing).max() < 0.3 and len(nothing) == 40


@pytest.mark.parametrize("name", MOSTLY_SLOW)
def test_which_variants_have_a_gaussian_posterior(name):
    """Without labels, flows, layers or other priors being counted for one."""
    experiment = small(name)
    module = experiment.model.build(INFO)
    variables = jax.eval_shape(lambda: initial_state(experiment, module, INFO)).variables
    family = FILES[name].parent.name
    gaussian = family in ("kl", "samples", "labels") or name.startswith(
        ("beta_tc", "factor", "dip", "info")
    )
    assert has_gaussian(Trained(experiment, module, variables, SHAPE, INFO)) == gaussian


def test_what_is_refused():
    test = images(30, seed=1)
    unlabelled = dataset(images(60), test._replace(labels=None))
    cases = [
        ({}, dataset(), "give --normal CLASS... or --anomalies SOURCE"),
        ({"normal": (0, 7)}, dataset(), "--normal = 7: must be labels of the images: 0, 1, 2"),
        ({"normal": (0,)}, unlabelled, "--normal = 0: the images have no labels"),
        ({"normal": (0, 1, 2)}, dataset(), "all 30 images are normal"),
        ({"anomalies": "./nowhere"}, dataset(), "--anomalies = './nowhere': no such file"),
        ({"anomalies": np.zeros((3, 9, 9, 1), np.uint8)}, dataset(), "--anomalies .* 9x9x1"),
    ]
    for settings, data, says in cases:
        with pytest.raises(UsageError, match=says):
            anomaly(subject(DENSE, data, **settings))


def test_images_without_a_label_do_not_count(no_regret):
    test = images(30, seed=1)
    some = test._replace(labels=np.where(np.arange(30) < 12, test.labels, -1))
    found = anomaly(subject(DENSE, split=some, normal=(0,)))
    few = anomaly(subject(DENSE, split=test.take(range(12)), normal=(0,)))
    assert found.values == pytest.approx(few.values)
    assert "without 18 images that have no label" in found.notes
    assert found.rows["anomalous"].tolist() == [0, 1, 1] * 4 + [-1] * 18


def test_one_answer_to_whether_a_posterior_is_gaussian():
    for experiment in (DENSE, AUTOENCODER, small("vamp_prior_vae")):
        model = subject(experiment).trained
        posterior = gaussian_posterior(model, prepare(model, images(3)))
        assert has_gaussian(model) == (posterior is not None) == (experiment is DENSE)


def test_a_score_that_is_no_number_is_left_out(monkeypatch):
    """One NaN of 30; the other scores are as without it."""
    monkeypatch.setattr(
        group, "likelihood_regret", lambda *args: np.where(np.arange(30) == 4, np.nan, 1.0)
    )
    found = anomaly(subject(DENSE, normal=(0,)))
    monkeypatch.setattr(group, "has_gaussian", lambda trained: False)
    assert found.values == anomaly(subject(DENSE, normal=(0,))).values
    assert "score_likelihood_regret" not in found.rows
    assert "without likelihood_regret: not a number for 1 images" in found.notes
    assert not any("steps for each" in note for note in found.notes)


@pytest.mark.slow
def test_images_that_fill_no_batch_are_said(no_regret):
    """Of 30 images in batches of 16, a term across the batch knows 16."""
    cut = small("factor_vae")
    cut = replace(cut, data=replace(cut.data, batch_size=16))
    found = anomaly(subject(cut, normal=(0,)))
    assert len(found.rows["anomalous"]) == 16
    assert any("without 14 images that fill no batch" in note for note in found.notes)
    assert not any("fill no batch" in n for n in anomaly(subject(DENSE, normal=(0,))).notes)
