"""The blocks of docs/parity.md run as they are written."""

from typing import Any

import numpy as np
import pytest

from jaxvae.runs import load_experiment
from tests.commands import call
from tests.documents import ROOT, blocks, commands

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

BRING_YOUR_OWN, CHECK = (block.text for block in blocks("docs/parity.md", "python"))


def carry_out(code, **names):
    exec(compile(code, str(ROOT / "docs" / "parity.md"), "exec"), {"__name__": "example", **names})


def test_bring_your_own(capsys):
    carry_out(BRING_YOUR_OWN)
    printed = capsys.readouterr().out
    assert printed.startswith("TheirVAE: equal\n") and "gradient" in printed


Module: Any = torch.nn.Module


class TheirVAE(Module):
    """With the methods and the names of pytorch/examples."""

    def __init__(self, hidden, latents):
        super().__init__()
        self.fc1 = torch.nn.Linear(784, hidden)
        self.fc21, self.fc22 = (torch.nn.Linear(hidden, latents) for _ in range(2))
        self.fc3, self.fc4 = torch.nn.Linear(latents, hidden), torch.nn.Linear(hidden, 784)
        self.activation = torch.relu

    def encode(self, x):
        h = self.activation(self.fc1(x.flatten(1)))
        return self.fc21(h), self.fc22(h)

    def decode(self, z):
        return torch.sigmoid(self.fc4(self.activation(self.fc3(z))))


def test_results_are_checked(tmp_path, monkeypatch, capsys):
    """By the command that follows the block: what reconstructs the same is taken, and the same
    weights with another activation are not."""
    monkeypatch.chdir(tmp_path)
    [command] = (c.words for c in commands("docs/parity.md") if "--check" in c.words and c.whole)
    settings = load_experiment(command[command.index("--as") + 1]).model
    [hidden] = settings.hidden_dims
    model = TheirVAE(hidden, settings.latent_dim)
    torch.save(model.state_dict(), "vae.pth")
    words = [*command[1:], "--image-shape", 28, 28, 1]  # MNIST may not be to hand
    images = torch.rand(5, 1, 28, 28)
    for activation, same in ((torch.tanh, False), (torch.relu, True)):
        model.activation = activation
        carry_out(CHECK, model=model, images=images)
        status, made, said = call(capsys, *words)
        assert (status == 0) == same, said
    assert np.load("check.npz")["outputs"].shape == (5, 784)
    assert made["checked"]["largest_difference"] < 1e-6
