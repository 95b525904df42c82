"""The recipes that are raced in PyTorch: those of `torch_parity.recipes`, and of published networks
for colour images of 64x64.

Does not import JAX.
"""

from functools import partial
from typing import Any

from torch import Tensor

from torch_parity.losses import LOSSES
from torch_parity.published import AntixkVAE, BurgessVAE
from torch_parity.recipes import RECIPES, Recipe, adam


class Antixk(AntixkVAE):
    """The source's network; `forward` returns what a recipe's loss asks for."""

    def forward(self, x: Tensor) -> Any:
        """Pixels, mean and logvar."""
        pixels, _, mean, logvar = super().forward(x)
        return pixels, mean, logvar


class Burgess(BurgessVAE):
    """The source's network; `forward` returns what a recipe's loss asks for."""

    def forward(self, x: Tensor) -> Any:
        """Probabilities, mean and logvar."""
        pixels, (mean, logvar), _ = super().forward(x)
        return pixels, mean, logvar


RACED = RECIPES | {
    "antixk_vae": Recipe(Antixk, LOSSES["antixk_train"], adam(5e-4), channels=3),
    "burgess_vae": Recipe(partial(Burgess, (3, 64, 64)), LOSSES["flax"], adam(5e-4), channels=3),
}
