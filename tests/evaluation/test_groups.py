"""Groups of measures as a user asks for them: from the command line and from Python."""

import json

import numpy as np
import pytest

from jaxvae import load
from jaxvae.checks import UsageError
from jaxvae.cli import closing
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
    """Of what draws nothing by an image's place: units, and the ELBO at the mean."""
    opened = load(run)
    x = opened.dataset.test.images
    one, other = (opened.evaluate("units", "elbo", x=y) for y in (x, x[::-1]))
    for name, value in one["units"].items():
        assert other["units"][name] == pytest.approx(value, rel=1e-5)
    for name in ("recon_at_mean", "mse_at_mean", "elbo_at_mean", "kl"):
        assert other["elbo"][name] == pytest.approx(one["elbo"][name], rel=1e-5)


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


def test_options_of_groups_without_one_are_refused(run, capsys):
    status, _, err = call(capsys, "evaluate", run, "--num-samples", 5)
    assert status == 2 and "--metrics" in err


def test_names_are_in_the_order_of_the_table():
    assert names_of(["units", "elbo", "units"]) == ["elbo", "units"]
    assert names_of(["all"]) == [*GROUPS] and names_of([]) == []
