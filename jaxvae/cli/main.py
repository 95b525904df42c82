"""The command line: `jaxvae train|evaluate|reconstruct|sample|...`.

Results go to stdout, for a person where that is a terminal, and as JSON elsewhere and with --json;
everything else goes to stderr. Exit status: 0; 1 when the command failed or `doctor` found
something wrong; 2 when it was used wrongly; 75 when training was asked to stop (SIGTERM, SIGINT)
and can be resumed; 141 when nobody reads what is printed.
The commands are in `commands` and `draw`, what they share in `options`, how they are parsed in
`parsing`, and what they say of themselves in `help`, `completion` and `closing`.
"""

import functools
import itertools
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from jaxvae import __version__, runs
from jaxvae.checks import UsageError
from jaxvae.cli import closing, commands, draw, help
from jaxvae.cli.completion import Shell, script
from jaxvae.cli.experiments import experiments
from jaxvae.cli.options import ImportOptions, StudyOptions, TrainOptions
from jaxvae.cli.parsing import Option, nearest, options_of, parse
from jaxvae.config import Experiment, Population

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again
HELP = ("-h", "--help", "--help-all")


def completion(shell: tyro.conf.Positional[Shell]) -> dict[str, Any]:
    """Print what makes a shell complete commands, options, choices and paths.

    Args:
        shell: bash, zsh or fish; the script's first line says how the shell reads it.
    """
    described = {
        name: (" ".join((command.__doc__ or "").partition("\n\n")[0].split()), _options(name, []))
        for name, command in COMMANDS.items()
    }
    return {"shell": shell, "script": script(shell, described)}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "train": commands.train,
    "extract": commands.extract,
    "study": commands.study,
    "evaluate": commands.evaluate,
    "reconstruct": draw.reconstruct,
    "sample": draw.sample,
    "embed": draw.embed,
    "interpolate": draw.interpolate,
    "traverse": draw.traverse,
    "figures": draw.figures,
    "report": draw.report,
    "fit": commands.fit,
    "experiments": experiments,
    "datasets": commands.datasets,
    "runs": commands.list_runs,
    "compare": commands.compare,
    "info": commands.info,
    "doctor": commands.doctor,
    "export": commands.export,
    "import-torch": commands.import_torch,
    "export-torch": commands.export_torch,
    "completion": completion,
}


def _run(args: list[str]) -> dict[str, Any]:
    """Parse and carry out a command; or print help, and exit."""
    if args == ["--version"]:
        return {"jaxvae": __version__}
    if not args or args[0] in HELP:
        if not args:
            raise UsageError("give a command, such as train; jaxvae --help lists them")
        closing.show(help.of_program(COMMANDS), help.NAME)
        sys.exit(0)
    name, *words = args
    if old := [word for word in words if re.match("--train.(no-)?tensorboard", word)]:
        raise UsageError(f"{old[0]}: is --train.track tensorboard now")
    if name not in COMMANDS:
        hint = nearest(name, [*COMMANDS]) or "; jaxvae --help lists them"
        raise UsageError(f"{name!r}: no command of jaxvae{hint}")
    if asked := [word for word in words if word in HELP]:
        words = [word for word in words if word not in HELP]
        says, every = COMMANDS[name].__doc__ or "", "--help-all" in asked
        closing.show(help.of_command(name, says, _options(name, words), every), help.NAME)
        sys.exit(0)
    if name == "train":
        default = _train_defaults(words)
        options = parse(TrainOptions, name, words, default)
        if options.file != default.file:
            raise UsageError(f"{options.file}: the experiment file comes right after `train`")
        return commands.train(options)
    if name == "study":
        return commands.study(parse(StudyOptions, name, words, _study_defaults(words)))
    if name == "import-torch":
        return commands.import_torch(parse(ImportOptions, name, words, _import_defaults(words)))
    return parse(COMMANDS[name], name, words)


def _options(name: str, words: list[str]) -> list[Option]:
    """Those of a command; of some they depend on an experiment among the words."""
    if name == "train":
        return options_of(TrainOptions, _train_defaults(words))
    if name == "study":
        return options_of(StudyOptions, _study_defaults(words))
    if name == "import-torch":
        return options_of(ImportOptions, _import_defaults(words))
    return options_of(COMMANDS[name])


def _train_defaults(args: list[str]) -> TrainOptions:
    """The experiment whose fields the options override: the one that is named, the resumed run's,
    or else the demo."""
    file = Path(args[0]) if args and not args[0].startswith("-") else None
    experiment = None if file is None else runs.load_experiment(file)
    population, init_from = Population(), None
    if resume := _value_of("--resume", args):
        from jaxvae.runs import code
        from jaxvae.training.metrics import read_population

        folder = Path(resume)
        trusted = {"--trust-code", "--trust_code"} & {*args}
        if experiment is None and trusted:
            experiment = code.experiment_for(folder, None, trust_code=True)
        saved, *_ = runs.read_config(folder, like=experiment)
        if file is not None and experiment is not None and experiment.name != saved.name:
            raise UsageError(f"{folder}: a run of {saved.name!r}, not of {experiment.name!r}")
        experiment = saved
        population = read_population(folder) or population
    elif file is not None and file.name == "config.json":
        from jaxvae.training.metrics import read_population

        population = read_population(file.parent) or population
        origin = runs.origin_of(file.parent)
        init_from = None if origin is None else Path(origin["run"])
    experiment = _with_convention(experiment or runs.load_experiment(runs.DEMO), args)
    return TrainOptions(file, init_from=init_from, population=population, experiment=experiment)


def _study_defaults(args: list[str]) -> StudyOptions:
    """The experiment whose fields the options override."""
    if not args or args[0].startswith("-"):
        return StudyOptions()
    file = Path(args[0])
    return StudyOptions(file, experiment=runs.load_experiment(file))


def _import_defaults(args: list[str]) -> ImportOptions:
    """The experiment of --as, whose fields the options override."""
    if file := _value_of("--as", args):
        experiment = _with_convention(runs.load_experiment(file), args)
        return ImportOptions(like=Path(file), experiment=experiment)
    return ImportOptions()


def _with_convention(experiment: Experiment, args: list[str]) -> Experiment:
    """The experiment, with the loss of --objective.convention where that is given."""
    name = _value_of("--objective.convention", args)
    if name is None:
        return experiment
    from jaxvae.conventions import with_convention

    return with_convention(experiment, name)


def _value_of(option: str, args: list[str]) -> str | None:
    """The last value that `args` give to an option, as `--option VALUE` or `--option=VALUE`."""
    given = None
    for word, following in itertools.pairwise([*args, ""]):
        if word == option or word.startswith(f"{option}="):
            given = word.partition("=")[2] or following
    return given


def _printable(message: str) -> str:
    """A message whose names cannot move the cursor; of its lines, only those of a list stay."""
    lines = re.sub("\n(?!  )", r"\\n", message)
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in lines)


@functools.cache  # once: the hook must not call itself
def _quieten() -> None:
    """Orbax narrates, and prints what it raises; its errors reach the user as ours.

    When a reading has failed, TensorStore's other reads go on and have nobody to tell. Each would
    print that its event loop is closed, or that nobody asked for its exception, until the process
    ends; so this is never undone.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What Pillow warns of is refused, as too many pixels, or does not matter, as odd metadata.
    warnings.filterwarnings("ignore", module="PIL")
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # where it is a coroutine
        of_orbax = code is not None and "orbax" in code.co_filename
        if not of_orbax and str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _for_stderr(message: str) -> str:
    """On a terminal without lines that would be broken within words; elsewhere as it is."""
    return help.reflowed(message) if sys.stderr.isatty() else message


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _for_stderr(super().format(record))


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit."""
    given = sys.argv[1:] if args is None else args
    args = [word for word in given if word != "--json"]
    asked = len(args) < len(given)
    if asked and args[:1] == ["doctor"]:  # which prints its findings itself
        args.append("--json")
    _quieten()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("jaxvae").setLevel(logging.INFO)
    try:
        result = _run(args)
    except runs.Interrupted as error:
        how = "give the same command again" if args[0] == "study" else "continue it with --resume"
        print(f"jaxvae: {_printable(str(error))}; {how}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("JAXVAE_TRACEBACK"):
            raise
        usage = isinstance(error, (UsageError, FileExistsError))
        expected = usage or isinstance(error, (OSError, MemoryError, runs.RunError))
        prefix = "" if expected else f"{type(error).__name__}: "
        hint = "" if expected else " (JAXVAE_TRACEBACK=1 shows where)"
        message = str(error) if expected else str(error).strip().partition("\n")[0]
        if not expected and (where := runs.line_of(error)):
            prefix = f"{', '.join(where)}: {prefix}"
        print(_for_stderr(f"jaxvae: {prefix}{_printable(message)}{hint}"), file=sys.stderr)
        sys.exit(2 if usage else 1)
    except KeyboardInterrupt:
        print(
            "jaxvae: interrupted; a run with a checkpoint continues with --resume", file=sys.stderr
        )
        sys.exit(1)
    as_json = asked or not sys.stdout.isatty()
    if args[0] == "completion" and not asked:
        closing.show(result["script"])
    elif as_json:
        closing.show(json.dumps(result, indent=2, allow_nan=False))
    elif args == ["--version"]:
        closing.show(f"jaxvae {__version__}")
    else:
        closing.show(closing.text(args[0], result), closing.LABEL)
