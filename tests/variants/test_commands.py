"""Every command on every variant: it works, or is refused in one line that says why."""

import numpy as np
import pytest

from tests.commands import call
from tests.variants.small import FILES, ONE_PER_FAMILY, SLOW, SMALL

SHRINK = ["--train.epochs", "2", "--data.limit", "96", "--data.batch-size", "32"]
SHRINK += ["--data.source", "digits", "--data.resize", "8", "8", "--train.figures-every", "0"]


def options(name: str) -> list[str]:
    """A small run of the variant."""
    found = [*SHRINK, "--model.hidden-dims", "12", "--model.latent-dim", "3"]
    for part, fields in SMALL.get(name, {}).items():
        for field, value in fields.items():
            values = value if isinstance(value, tuple) else (value,)
            found += [f"--{part}.{field.replace('_', '-')}", *map(str, values)]
    return found


def test_ci_has_one_of_each_family():
    families = [FILES[name].parent.name for name in ONE_PER_FAMILY]
    assert families == ["kl", "samples", "aggregated", "discrete"]


@pytest.mark.parametrize("name", SLOW)
def test_every_command(name, tmp_path, capsys):
    file, run, again = FILES[name], tmp_path / "run", tmp_path / "again"
    status, summary, err = call(capsys, "train", file, *options(name), "--out", run)
    assert status == 0, err
    assert {"latents.png", "reconstructions.png", "samples.png", "interpolations.png"} <= {
        path.name for path in (run / "figures").iterdir()
    }

    stopped = ["--train.max-steps", "4", "--train.figures-every", "None"]  # drawn once is enough
    status, _, err = call(capsys, "train", file, *options(name), "--out", again, *stopped)
    assert status == 0, err
    resume = ["train", file, "--resume", again, "--train.max-steps", "None"]
    status, resumed, err = call(capsys, *resume)
    assert status == 0, err
    for which in ("best", "last"):  # to the bit
        same = {n: v for n, v in summary[which].items() if "second" not in n}
        assert same == {n: v for n, v in resumed[which].items() if "second" not in n}

    def outputs(command: str, *more: object) -> dict:
        status, found, err = call(capsys, command, run, "--experiment", file, *more)
        assert status == 0, err
        return dict(np.load(found["arrays"]))

    status, found, err = call(
        capsys, "evaluate", run, "--experiment", file, "--split", "validation"
    )
    assert status == 0, err
    assert found["loss"] == pytest.approx(summary["best"]["val_loss"], rel=1e-5)
    for command in ("reconstruct", "embed", "interpolate"):
        assert all(np.isfinite(a).all() for a in outputs(command).values() if a.dtype.kind == "f")
    drawn = outputs("sample", "--n", 6)
    assert drawn["images"].shape == (6, 8, 8, 1)
    assert ("labels" in drawn) == (name == "conditional_vae")
    status, _, err = call(capsys, "sample", run, "--experiment", file, "--label", 2)
    if name == "conditional_vae":
        assert status == 0
        assert set(outputs("sample", "--label", 2)["labels"]) == {2}
    else:
        assert status == 2 and "does not look at labels" in err and len(err.splitlines()) == 1

    status, _, err = call(capsys, "traverse", run, "--experiment", file)
    if "vq_vae" in name or name == "fsq_vae":
        assert status == 2 and "needs a vector code" in err and len(err.splitlines()) == 1
    else:
        assert status == 0, err
    status, _, err = call(capsys, "embed", run, "--experiment", file, "--layer", "z2")
    if name == "two_layer_vae":
        assert status == 0
        assert outputs("embed", "--layer", "z2")["codes"].shape[1] == 2
    else:
        assert status == 2 and "one layer" in err

    different = len(np.unique(outputs("embed")["codes"], axis=0))  # rounded scalars may collapse
    fitting = ["--experiment", file, "--components", min(2, different)]
    status, fitted, err = call(capsys, "fit", run, *fitting)
    assert status == 0, err
    assert outputs("sample", "--prior", "fitted", "--n", 3)["images"].shape == (3, 8, 8, 1)
    assert np.isfinite(fitted["mean_log_prob"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sweep"),
    [
        pytest.param("factor_vae", "objective.gamma=1,10", marks=pytest.mark.ci),
        ("factor_vae", "objective.critic.learning-rate=1e-4,1e-2"),
        ("vq_vae", "objective.commitment=0.1,1"),
        ("vamp_prior_vae", "optimizer.learning-rate=1e-3,1e-2"),
    ],
)
def test_members_of_a_population_are_the_runs_alone(name, sweep, tmp_path, capsys):
    file = FILES[name]
    together = ["--population.sweep", sweep, "--train.figures-every", "None"]
    common = [*options(name), *together]
    status, found, err = call(capsys, "train", file, *common, "--out", tmp_path / "together")
    assert status == 0, err
    field, _, values = sweep.partition("=")
    assert len({member["last"]["train_loss"] for member in found["members"]}) == 2
    for member, value in zip(found["members"], values.split(","), strict=True):
        alone = [*options(name), f"--{field}", value, "--train.figures-every", "None"]
        out = tmp_path / f"alone-{member['member']}"
        status, single, err = call(capsys, "train", file, *alone, "--out", out)
        assert status == 0, err
        for term in ("train_loss", "val_loss", "val_recon"):
            assert member["last"][term] == pytest.approx(single["last"][term], rel=2e-4)
