"""Group samples: numbers of samples that are known, the classifier, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxvae import Data, Experiment, Model
from jaxvae.checks import UsageError
from jaxvae.evaluation import classifier as classifying
from jaxvae.evaluation import sampling
from jaxvae.evaluation.classifier import classifier, train
from jaxvae.evaluation.sampling import samples
from jaxvae.metrics.frechet import frechet_distance
from jaxvae.metrics.manifold import prdc
from tests.evaluation.subjects import dataset, images, subject
from tests.variants.small import small

DENSE = Experiment("dense", data=Data(batch_size=16), model=Model(hidden_dims=(8,), latent_dim=4))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(classifying, "STEPS", 60)


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target


def draws(monkeypatch, split):
    """Let the model's samples be these images."""
    given = (split.images / 255).astype(np.float32)
    monkeypatch.setattr(sampling, "sample", lambda trained, n, seed: (None, given[:n]))


def test_samples_that_are_the_images_themselves(monkeypatch):
    draws(monkeypatch, images(30, seed=1))
    values = samples(subject(DENSE)).values
    # Float32 features of up to some ten, whose covariances are roots of products of 1e-7.
    assert values["frechet_classifier_distance"] == pytest.approx(0, abs=1e-4)
    assert [values[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert values["memorisation_ratio"] == pytest.approx(1)
    assert values["frechet_classifier_distance_train"] > 0.01


def test_samples_that_are_copies(monkeypatch):
    draws(monkeypatch, images(60))
    values = samples(subject(DENSE)).values
    # Distances by products of float32: the root of a rounding of 60 x 1e-7.
    assert values["nearest_training_distance"] == pytest.approx(0, abs=0.02)
    assert values["nearest_training_distance_images"] > 1
    assert values["memorisation_ratio"] < 0.01


def test_distances_by_hand(monkeypatch):
    draws(monkeypatch, images(30, seed=2))
    values = samples(subject(DENSE)).values
    rows = [images(n, s).images.reshape(n, -1) / 255 for n, s in ((60, 0), (30, 1), (30, 2))]
    own, real, fake = rows
    for name, x in (("", fake), ("_images", real)):
        nearest = np.linalg.norm(x[:, None] - own, axis=-1).min(axis=1)
        assert values[f"nearest_training_distance{name}"] == pytest.approx(nearest.mean(), rel=1e-4)
    network = train(own.astype(np.float32), images(60).labels, seed=0)
    a, b = (network.features(x.astype(np.float32)) for x in (real, fake))
    found = values["frechet_classifier_distance"]
    assert found == pytest.approx(frechet_distance(a, b), rel=1e-3)
    for name, each in prdc(a, b).items():
        assert values[name] == pytest.approx(each.mean(), abs=0.04)  # one image, by rounding
        error = each.std(ddof=1) / len(each) ** 0.5
        assert values[f"{name}_se"] == pytest.approx(error, abs=0.04)


def test_neighbours_of_a_sorted_split_are_of_all_classes(monkeypatch):
    """Images whose stripe shows their class, in order of classes; six are looked at."""
    monkeypatch.setattr(sampling, "NEAREST", 6)
    seen, nearest = [], sampling.nearest_distances
    monkeypatch.setattr(sampling, "nearest_distances", lambda a, b: seen.append(a) or nearest(a, b))
    test = images(30, seed=1)
    split = test.take(np.argsort(test.labels, kind="stable"))
    samples(subject(DENSE, split=split))
    _, rows = seen
    stripes = rows.reshape(6, 3, -1).mean(axis=2).argmax(axis=1)
    assert {*stripes.tolist()} == {0, 1, 2}


def test_without_labels_components_are_compared():
    train = images(60)._replace(labels=None)
    found = samples(subject(DENSE, dataset(train)))
    assert "frechet_pca_distance" in found.values
    assert not any("classifier" in name for name in found.values)
    assert any("no labels to train a classifier on: features are 60" in n for n in found.notes)


def test_grey_images_are_compared_where_training_drew_binary_ones():
    """The mean of a draw is the grey image, and so are a decoder's means."""
    binary = replace(DENSE, data=replace(DENSE.data, binarize="dynamic"))
    here, there = (samples(subject(e)).values for e in (DENSE, binary))
    assert there == pytest.approx(here)


@pytest.mark.slow
def test_as_many_as_there_are():
    found = samples(subject(DENSE))
    assert found.notes[0].startswith("30 samples, images and training images each")
    # 1 - (29 x 28 x 27 x 26 x 25) / (59 x 58 x 57 x 56 x 55)
    assert any(
        note.endswith("density is 1 on average, and coverage 0.9763") for note in found.notes
    )
    assert any("fewer than the 10,000" in note for note in found.notes)
    fewer = samples(subject(DENSE, generated=12))
    assert fewer.notes[0].startswith("12 samples") and not any(
        "fewer than the" in n for n in fewer.notes
    )
    assert samples(subject(DENSE)).values == found.values
    assert samples(subject(DENSE, seed=1)).values != found.values


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conditional_vae", "vq_vae", "vamp_prior_vae"])
def test_other_priors(name):
    values = samples(subject(small(name))).values
    assert np.isfinite([*values.values()]).all()


def test_what_is_refused():
    with pytest.raises(UsageError, match="no prior"):
        samples(subject(replace(DENSE, model=replace(DENSE.model, family="AE"))))
    with pytest.raises(UsageError, match="4 samples and images: must be at least 6"):
        samples(subject(DENSE, generated=4))


@pytest.mark.slow
@pytest.mark.ci
def test_the_classifier_is_right(digits, monkeypatch):
    monkeypatch.setattr(classifying, "STEPS", 400)
    x, labels = digits
    found = train(x[:1000], labels[:1000], seed=0)
    assert np.mean(found.predict(x[1000:]) == labels[1000:]) > 0.9
    assert found.features(x[:3]).shape == (3, 64)
    assert train(x[:1000], labels[:1000], seed=0).digest == found.digest
    assert train(x[:1000], labels[:1000], seed=1).digest != found.digest
    two = labels < 2
    found = train(x[two], labels[two] * 5, seed=0)
    assert np.mean(found.predict(x[two]) == labels[two] * 5) > 0.99


def test_the_classifier_is_kept(digits, monkeypatch, tmp_path, caplog):
    """Until the data or the seed are others, and not where the file is damaged."""
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path))
    x, labels = digits
    first = classifier(x, labels, seed=0)
    (path,) = tmp_path.glob("classifier-*.npz")
    trainings = []
    monkeypatch.setattr(classifying, "train", lambda *args: trainings.append(1) or train(*args))
    assert classifier(x, labels, seed=0).digest == first.digest and not trainings
    np.testing.assert_array_equal(classifier(x, labels, 0).predict(x[:20]), first.predict(x[:20]))
    classifier(x, labels, seed=1)
    classifier(x, (labels + 1) % 10, seed=0)
    classifier(x + np.float32(1e-3), labels, seed=0)
    assert len(trainings) == 3
    path.write_bytes(path.read_bytes()[:1000])
    assert classifier(x, labels, seed=0).digest == first.digest and len(trainings) == 4
    assert "damaged" in caplog.text
