"""From a model to arrays and figures, without training: shapes, identities, odd images."""

import csv
import dataclasses
from statistics import NormalDist

import jax
import numpy as np
import pytest
from matplotlib.patches import Circle

from jaxvae import Data, Experiment, Model, Objective, evaluation, noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.cli import draw
from jaxvae.cli.options import Images, Opened, SavedRun, Written
from jaxvae.data import Dataset, Split
from jaxvae.data.preprocess import preprocess
from jaxvae.evaluation import Trained, pictures, ranges, written
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.training import Variables
from jaxvae.training.state import dummy
from jaxvae.variants.aggregated import MatchedModel


def untrained(
    shape, num_classes: int = 0, likelihood: str = "bernoulli", kind: type[Model] = Model, **model
) -> Trained:
    """Of images; of other examples where they have another rank."""
    data, objective = Data("x.npy"), Objective(likelihood)
    experiment = Experiment("x", data=data, model=kind(**model), objective=objective)
    info = Info(shape, num_classes, maximum=255 if len(shape) == 3 else None)
    module = experiment.model.build(info)
    variables = jax.jit(module.init)(jax.random.key(0), dummy(info))
    return Trained(experiment, module, Variables(variables, {}), shape, info)


def random_images(n, shape) -> Split:
    return Split(np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8), None)


def test_batches_do_not_show(monkeypatch):
    """12 images in batches of 5 or of 500: the same codes, to the order of a sum's terms."""
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=3),
        random_images(12, (6, 5, 1)),
    )
    batch = evaluation.prepare(trained, images)
    whole = evaluation.embed(trained, batch)
    monkeypatch.setattr("jaxvae.evaluation.trained.BATCH", 5)
    np.testing.assert_allclose(evaluation.embed(trained, batch), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(evaluation.prepare(trained, images).input, batch.input)


def test_interpolations_end_at_the_reconstructions():
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=3),
        random_images(4, (6, 5, 1)),
    )
    arrays, _ = pictures.interpolations(trained, images, [(0, 2), (1, 3)], steps=5)
    decoded = evaluation.reconstruct(trained, evaluation.prepare(trained, images))
    # float32, one product of a code and a weight apart
    np.testing.assert_allclose(arrays["images"][:, 0], decoded[:2], atol=1e-5)
    np.testing.assert_allclose(arrays["images"][:, -1], decoded[2:], atol=1e-5)
    middle = (arrays["codes"][:, 0] + arrays["codes"][:, -1]) / 2
    np.testing.assert_allclose(arrays["codes"][:, 2], middle, atol=1e-5)


def test_traversals_vary_one_latent_each_over_what_it_takes():
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=4),
        random_images(9, (6, 5, 1)),
    )
    arrays, figure = pictures.traversals(trained, images, index=3, steps=7, dims=2)
    batch = evaluation.prepare(trained, images)
    code = evaluation.embed(trained, batch)[3]
    assert arrays["codes"].shape == (2, 7, 4)
    found = trained.model.apply(trained.variables.model, batch, method="posterior")
    mean, logvar = (np.asarray(part) for part in found)
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    found = evaluation.kl_per_latent(trained, batch)
    np.testing.assert_allclose(found.mean(axis=0), kl, rtol=1e-5, atol=1e-6)
    dims = arrays["dims"].tolist()
    used = np.var(mean, axis=0) > 0.01
    assert used.sum() >= 2 and dims == [i for i in np.argsort(-kl) if used[i]][:2]
    np.testing.assert_allclose(arrays["weight"], kl[dims], rtol=1e-5)
    names = [label.get_text().split("\n")[0] for label in figure.axes[0].get_yticklabels()]
    assert names == [f"z{'₁₂₃₄'[i]}: {kl[i]:.2f} nats" for i in dims]
    for row, dim in enumerate(dims):
        values = arrays["codes"][row, :, dim]
        np.testing.assert_array_equal(values, arrays["values"][row])
        np.testing.assert_allclose(np.diff(values), np.ptp(values) / 6, rtol=1e-4)
        others = [i for i in range(4) if i != dim]
        expected = np.tile(code[others], (7, 1))
        np.testing.assert_array_equal(arrays["codes"][row][:, others], expected)
        # The share of the aggregated posterior, by its distribution function, below either end;
        # 64 places of each of 9 posteriors put a percentile within a part of a hundredth.
        both = zip(mean[:, dim].tolist(), np.exp(logvar[:, dim] / 2).tolist(), strict=True)
        normal = [NormalDist(*each) for each in both]
        low, high = (np.mean([each.cdf(float(end)) for each in normal]) for end in values[[0, -1]])
        assert low == pytest.approx(0.01, abs=0.003) and high == pytest.approx(0.99, abs=0.003)
    np.testing.assert_allclose(
        arrays["unchanged"], evaluation.reconstruct(trained, batch)[3], atol=1e-5
    )


def test_latents_that_are_not_used_are_left_out_unless_none_is():
    codes = np.random.default_rng(0).normal(size=(500, 4)) * [1, 0.05, 2, 1e-3]
    logvar = np.log([[0.5, 0.9975, 0.1, 1]]) * np.ones((500, 1))
    known = ranges.ranges(codes, (codes, logvar))
    assert known.used.tolist() == [True, False, True, False]  # variances above 0.01
    assert known.shown(10).tolist() == [2, 0] and known.shown(1).tolist() == [2]
    assert known.name(1).endswith("nats, unused") and not known.name(2).endswith("unused")
    none = ranges.ranges(codes * 1e-3, (codes * 1e-3, logvar))
    assert none.shown(10).tolist() == np.argsort(-none.weight).tolist()
    # N(0, 1), which no example changes, has its 99th percentile at 2.326; of 64 places the last
    # but one is at 1.99 and the last at 2.42.
    assert none.high[3] == pytest.approx(2.326, abs=0.1)


def test_a_code_without_a_posterior_is_varied_within_its_percentiles():
    codes = np.stack([np.arange(101.0), np.full(101, 3.0), 2 * np.arange(101.0)], axis=1)
    known = ranges.ranges(codes, None)
    assert (known.low.tolist(), known.high.tolist()) == ([1, 3, 2], [99, 3, 198])
    assert known.shown(9).tolist() == [2, 0] and not known.has_kl
    assert known.name(0) == "std 29"  # sqrt((101^2 - 1) / 12) = 29.15


@pytest.mark.parametrize("alike", [False, True])
def test_pairs_are_of_different_classes_or_of_one(alike):
    labels = np.array([4, 4, -1, 2, 4, 7, 2, 7, 4, 2, 2, 7, -1, -1], np.int32)
    split = Split(np.zeros((14, 2, 2, 1), np.uint8), labels)
    pairs = ranges.pairs(split, 6, alike)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 6  # nor one backwards
    assert all(a != b for a, b in pairs)
    classes = labels[np.array(pairs)]
    assert (classes >= 0).all() and set(classes[:, 0].tolist()) == {2, 4, 7}
    assert ((classes[:, 0] == classes[:, 1]) == alike).all()
    assert pairs == ranges.pairs(split, 6, alike)
    alone = split._replace(labels=np.full(14, 3, np.int32))
    assert (
        ranges.pairs(alone, 2) == ranges.pairs(split._replace(labels=None), 2) == [(0, 2), (1, 3)]
    )


def test_interpolations_say_which_classes_they_join():
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    images = random_images(4, (6, 5, 1))._replace(labels=np.array([0, 1, 1, 0], np.int32))
    names = {
        classes: [label.get_text() for label in figure.axes[0].get_yticklabels()]
        for classes in (None, ("ant", "bee"))
        for _, figure in [pictures.interpolations(trained, images, [(0, 1), (2, 3)], 3, classes)]
    }
    assert names == {None: ["0 to 1", "1 to 0"], ("ant", "bee"): ["ant to bee", "bee to ant"]}


def test_manifold_lies_at_the_quantiles_of_the_prior():
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    arrays, _ = pictures.manifold(trained, np.zeros((1, 2)), side=4)
    normal_quantiles = [-1.15034938, -0.31863936, 0.31863936, 1.15034938]  # at 1/8, 3/8, 5/8, 7/8
    np.testing.assert_allclose(arrays["z1"], normal_quantiles, rtol=1e-6)
    corner = evaluation.decode(trained, np.array([[arrays["z1"][3], arrays["z2"][0]]]))
    np.testing.assert_allclose(arrays["images"][0, 3], corner[0], atol=1e-6)


@pytest.mark.parametrize(("kind", "standard"), [(MatchedModel, True), (Model, False)])
def test_the_prior_of_a_deterministic_encoder_is_drawn_where_it_has_one(kind, standard):
    """A WAE's is N(0, I), as a VAE's; an AE has none."""
    trained = untrained((6, 5, 1), kind=kind, family="AE", hidden_dims=(7,), latent_dim=2)
    images = random_images(9, (6, 5, 1))
    dataset = Dataset("x", images, images, images, None, "x")
    codes = pictures.figure("latents", trained, dataset, []).axes[0]
    assert sum(isinstance(patch, Circle) for patch in codes.patches) == (2 if standard else 0)
    decoded = pictures.figure("manifold", trained, dataset, []).axes[0]
    assert ("at quantiles of the prior" in decoded.get_xlabel()) == standard


@pytest.mark.parametrize(
    "shape",
    [(9, 14, 2), *(pytest.param(s, marks=pytest.mark.slow) for s in ((12, 7, 4), (8, 8, 3)))],
)
@pytest.mark.parametrize("network", [pytest.param("dense", marks=pytest.mark.slow), "conv"])
def test_every_picture_of_odd_images(shape, network, tmp_path):
    """Non-square, and with numbers of channels that a picture cannot show."""
    trained = untrained(shape, network=network, hidden_dims=(4,), latent_dim=2)
    images = random_images(12, shape)._replace(labels=np.arange(12, dtype=np.int32) % 3)
    dataset = Dataset("x", images, images, images, None, "x")
    files = written.write_all(trained, dataset, [], tmp_path)
    expected = {"reconstructions", "latents", "interpolations", "samples", "traversals", "manifold"}
    assert {path.stem for path in files} == expected
    assert all(path.stat().st_size > 0 for path in files)


@pytest.mark.parametrize("labels", [np.full(9, -1), np.arange(9) - 1, None])
def test_unlabelled_images_are_drawn_alike(labels):
    """Some sets mark images without a label by -1."""
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2),
        random_images(9, (6, 5, 1)),
    )
    arrays, figure = pictures.embedding(trained, images._replace(labels=labels), None)
    assert not figure.legends
    assert ("labels" in arrays) == (labels is not None)


def test_noise_follows_the_position_in_the_split():
    """Image 5 prepared alone is the image 5 that validation sees."""
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    data = dataclasses.replace(trained.experiment.data, binarize="static")
    trained = trained._replace(experiment=dataclasses.replace(trained.experiment, data=data))
    images = random_images(9, (6, 5, 1))
    whole = evaluation.prepare(trained, images).target
    assert set(np.unique(whole)) == {0, 1}
    np.testing.assert_array_equal(
        evaluation.prepare(trained, images.take([5]), [5]).target, whole[5:6]
    )


def test_prepared_examples_are_those_of_validation():
    """Binarized and corrupted by the noise of the stream "evaluate" of the run's seed."""
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    data = Data("x.npy", binarize="dynamic", corruption="masking", corruption_level=0.5)
    experiment = dataclasses.replace(trained.experiment, data=data, seed=3)
    images, index = random_images(9, (6, 5, 1)), np.arange(9)
    found = evaluation.prepare(trained._replace(experiment=experiment), images)
    own = Noise(noise.stream(noise.root(3), "evaluate"), 0, index)
    expected = preprocess(
        data, Examples(images.images, images.every_label, index), own, trained.info
    )
    np.testing.assert_array_equal(found.target, expected.target)
    np.testing.assert_array_equal(found.input, expected.input)
    assert found.noise is None


def test_pixels_are_brought_back_and_clipped():
    trained = untrained(
        (1, 4, 1), hidden_dims=(7,), latent_dim=2, output="linear", likelihood="mse"
    )
    data = dataclasses.replace(trained.experiment.data, range=(-1, 3))
    trained = trained._replace(experiment=dataclasses.replace(trained.experiment, data=data))
    found = evaluation.pixels(trained, np.array([-2.0, -1.0, 0.0, 4.0]).reshape(1, 1, 4, 1))
    np.testing.assert_array_equal(found.ravel(), [0, 0, 0.25, 1])


def test_samples_follow_their_seed():
    trained = untrained((6, 5, 1), num_classes=3, hidden_dims=(7,), latent_dim=2)
    (z, images), (again, _), (other, _) = (
        evaluation.sample(trained, 7, seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(z, again)
    assert (z != other).all()
    np.testing.assert_array_equal(images, evaluation.decode(trained, z))
    assert images.min() > 0 and images.max() < 1  # no logits
    assert evaluation.labels_for(trained, 7, None).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert evaluation.labels_for(trained, 2, 1).tolist() == [1, 1]


def values(trained: Trained, n: int = 12, missing: bool = False) -> tuple[Trained, Split]:
    x = 100 * np.random.default_rng(0).standard_normal((n, *trained.info.shape)).astype(np.float32)
    if missing:
        x[::3] = np.where(np.arange(x[0].size).reshape(x[0].shape) % 2 == 0, np.nan, x[::3])
        trained = trained._replace(info=dataclasses.replace(trained.info, missing=True))
    return trained, Split(x, None)


STANDARDISED = {
    "columns": ("age, years", 'the "income"', "lead"),
    "center": (1.0, 2.0, 3.0),
    "scale": (10.0, 0.5, 1.0),
}


LINEAR = {"likelihood": "mse", "output": "linear", "hidden_dims": (7,), "latent_dim": 2}


@pytest.mark.parametrize(
    "shape", [(7,), *(pytest.param(s, marks=pytest.mark.slow) for s in ((10, 2), (5, 1)))]
)
def test_rows_and_signals_are_drawn_as_they_are(shape, tmp_path):
    """Their values are not clipped to pixels."""
    trained, rows = values(untrained(shape, **LINEAR))
    arrays, figure = pictures.reconstructions(trained, rows)
    np.testing.assert_array_equal(arrays["originals"], rows.images)
    decoded = trained.model.apply(trained.variables.model, evaluation.prepare(trained, rows))
    np.testing.assert_allclose(arrays["reconstructions"], decoded.decoded, rtol=1e-5, atol=1e-4)
    if len(shape) == 1:
        points = [axes.collections[0].get_offsets() for axes in figure.axes]
        pairs = np.stack([arrays["originals"].T, arrays["reconstructions"].T], axis=-1)
        np.testing.assert_array_equal(points, pairs)
        assert arrays["columns"].tolist() == list("1234567")
    else:
        lines = figure.axes[0].lines
        np.testing.assert_array_equal(lines[0].get_ydata(), arrays["originals"][0, :, 0])
        np.testing.assert_array_equal(lines[1].get_ydata(), arrays["reconstructions"][0, :, 0])
        assert "columns" not in arrays
    assert pictures.samples(trained, 3)[0]["images"].shape == (3, *shape)
    dataset = Dataset("x", rows, rows, rows, None, "x")
    files = written.write_all(trained, dataset, [], tmp_path)
    expected = {"latents", "reconstructions", "interpolations", "samples", "traversals"}
    assert {path.stem for path in files} == expected
    title = pictures.embedding(trained, rows, None)[1].axes[0].get_title(loc="left")
    assert title == f"Codes of 12 {'row' if len(shape) == 1 else 'signal'}s"


def test_examples_of_other_ranks_give_arrays_without_pictures(tmp_path):
    trained = untrained((2, 3, 2), **LINEAR)
    trained = trained._replace(info=dataclasses.replace(trained.info, maximum=None))
    trained, volumes = values(trained)
    arrays, figure = pictures.reconstructions(trained, volumes)
    assert figure is None and arrays["originals"].shape == (12, 2, 3, 2)
    dataset = Dataset("x", volumes, volumes, volumes, None, "x")
    files = written.write_all(trained, dataset, [], tmp_path)
    assert [path.stem for path in files] == ["latents"]


@pytest.mark.parametrize("shape", [(6,), (10, 1)])
def test_what_was_not_observed_is_not_a_number_in_the_originals(shape):
    """The model sees 0 there, which is no value that was measured."""
    trained, rows = values(untrained(shape, **LINEAR), missing=True)
    arrays, _ = pictures.reconstructions(trained, rows)
    np.testing.assert_array_equal(arrays["originals"], rows.images)
    assert np.isnan(arrays["originals"]).any() and arrays["originals"].dtype == np.float32
    assert np.isfinite(arrays["reconstructions"]).all() and np.isfinite(arrays["inputs"]).all()
    arrays, _ = pictures.interpolations(trained, rows, [(0, 3), (1, 2)])
    np.testing.assert_array_equal(arrays["originals"], rows.images[[[0, 3], [1, 2]]])


def test_rows_are_drawn_in_standard_deviations_of_the_training_rows_or_of_those_at_hand():
    trained, rows = values(untrained((3,), **LINEAR), n=20)
    arrays, figure = pictures.interpolations(trained, rows, [(0, 2), (1, 3)], steps=5)
    ends = arrays["originals"].reshape(-1, 3)
    expected = (arrays["images"][0] - ends.mean(0)) / ends.std(0)
    lines = [line.get_ydata() for line in figure.axes[0].lines[:5]]
    # float32 inside, sums in another order
    np.testing.assert_allclose(lines, expected, rtol=1e-4, atol=1e-5)
    assert "(originals)" in figure.get_supylabel()

    trained = trained._replace(info=dataclasses.replace(trained.info, **STANDARDISED))
    arrays, figure = pictures.samples(trained, 4)
    axes = figure.axes[0]
    expected = (arrays["images"] - [1, 2, 3]) / [10, 0.5, 1]
    np.testing.assert_allclose([line.get_ydata() for line in axes.lines], expected, rtol=1e-6)
    assert "(training rows)" in figure.get_supylabel()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(STANDARDISED["columns"])


def test_reconstructed_rows_are_a_table_too(tmp_path, monkeypatch):
    trained, rows = values(untrained((3,), **LINEAR), missing=True)
    trained = trained._replace(info=dataclasses.replace(trained.info, **STANDARDISED))
    opened = Opened(trained, 0, rows, None, None)
    monkeypatch.setattr("jaxvae.cli.draw.open_run", lambda *_: opened)
    monkeypatch.setattr("jaxvae.cli.draw.guards.refuse_population", lambda *_: None)
    result = draw.reconstruct(
        SavedRun(tmp_path), Images(), Written(tmp_path / "new" / "out.csv"), n=5
    )
    assert result["table"] == str(tmp_path / "new" / "out.csv")
    with open(result["table"], newline="") as file:
        header, *lines = csv.reader(file)
    age, income, lead = "age, years", 'the "income"', "lead"
    expected = [[name, f"{name}_reconstructed"] for name in (age, income, lead)]
    assert header == [name for pair in expected for name in pair]
    table = np.array([[x or "nan" for x in line] for line in lines], np.float32)
    with np.load(result["arrays"]) as arrays:
        np.testing.assert_array_equal(table[:, ::2], arrays["originals"])
        np.testing.assert_array_equal(table[:, 1::2], arrays["reconstructions"])
        assert arrays["columns"].tolist() == [age, income, lead]
    # Standardised and back, in float32.
    np.testing.assert_allclose(table[:, ::2], rows.images[:5], rtol=1e-6)
    assert lines[0][0] == ""  # not observed
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"out.csv", "out.npz", "out.png"}


def test_what_a_model_does_not_know_is_refused():
    """Labels, layers, a prior, images of another shape."""
    trained = untrained((6, 5, 1), num_classes=3, hidden_dims=(7,), latent_dim=2)
    images = random_images(9, (6, 5, 1))
    assert not evaluation.knows_labels(trained)
    assert "labels" not in pictures.samples(trained, 2)[0]
    with pytest.raises(UsageError, match="--label = 1: must be left out: this model does not"):
        pictures.samples(trained, 2, label=1)
    with pytest.raises(UsageError, match=r"--label = 3: must be in 0..2"):
        evaluation.sample(trained, 2, label=3)
    batch = evaluation.prepare(trained, images)
    with pytest.raises(UsageError, match="--layer = 'z2': must be left out"):
        evaluation.embed(trained, batch, "z2")
    with pytest.raises(UsageError, match="examples of 5x6x1: must be 6x5x1"):
        evaluation.prepare(trained, random_images(2, (5, 6, 1)))
    plain = untrained((6, 5, 1), family="AE", hidden_dims=(7,), latent_dim=2)
    assert evaluation.has_prior(trained) and not evaluation.has_prior(plain)
    with pytest.raises(UsageError, match="no prior"):
        evaluation.sample(plain, 2)
    assert evaluation.kl_per_latent(plain, batch) is None
