"""docs/walkthrough.md as one program: its blocks run in order, and print what it shows."""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "walkthrough.md"
TEXT = PAGE.read_text()

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SHADES = " .:*#"


class Block(NamedTuple):
    """A block of Python, and what the page shows that it prints."""

    line: int  # of its first line in the page
    code: str
    shown: str


def blocks() -> list[Block]:
    pattern = r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?"
    found = re.finditer(pattern, TEXT, re.MULTILINE | re.DOTALL)
    return [Block(TEXT[: m.start(1)].count("\n"), m[1], m[2] or "") for m in found]


def is_picture(text: str) -> bool:
    return set(text) <= {*SHADES, "\n"}


def picture(text: str, width: int) -> np.ndarray:
    """Lines of shades as numbers from 0 to 4."""
    return np.array([[SHADES.index(c) for c in line.ljust(width)] for line in text.splitlines()])


def agree(printed: str, shown: str) -> bool:
    """Words are the same, numbers close, and pictures are of the same things."""
    printed, shown = ("\n".join(map(str.rstrip, t.splitlines())) for t in (printed, shown))
    if printed and is_picture(printed) and is_picture(shown):
        width = max(map(len, (printed + "\n" + shown).splitlines()))
        one, two = picture(printed, width), picture(shown, width)
        return one.shape == two.shape and bool(np.abs(one - two).mean() < 0.3)
    words = [NUMBER.sub("0", text).split() for text in (printed, shown)]
    numbers = zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=False)
    return words[0] == words[1] and all(close(mine, theirs) for mine, theirs in numbers)


def close(printed: str, shown: str) -> bool:
    """Other processors round differently, and training makes more of it: 2 % and a last digit."""
    decimals = shown.partition(".")[2]
    last_digit = 10.0 ** -len(decimals) if decimals else 0.0
    return abs(float(printed) - float(shown)) <= 0.02 * abs(float(shown)) + 1.001 * last_digit


@pytest.mark.slow
@pytest.mark.ci
def test_the_page_is_a_program_that_prints_what_it_shows(monkeypatch):
    # Its numbers are of its own seeds, also where tests are given others (conftest.py).
    monkeypatch.setattr(np.random, "default_rng", np.random._generator.default_rng)
    everything: dict[str, object] = {"__name__": "walkthrough"}
    with np.printoptions():  # the page sets its own
        for block in blocks():
            padded = "\n" * block.line + block.code  # so that an error names the page's line
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(padded, str(PAGE), "exec"), everything)
            message = f"line {block.line}: printed\n{said.getvalue()}\nshown\n{block.shown}"
            assert agree(said.getvalue(), block.shown), message
    history = everything["history"]
    assert isinstance(history, list) and history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("loss 1.886", "loss 1.95"),
        ("loss 1.886", "kl 1.886"),
        ("loss 1.886", ""),
        ("", "loss 1.886"),
        ("nan", "1.886"),
        (".:*#\n.:*#", "#*:.\n#*:."),
        (".:*#", ".:*#\n.:*#"),
    ],
)
def test_a_difference_is_noticed(printed, shown):
    assert agree(printed, printed) and agree(shown, shown)
    assert not agree(printed, shown)


def test_all_that_is_shown_is_compared():
    """Every fence belongs to a block that was found, and every output to the block above it."""
    assert TEXT.count("```python\n") == len(blocks())
    assert TEXT.count("```text\n") == sum(bool(block.shown) for block in blocks())
    assert TEXT.count("```") == 2 * (TEXT.count("```python\n") + TEXT.count("```text\n"))


def test_the_training_loop_is_short():
    loops = [block.code for block in blocks() if "\ndef fit(" in block.code]
    assert len(loops) == 1
    assert len(loops[0].splitlines()) <= 30
    assert "fit(" in loops[0].split("return state, history")[1]  # it is not only defined there


def test_links_and_names():
    """Links lead to files, and what a row of the table names is in its files."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target
    rows = [line.split("|")[2] for line in TEXT.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    for row in rows:
        for names, target in re.findall(r"([^,(][^(]*?) in \[[^]]*\]\(([^)]+)\)", row):
            source = (PAGE.parent / target).read_text()
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), (name, target)
        assert "`" in row
    assert "[docs/walkthrough.md]" in (ROOT / "README.md").read_text()
