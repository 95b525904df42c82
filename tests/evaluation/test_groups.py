"""Groups of measures as a user asks for them: from the command line and from Python."""

import json

import numpy as np
import pytest

from jaxvae import load
from jaxvae.checks import UsageError
from jaxvae.cli import closing
from jaxvae.evaluation import importance, score
from jaxvae.evaluation.groups import GROUPS, names_of
from jaxvae.training import train
from tests.commands import call
from tests.variants.small import dataset, small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A plain VAE of two latents, on images in a file."""
    folder = tmp_path_factory.mktemp("groups")
    split = dataset().train
    np.savez(folder / "images.npz", images=split.images, labels=split.labels)
    (folder / "vae.py").write_text(
        "from jaxvae import Data, Experiment, Model, Train\n"
        f"experiment = Experiment('vae', data=Data({str(folder / 'images.npz')!r}, batch_size=8),"
        " model=Model(hidden_dims=(8,), latent_dim=2), train=Train(epochs=2, figures_every=None))\n"
    )
    from jaxvae.runs import load_experiment

    train(load_experiment(folder / "vae.py"), folder / "run", quiet=True)
    return folder / "run"


OURS = ("elbo", "nll", "units", "decomposition")


def test_json_for_machines_and_a_table_for_people(run, capsys):
    status, found, _ = call(capsys, "evaluate", run, "--metrics", *OURS, "--num-samples", 5)
    assert status == 0 and {*found["metrics"]} == {*OURS}
    json.dumps(found, allow_nan=False)
    assert found["metrics"]["nll"]["num_samples"] == 5
    assert found["metrics"]["elbo"]["loss"] == pytest.approx(found["loss"], rel=1e-6)
    said = closing.text("evaluate", found)
    assert "nll  " in said and " ± " in said and "(no bits per dimension" in said
    assert "_se" not in said


def test_rows_per_image_have_the_means_of_the_table(run, capsys, tmp_path):
    out = tmp_path / "rows.npz"
    options = ("--metrics", "nll", "--num-samples", 4, "--per-image", out)
    _, found, _ = call(capsys, "evaluate", run, *options)
    with np.load(out) as rows:
        assert {"nll", "ess", "loss", "recon", "kl", "mse", "label", "index"} <= {*rows}
        for name in ("nll", "ess"):
            assert rows[name].mean() == pytest.approx(found["metrics"]["nll"][name], rel=1e-6)
        assert rows["loss"].mean() == pytest.approx(found["loss"], rel=1e-6)


def test_the_order_of_images_does_not_matter(run):
    """Of what draws nothing by an image's place: units, reconstruction, the ELBO at the mean."""
    opened = load(run)
    x = opened.dataset.test.images
    one, other = (opened.evaluate("units", "elbo", "reconstruction", x=y) for y in (x, x[::-1]))
    for group in ("units", "reconstruction"):
        assert other[group] == pytest.approx(one[group], rel=1e-5)
    for name in ("recon_at_mean", "mse_at_mean", "elbo_at_mean", "kl"):
        assert other["elbo"][name] == pytest.approx(one["elbo"][name], rel=1e-5)


def test_draws_differ_by_place_and_their_means_agree(run):
    """Noise follows an image's place, so that in another order it has other draws.

    By image two values are then two draws of one distribution, whose difference has the mean 0:
    over the images, to five standard errors.
    """
    opened = load(run)

    def rows(split):
        terms = score.terms(opened.trained, split, sampled=True).rows
        return terms | {"nll": importance.nll(opened.trained, split, 4)[0]}

    split = opened.dataset.test
    places = np.arange(len(split.images))
    one, moved = rows(split), rows(split.take(np.roll(places, 1)))
    other = {name: np.roll(row, -1) for name, row in moved.items()}
    np.testing.assert_allclose(other["kl"], one["kl"], rtol=1e-5)  # of which nothing is drawn
    for name in ("recon", "loss", "nll"):
        difference = one[name] - other[name]
        assert np.all(difference != 0)
        assert abs(difference.mean()) < 5 * difference.std(ddof=1) / len(places) ** 0.5


def test_python_has_the_same_numbers_and_names_what_is_wrong(run, capsys):
    opened = load(run)
    _, found, _ = call(capsys, "evaluate", run, "--metrics", "nll", "--num-samples", 3)
    assert opened.evaluate("nll", num_samples=3)["nll"] == pytest.approx(found["metrics"]["nll"])
    assert opened.evaluate(opened.dataset.test.images) == pytest.approx(opened.evaluate(), rel=1e-6)
    for wrong, message in (
        (lambda: opened.evaluate("nnl"), "metrics = 'nnl': must be some of elbo, nll"),
        (lambda: opened.evaluate("nll", samples=3), "setting = 'samples': must be one of num_s"),
        (lambda: opened.evaluate("nll", num_samples=0), "num_samples = 0: must be at least 1"),
        (lambda: opened.evaluate(np.zeros(3), x=np.zeros(3)), "x = '2 arrays'"),
        (lambda: opened.evaluate(["nll"]), "names one by one"),
        (lambda: opened.evaluate("nll", z="mean"), "z = 'mean': must be left out with groups"),
        (lambda: opened.evaluate(num_samples=5), "must be left out without a group"),
        (lambda: opened.evaluate("nll", num_samples=2.5), "num_samples = 2.5: must be a whole"),
        (lambda: opened.evaluate("anomaly", normal="3"), "normal = '3': must be labels"),
    ):
        with pytest.raises(UsageError, match=message):
            wrong()


def test_what_does_not_apply_is_refused_by_name_and_left_out_of_all(capsys, tmp_path):
    experiment, held = small("vq_vae"), dataset()
    from jaxvae.evaluation import Trained, groups
    from jaxvae.evaluation.subject import Subject
    from jaxvae.training.state import initial_state
    from tests.variants.small import INFO, SHAPE

    module = experiment.model.build(INFO)
    variables = initial_state(experiment, module, INFO).variables
    trained = Trained(experiment, module, variables, SHAPE, INFO)
    subject = Subject(trained, held.validation, lambda: held)
    with pytest.raises(UsageError, match="--metrics nll: this model gives no log q"):
        groups.examine(subject, ["nll"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "GROUPS", {name: GROUPS[name] for name in OURS})
        examined = groups.examine(subject, ["all"])
    assert "elbo" in examined.found and {"nll", "units"} <= {*examined.refused}


def test_python_is_told_what_has_to_be_known(run, capsys):
    load(run).evaluate("nll", num_samples=2)
    assert "nll: no bits per dimension" in capsys.readouterr().err


def test_a_value_that_is_no_number_is_refused(monkeypatch):
    from jaxvae.evaluation import groups
    from jaxvae.evaluation.subject import Findings

    bad = {"elbo": lambda subject: Findings({"a": 1.0, "b": np.nan})}
    monkeypatch.setattr(groups, "GROUPS", bad)
    with pytest.raises(UsageError, match="--metrics elbo: not finite: b"):
        groups.examine(None, ["elbo"])
    assert groups.examine(None, ["all"]).refused["elbo"] == "not finite: b"


def test_a_mean_has_its_standard_error(run, capsys, tmp_path):
    """Of each term over the images, to JSON and in words; of one image there is none."""
    out = tmp_path / "rows.npz"
    _, found, _ = call(capsys, "evaluate", run, "--metrics", "nll", "--per-image", out)
    with np.load(out) as rows:
        for name in ("loss", "recon", "kl", "mse"):
            error = rows[name].std(ddof=1) / len(rows[name]) ** 0.5
            assert found[f"{name}_se"] == pytest.approx(error, rel=1e-5)
    said = " ".join(closing.text("evaluate", found).split())
    loss, recon = (f"{found[n]:.2f} ± {found[f'{n}_se']:.2g}" for n in ("loss", "recon"))
    assert f"loss {loss} nats per image" in said and f"(recon {recon}, kl " in said
    assert "loss_se" not in said
    nll = found["metrics"]["nll"]
    assert {"grid_elbo_se", "grid_bound_se", "grid_log_p_se"} <= {*nll}
    assert load(run).evaluate() == {n: found[n] for n in load(run).evaluate()}
    _, one, _ = call(capsys, "evaluate", run, "--limit", 1)
    assert one["loss"] and not any(name.endswith("_se") for name in one)
    assert "±" not in closing.text("evaluate", one)


def test_python_has_the_rows_of_each_image(run, capsys, tmp_path):
    out, opened = tmp_path / "rows.npz", load(run)
    options = ("--metrics", "nll", "--num-samples", 4, "--per-image", out)
    call(capsys, "evaluate", run, *options)
    found = opened.per_image("nll", num_samples=4)
    with np.load(out) as rows:
        assert {*found} == {*rows}
        for name, row in found.items():
            np.testing.assert_allclose(row, rows[name], rtol=1e-6, err_msg=name)
    some = opened.per_image(opened.dataset.test.images[:3], z="mean")
    assert {*some} == {"index", "label", "loss", "recon", "kl", "mse"}
    assert some["mse"].mean() == pytest.approx(
        opened.evaluate(opened.dataset.test.images[:3], z="mean")["mse"]
    )
    with pytest.raises(UsageError, match="left out without a group"):
        opened.per_image(num_samples=4)


def test_measuring_options_are_named_as_they_are_given(run, capsys):
    for words, says in (
        (("--num-samples", 0), "--num-samples = 0: must be at least 1"),
        (("--generated", 0), "--generated = 0: must be at least 1"),
        (("--seed", -1), "--seed = -1: must be in 0..2**32-1"),
    ):
        status, _, err = call(capsys, "evaluate", run, "--metrics", "nll", *words)
        assert status == 2 and says in err


ONE_OR_EQUAL = {
    "units": "that are all the same: a latent is active where the codes of images differ",
    "anomaly": "all 4 images are normal: nothing to tell apart",
    "probes": "the images are of one class alone, 2",
    "clusters": "the images are of one class alone, 2",
    "samples": "4 samples and images: must be at least 6",
    "disentanglement": "the images have no factors",
    "dci": "the images have no factors",
}
"""Why groups do not apply to four images that are copies of one."""


@pytest.mark.slow
@pytest.mark.ci
def test_one_image_and_copies_of_one(run, tmp_path, capsys):
    """One clear line, or numbers: never what is false, nor what is no number."""
    split = dataset().test
    source = tmp_path / "copies.npz"
    np.savez(source, images=split.images[[5] * 4], labels=[2] * 4)
    words = ("evaluate", run, "--source", source, "--normal", 2, "--metrics", "all")
    words += ("--num-samples", 3)
    status, found, err = call(capsys, *words)
    assert status == 0, err
    json.dumps(found, allow_nan=False)
    assert {*found["metrics"]} == {*GROUPS} - {*ONE_OR_EQUAL}
    for name, says in ONE_OR_EQUAL.items():
        assert says in found["refused"][name]
    values = found["metrics"]
    assert values["geometry"]["straight_length"] == 0 and found["mse_se"] >= 0
    assert "length_ratio" not in values["geometry"]
    assert "length_ratio: without 2 pairs" in " ".join(found["notes"]["geometry"])

    status, found, err = call(capsys, *words, "--limit", 1)
    assert status == 0, err
    assert {*found["refused"]} == {*ONE_OR_EQUAL, "geometry"}
    assert found["refused"]["units"].startswith("one image: ")
    assert found["refused"]["anomaly"] == "the one image is normal: nothing to tell apart"
    for name, values in found["metrics"].items():
        if name != "decomposition":  # which is of the training examples
            assert not any(value.endswith("_se") for value in values), name
    for name in ("units", "geometry"):
        status, _, err = call(capsys, *words[:-3], name, "--limit", 1)
        assert status == 2 and f"--metrics {name}: one image" in err


def test_options_of_groups_without_one_are_refused(run, capsys):
    status, _, err = call(capsys, "evaluate", run, "--num-samples", 5)
    assert status == 2 and "--metrics" in err


def test_names_are_in_the_order_of_the_table():
    assert names_of(["units", "elbo", "units"]) == ["elbo", "units"]
    assert names_of(["all"]) == [*GROUPS] and names_of([]) == []
