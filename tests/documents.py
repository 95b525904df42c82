"""What the documents tell a reader to run: blocks of Python, and commands."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("*.md", "docs/**/*.md", "gpu/*.md", "fuzz/*.md")
    for path in ROOT.glob(room)
    if path.name != "CHANGELOG.md"  # which tells of commands as they were
)
"""All of them, as paths in the repository."""
NOTEBOOKS = sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.py"))
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("experiments", "docs", "torch_parity", "gpu")
    for path in (ROOT / room).rglob("*.py")
)
"""Files of Python whose docstrings say how they are run."""

BEGINS = r"(?:jaxvae|(?:\.venv/bin/)?python3?|make|pip|\.ci/run)"
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )?{BEGINS} \S")


class Block(NamedTuple):
    """What stands between two fences."""

    line: int  # of its first line in the document
    language: str
    text: str


class Command(NamedTuple):
    """A command as its words.

    whole: of one that is only mentioned in a sentence, what it works on may be left out.
    """

    where: str
    words: tuple[str, ...]
    whole: bool


def blocks(document: str, language: str = "") -> list[Block]:
    """Those of a document, in their order; with a language, its own alone."""
    text = (ROOT / document).read_text()
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    every = [Block(text[: m.start(2)].count("\n") + 1, m[1], m[2]) for m in found]
    return [block for block in every if language in ("", block.language)]


def commands(document: str) -> list[Command]:
    """Of a document or a notebook: every line of a block of `sh`, and what sentences mention."""
    found = []
    for block in blocks(document, "sh"):
        # A line that ends in a backslash goes on in the next one.
        for line in re.finditer(r"(?:.*\\\n)*.+", block.text):
            where = f"{document}:{block.line + block.text[: line.start()].count(chr(10))}"
            found.append(Command(where, words_of(line[0].replace("\\\n", " ")), True))
    text = (ROOT / document).read_text()
    # Without the blocks, but with as many lines.
    text = re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
    for mentioned in re.finditer(r"`([^`]+)`", text):
        words = re.sub(r"\n#? *", " ", mentioned[1])
        words = re.sub(r"^source <\((.*)\)$", r"\1", words)
        if COMMAND.match(words):
            where = f"{document}:{text[: mentioned.start()].count(chr(10)) + 1}"
            found.append(Command(where, words_of(words), False))
    return [command for command in found if command.words]


def commands_of_program(path: str) -> list[Command]:
    """Of a file's docstring: behind `Run: ` and the like, or on lines that are set in by four;
    three spaces end a command, and a line that begins with an option goes on with it."""
    said = re.match(r'"""(.*?)"""', (ROOT / path).read_text(), re.DOTALL)
    text, found = said[1] if said else "", []
    for m in re.finditer(rf"^(?:[A-Z]\w+: |    )({BEGINS} .+(?:\n    --.+)*)", text, re.M):
        line = " ".join(part.strip().partition("   ")[0] for part in m[1].splitlines())
        where = f"{path}:{text[: m.start()].count(chr(10)) + 1}"
        found.append(Command(where, words_of(line), True))
    return found


def words_of(line: str) -> tuple[str, ...]:
    """Without comments, variables of the environment, and where the output goes to."""
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    ends = [words.index(sign) for sign in (">", "|") if sign in words]
    return tuple(words[: min(ends, default=len(words))])
