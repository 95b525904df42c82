"""The command line: `jaxvae train|evaluate|reconstruct|sample|...`.

Results go to stdout as JSON (of `doctor`, as a table), everything else to stderr. Exit status: 0; 1
when the command failed, or `doctor` found something wrong; 2 when it was used wrongly; 75 when
training was asked to stop (SIGTERM, SIGINT) and can be resumed.
The commands are in `commands` and `draw`, what they share in `options`.
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
from jaxvae.cli import commands, draw
from jaxvae.cli.options import ImportOptions, TrainOptions
from jaxvae.config import Experiment, Population

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again

COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "train": commands.train,
    "extract": commands.extract,
    "evaluate": commands.evaluate,
    "reconstruct": draw.reconstruct,
    "sample": draw.sample,
    "embed": draw.embed,
    "interpolate": draw.interpolate,
    "traverse": draw.traverse,
    "figures": draw.figures,
    "fit": commands.fit,
    "datasets": commands.datasets,
    "info": commands.info,
    "doctor": commands.doctor,
    "import-torch": commands.import_torch,
    "export-torch": commands.export_torch,
}


def _run(args: list[str]) -> dict[str, Any]:
    """Parse and carry out a command. tyro itself exits with status 2 where it cannot parse."""
    if args[:1] == ["train"]:
        prog, default = "jaxvae train", _train_defaults(args[1:])
        options = tyro.cli(
            TrainOptions,
            prog=prog,
            description=commands.train.__doc__,
            default=default,
            args=args[1:],
        )
        if options.file != default.file:
            raise UsageError(f"{options.file}: the experiment file comes right after `train`")
        return commands.train(options)
    if args[:1] == ["import-torch"]:
        imported = tyro.cli(
            ImportOptions,
            prog="jaxvae import-torch",
            description=commands.import_torch.__doc__,
            default=_import_defaults(args[1:]),
            args=args[1:],
        )
        return commands.import_torch(imported)
    if args == ["--version"]:
        return {"jaxvae": __version__}
    if args and args[0] in COMMANDS:
        return tyro.cli(COMMANDS[args[0]], prog=f"jaxvae {args[0]}", args=args[1:])
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="jaxvae",
        description="Autoencoders in JAX: train, evaluate, look.",
        args=args,
    )


def _train_defaults(args: list[str]) -> TrainOptions:
    """The experiment whose fields the options override: the file's, or the resumed run's."""
    file = Path(args[0]) if args and not args[0].startswith("-") else None
    experiment = None if file is None else runs.load_experiment(file)
    population = Population()
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
    if experiment is None:
        return TrainOptions(file)
    experiment = _with_convention(experiment, args)
    return TrainOptions(file, population=population, experiment=experiment)


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


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit."""
    args = sys.argv[1:] if args is None else args
    _quieten()
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("jaxvae").setLevel(logging.INFO)
    try:
        result = _run(args)
    except runs.Interrupted as error:
        print(f"jaxvae: {_printable(str(error))}; continue it with --resume", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("JAXVAE_TRACEBACK"):
            raise
        usage = isinstance(error, (UsageError, FileExistsError))
        expected = usage or isinstance(error, (OSError, MemoryError, runs.RunError))
        prefix = "" if expected else f"{type(error).__name__}: "
        hint = "" if expected else " (JAXVAE_TRACEBACK=1 shows where)"
        message = str(error) if expected else str(error).strip().partition("\n")[0]
        print(f"jaxvae: {prefix}{_printable(message)}{hint}", file=sys.stderr)
        sys.exit(2 if usage else 1)
    except KeyboardInterrupt:
        print(
            "jaxvae: interrupted; a run with a checkpoint continues with --resume", file=sys.stderr
        )
        sys.exit(1)
    print(json.dumps(result, indent=2, allow_nan=False))
