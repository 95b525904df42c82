"""What --help and --help-all print."""

import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from jaxvae.cli.parsing import Option

FIRST = (
    *("out", "resume", "seed", "data.source", "data.batch-size", "model.latent-dim"),
    *("model.hidden-dims", "objective.beta", "optimizer.learning-rate", "train.epochs"),
)
"""Options of `train` that matter first; --help-all shows the others."""

EVERYWHERE = {
    "--json": "Print the result as JSON, as is done where stdout is not a terminal.",
    "-h, --help": "Show this text.",
}
NAME = r"^  (-h, )?\S+"
"""What of a line is the name of a command or an option."""
INDENT = " " * 8
NARROWEST, WIDEST = 40, 100


def of_program(commands: Mapping[str, Callable[..., Any]]) -> str:
    """The commands, a line or two each."""
    column = max(map(len, commands)) + 2
    lines = ["usage: jaxvae COMMAND ...", "", "Autoencoders in JAX: train, evaluate, look.", ""]
    for name, command in commands.items():
        says = (command.__doc__ or "").partition("\n\n")[0]
        lines += wrapped(says, f"  {name:{column}}", " " * (column + 2))
    end = "jaxvae COMMAND --help says more; jaxvae --version which one this is."
    lines += ["", *wrapped(end)]
    return "\n".join(lines)


def of_command(name: str, says: str, options: Sequence[Option], every: bool) -> str:
    """A command's help: all its options where `every` is true, in groups, else those that matter.

    Args:
        name: of the command.
        says: its docstring, of which what comes before `Args:` is shown.
        options: all of them.
        every: whether --help-all was asked for.
    """
    arguments = [option for option in options if not option.flags]
    named = sorted((option for option in options if option.flags), key=_order)
    shown = named if every else _first(name, named)
    required = [option.name for option in named if option.required]
    words = [*(option.name for option in arguments), *required, "[OPTIONS]"]
    lines = wrapped(f"usage: jaxvae {name} {' '.join(words)}")
    for paragraph in says.partition("Args:")[0].strip().split("\n\n"):
        lines += ["", *wrapped(paragraph)]
    if arguments:
        lines += ["", *_described(arguments)]
    for group, of_group in groupby(shown, lambda option: option.group if every else ""):
        listed = list(of_group)
        title = f"{group}: {listed[0].about}" if group else "options:"
        lines += ["", *wrapped(title), *_described(listed)]
    lines += ["", *_entries(EVERYWHERE.items())]
    if left := len(named) - len(shown):
        groups = ", ".join(dict.fromkeys(option.group for option in named if option.group))
        lines += _entries([("--help-all", f"Show {left} more options, of {groups}.")])
    return "\n".join(lines)


def _order(option: Option) -> tuple[bool, bool, bool]:
    """What must be given, what is in no group, the groups; last how and how many are trained."""
    return not option.required, option.group != "", option.group in ("population", "parallel")


def _first(name: str, options: Sequence[Option]) -> list[Option]:
    """Of `train` the chosen ones, in their order; else those that belong to no group."""
    if name != "train":
        return [option for option in options if not option.group]
    by_flag = {option.flags[0]: option for option in options}
    return [by_flag[f"--{name}"] for name in FIRST if f"--{name}" in by_flag]


def _described(options: Iterable[Option]) -> list[str]:
    def says(option: Option) -> str:
        default = f" (default {option.default})" if option.default and option.flags else ""
        return f"{option.help}{default}"

    return _entries((option.name, says(option)) for option in options)


def _entries(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Names, and what they are below them."""
    lines = []
    for name, says in entries:
        lines += [*wrapped(name, "  ", INDENT + "  "), *wrapped(says, INDENT, INDENT)]
    return lines


def reflowed(text: str) -> str:
    """A text, whose line breaks are kept, with those lines wrapped that do not fit the terminal."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        fits = len(line) < shutil.get_terminal_size().columns
        lines += [line] if fits else wrapped(line, indent, indent)
    return "\n".join(lines)


def wrapped(text: str, first: str = "", following: str = "") -> list[str]:
    """A text, whose own line breaks mean nothing, in lines that fit the terminal; words stay whole.

    Args:
        text: one paragraph.
        first: begins the first line.
        following: begins the others.
    """
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST) - 1
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )
