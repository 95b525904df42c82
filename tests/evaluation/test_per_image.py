"""Scores: rows whose means are the evaluation's, per image and nothing else; where they go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Train, noise
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.data.lazy import LazyImages
from jaxvae.evaluation import has_terms_across, make_batch_sums, make_batch_terms, make_evaluate
from jaxvae.evaluation.per_image import Scores, arrays, left_out, save, score, worst
from jaxvae.info import Info
from jaxvae.training import initial_state, train
from tests.commands import call
from tests.variants.small import INFO, dataset, small

SHAPE, N, KEY = (4, 4, 1), 10, noise.root(3)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, *SHAPE), np.uint8)
SPLIT = Split(IMAGES, np.arange(N, dtype=np.int32) % 3)


class Parts(Objective):
    """A term of its own per image, one across the batch, and one that hides what it is."""

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        size = jnp.abs(output.z).sum(axis=1)
        mixed = size / jnp.sum(size)
        return terms | {"size": size, "spread": jnp.std(size), "mixed": mixed}


def setup(experiment: Experiment, info: Info = Info(SHAPE)):  # noqa: B008
    module = experiment.model.build(info)
    state = jax.jit(lambda: initial_state(experiment, module, info))()
    return module, state.variables, info


def tiny(batch_size: int, objective: Objective = Objective(beta=2.0)) -> Experiment:  # noqa: B008
    return Experiment(
        "tiny",
        data=Data(batch_size=batch_size, binarize="dynamic"),
        model=Model(hidden_dims=(6,), latent_dim=2),
        objective=objective,
    )


def scored(experiment: Experiment, split: Split = SPLIT, info: Info = Info(SHAPE)):  # noqa: B008
    """Scores, and the means that an evaluation gives."""
    module, variables, info = setup(experiment, info)
    across = has_terms_across(experiment, module, info)
    size = experiment.data.batch_size
    terms = jax.jit(make_batch_terms(experiment, module, info))
    evaluate = jax.jit(make_evaluate(make_batch_sums(experiment, module, info), size, across))
    images = jnp.asarray(split.images[:])
    means = evaluate(variables, images, jnp.asarray(split.every_label), KEY)
    return score(terms, variables, split, KEY, size, across), means


def assert_means(scores: Scores, means) -> None:
    assert {*scores.rows, *scores.across} == means.keys()
    for name, rows in scores.rows.items():
        # Float32 sums of 10 numbers on one side.
        np.testing.assert_allclose(rows.mean(dtype=float), means[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 16])
def test_means_of_the_rows_whatever_the_batch(batch_size):
    """Batches that divide 10, that do not, and one that is larger than the split."""
    scores, means = scored(tiny(batch_size))
    assert scores.across == {} and {len(rows) for rows in scores.rows.values()} == {N}
    assert_means(scores, means)
    rows = scores.rows
    # The objective image by image: loss = recon + beta kl.
    np.testing.assert_allclose(rows["loss"], rows["recon"] + 2 * rows["kl"], rtol=1e-6)


def test_the_worst_are_named():
    scores = Scores({"loss": np.array([1.0, 7.0, -3.0, 7.0, 2.0, 0.0, 5.0])}, ())
    split = Split(IMAGES[:7], None)
    found = worst(scores, split)
    assert [image["index"] for image in found] == [1, 3, 6, 4, 0]
    assert found[0] == {"index": 1, "loss": 7.0}
    named = worst(scores, split._replace(names=[f"{i}.png" for i in range(7)]))
    assert named[2] == {"index": 6, "name": "6.png", "loss": 5.0}
    assert worst(Scores({"mse": np.ones(7)}, ("loss",)), split) == []


def test_an_images_row_is_its_own():
    """As it is with other images behind it, and in batches of another size."""
    whole, _ = scored(tiny(4))
    first, _ = scored(tiny(5), SPLIT.take(range(7)))
    for name, rows in first.rows.items():
        np.testing.assert_allclose(rows, whole.rows[name][:7], rtol=1e-5, err_msg=name)


def test_streamed_images_have_the_same_rows():
    lazy = LazyImages(lambda records: (IMAGES[i] for i in records), np.arange(N), SHAPE)
    resident, _ = scored(tiny(4))
    streamed, _ = scored(tiny(4), SPLIT._replace(images=lazy))
    for name, rows in resident.rows.items():
        np.testing.assert_array_equal(streamed.rows[name], rows)


def test_what_depends_on_other_images_is_left_out():
    """By its shape, (), or by what happens when the others are exchanged; full batches alone."""
    scores, means = scored(tiny(4, Parts()))
    assert sorted(scores.across) == ["mixed", "spread"]
    assert {*scores.rows} == {"loss", "recon", "kl", "mse", "size"}
    assert {len(rows) for rows in scores.rows.values()} == {8}
    assert_means(scores, means)


def test_what_has_no_row_is_said():
    assert left_out(Scores({"mse": np.ones(10)}, {}), 10) == []
    last, across = left_out(Scores({"mse": np.ones(8)}, {"tc": 1.0, "loss": 2.0}), 10)
    assert "the last 2 images" in last and "without tc, loss, which depend" in across


@pytest.mark.parametrize("name", ["factor_vae", "vq_vae"])
def test_variants(name):
    """The loss of a FactorVAE has a term across the batch; that of a VQ-VAE only logs one."""
    scores, means = scored(small(name), dataset().validation, INFO)
    expected = {"factor_vae": ["critic", "loss", "tc"], "vq_vae": ["perplexity"]}[name]
    assert sorted(scores.across) == expected
    assert_means(scores, means)


def test_files(tmp_path):
    scores = Scores({"loss": np.ones(2), "mse": np.zeros(2)}, {})
    found = arrays(scores, {"nll": np.arange(3.0)}, SPLIT)
    save(found, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as written:
        assert sorted(written) == ["index", "label", "loss", "mse", "nll"]
        for name in ("index", "label", "nll"):
            assert written[name].tolist() == [0, 1]
    before = (tmp_path / "a.npz").read_bytes()
    names = ["x.png", "cats/é.png", "z.png"]
    save(arrays(scores, {}, SPLIT._replace(names=names)), tmp_path / "named.npz")
    with np.load(tmp_path / "named.npz") as written:
        assert written["name"].tolist() == names[:2]
    (tmp_path / "named.npz").unlink()
    with pytest.raises(FileExistsError, match=r"a\.npz: exists; give another file"):
        save(found, tmp_path / "a.npz")
    with pytest.raises(UsageError, match=r"--per-image = '.*a\.csv': must end in \.npz"):
        save(found, tmp_path / "a.csv")
    for name in ("label", "name", "file"):
        with pytest.raises(UsageError, match=f"{name!r} cannot be written"):
            arrays(scores, {name: np.ones(2)}, SPLIT)
    with pytest.raises(UsageError, match="loss: a term and a group's row"):
        arrays(scores, {"loss": np.ones(2)}, SPLIT)
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


# From the command line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A VAE of digits."""
    folder = tmp_path_factory.mktemp("scores") / "run"
    experiment = Experiment(
        "digits",
        data=Data("digits", limit=320, batch_size=32),
        model=Model(hidden_dims=(64,), latent_dim=4),
        train=Train(epochs=4, figures_every=None),
    )
    train(experiment, folder, quiet=True)
    return folder


def test_noise_among_digits_has_the_largest_losses(run, tmp_path, capsys):
    from jaxvae import data

    digits, *_ = data.whole(Data("digits"))
    odd = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    images = np.concatenate([digits.images[400:410], odd, digits.images[410:420]])
    np.savez(tmp_path / "mixed.npz", images=images, labels=np.arange(23) % 5)
    out = tmp_path / "scores.npz"
    command = ["evaluate", run, "--source", tmp_path / "mixed.npz"]
    status, printed, err = call(capsys, *command, "--per-image", out)
    assert status == 0, err
    assert (printed["per_image"], printed["not_per_image"]) == (str(out), [])
    with np.load(out) as arrays:
        rows = dict(arrays)
    assert set(np.argsort(rows["loss"])[-3:]) == {10, 11, 12}
    assert rows["index"].tolist() == [*range(23)]
    assert rows["label"].tolist() == [i % 5 for i in range(23)]
    _, plain, _ = call(capsys, *command)
    for name in ("loss", "recon", "kl", "mse"):
        assert plain[name] == printed[name] == pytest.approx(rows[name].mean(dtype=float), rel=1e-5)

    status, _, err = call(capsys, *command, "--per-image", out)
    assert status == 2 and "exists; give another file" in err


def test_the_first_images_alone(run, tmp_path, capsys):
    """In the order of the split, so that they are the first rows of all; said in the output."""
    everything, some = tmp_path / "all.npz", tmp_path / "some.npz"
    _, whole, _ = call(capsys, "evaluate", run, "--per-image", everything)
    status, limited, err = call(capsys, "evaluate", run, "--limit", 5, "--per-image", some)
    assert status == 0, err
    assert (whole["limit"], limited["limit"], limited["images"]) == (None, 5, 5)
    with np.load(everything) as a, np.load(some) as b:
        np.testing.assert_allclose(b["loss"], a["loss"][:5], rtol=1e-5)
        assert limited["loss"] == pytest.approx(a["loss"][:5].mean(), rel=1e-5)
    _, more, _ = call(capsys, "evaluate", run, "--limit", 10**6)
    assert more["images"] == whole["images"] and more["loss"] == whole["loss"]
    status, _, err = call(capsys, "evaluate", run, "--limit", 0)
    assert status == 2 and "--limit = 0: must be None or at least 1" in err


def test_limits_are_of_every_set_in_stored_order(run, tmp_path, capsys):
    """Of another source: the mean over the first images is that of a file with these alone."""
    images = np.random.default_rng(1).integers(0, 256, (30, 28, 28), np.uint8)
    for n in (30, 7):
        np.savez(tmp_path / f"{n}.npz", images=images[:n])
    _, first, _ = call(capsys, "evaluate", run, "--source", tmp_path / "30.npz", "--limit", 7)
    _, alone, _ = call(capsys, "evaluate", run, "--source", tmp_path / "7.npz")
    assert first["images"] == alone["images"] == 7
    assert first["loss"] == pytest.approx(alone["loss"], rel=1e-6)
