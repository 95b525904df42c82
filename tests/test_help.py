"""What the command line says of itself: help, suggestions, completion; and to whom."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from jaxvae import Experiment, __version__, cli, runs
from jaxvae.cli import completion, help, parsing
from jaxvae.cli.completion import script
from jaxvae.cli.options import TrainOptions
from jaxvae.info import Info
from tests.commands import call
from tests.terminals import ANSI, ROOT, at_terminal, lines_of

DIGITS = ROOT / "experiments" / "digits_vae.py"
# Of tyro: boxes, metavars of its own, markup and the names of its modules.
INNER = re.compile(r"[╭│╰─]|\[bold\]|\{None|\[\w+ \[|tyro|<class|instantiated")


def printed(capsys, *args: object) -> str:
    with pytest.raises(SystemExit) as exit:
        cli.main([str(arg) for arg in args])
    assert exit.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def options_in(text: str) -> list[str]:
    """The names of the options that a help describes."""
    return re.findall(r"^  (?:-h, )?(--\S+)", text, re.MULTILINE)


def test_help_shows_what_matters_first(capsys):
    brief = options_in(printed(capsys, "train", DIGITS, "--help"))
    assert brief[:10] == [f"--{name}" for name in help.FIRST]
    assert brief[10:] == ["--json", "--help", "--help-all"]
    every = options_in(printed(capsys, "train", DIGITS, "--help-all"))
    assert len(every) == len(set(every)) > 70 and set(brief) - {"--help-all"} <= set(every)
    known = {option.flags[0] for option in parsing.options_of(TrainOptions) if option.flags}
    assert {name.replace("[no-]", "") for name in every} == known | {"--json", "--help"}
    groups = re.findall(r"^(\w+): ", printed(capsys, "train", "--help-all"), re.MULTILINE)
    expected = ["data", "model", "objective", "optimizer", "train", "population", "parallel"]
    assert groups == ["usage", *expected]


def test_help_tells_the_values_of_the_experiment_and_of_its_own_class(capsys):
    assert "(default 256 128)" in printed(capsys, "train", DIGITS, "--help")
    variant = ROOT / "experiments" / "priors" / "vamp_prior_vae.py"
    assert "--model.components" in options_in(printed(capsys, "train", variant, "--help-all"))


@pytest.mark.parametrize("columns", [50, 80, 200])
@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_fits_the_terminal_and_wraps_once(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capsys, *([command] if command else []), "--help-all")
    lines = text.splitlines()
    room = min(columns, help.WIDEST) - 1
    assert all(len(line) <= room or " " not in line.strip() for line in lines)
    assert not INNER.search(text) and "(default )" not in text and "default None" not in text
    for line, following in itertools.pairwise(lines):
        indent = re.match(r" {8,}(?=\S)", line)
        if indent and following.startswith(indent[0]) and following[len(indent[0])] != " ":
            # A line is as full as it can be: the next word would not have fitted.
            assert len(line) + 1 + len(following.split()[0]) > room, (line, following)


@pytest.mark.parametrize(
    "words, expected",
    [
        ("trian", "'trian': no command of jaxvae; did you mean train?"),
        ("frobnicate", "'frobnicate': no command of jaxvae; jaxvae --help lists them"),
        ("", "give a command, such as train; jaxvae --help lists them"),
        ("train FILE --lr 1", "--lr: no option of train; did you mean --optimizer.learning-rate?"),
        ("train FILE --epochs=3", "--epochs: no option of train; did you mean --train.epochs?"),
        ("train FILE --model.latentdim 3", "did you mean --model.latent-dim?"),
        ("train FILE --batch_size 3", "did you mean --data.batch-size?"),
        ("train FILE --zzz 3", "--zzz: no option of train (jaxvae train --help lists them)"),
        ("train FILE --data.pad x", "--data.pad = 'x': must be a whole number (INT)"),
        ("train FILE --data.pad=x", "--data.pad = 'x': must be a whole number (INT)"),
        ("train FILE --data.pad", "--data.pad: must be given a whole number (INT)"),
        ("train FILE --data.range 1", "--data.range: must be given FLOAT FLOAT"),
        ("train FILE --model.dropout a", "--model.dropout = 'a': must be a number (FLOAT)"),
        ("train FILE --data.resize a b", "--data.resize = 'a b': must be INT ..."),
        ("train FILE --model.init torhc", "must be one of flax, torch; did you mean torch?"),
        ("evaluate", "evaluate: give RUN (The run folder)"),
        ("evaluate a b", "'b': more than evaluate takes"),
        ("extract a --out b", "extract: give --member INT (Which one, from 0"),
        ("completion tcsh", "must be one of bash, zsh, fish"),
    ],
)
def test_an_error_is_one_line_with_what_is_allowed(words, expected, capsys):
    status, result, err = call(capsys, *words.replace("FILE", str(DIGITS)).split())
    assert (status, result) == (2, {}) and err.startswith("jaxvae: ") and err.count("\n") == 1
    assert expected in err and not INNER.search(err)


def test_what_no_option_can_say_is_said(capsys, tmp_path):
    """A field of a type that has no words."""
    file = tmp_path / "own.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom jaxvae import Data, Experiment, Objective\n"
        "from collections.abc import Callable\n"
        "@dataclass(frozen=True)\nclass Own(Objective):\n"
        "    penalty: Callable = abs\n    '''A function of the codes.'''\n"
        "experiment = Experiment(name='own', data=Data('digits'), objective=Own())\n"
    )
    status, _, err = call(capsys, "train", file, "--objective.penalty", "x")
    assert status == 2 and "--objective.penalty: is set in the experiment file" in err
    assert "--objective.penalty" in printed(capsys, "train", file, "--help-all")


def test_version(capsys):
    assert call(capsys, "--version")[1] == {"jaxvae": __version__}
    assert at_terminal("--version") == (0, f"jaxvae {__version__}\r\n")
    assert json.loads(at_terminal("--version", "--json")[1]) == {"jaxvae": __version__}


def test_help_is_bold_at_a_terminal_unless_there_is_no_such_thing():
    status, written = at_terminal("--help")
    assert status == 0 and "\x1b[1m  train\x1b[0m" in written
    lines = lines_of(written)
    assert max(map(len, lines)) < 80 and any(line.startswith("  doctor ") for line in lines)
    assert not ANSI.search(at_terminal("--help", TERM="dumb")[1])


def test_an_error_at_a_terminal_is_broken_between_words():
    status, written = at_terminal("train", DIGITS, "--model.activation", "swish", columns=60)
    assert status == 2 and all(len(line) < 60 for line in lines_of(written))
    assert " ".join(lines_of(written)).endswith("relu, leaky_relu, elu, gelu, silu, tanh, sigmoid")


@pytest.mark.parametrize("words", [["train", "--help-all"], ["--version"], ["completion", "bash"]])
def test_nobody_reads_any_more(words):
    """As after `| head -1`: quiet, and at an end."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "jaxvae", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment)
    os.close(writing)
    said = done.stderr.decode()
    assert "roken" not in said and "Exception" not in said and "Error" not in said
    assert done.returncode == 128 + signal.SIGPIPE  # what a shell says of cat


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The script of each shell, in a file."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        command = [sys.executable, "-m", "jaxvae", "completion", shell]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        (folder / shell).write_text(done.stdout)
    return folder


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_has_every_option(shell, scripts):
    text = (scripts / shell).read_text()
    for word in ("import-torch", "data.batch-size", "gaussian_learned"):
        assert word in text
    if shell == "fish":
        assert all(line.startswith(("#", "complete -c jaxvae ")) for line in text.splitlines())


@pytest.mark.parametrize("shell", [*filter(shutil.which, ["bash", "zsh", "fish"])])
def test_a_shell_takes_its_script(shell, scripts):
    """Each that is installed here."""
    subprocess.run([shell, "-n", str(scripts / shell)], check=True)


BASH = """
source {script}
cd {folder}
of() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _jaxvae; echo "${{COMPREPLY[*]}}"; }}
of jaxvae tra
of jaxvae train x.py --model.lat
of jaxvae train x.py --data.no-
of jaxvae evaluate a --z ''
of jaxvae evaluate a --split t
of jaxvae train my
of jaxvae train mnist_vae
of jaxvae train --resu
of jaxvae import-torch a --as antix
of jaxvae evaluate a --source fash
of jaxvae train a --data.source my
of jaxvae completion ''
complete -p jaxvae
"""


def test_bash_completes_commands_options_names_and_choices(scripts, tmp_path):
    words = BASH.format(script=scripts / "bash", folder=tmp_path)
    (tmp_path / "my photos").mkdir()
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[:-1] == [
        "train traverse",
        "--model.latent-dim",
        "--data.no-streaming --data.no-standardise",
        "sampled mean",
        "train test",
        "my photos",  # where a name may stand, a path may, too
        "mnist_vae mnist_vae_2d mnist_vae_bn",
        "--resume",
        "antixk_vae",
        "fashion_mnist",
        "my photos",
        "bash zsh fish",
    ]
    assert "-o default" in done.stdout.splitlines()[-1]


def test_the_data_sets_that_are_completed_are_those_that_need_nothing_else():
    from jaxvae.data.published import SETS

    assert sorted(completion.SETS) == sorted(["digits", *SETS])


def test_bash_completes_paths_where_somebody_types(scripts, tmp_path):
    """In an interactive shell, tabs and all; a function tells what it was given."""
    (tmp_path / "my experiment.py").touch()
    keys = (
        f"source {scripts / 'bash'}; cd {tmp_path}; "
        "jaxvae() { printf '<%s>' \"$@\"; echo; }; PS1='> '\n"
        "jaxvae train my\t--model.latent\t3\nexit\n"
    )
    program = (
        "import os, pty, sys, time\n"
        "child, terminal = pty.fork()\n"
        "if child == 0: os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])\n"
        "os.write(terminal, sys.argv[1].encode())\n"
        "try:\n"
        "    while chunk := os.read(terminal, 4096): os.write(1, chunk)\n"
        "except OSError: pass\n"
    )
    command = [sys.executable, "-c", program, keys]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "<train><my experiment.py><--model.latent-dim><3>" in done.stdout


def test_scripts_quote_what_they_hold():
    says = 'It\'s \\ "odd": $HOME `x`'
    option = parsing.Option(("--a.b",), "INT", (), "", says, "", "", False)
    for shell, quoted in {
        "fish": "'It\\'s \\\\ \"odd\": $HOME `x`'",
        "zsh": "'--a.b:It'\"'\"'s \\ \"odd\": $HOME `x`'",
    }.items():
        assert quoted in script(shell, {"train": ("", [option])})


def test_what_computes_nothing_imports_no_jax(tmp_path):
    """Which takes longer than all that these commands do."""
    (tmp_path / "a").mkdir()
    config = runs.describe(Experiment("a"), (8, 8, 1), Info((8, 8, 1)), {})
    runs.write_json(tmp_path / "a" / "config.json", config)
    code = """
        import contextlib, sys
        from jaxvae.cli import main
        for words in (["datasets"], ["experiments"], ["runs", "."], ["info", "a"]):
            with contextlib.suppress(SystemExit):
                main(words)
            assert "jax" not in sys.modules, words
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        '"best_checkpoint": null' in done.stdout and '"how": "--data.source digits"' in done.stdout
    )
