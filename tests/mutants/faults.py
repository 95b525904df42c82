"""The faults that `python -m tests.mutants` plants, from the lists beside this file.

A list is of one room: files of it, for each the tests that are to find what is wrong there, and its
faults: in words, the text that is replaced, and by what. An entry may name other `tests`, and say
why its fault `survives` though a person could make it.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent


class Fault(NamedTuple):
    """One fault. `tests` are arguments of pytest; `survives` is empty, or the reason."""

    room: str
    path: str
    words: str
    old: str
    new: str
    tests: str
    survives: str = ""

    @property
    def name(self) -> str:
        """The room, and a digest of what is replaced, by what, and of the tests."""
        text = "\0".join((self.path, self.old, self.new, self.tests))
        return f"{self.room}-{hashlib.sha256(text.encode()).hexdigest()[:4]}"

    def planted(self, source: str) -> str:
        """The source with the fault in it.

        Raises:
            ValueError: the text to be replaced is not there exactly once.
        """
        if (count := source.count(self.old)) != 1:
            raise ValueError(f"{self.name}: found {count} times in {self.path}: {self.old!r}")
        return source.replace(self.old, self.new)


def read_all() -> list[Fault]:
    """All faults, list by list."""
    found = []
    for path in sorted(LISTS.glob("*.toml")):
        for of_file in tomllib.loads(path.read_text())["file"]:
            for words, old, new, *more in of_file["faults"]:
                options = {"tests": of_file["tests"]} | (more[0] if more else {})
                found.append(Fault(path.stem, of_file["path"], words, old, new, **options))
    return found
