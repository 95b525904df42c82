"""A run keeps the file that defines its classes, and executes the copy only when told to."""

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from jaxvae import Data, Experiment, Model, Objective, Population, Train, runs
from jaxvae.checks import UsageError
from jaxvae.runs import code, load_experiment, names
from jaxvae.training import Beginning, train
from jaxvae.training.extract import extract
from jaxvae.training.load import load
from tests.commands import call

CLASSES = """
from dataclasses import dataclass
import jax.numpy as jnp
from jaxvae import *

@dataclass(frozen=True)
class SparseELBO(Objective):
    sparsity: float = 0.5

    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        l1 = jnp.abs(output.z).sum(axis=1)
        return terms | {"l1": l1, "loss": terms["loss"] + self.sparsity * l1}

experiment = Experiment(
    "shapes",
    data=Data("digits", limit=48, batch_size=16, resize=(8, 8)),
    model=Model(hidden_dims=(8,), latent_dim=2),
    objective=SparseELBO(sparsity=2.0),
    train=Train(epochs=1, figures_every=None),
)
"""


def imported(name: str, text: str, monkeypatch, file: Path | None = None) -> Experiment:
    """The experiment of a module of this name, as an ordinary import leaves it."""
    module = types.ModuleType(name)
    if file is not None:
        module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)
    exec(text, vars(module))
    return module.experiment


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of shapes.py, which notes how often it was executed."""
    folder = tmp_path_factory.mktemp("code")
    noted = f"open({str(folder / 'executed')!r}, 'a').write('x')\n"
    (folder / "shapes.py").write_text(noted + CLASSES)
    train(load_experiment(folder / "shapes.py"), folder / "run", quiet=True)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it, in which shapes.py has not been executed."""
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.copy(trained / "shapes.py", tmp_path)
    (trained / "executed").write_text("")
    return tmp_path


def executed(trained: Path) -> int:
    return len((trained / "executed").read_text())


def test_the_copy_and_its_digest(trained):
    content = (trained / "shapes.py").read_bytes()
    assert (trained / "run" / "experiment.py").read_bytes() == content
    saved = runs.saved_config(trained / "run")["code"]
    assert saved == {"file": "shapes.py", "sha256": hashlib.sha256(content).hexdigest()}


def test_what_was_executed_is_kept_not_what_the_file_is_now(tmp_path):
    (tmp_path / "shapes.py").write_text(CLASSES)
    experiment = load_experiment(tmp_path / "shapes.py")
    (tmp_path / "shapes.py").write_text("edited")
    assert code.code_of(experiment).content == CLASSES.encode()
    (tmp_path / "shapes.py").write_text(CLASSES.replace("L1", "L2"))
    load_experiment(tmp_path / "shapes.py")  # now the first one's module is another's
    assert code.code_of(experiment) is None


def test_nothing_is_executed_without_leave(trained, folder):
    with pytest.raises(UsageError, match=r"give 'shapes\.py' .*; or --trust-code, to execute"):
        load(folder / "run")
    with pytest.raises(UsageError, match="--trust-code"):
        runs.read_config(folder / "run", like=Experiment("plain"))
    assert executed(trained) == 0
    load(folder / "run", trust_code=True)
    assert executed(trained) == 1


COMMANDS = [
    ("evaluate",),
    ("reconstruct", "--n", "2"),
    ("sample", "--n", "2"),
    ("embed",),
    ("interpolate", "--first", "0", "--second", "1"),
    ("traverse",),
    ("fit", "--components", "2"),
]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command(command, trained, folder, capsys, caplog):
    """Without leave nothing is executed, and one line says what to give; both are no choice."""
    name, *options = command
    status, _, err = call(capsys, name, folder / "run", *options)
    assert status == 2 and executed(trained) == 0 and len(err.splitlines()) == 1
    assert "give 'shapes.py' (--experiment FILE" in err and "or --trust-code" in err
    status, found, err = call(capsys, name, folder / "run", *options, "--trust-code")
    assert status == 0 and executed(trained) == 1, err
    if name == "evaluate":
        assert found["loss"] == pytest.approx(found["recon"] + found["kl"] + 2 * found["l1"])
    given = ["--experiment", folder / "shapes.py"]
    status, again, err = call(capsys, name, folder / "run", *options, *given)
    assert status == 0 and again == found and "SHA-256" not in caplog.text
    status, _, err = call(capsys, name, folder / "run", *options, *given, "--trust-code")
    assert status == 2 and "trust_code = True: must be False where an experiment file" in err


@pytest.mark.slow
def test_weights_go_out(folder, capsys):
    pytest.importorskip("torch")
    status, _, err = call(capsys, "export-torch", folder / "run", folder / "a.pt")
    assert status == 2 and "--trust-code" in err
    assert call(capsys, "export-torch", folder / "run", folder / "a.pt", "--trust-code")[0] == 0


def test_info_needs_no_code(trained, folder, capsys):
    status, found, _ = call(capsys, "info", folder / "run")
    assert status == 0 and found["config"]["code"]["file"] == "shapes.py" and not executed(trained)


@pytest.mark.slow
def test_resuming_from_the_copy(trained, folder, capsys):
    resume = ["train", "--resume", folder / "run", "--train.epochs", "2"]
    status, _, err = call(capsys, *resume)
    assert status == 2 and executed(trained) == 0 and "train FILE --resume RUN" in err
    before = runs.saved_config(folder / "run")["code"]
    status, summary, err = call(capsys, *resume, "--trust-code", "--name", "longer")
    assert status == 0 and summary["epochs"] == 2 and executed(trained) == 1, err
    # It is now a copy of a copy; nothing was set aside.
    assert runs.saved_config(folder / "run")["code"]["sha256"] == before["sha256"]
    assert len([*(folder / "run").glob("experiment*.py")]) == 1
    status, _, err = call(capsys, "train", folder / "shapes.py", "--trust-code")
    assert status == 2 and "left out without --resume and --init-from" in err


def test_an_edited_copy_is_refused(trained, folder):
    copy = folder / "run" / "experiment.py"
    copy.write_bytes(copy.read_bytes() + b"\n")
    with pytest.raises(UsageError, match=r"experiment\.py: edited since the run wrote it"):
        load(folder / "run", trust_code=True)
    assert executed(trained) == 0
    load(folder / "run", like=load_experiment(copy))  # who names it means it
    copy.unlink()
    with pytest.raises(UsageError, match=r"experiment\.py: no such file, though config\.json"):
        load(folder / "run", trust_code=True)


def test_of_an_experiment_of_the_package_the_name_is_told(folder):
    """Which commands take, in whatever folder; not for another file that is called alike."""
    path = folder / "run" / "config.json"
    config = json.loads(path.read_text())
    own = names.experiments()["posteriors/flow_vae"].read_bytes()
    for content, word in ((own, "flow_vae"), (own + b"#", r"flow_vae\.py")):
        digest = hashlib.sha256(content).hexdigest()
        path.write_text(json.dumps(config | {"code": {"file": "flow_vae.py", "sha256": digest}}))
        with pytest.raises(UsageError, match=f"give '{word}' "):
            load(folder / "run")


@pytest.mark.parametrize("damaged", ["x", {}, {"file": "a.py"}, {"file": "a.py", "sha256": 1}])
def test_a_damaged_entry(damaged, folder):
    config = runs.saved_config(folder / "run") | {"code": damaged}
    runs.write_json(folder / "run" / "config.json", config)
    with pytest.raises(UsageError, match=r"config\.json: code\.\w+: must be there, as str"):
        load(folder / "run", trust_code=True)


def test_another_file_is_said_and_used(folder, caplog):
    """Its terms are the ones that are computed."""
    other = folder / "other.py"
    other.write_text(CLASSES.replace("sum(axis=1)", "max(axis=1)"))
    found, _ = load(folder / "run", like=load_experiment(other))
    assert "other.py is not the code that the run was trained with" in caplog.text
    assert type(found.experiment.objective).__module__ == "jaxvae_experiment_other"
    assert found.experiment.objective.sparsity == 2
    caplog.clear()
    load(folder / "run", like=load_experiment(folder / "shapes.py"))
    assert caplog.text == ""


@pytest.mark.slow
def test_going_on_with_other_code_keeps_the_old(folder, caplog):
    """The copy is of what trains now; what trained until now stands beside it."""
    old = (folder / "run" / "experiment.py").read_bytes()
    (folder / "shapes.py").write_text(CLASSES)  # without the line that notes
    experiment = load_experiment(folder / "shapes.py")
    longer = replace(experiment, train=replace(experiment.train, epochs=2))
    train(longer, folder / "run", resume=True, quiet=True)
    assert "shapes.py is not the code that the run was trained with" in caplog.text
    assert (folder / "run" / "experiment.py").read_bytes() == CLASSES.encode()
    digest = hashlib.sha256(old).hexdigest()
    assert (folder / "run" / f"experiment-{digest[:8]}.py").read_bytes() == old
    assert load(folder / "run", trust_code=True)[0].experiment.train == longer.train


# The same class, however it was imported


@pytest.mark.parametrize("saved", ["shapes", "jaxvae_experiment_shapes", "__main__", "a.b"])
@pytest.mark.parametrize("given", ["shapes", "jaxvae_experiment_other", "__main__"])
def test_a_class_is_known_by_its_name_and_fields(saved, given, folder, monkeypatch):
    config = runs.saved_config(folder / "run")
    config["classes"]["objective"] = f"{saved}.SparseELBO"
    runs.write_json(folder / "run" / "config.json", config)
    like = imported(given, CLASSES, monkeypatch)
    found, *_ = runs.read_config(folder / "run", like=like)
    assert type(found.objective) is type(like.objective) and found.objective.sparsity == 2
    assert load(folder / "run", like=like)[0].experiment == like
    # A run that begins with this one takes the class from its own experiment.
    assert type(runs.template_for(folder / "run", like).objective) is type(like.objective)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLASSES.replace("sparsity", "weight"), "they differ in sparsity, weight;"),
        (CLASSES.replace("0.5", "0.5\n    other: int = 1"), "they differ in other;"),
        (CLASSES.replace("SparseELBO", "ELBO"), "not a 'mine.ELBO'; give 'shapes.py'"),
        (CLASSES.replace("SparseELBO", "Objective"), "not a 'mine.Objective'; give"),
        (CLASSES.replace("objective=SparseELBO(sparsity=2.0)", "seed=1"), "jaxvae.config.Objec"),
    ],
)
def test_other_classes_are_refused(text, words, folder, monkeypatch):
    like = imported("mine", text, monkeypatch)
    with pytest.raises(UsageError, match=rf"its objective is a '\w+\.SparseELBO', .*{words}"):
        runs.read_config(folder / "run", like=like)


def test_a_class_of_the_same_name_as_the_packages_is_not_it(folder, monkeypatch):
    config = runs.saved_config(folder / "run")
    del config["experiment"]["objective"]["sparsity"]
    own = CLASSES.replace("    sparsity: float = 0.5\n", "").replace("sparsity=2.0", "")
    like = imported("mine", own.replace("SparseELBO", "Objective"), monkeypatch)
    for saved, given in (("jaxvae.config.Objective", like), ("mine.Objective", None)):
        config["classes"]["objective"] = saved
        runs.write_json(folder / "run" / "config.json", config)
        with pytest.raises(UsageError, match=f"its objective is a '{saved}'"):
            runs.read_config(folder / "run", like=given)


# Scripts, notebooks, modules


@pytest.mark.slow
def test_a_script_keeps_itself(tmp_path, capsys, caplog):
    """Its classes are of __main__; the copy is opened as a file that is none."""
    script = tmp_path / "script.py"
    script.write_text(
        f"{CLASSES}\nfrom jaxvae.training import train\n"
        "if __name__ == '__main__':\n    train(experiment, 'run', quiet=True)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, check=True)
    run = tmp_path / "run"
    assert runs.saved_config(run)["classes"]["objective"] == "__main__.SparseELBO"
    assert (run / "experiment.py").read_bytes() == script.read_bytes()
    status, by_copy, err = call(capsys, "evaluate", run, "--trust-code")
    assert status == 0, err
    (tmp_path / "later.py").write_text(CLASSES)
    status, by_file, err = call(capsys, "evaluate", run, "--experiment", tmp_path / "later.py")
    assert status == 0 and by_file == by_copy, err
    assert "later.py is not the code" in caplog.text


def test_a_notebook_has_no_file(trained, tmp_path, monkeypatch, caplog):
    """Nothing is kept, which is said; a file that defines the class opens the run later."""
    experiment = imported("__main__", CLASSES, monkeypatch)
    assert code.code_of(experiment) is None
    with caplog.at_level(logging.INFO, "jaxvae"):
        train(experiment, tmp_path / "run", quiet=True)
    assert "no copy of the code of SparseELBO is kept" in caplog.text
    assert "code" not in runs.saved_config(tmp_path / "run")
    assert not (tmp_path / "run" / "experiment.py").exists()
    words = r"'__main__\.SparseELBO'; give the experiment file that defines it \(--experiment FILE"
    for trust_code in (False, True):
        with pytest.raises(UsageError, match=words) as error:
            load(tmp_path / "run", trust_code=trust_code)
        assert "--trust-code" not in str(error.value)
    like = load_experiment(trained / "shapes.py")
    assert load(tmp_path / "run", like=like)[0].experiment == like


def test_whose_file_is_kept(tmp_path, monkeypatch):
    """One file must define all of the classes, and an experiment, which is how it is opened."""
    assert code.code_of(Experiment("plain")) is None
    file = tmp_path / "shapes.py"
    file.write_text(CLASSES)
    experiment = imported("shapes", CLASSES, monkeypatch, file)
    assert code.code_of(experiment) == code.Code("shapes.py", CLASSES.encode())
    assert code.code_of(replace(experiment, objective=Objective())) is None
    text = CLASSES.replace("Objective)", "Model)").replace("objective=Sp", "model=Sp")
    text = re.sub(r"    model=Model.*\n", "", text)
    other = imported("other", text, monkeypatch, file)
    assert code.code_of(replace(experiment, model=other.model)) is None
    del sys.modules["shapes"].experiment  # a library of classes
    assert code.code_of(experiment) is None
    sys.modules["shapes"].experiment = experiment
    file.unlink()
    assert code.code_of(experiment) is None


# Populations, and runs that begin with another


@pytest.mark.slow
def test_members_keep_the_copy_of_their_population(folder, trained, capsys, caplog):
    content = (folder / "shapes.py").read_bytes()
    both, one, again = folder / "both", folder / "one", folder / "again"
    train(load_experiment(folder / "shapes.py"), both, quiet=True, population=Population(2))
    assert (both / "experiment.py").read_bytes() == content
    (trained / "executed").write_text("")
    status, _, err = call(capsys, "extract", both, "--member", 1, "--out", one)
    assert status == 2 and "--trust-code" in err and not executed(trained)
    status, _, err = call(capsys, "extract", both, "--member", 1, "--out", one, "--trust-code")
    assert status == 0 and (one / "experiment.py").read_bytes() == content, err
    assert load(one, trust_code=True)[0].experiment.seed == 1
    # Also where another file opened it: that did not train it.
    (folder / "other.py").write_text(CLASSES)
    extract(both, 0, again, like=load_experiment(folder / "other.py"))
    assert "other.py is not the code" in caplog.text
    assert (again / "experiment.py").read_bytes() == content
    assert runs.saved_config(again)["code"] == runs.saved_config(both)["code"]
    status, _, err = call(capsys, "train", "--resume", both, "--train.epochs", 2, "--trust-code")
    assert status == 0, err


@pytest.mark.slow
def test_beginning_with_a_run_of_other_classes(folder, trained, capsys):
    data = Data("digits", limit=48, batch_size=16, resize=(8, 8))
    plain = Experiment(
        "plain",
        data=data,
        model=Model(hidden_dims=(8,), latent_dim=2),
        train=Train(epochs=1, figures_every=None),
    )
    with pytest.raises(UsageError, match=r"SparseELBO': must be a class .* --trust-code be given"):
        train(plain, folder / "a", quiet=True, init_from=folder / "run")
    assert executed(trained) == 0
    found = train(plain, folder / "a", quiet=True, init_from=Beginning(folder / "run", True))
    assert executed(trained) == 1 and found["init_from"]["initialised"] == []
    assert "code" not in runs.saved_config(folder / "a")  # it has no classes of its own
    # Killed before its first checkpoint, it has to begin there again.
    shutil.rmtree(folder / "a" / "checkpoints")
    (folder / "a" / "metrics.csv").unlink()
    status, _, err = call(capsys, "train", "--resume", folder / "a")
    assert status == 2 and "--trust-code be given" in err
    status, again, err = call(capsys, "train", "--resume", folder / "a", "--trust-code")
    assert status == 0 and again["init_from"] == found["init_from"], err
    assert again["best"]["val_loss"] == found["best"]["val_loss"]
