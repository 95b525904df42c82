"""Scripts that let a shell complete commands, options, choices and paths.

They hold plain words, so that completing starts no Python: also the names of the experiments and
of the usual data sets, beside paths. What else is no option and has no choices is a path, which the
shell completes by itself. Options that a variant's own file adds are not known.
"""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Literal

from jaxvae.cli.help import EVERYWHERE
from jaxvae.cli.parsing import Option
from jaxvae.runs import names

Shell = Literal["bash", "zsh", "fish"]
Commands = Mapping[str, tuple[str, Sequence[Option]]]
"""Of each command what it does, in a line, and its options."""

EXPERIMENT = ("train", "experiments", "--as", "--experiment")
"""What is given an experiment, and may be given its name: commands and options."""
DATA = ("--data.source", "--source")
SETS = (
    *("digits", "mnist", "fashion_mnist", "kmnist", "cifar10"),
    *(
        f"emnist/{kind}"
        for kind in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
    ),
)
"""Those that need nothing else; to import them from `jaxvae.data` would take a second."""

BASH = """\
# jaxvae in bash: source <(jaxvae completion bash)
_jaxvae() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words= names=
  if (( COMP_CWORD == 1 )); then
    words={commands}
  else
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{choices}
    esac
    [[ $word == -* ]] && names=
    if [[ -z $words && $word == -* ]]; then
      case ${{COMP_WORDS[1]}} in
{options}
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [[ -n $names ]]; then
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "${{names// /$IFS}}" -- "$word"; compgen -f -- "$word"))
    compopt -o filenames 2> /dev/null
  fi
}}
complete -o bashdefault -o default -F _jaxvae jaxvae
"""

ZSH = """\
#compdef jaxvae
# jaxvae in zsh, after compinit: source <(jaxvae completion zsh)
_jaxvae() {{
  local -a found names
  if (( CURRENT == 2 )); then
    found=({commands})
    _describe command found
    return
  fi
  case "$words[2] $words[CURRENT-1]" in
{choices}
  esac
  [[ $words[CURRENT] == -* ]] && names=()
  if (( $#names )); then
    compadd -a names
    _files
  elif (( $#found )); then
    compadd -a found
  elif [[ $words[CURRENT] == -* ]]; then
    case $words[2] in
{options}
    esac
    _describe option found
  else
    _files
  fi
}}
compdef _jaxvae jaxvae
"""


def script(shell: Shell, commands: Commands) -> str:
    """What the shell is to read."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands).strip()


def _bash(commands: Commands) -> str:
    options = [
        f"        {name}) words={quote(' '.join(flag for flag, _ in _flags(of_command)))} ;;"
        for name, (_, of_command) in commands.items()
    ]
    choices = [
        f"      {quote(f'{name} {before}')}) {'names' if paths else 'words'}="
        f"{quote(' '.join(words))} ;;"
        for name, before, words, paths in _values(commands)
    ]
    return BASH.format(
        commands=quote(" ".join(commands)), choices="\n".join(choices), options="\n".join(options)
    )


def _zsh(commands: Commands) -> str:
    def described(name: str, says: str) -> str:
        return quote(f"{name}:{says}")

    options = []
    for name, (_, of_command) in commands.items():
        words = [described(flag, says) for flag, says in _flags(of_command)]
        options.append(f"      {name}) found=({' '.join(words)}) ;;")
    choices = [
        f"    {quote(f'{name} {before}')}) {'names' if paths else 'found'}="
        f"({' '.join(map(quote, words))}) ;;"
        for name, before, words, paths in _values(commands)
    ]
    return ZSH.format(
        commands=" ".join(described(name, says) for name, (says, _) in commands.items()),
        choices="\n".join(choices),
        options="\n".join(options),
    )


def _fish(commands: Commands) -> str:
    lines = ["# jaxvae in fish: jaxvae completion fish | source"]
    for name, (says, _) in commands.items():
        lines.append(f"complete -c jaxvae -f -n __fish_use_subcommand -a {name} -d {_fished(says)}")
    takes = {(name, flag): option for name, flag, option in _named(commands)}
    values = {(name, before): (words, paths) for name, before, words, paths in _values(commands)}
    for name, (_, of_command) in commands.items():
        seen = f"'__fish_seen_subcommand_from {name}'"
        if (name, name) in values:
            words, paths = values[name, name]
            only = "" if paths else " -f"
            lines.append(f"complete -c jaxvae{only} -n {seen} -a {_fished(' '.join(words))}")
        for flag, says in _flags(of_command):
            option = takes.get((name, flag))
            needs = "" if option is None or not option.value else " -r"
            if (name, flag) in values:
                words, paths = values[name, flag]
                needs = f"{' -r' if paths else ' -x'} -a {_fished(' '.join(words))}"
            lines.append(f"complete -c jaxvae -n {seen} -l {flag[2:]}{needs} -d {_fished(says)}")
    return "\n".join(lines)


def _fished(text: str) -> str:
    """A word for fish, in which only the quote and the backslash need one before them."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _flags(options: Sequence[Option]) -> list[tuple[str, str]]:
    """Each --name, and what it does."""
    own = [(flag, option.help) for option in options for flag in option.flags]
    also = {**EVERYWHERE, "--help-all": "Show every option."}
    return own + [(name.rpartition(" ")[2], says) for name, says in also.items()]


def _values(commands: Commands) -> list[tuple[str, str, Sequence[str], bool]]:
    """Of each command what comes before a value, itself or an option; the words that may be given,
    and whether a path may be, too."""
    short = [name.rpartition("/")[2] for name in names.experiments()]
    known = dict.fromkeys(EXPERIMENT, short) | dict.fromkeys(DATA, SETS)
    found: list[tuple[str, str, Sequence[str], bool]] = []
    for name, (_, of_command) in commands.items():
        if name in known:
            found.append((name, name, short, True))
        for option in of_command:
            for before in option.flags or (name,):
                if option.choices:
                    found.append((name, before, option.choices, False))
                elif before in known and option.flags:
                    found.append((name, before, known[before], True))
    return found


def _named(commands: Commands) -> list[tuple[str, str, Option]]:
    """Of each command each --name, and the option that it is of."""
    return [
        (name, flag, option)
        for name, (_, of_command) in commands.items()
        for option in of_command
        for flag in option.flags
    ]
