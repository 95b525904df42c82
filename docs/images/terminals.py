"""Draws the terminals of docs/terminal.md: python docs/images/terminals.py, half a minute.

Each picture is what a command has really written to a terminal of 80 columns.
"""

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # `tests`, which is not installed

from tests.terminals import at_terminal  # noqa: E402

# Without the fonts that rich would fetch: what is to hand, and where each run begins is written.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = FORMAT.replace("Fira Code, monospace", "DejaVu Sans Mono, monospace")
REDRAWN = re.compile(r".*\x1b\[2K")


def screen(written: str) -> list[str]:
    """Lines with their colours, each as it was at last; a bar that was taken away is not there."""
    lines: list[str] = []
    for line in written.replace("\r\n", "\n").split("\n"):
        for _ in range(line.count("\x1b[1A")):
            lines.pop()
        lines.append(re.sub(r"\x1b\[\?25[lh]|\x1b\[\d?[AK]|\r", "", REDRAWN.sub("", line)))
    return lines


def draw(name: str, title: str, lines: list[str]) -> None:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    while not lines[-1].strip():
        lines.pop()
    for line in [*lines, ""]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    console.save_svg(str(HERE / f"{name}.svg"), title=title, code_format=FORMAT, unique_id=name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        words = ["digits_vae", "--train.epochs", "12"]
        _, written = at_terminal("train", *words)
        draw("train", f"jaxvae train {' '.join(words)}", screen(written))
        # While it trained: what had been written when the bar was drawn in epoch 9.
        until = next(m.end() for m in re.finditer(r"epoch  9/12 step \d+/44[^\r]*", written))
        draw("training", f"jaxvae train {' '.join(words)}", screen(written[:until]))
        words = ["digits_vae", "--population.seeds", "2"]
        words += ["--population.sweep", "objective.beta=0.5,1,4", "--train.epochs", "6"]
        _, written = at_terminal("train", *words, "--out", "runs/pop")
        draw("population", "jaxvae train --population", screen(written))
        _, written = at_terminal("evaluate", "runs/digits_vae")
        asked = ["train digits_vae --lr 1", "trian"]
        lines = ["$ jaxvae evaluate runs/digits_vae", *screen(written)[:-1]]
        for words in map(str.split, asked):
            lines += [f"$ jaxvae {' '.join(words)}", *screen(at_terminal(*words)[1])[:-1]]
        draw("evaluate", "jaxvae", lines)
        # As on a machine that has used none of them.
        nothing = {"TFDS_DATA_DIR": f"{folder}/sets", "JAXVAE_CACHE": f"{folder}/cache"}
        draw("datasets", "jaxvae datasets", screen(at_terminal("datasets", **nothing)[1]))
        help = screen(at_terminal("train", "digits_vae", "--help")[1])
        draw("help", "jaxvae train digits_vae --help", help)


if __name__ == "__main__":
    main()
