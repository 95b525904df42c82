"""The example of docs/parity.md runs as it is written."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'")

DOCUMENT = Path(__file__).parents[2] / "docs" / "parity.md"


def test_bring_your_own(capsys):
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.S)
    exec(compile(code, str(DOCUMENT), "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert printed.startswith("TheirVAE: equal\n") and "gradient" in printed
