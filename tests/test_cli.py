"""The command line: exit statuses, messages, JSON on stdout, files written."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvae import cli, runs
from tests.commands import call

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
DIGITS = ROOT / "experiments" / "digits_vae.py"
SMALL = ["--data.source", "digits", "--data.limit", "160", "--data.batch-size", "32"]
SMALL += ["--train.figures-every", "None"]


def squeeze(text: str) -> str:
    """Messages without the line breaks and boxes of a terminal."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("command", [["--help"], ["train", str(DIGITS), "--help"]])
def test_help_is_quick_and_without_jax(command):
    code = (
        "import sys; from jaxvae import cli\ntry: cli.main()\nfinally: print('jax' in sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The processor's time, 0.3 s, and not the clock's: others may be busy here.
    assert after.ru_utime - before.ru_utime < 2
    assert done.returncode == 0
    assert "train" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_has_a_help_text(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help-all"])
    assert exit.value.code == 0
    # Names begin after two spaces, what they do after eight, and long names go on after ten.
    entries = re.split(r"^  (?=\S)", capsys.readouterr().out, flags=re.MULTILINE)
    for entry in entries[1:]:
        name, *says = re.split(r"\n {8}(?=\S)", entry)
        assert len(" ".join(says).split()) >= 3, name


def test_bad_usage_names_field_value_and_what_is_allowed(capsys, tmp_path):
    cases = [
        (
            ["--model.latent-dims", "3"],
            ["--model.latent-dims: no option", "did you mean --model.latent-dim?"],
        ),
        (["--model.latent-dim", "0"], ["model.latent_dim = 0: must be at least 1"]),
        (["--model.latent-dim", "two"], ["--model.latent-dim = 'two': must be a whole number"]),
        (["--model.activation", "swish"], ["--model.activation = 'swish'", "gelu, silu, tanh"]),
        (["--objective.beta", "-1"], ["objective.beta = -1.0: must be at least 0"]),
        (["--objective.likelihood", "mse"], ["model.output = 'logits'", "'mse'"]),
        (["--optimizer.name", "adamm"], ["optimizer.name = 'adamm'", "adam, adamw, sgd"]),
        (["--optimizer.options", "speed", "3"], ["'speed'", "one of b1, b2"]),
        (["--data.source", "./nothing"], ["data.source = './nothing'"]),
        (["--data.batch-size", "9999"], ["data.batch_size = 9999", "1438"]),
    ]
    for options, expected in cases:
        out = tmp_path / "run"
        status, result, err = call(capsys, "train", DIGITS, "--out", out, *options)
        missing_data = options[0] == "--data.source"
        assert (status, result) == (1 if missing_data else 2, {}), options
        for words in expected:
            assert words in squeeze(err), (options, err)
        assert not out.exists()


def test_bad_experiment_files(capsys, tmp_path):
    broken, empty = tmp_path / "broken.py", tmp_path / "empty.py"
    broken.write_text("import jaxvae\nexperiment = jaxvae.Experiment(name='x', data=3/0)\n")
    empty.write_text("x = 1\n")
    for file, words in [
        (tmp_path / "none.py", "no such file"),
        (broken, "ZeroDivisionError"),
        (empty, "must define `experiment = Experiment(...)`"),
    ]:
        status, _, err = call(capsys, "train", file)
        assert status == 2 and words in err and len(err.splitlines()) == 1


@pytest.mark.slow  # make parity runs them too
@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_experiment_runs_for_an_epoch(file, capsys, tmp_path):
    """On a few digits; without the figures, which `trained` below draws for each family."""
    status, summary, err = call(
        capsys, "train", file, "--out", tmp_path / "run", "--train.epochs", 1, *SMALL
    )
    assert status == 0, err
    assert summary["epochs"] == 1
    assert np.isfinite(summary["last"]["val_loss"])
    # What is read is said before, and where else it may go, to the log; behind, what is not active.
    lines = err.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("epoch  train loss"))
    assert file.stem in lines[at - 1] and lines[at + 1].startswith("  1/1  ")


FORMATS = ("png", "pdf")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of each family, two epochs on a few digits, with its figures."""
    folder = tmp_path_factory.mktemp("runs")
    options = [*SMALL[:-2], "--train.epochs", "2"]
    for name in ("digits_vae", "mnist_ae", "mnist_cae"):
        file = ROOT / "experiments" / f"{name}.py"
        cli.main(["train", str(file), "--out", str(folder / name), *options])
    return folder


@pytest.mark.parametrize("name", ["digits_vae", "mnist_ae", "mnist_cae"])
def test_commands_on_a_run(name, trained, capsys):
    run = trained / name
    capsys.readouterr()
    _, info, _ = call(capsys, "info", run)
    assert info["config"]["experiment"]["name"] == name
    assert info["last_epoch"]["epoch"] == 2
    assert info["best_checkpoint"] in info["checkpoints"]

    status, result, _ = call(capsys, "evaluate", run, "--split", "validation")
    assert status == 0
    best = info["summary"]["best"]
    for term in ("loss", "recon", "kl", "mse"):  # another program, the same numbers
        assert result[term] == pytest.approx(best[f"val_{term}"], rel=1e-5)
    assert result["loss"] == pytest.approx(
        result["recon"] + result["beta_eff"] * result["kl"], rel=1e-5
    )

    commands = {"reconstruct": "originals", "embed": "codes", "interpolate": "images"}
    if name != "mnist_cae":
        commands["traverse"] = "images"
    if name == "digits_vae":
        commands["sample"] = "images"
    for command, array in commands.items():
        status, result, err = call(capsys, command, run)
        assert status == 0, err
        with np.load(result["arrays"], allow_pickle=False) as arrays:
            assert list(arrays[array].shape) == result["shapes"][array]
            if array == "images":
                assert arrays[array].min() >= 0 and arrays[array].max() <= 1
        with Image.open(result["picture"]) as picture:
            assert min(picture.size) > 100

    status, result, _ = call(capsys, "figures", run)
    expected = {"curves", "interpolations", "latents", "reconstructions"}
    expected |= {"traversals"} if name != "mnist_cae" else set()
    expected |= {"samples", "manifold"} if name == "digits_vae" else set()
    assert {Path(path).stem for path in result["figures"]} == expected


@pytest.mark.slow
@pytest.mark.ci
def test_pictures_are_of_the_format_that_is_asked_for(trained, capsys, tmp_path):
    run = trained / "digits_vae"
    status, result, err = call(
        capsys, "traverse", run, "--out", tmp_path / "a.svg", "--steps", 3, "--dims", 1
    )
    assert status == 0, err
    assert (result["picture"], result["arrays"]) == (f"{tmp_path}/a.svg", f"{tmp_path}/a.npz")
    said = "digits_vae · epoch 2 · digits, test split"
    assert f">{said}</text>" in (tmp_path / "a.svg").read_text()
    call(capsys, "traverse", run, "--out", tmp_path / "b.svg", "--no-footer", "--steps", 3)
    assert "epoch" not in (tmp_path / "b.svg").read_text()
    for command, more in {"traverse": [], "interpolate": ["--first", 0, "--second", 5]}.items():
        out = tmp_path / f"{command}.gif"
        status, result, err = call(capsys, command, run, "--out", out, "--steps", 4, *more)
        assert status == 0 and result["picture"] == str(out), err
        with Image.open(out) as film:
            assert film.n_frames == 6  # there are four, two of them on the way back
            shown = []
            for i in range(6):
                film.seek(i)
                shown.append(np.asarray(film.convert("L")))
        assert (shown[1] == shown[5]).all() and (shown[2] == shown[4]).all()
        assert (shown[0] != shown[3]).any()
    status, _, err = call(capsys, "sample", run, "--out", tmp_path / "c.gif")
    assert status == 2 and "must be of interpolate or traverse; .png, .pdf or .svg of sample" in err
    assert not [*tmp_path.glob("c*")]
    status, result, _ = call(capsys, "figures", run, "--formats", "pdf")
    stems = {Path(path).stem for path in result["figures"]}
    assert {Path(p).name for p in result["figures"]} == {f"{s}.{k}" for s in stems for k in FORMATS}
    status, _, err = call(capsys, "figures", run, "--films", "gif")
    assert status == 2 and "no figure was drawn in two epochs" in err


def test_endings_are_of_either_case(trained, capsys, tmp_path):
    run, few = trained / "digits_vae", ["--steps", 2, "--dims", 1]
    for name, kind in (("walk.GIF", b"GIF8"), ("walk.PNG", b"\x89PNG"), ("walk.Pdf", b"%PDF")):
        status, result, err = call(capsys, "traverse", run, "--out", tmp_path / name, *few)
        assert status == 0 and result["picture"] == str(tmp_path / name), err
        assert (tmp_path / name).read_bytes().startswith(kind)
    assert {path.suffix for path in tmp_path.iterdir()} == {".GIF", ".PNG", ".Pdf", ".npz"}


@pytest.mark.parametrize("command", ["reconstruct", "sample", "embed"])
def test_what_does_not_move_is_refused_before_a_run_is_read(capsys, tmp_path, command):
    status, _, err = call(capsys, command, tmp_path / "no_run", "--out", tmp_path / "x.GIF")
    assert status == 2 and "must be of interpolate or traverse; .png" in " ".join(err.split())


@pytest.mark.parametrize("command", ["reconstruct", "sample", "embed", "interpolate", "traverse"])
def test_of_a_population_a_member_is_to_be_taken_out(trained, capsys, tmp_path, command):
    """These commands have no --member."""
    config = runs.saved_config(trained / "digits_vae")
    runs.write_json(tmp_path / "config.json", config | {"population": {"seeds": 2, "sweep": []}})
    status, _, err = call(capsys, command, tmp_path)
    assert status == 2 and f"jaxvae extract {tmp_path} --member 0 --out" in " ".join(err.split())


def test_an_experiment_file_is_executed_once(trained, capsys, tmp_path):
    file, times = tmp_path / "own.py", tmp_path / "times"
    file.write_text(f"{DIGITS.read_text()}\nopen({str(times)!r}, 'a').write('x')\n")
    status, _, err = call(capsys, "evaluate", trained / "digits_vae", "--experiment", file)
    assert status == 0 and times.read_text() == "x", err


def test_what_a_model_cannot_do_is_said(trained, capsys):
    status, _, err = call(capsys, "sample", trained / "mnist_ae")
    assert status == 2 and "this model has no prior" in err
    status, _, err = call(capsys, "traverse", trained / "mnist_cae")
    assert status == 2 and "vector code" in err
    status, _, err = call(capsys, "traverse", trained / "digits_vae", "--index", "900")
    assert status == 2 and "--index = 900: must be in 0..159" in err
    status, _, err = call(capsys, "evaluate", trained)
    assert status == 2 and "not a run folder" in err


def test_own_images_through_a_run(trained, capsys, tmp_path):
    """Codes of a user's file, in the file's order."""
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    arguments = ["--source", tmp_path / "mine.npz"]
    out = tmp_path / "codes.npz"
    status, _, err = call(capsys, "embed", trained / "digits_vae", *arguments, "--out", out)
    assert status == 0, err
    codes = np.load(out)["codes"]
    assert codes.shape == (5, 2)
    np.savez(tmp_path / "mine.npz", images=images[::-1])
    call(capsys, "embed", trained / "digits_vae", *arguments, "--out", out)
    np.testing.assert_allclose(np.load(out)["codes"], codes[::-1], rtol=1e-5, atol=1e-6)
    np.save(tmp_path / "small.npy", images[:, :20])
    arguments[1] = tmp_path / "small.npy"
    status, _, err = call(capsys, "embed", trained / "digits_vae", *arguments)
    assert status == 2 and "examples of 20x28x1: must be 28x28x1" in err


def test_resume_from_the_command_line(capsys, tmp_path):
    run = tmp_path / "run"
    call(capsys, "train", DIGITS, "--out", run, "--train.epochs", 1, *SMALL)
    status, _, err = call(capsys, "train", DIGITS, "--out", run, *SMALL)
    assert status == 2 and "not empty" in err
    status, summary, err = call(capsys, "train", "--resume", run, "--train.epochs", 2)
    assert status == 0, err
    assert (summary["epochs"], summary["steps"]) == (2, 10)
    status, _, err = call(capsys, "train", DIGITS, "--resume", run, "--model.latent-dim", 3)
    assert status == 2 and "model.latent_dim (2 to 3)" in err
    other = DIGITS.with_name("mnist_vae.py")
    status, _, err = call(capsys, "train", other, "--resume", run)
    assert status == 2 and "a run of 'digits_vae', not of 'mnist_vae'" in err
    before = (run / "config.json").read_bytes()
    status, _, err = call(capsys, "train", "--resume", run, "--train.epochs", 1)
    assert status == 2 and "train.epochs = 1: must be at least 2" in err
    assert (run / "config.json").read_bytes() == before


def test_a_diverging_run_fails_with_one_line(capsys, tmp_path):
    options = ["--optimizer.name", "sgd", "--optimizer.learning-rate", "1e30", *SMALL]
    status, result, err = call(capsys, "train", DIGITS, "--out", tmp_path / "run", *options)
    assert (status, result) == (1, {})
    assert "not finite at step 2" in err.splitlines()[-1]


def test_a_variant_in_one_file(capsys, tmp_path):
    """A new objective: its field is an option, its term is logged, its run needs the file.

    Its fields may hold dataclasses, or be computed.
    """
    variant = tmp_path / "variant.py"
    variant.write_text(
        "from dataclasses import dataclass, field\n"
        "import jax.numpy as jnp\n"
        "from jaxvae import Data, Experiment, Model, Objective\n"
        "@dataclass(frozen=True)\n"
        "class Layer:\n"
        "    width: int\n"
        "@dataclass(frozen=True)\n"
        "class Sparse(Objective):\n"
        "    sparsity: float = 0.5\n"
        '    """Weight of the L1 norm of the code."""\n'
        "    layers: tuple[Layer, ...] = (Layer(3),)\n"
        "    total: int = field(init=False, default=0)\n"
        "    def __post_init__(self):\n"
        "        super().__post_init__()\n"
        "        object.__setattr__(self, 'total', sum(layer.width for layer in self.layers))\n"
        "    def terms(self, output, batch, params):\n"
        "        terms = super().terms(output, batch, params)\n"
        "        l1 = jnp.abs(output.z).sum(axis=1)\n"
        "        return terms | {'l1': l1, 'loss': terms['loss'] + self.sparsity * l1}\n"
        "model = Model(hidden_dims=[16])\n"  # a list where a tuple is meant
        "experiment = Experiment('sparse', data=Data('digits'), model=model, objective=Sparse())\n"
    )
    run = tmp_path / "run"
    options = ["--objective.sparsity", "2", "--train.epochs", "1", *SMALL]
    status, summary, err = call(capsys, "train", variant, "--out", run, *options)
    assert status == 0, err
    last = summary["last"]
    assert last["val_loss"] == pytest.approx(
        last["val_recon"] + last["val_kl"] + 2 * last["val_l1"], rel=1e-5
    )
    status, _, err = call(capsys, "evaluate", run)
    assert status == 2 and "--experiment" in err
    status, _, err = call(capsys, "train", "--resume", run, "--train.epochs", 2)
    assert status == 2 and "train FILE --resume RUN" in err
    status, _, err = call(capsys, "train", variant, "--resume", run, "--train.epochs", 2)
    assert status == 0, err
    status, result, err = call(
        capsys, "evaluate", run, "--experiment", variant, "--checkpoint", "best"
    )
    last = json.loads((run / "summary.json").read_text())["best"]
    assert status == 0 and result["l1"] == pytest.approx(last["val_l1"], rel=1e-5)


OWN = """
from dataclasses import dataclass
import jax.numpy as jnp
from jaxvae import Data, Experiment, Model, Objective
@dataclass(frozen=True)
class Own(Objective):
    def terms(self, output, batch, params):
        terms = super().terms(output, batch, params)
        return BODY
experiment = Experiment("own", data=Data("digits"), model=Model(hidden_dims=(8,)), objective=Own())
"""


@pytest.mark.parametrize(
    "body, expected",
    [
        ("terms | {'a': jnp.abs(outputs.z)}", "own.py, line 9: NameError: name 'outputs' is not"),
        ("terms | {'a': terms['kl'] + jnp.ones(5)}", "own.py, line 9: TypeError: add got incomp"),
        ("terms | {'a': output.z}", "Own.terms: shape of 'a' = (32, 20): must be (32,), a number"),
        ("3", "Own.terms: int returned: must be terms by name"),
        ("terms}", "own.py, line 9)"),
    ],
)
def test_what_is_wrong_in_a_variant_says_where(body, expected, capsys, tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace("BODY", body))
    words = ["train", tmp_path / "own.py", "--out", tmp_path / "run", *SMALL]
    status, result, err = call(capsys, *words)
    assert status in (1, 2) and result == {} and expected in err.splitlines()[-1]
    (tmp_path / "own.py").write_text("import jaxvae\n\nexperiment = jaxvae.Experiment(3 / 0)\n")
    status, _, err = call(capsys, *words)
    assert status == 2 and "own.py', line 3: ZeroDivisionError" in err


def test_datasets_lists_the_digits(capsys):
    status, result, err = call(capsys, "datasets")
    assert status == 0 and err == ""
    entries = {entry["name"]: entry for entry in result["datasets"]}
    assert entries["digits"]["ready"] and "jaxvae[tfds]" in entries["NAME"]["how"]
