"""PyTorch's weights are the same in every test, whichever ran before it."""

import sys

import pytest


@pytest.fixture(autouse=True)
def torch_seed():
    if torch := sys.modules.get("torch"):  # tests that need no PyTorch run without it
        torch.manual_seed(0)
