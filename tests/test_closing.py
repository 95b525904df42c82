"""How commands end: lines for a person at a terminal, JSON elsewhere and with --json."""

import json
import sys

import numpy as np
import pytest

from jaxvae import cli
from jaxvae.cli import closing
from tests.commands import call
from tests.terminals import ROOT, at_terminal, lines_of

DIGITS = ROOT / "experiments" / "digits_vae.py"
SMALL = ["--data.limit", "160", "--train.epochs", "2"]
PLAIN = ["--train.figures-every", "None"]


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "vae"
    cli.main(["train", str(DIGITS), "--out", str(run), *SMALL, *PLAIN])
    return run


@pytest.fixture
def person(monkeypatch, capsys):
    """What a command says to a person, as the texts under each label."""

    def said(*args: object) -> dict[str, str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", "1000")
        capsys.readouterr()
        cli.main([str(arg) for arg in args])
        out = capsys.readouterr().out
        found: dict[str, str] = {}
        for line in out.splitlines():
            label, _, says = line.partition("  ")
            name = label or [*found][-1]
            found[name] = f"{found.get(name, '')} {says.strip()}".strip()
        return found

    return said


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def test_training_says_what_was_best_and_what_may_come_next(vae):
    summary = summary_of(vae)
    facts = dict(closing.facts_of("train", summary)[::-1])
    best = summary["best"]
    numbers = [f"{best[f'val_{term}']:.2f}" for term in ("loss", "recon", "kl")]
    loss, recon, kl = numbers
    expected = f"epoch {best['epoch']:.0f}, {loss} nats per image (recon {recon}, kl {kl})"
    assert facts["best"] == expected
    # After two epochs it still falls.
    assert facts["next"] == f"jaxvae train --resume {vae} --train.epochs 4"
    assert facts["more"].startswith("the validation loss still fell by ")
    ended = summary | {"still_falling": None}
    facts = dict(closing.facts_of("train", ended)[::-1])
    assert facts["next"] == f"jaxvae sample {vae}" and "more" not in facts


@pytest.mark.parametrize(
    "schedule, code, expected",
    [
        ("cosine", None, "--resume RUN --train.epochs 4 --may-change train.epochs"),
        ("constant", {}, "--resume RUN --train.epochs 4 --trust-code"),
        ("constant", None, "FILE --resume RUN --train.epochs 4"),
    ],
)
def test_how_a_run_goes_on(vae, tmp_path, schedule, code, expected):
    """Where the schedule ends with the last epoch it has to be told so; own classes are needed."""
    summary, config = summary_of(vae), json.loads((vae / "config.json").read_text())
    config["experiment"]["optimizer"]["schedule"] = schedule
    if schedule == "constant":
        config["classes"]["objective"] = "mine.Own"
    config |= {} if code is None else {"code": code}
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = dict(closing.facts_of("train", summary | {"folder": str(tmp_path)})[::-1])
    assert facts["next"] == f"jaxvae train {expected}".replace("RUN", str(tmp_path))


@pytest.mark.parametrize(
    "member, code, expected",
    [
        (None, None, "jaxvae report 'RUN'"),
        (None, {}, "jaxvae report 'RUN' --trust-code"),
        (1, {}, "jaxvae report 'RUN' --member 1 --trust-code"),
    ],
)
def test_what_was_kept_is_on_the_page_of_the_command(vae, tmp_path, member, code, expected):
    run = tmp_path / "my run"
    run.mkdir()
    config = json.loads((vae / "config.json").read_text())
    if code is not None:
        config |= {"classes": config["classes"] | {"objective": "mine.Own"}, "code": code}
    (run / "config.json").write_text(json.dumps(config))
    result = {
        **({"run": str(run)} if member is None else {"run": str(run), "member": member}),
        **{"checkpoint": "best", "checkpoint_step": 3, "source": "digits", "split": "test"},
        **{"images": 9, "z": "mean", "loss": 3.0, "recon": 2.0, "kl": 1.0, "mse": 0.1},
        **{"beta_eff": 1.0, "kept": f"{run}/evaluation.json"},
    }
    facts = closing.facts_of("evaluate", result)
    at = [label for label, _ in facts].index("kept")
    assert facts[at : at + 2] == [
        ("kept", f"{run}/evaluation.json: the page shows it,"),
        ("", expected.replace("RUN", str(run))),
    ]
    # A population has no reconstructions of its own.
    assert ("next" in dict(facts)) == (member is None)


@pytest.mark.slow
def test_an_autoencoder_is_told_by_its_error_and_has_no_samples(tmp_path):
    words = ["--data.source", "digits", "--data.batch-size", "32", *SMALL, *PLAIN]
    cli.main(["train", str(DIGITS.with_name("mnist_ae.py")), "--out", str(tmp_path / "ae"), *words])
    facts = closing.facts_of("train", summary_of(tmp_path / "ae"))
    best = dict(facts)["best"]
    assert "kl" not in best and "MSE 0." in best
    commands = [says.split()[1] for _, says in facts if says.startswith("jaxvae ")]
    assert "reconstruct" in commands and "sample" not in commands


@pytest.mark.slow
@pytest.mark.ci
def test_a_population_says_which_member_was_best(tmp_path, person):
    sweep = ["--population.seeds", "2", "--population.sweep", "objective.beta=1,4"]
    cli.main(["train", str(DIGITS), "--out", str(tmp_path / "pop"), *sweep, *SMALL, *PLAIN])
    summary = summary_of(tmp_path / "pop")
    facts = closing.facts_of("train", summary)
    said = dict(facts[::-1])
    losses = [member["best"]["val_loss"] for member in summary["members"]]
    best = int(np.argmin(losses))
    member = summary["members"][best]
    differs = f"seed {member['seed']}, beta {member['objective.beta']:g}"
    assert said["best"].startswith(f"member {best} ({differs}), epoch ")
    assert f"mean {np.mean(losses):.2f}" in said["all"]
    settings = [text for label, text in facts if label == ""][1:]
    for line, setting in zip(settings, summary["settings"], strict=True):
        spread = setting["best"]["val_loss"]
        expected = f"loss {spread['mean']:.2f} ± {spread['std']:.2f}"
        assert line.startswith(f"beta {setting['objective.beta']:g}: {expected}")
    next_words = said["next"].split()
    assert next_words[:2] == ["jaxvae", "extract"]
    out = tmp_path / "taken"
    taken = person(*next_words[1:-1], out)
    assert f"{losses[best]:.2f} nats" in taken["best"] and str(out) in taken["run"]


@pytest.mark.slow
@pytest.mark.ci
def test_each_command_on_a_run(vae, person):
    run = vae
    expected = {
        "evaluate": ["loss", "images", "model", "kept", "next"],
        "reconstruct": ["picture", "arrays", "next"],
        "sample": ["picture", "arrays", "next"],
        "embed": ["picture", "arrays", "next"],
        "interpolate": ["picture", "arrays", "next"],
        "traverse": ["picture", "arrays", "next"],
        "figures": ["figures"],
        "fit": ["fitted", "fit", "file", "next"],
        "info": ["run", "data", "model", "best", "last", "saved", "more"],
    }
    said = {command: person(command, run) for command in expected}
    assert {command: list(facts) for command, facts in said.items()} == expected
    for command in ("sample", "embed"):
        words = said[command]["next"]
        assert eval(words.removeprefix("in Python: "), {"numpy": np}).ndim in (2, 4)
    summary = summary_of(run)
    assert f"{summary['best']['val_loss']:.2f}" in said["info"]["best"]
    assert "160 of digits, split test" in said["evaluate"]["images"]
    scores = run / "scores.npz"
    named = person("evaluate", run, "--per-image", scores)["worst"]
    with np.load(scores) as rows:
        first = int(np.argmax(rows["loss"]))
        assert named.startswith(f"image {first}: loss {rows['loss'][first]:.2f} image ")
    assert said["figures"]["figures"].startswith(f"7 in {run / 'figures'}: ")
    assert f"; 7 figures in {run / 'figures'}" in dict(closing.facts_of("train", summary))["run"]
    said = person(*said["fit"]["next"].split()[1:])
    assert said["picture"].endswith("sample.png")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_json_is_asked_for_anywhere(place, vae, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    words = ["info", str(vae)]
    words.insert(place, "--json")
    status, result, _ = call(capsys, *words)
    assert status == 0 and result["config"]["experiment"]["name"] == "digits_vae"


def test_elsewhere_there_is_json(vae, capsys):
    status, result, _ = call(capsys, "info", vae)
    assert status == 0 and result["last_epoch"]["epoch"] == 2
    status, result, _ = call(capsys, "completion", "bash", "--json")
    assert status == 0 and result["shell"] == "bash" and "complete " in result["script"]


def test_lines_of_another_command_and_long_ones(monkeypatch):
    """A command that has no lines of its own shows its result; a path is never broken."""
    monkeypatch.setenv("COLUMNS", "60")
    path = "/a" * 40
    lines = closing.text("other", {"written": path, "left_out": [], "of": {"a": 1}}).splitlines()
    assert lines == [f"written   {path}", "left_out  none", "of        a 1"]


@pytest.mark.slow
@pytest.mark.ci
def test_a_training_at_a_terminal(tmp_path):
    """All of it: rows under a header, a bar of the whole run, and what came out."""
    run = tmp_path / "run"
    status, written = at_terminal("train", DIGITS, "--out", run, *SMALL)
    lines = lines_of(written)
    assert status == 0
    assert max(len(line.rstrip()) for line in lines if str(tmp_path) not in line) <= 80
    header = next(i for i, line in enumerate(lines) if line.startswith("epoch  train loss"))
    rows = [line for line in lines[header:] if line.startswith("  1/2 ") or line[:6] == "  2/2 "]
    assert len(rows) == 2 and {len(row) for row in rows} == {len(lines[header])}
    assert any("epoch 2/2 step 5/5 ━" in line for line in lines)
    labels = [line.split("  ")[0] for line in lines if line.startswith(("best", "run", "next"))]
    assert labels == ["best", "run", "next"]
    assert any("compiling" in line for line in lines[:header])
    assert lines[-1] == f"         jaxvae evaluate {run}"  # whole, though it is long: to be copied
    status, written = at_terminal("train", "--resume", run, "--train.epochs", "3", "--json")
    assert status == 0 and any("epoch 3/3 step" in line for line in lines_of(written))
    assert '"status": "finished"' in written and "\nnext" not in written


def test_a_study_with_many_values():
    """Names with their group, as both have a loss; what is the same of all is left out."""

    def spread(mean):
        return {"mean": mean, "std": 0.5, "n": 2}

    names = ["loss", "elbo.loss", "elbo.loss_se", "nll.num_samples", *(f"a.v{i}" for i in range(9))]
    settings = [
        {"objective.beta": beta, "measured": {n: spread(beta + i) for i, n in enumerate(names)}}
        for beta in (1.0, 4.0)
    ]
    for setting in settings:
        setting["measured"]["nll.num_samples"] = spread(500.0)
    found = dict(
        closing.studied(
            {"folder": "out", "images": 5, "settings": settings, "members": [{"measured": {}}]}
        )
    )
    listed = found["beta 1"].split(", ")
    assert listed[:3] == ["loss 1.00 ± 0.5", "elbo.loss 2.00 ± 0.5", "a.v0 5.00 ± 0.5"]
    assert len(listed) == 9 and listed[-1] == "and 3 more in study.csv"
