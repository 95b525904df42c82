"""The options of a command, as tyro derives them from types and docstrings, and its refusals.

tyro parses; what it shows of itself is replaced: help is written by `help`, completion by
`completion`, and an error is a `UsageError` of one or two lines. All that touches the inside of
tyro, which may change with its version, is here.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tyro
from tyro import _errors, _parsers, _strings

from jaxvae.checks import UsageError

KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path"}


class Option(NamedTuple):
    """An option, or an argument that has no name."""

    flags: tuple[str, ...]
    """--name, and of a switch the one that turns it off; empty for an argument without a name."""
    value: str
    """What is to be given: INT, PATH, "INT INT", "one|two"; of an argument its name, as RUN."""
    choices: tuple[str, ...]
    default: str
    """As it would be given; empty where there is none, or nothing to tell."""
    help: str
    group: str
    """data, of --data.source; empty for what belongs to none."""
    about: str
    """What the group is."""
    required: bool

    @property
    def name(self) -> str:
        """--data.source PATH, --data.[no-]streaming, [FILE]"""
        if not self.flags:
            return self.value if self.required else f"[{self.value}]"
        first, *off = self.flags
        if off:
            prefix, dot, last = first.rpartition(".")
            return f"{prefix}.[no-]{last}" if dot else f"--[no-]{first[2:]}"
        return f"{first} {self.value}"


def options_of(command: Callable[..., Any], default: Any = tyro.MISSING_NONPROP) -> list[Option]:
    """All options of a command, or the fields of a dataclass, in their order."""
    with _strings.delimiter_context("-"):
        found = _parsers.ParserSpecification.from_callable_or_type(
            command,
            markers=set(),
            description=None,
            parent_classes=set(),
            default_instance=default,
            intern_prefix="",
            extern_prefix="",
            subcommand_prefix="",
            support_single_arg_types=False,
            prog_suffix="",
        )
        return [
            _option(argument.arg, argument.source_parser)
            for argument in found.get_args_including_children()
            if not argument.arg.is_suppressed()
        ]


def parse(
    command: Callable[..., Any],
    name: str,
    args: Sequence[str],
    default: Any = tyro.MISSING_NONPROP,
) -> Any:
    """What tyro makes of the words after `jaxvae NAME`.

    Raises:
        UsageError: what is wrong, which option it is, and what is allowed.
    """

    def refuse(event: _errors.ParseErrorEvent) -> None:
        known = options_of(command, default)
        if (message := _message(event, args, known, name)) is not None:
            raise UsageError(message)

    with _errors.on_parse_error(refuse):
        return tyro.cli(command, prog=f"jaxvae {name}", args=args, default=default)


def nearest(word: str, known: Sequence[str]) -> str:
    """ "; did you mean ...?" of the words that may have been meant, or nothing."""
    bare = word.removeprefix("--").replace("_", "-").casefold()

    def score(candidate: str) -> float:
        full = candidate.removeprefix("--").casefold()
        last = full.rpartition(".")[2]
        initials = "".join(part[0] for part in last.split("-") if part)
        if bare in (last, initials):
            return 2.0 if bare == last else 1.5
        within = 0.9 if len(bare) > 2 and (bare in last or last in bare) else 0.0
        alike = (difflib.SequenceMatcher(a=bare, b=other).ratio() for other in (full, last))
        return max(within, *alike)

    scored = {candidate: score(candidate) for candidate in known}
    best = max(scored.values(), default=0.0)
    likely = [c for c, s in scored.items() if s >= max(0.7, best - 0.1)]
    likely.sort(key=lambda candidate: -scored[candidate])
    return f"; did you mean {' or '.join(likely[:3])}?" if likely else ""


def _option(argument: Any, source: Any = None) -> Option:
    lowered, field = argument.lowered, argument.field
    flags = () if argument.is_positional() else tuple(lowered.name_or_flags)
    if lowered.action == "boolean_optional_action":
        flags = (flags[0], tyro._arguments.flag_to_inverse(flags[0]))
    help = field.helptext() if callable(field.helptext) else field.helptext
    return Option(
        flags=flags,
        value=_readable(lowered.metavar or "") if flags else field.extern_name.upper(),
        choices=_choices(lowered),
        default=_default(field.default, lowered),
        help=" ".join((help or "").split()),
        group="" if source is None else source.extern_prefix,
        about="" if source is None else " ".join(source.description.partition("\n\n")[0].split()),
        required=bool(lowered.required),
    )


def _readable(metavar: str) -> str:
    """tyro's {None}|PATH is PATH, [INT [INT ...]] is INT ..., {a,b} is a|b."""
    metavar = re.sub(r"^\{None\}\|", "", metavar)
    metavar = re.sub(r"^\{None,", "{", metavar)
    if metavar.startswith("{[") or (metavar.startswith("{") and "," not in metavar):
        metavar = metavar[1:-1]
    metavar = re.sub(r"\[(.+) \[\1 \.\.\.\]\]", r"\1 ...", metavar)
    return re.sub(r"\{([^{}]*)\}", lambda found: found[1].replace(",", "|"), metavar)


def _choices(lowered: Any) -> tuple[str, ...]:
    """In the order of the metavar: of a Literal or None tyro keeps them in no order."""
    order = re.findall(r"[^{},|\[\]\s]+", lowered.metavar or "")
    return tuple(sorted(set(lowered.choices or ()) - {"None"}, key=order.index))


def _default(value: Any, lowered: Any) -> str:
    if value is None or value in ((), [], {}, "") or value is tyro.MISSING_NONPROP:
        return ""
    if isinstance(value, bool):
        return "on" if value else ""
    if lowered.str_from_instance is None:
        return ""
    return " ".join(lowered.str_from_instance(value))


def _message(
    event: _errors.ParseErrorEvent, args: Sequence[str], known: Sequence[Option], command: str
) -> str | None:
    """An error in our words; None for one of a kind that is new to us, which tyro then shows."""
    if isinstance(event, _errors.UnrecognizedArgs):
        flags = [token for token in event.tokens if token.startswith("-")]
        listed = f" (jaxvae {command} --help lists them)"
        if flags:
            word = flags[0].partition("=")[0]
            every = [flag for option in known for flag in option.flags]
            return f"{word}: no option of {command}{nearest(word, every) or listed}"
        return f"{event.tokens[0]!r}: more than {command} takes{listed}"
    if isinstance(event, _errors.MissingArgs):
        missing = [_option(each.arg, each.source_parser) for each in event.missing_arguments]
        listed = "; ".join(f"{option.name} ({option.help.rstrip('.')})" for option in missing)
        return f"{command}: give {listed}"
    if isinstance(event, _errors.InvalidChoice):
        option = _option(event.argument)
        allowed = ", ".join(option.choices)
        similar = nearest(event.value, option.choices)
        return f"{_where(option)} = {event.value!r}: must be one of {allowed}{similar}"
    if isinstance(event, _errors.BadValue):
        option = _option(event.argument)
        if event.reason == "fixed":
            return f"{_where(option)}: is set in the experiment file, and not by an option"
        return f"{_where(option)}: must be given {_allowed(option.value)}"
    if isinstance(event, _errors.InstantiationFailure):
        if event.argument is None:  # a setting that refuses itself says which it is
            return str(event.message)
        option = _option(event.argument)
        given = " ".join(_given(option, args))
        return f"{_where(option)} = {given!r}: must be {_allowed(option.value)}"
    return None


def _where(option: Option) -> str:
    return option.flags[0] if option.flags else option.value


def _allowed(value: str) -> str:
    return f"{KINDS[value]} ({value})" if value in KINDS else value


def _given(option: Option, args: Sequence[str]) -> list[str]:
    """The words that were given to an option the last time, or to an argument without a name."""
    given: list[str] = []
    taking = False
    for word in args:
        name, has_value, value = word.partition("=")
        if word.startswith("--"):
            taking = name.replace("_", "-") in option.flags
            given = ([value] if has_value else []) if taking else given
        elif taking:
            given.append(word)
    return given
