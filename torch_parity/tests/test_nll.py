"""The bound of K draws beside a loop that was written for PyTorch."""

import re

import pytest

from torch_parity import nll


@pytest.mark.slow
def test_both_find_the_same_bound(capsys):
    """Of 20 images by 500 draws of which some ten count: a mean scatters by 0.1 nats in each; a
    term that is missing moves it by 10 and more."""
    nll.main(num_samples=500, images=20, loop_images=20)
    said = capsys.readouterr().out
    ours, theirs = map(float, re.findall(r"of both: ([\d.]+) and ([\d.]+)", said)[0])
    assert ours == pytest.approx(theirs, abs=0.8)
    assert "products" in said and "times as long" in said
