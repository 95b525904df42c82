"""Groups probes and clusters: what is fitted on what, what is measured, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jaxvae import Data, Experiment, Model
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation import embed, prepare, probing, views
from jaxvae.evaluation.clustering import clusters
from jaxvae.evaluation.probing import probes
from tests.evaluation.subjects import CLASSES, dataset, images, subject
from tests.variants.small import small

DENSE = Experiment("dense", data=Data(batch_size=16), model=Model(hidden_dims=(8,), latent_dim=4))


def test_each_beside_its_baselines():
    """The linear probes as they would be written for one of them, on the model's own codes."""
    given = subject(DENSE)
    values = probes(given).values
    train, test = given.dataset.train, given.split
    codes, pixels = (
        [(np.asarray(rows(x)), x.label) for x in (prepare(given.trained, s) for s in (train, test))]
        for rows in (lambda x: embed(given.trained, x), lambda x: x.input.reshape(len(x.input), -1))
    )
    pca = PCA(4).fit(pixels[0][0])
    parts = [(pca.transform(x), y) for x, y in pixels]
    for suffix, ((x, labels), (y, truth)) in {"": codes, "_pixels": pixels, "_pca": parts}.items():
        scaler = StandardScaler().fit(x)
        found = LogisticRegression(max_iter=1000).fit(scaler.transform(x), labels)
        right = found.predict(scaler.transform(y)) == truth
        assert values[f"linear_probe{suffix}"] == pytest.approx(right.mean())
        error = right.std(ddof=1) / np.sqrt(len(right))
        assert values[f"linear_probe{suffix}_se"] == pytest.approx(error)
    kinds = {"linear_probe", "knn_1", "knn_5", "knn_10"}
    names = {f"{kind}{suffix}" for kind in kinds for suffix in ("", "_pixels", "_pca")}
    assert {name for name in values if not name.endswith("_se")} == names
    assert values["knn_1_pixels"] == 1  # a stripe cannot be mistaken


def test_components_are_of_the_training_examples_alone():
    rng = np.random.default_rng(0)
    train = views.Views(rng.random((30, 3)), rng.random((30, 8)))
    test = views.Views(rng.random((9, 3)), 5 + rng.random((9, 8)))
    found = views.beside_baselines(train, test, seed=0)
    centered = train.pixels - train.pixels.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    expected = (test.pixels - train.pixels.mean(axis=0)) @ axes[:3].T
    np.testing.assert_allclose(np.abs(found["_pca"].test), np.abs(expected), rtol=1e-6)
    assert found["_pca"].train.shape == (30, 3) and found[""].train is train.codes
    few = views.Views(train.codes[:2], train.pixels[:2])
    assert views.beside_baselines(few, test, seed=0)["_pca"].train.shape == (2, 2)


def test_order_does_not_matter():
    order = np.random.default_rng(0).permutation(30)
    for group in (probes, clusters):
        here = group(subject(DENSE)).values
        there = group(subject(DENSE, split=dataset().test.take(order))).values
        assert there == pytest.approx(here)


def test_few_labels(monkeypatch):
    """Of 60 training examples in three classes: 9 labels, 30, and not 99."""
    monkeypatch.setattr(probing, "FEW", (9, 30, 99))
    found = probes(subject(DENSE))
    assert {"linear_probe_9", "linear_probe_30_pca"} < found.values.keys()
    assert "linear_probe_99" not in found.values
    assert "too few training examples of a class for 99 labels" in found.notes
    assert found.values["linear_probe_30_pixels"] > 0.9


def test_limits_are_said(monkeypatch):
    monkeypatch.setattr(probing, "FITTED", 40)
    assert "fitted on 40 of 60 training examples" in probes(subject(DENSE)).notes
    monkeypatch.setattr(probing, "FITTED", 20)
    notes = probes(subject(DENSE)).notes
    assert "on 20 images; 10 others have no label or are beyond a limit" in notes


def test_training_images_among_those_that_are_judged():
    both = images(60).take(range(12))
    notes = probes(subject(DENSE, split=both)).notes
    assert "12 of 12 images are also among those fitted on" in notes
    assert not any("also among" in note for note in probes(subject(DENSE)).notes)


def test_labels_that_the_encoder_sees():
    assert any(
        "given each image's label" in n for n in probes(subject(small("conditional_vae"))).notes
    )
    assert not any("given each" in note for note in probes(subject(DENSE)).notes)


@pytest.mark.slow
def test_feature_maps_are_codes():
    """More numbers than pixels, so fewer components than a code has."""
    model = Model(family="CAE", network="conv", hidden_dims=(4, 20))  # 3 x 3 x 20
    found = probes(subject(replace(DENSE, model=model)))
    assert "pca: 60 components, for codes of 180 numbers" in found.notes
    assert np.isfinite([*found.values.values()]).all()


def without_labels(split: Split, keep: int = 0) -> Split:
    assert split.labels is not None
    return split._replace(labels=np.where(np.arange(len(split.labels)) < keep, split.labels, -1))


def test_what_has_no_label_does_not_count():
    given = subject(DENSE, split=without_labels(images(30, seed=1), keep=12))
    whole = subject(DENSE, split=images(30, seed=1).take(range(12)))
    for group in (probes, clusters):
        found = group(given)
        assert found.values == pytest.approx(group(whole).values)
        assert any("on 12 images; 18 others have no label" in note for note in found.notes)


def test_what_is_refused():
    train, test = images(60), images(30, seed=1)
    one = test._replace(labels=np.full(30, 2, np.int32))
    cases = [
        (dataset(train, without_labels(test)), "the images have no labels"),
        (dataset(train, one), "the images are of one class alone, 2"),
        (dataset(without_labels(train), test), "the training examples have no labels"),
        (dataset(without_labels(train, 9), test), "9 training examples have labels: .* least 10"),
    ]
    for data, says in cases:
        with pytest.raises(UsageError, match=says):
            probes(subject(DENSE, data))
    for data, says in cases[:2]:
        with pytest.raises(UsageError, match=says):
            clusters(subject(DENSE, data))


def test_codes_that_say_nothing():
    """The same code of every image, and codes that are no numbers."""
    given = subject(DENSE)
    for value, says in ((0.0, "the same code"), (np.nan, "not finite")):
        params = given.trained.variables.model["params"] | {
            "mean": {"kernel": np.full((8, 4), value, np.float32), "bias": np.zeros(4, np.float32)}
        }
        variables = given.trained.variables._replace(model={"params": params})
        broken = subject(DENSE)
        object.__setattr__(broken, "trained", given.trained._replace(variables=variables))
        with pytest.raises(UsageError, match=says):
            probes(broken)
        with pytest.raises(UsageError, match=r"the same code|not finite"):
            clusters(broken)


def test_clusters_of_stripes():
    """Three stripes are three clusters of pixels: every number is 1."""
    found = clusters(subject(DENSE)).values
    assert [found[f"{name}_pixels"] for name in ("accuracy", "nmi", "ari")] == pytest.approx(
        [1] * 3
    )
    assert found["accuracy_pixels_se"] == 0 and "nmi_se" not in found
    assert 1 / CLASSES <= found["accuracy"] <= 1
