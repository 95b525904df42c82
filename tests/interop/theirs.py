"""PyTorch models for tests of imports: small, their layers under any names."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jaxvae import Experiment, Model, Optimizer

SHAPE = (4, 5, 2)  # of the stored images: height, width, channels
IMAGES = np.random.default_rng(0).random((3, 2, 4, 5))
LATENTS = 3
SETTINGS = Model(hidden_dims=(12, 7), latent_dim=LATENTS)
VAE = Experiment("small_vae", model=SETTINGS, optimizer=Optimizer("sgd"))

LAYERS = ("h1", "h2", "mean", "logvar", "z1", "z2", "out")
SIZES = ((40, 12), (12, 7), (7, LATENTS), (7, LATENTS), (LATENTS, 7), (7, 12), (12, 40))


def state_dict(names: str, heads: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of `SETTINGS` in PyTorch, its layers under these names, in their order.

    With `heads` the fourth name is left out: the third is one Linear for both.
    """
    torch.manual_seed(seed)
    sizes = [*SIZES[:2], (7, 2 * LATENTS), *SIZES[4:]] if heads else SIZES
    state = {}
    for name, size in zip(names.split(), sizes, strict=True):
        for key, tensor in nn.Linear(*size).state_dict().items():
            state[f"{name}.{key}"] = tensor
    return state


def function(state: Mapping[str, Tensor], heads: bool = False, factor: float = 1.0) -> dict:
    """What `SETTINGS` makes of `IMAGES` with these weights, z the mean, in float64.

    The layers are in the order in which they are applied; logvar is `factor` times the head.
    """
    pairs = [*state.values()]
    layers = [(pairs[i].double(), pairs[i + 1].double()) for i in range(0, len(pairs), 2)]

    def chain(x: Tensor, *steps: tuple[Tensor, Tensor]) -> Tensor:
        for weight, bias in steps:
            x = F.relu(F.linear(x, weight, bias))
        return x

    h = chain(torch.tensor(IMAGES).flatten(1), *layers[:2])
    if heads:
        mean, logvar = F.linear(h, *layers[2]).chunk(2, dim=1)
    else:
        mean, logvar = F.linear(h, *layers[2]), F.linear(h, *layers[3])
    out = F.linear(chain(mean, *layers[-3:-1]), *layers[-1])
    values = {"pixels": torch.sigmoid(out).reshape(IMAGES.shape), "mean": mean}
    return {name: v.numpy() for name, v in (values | {"logvar": factor * logvar}).items()}


def of_modules(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> dict:
    """Pixels of an autoencoder without a posterior."""
    with torch.no_grad():
        return {"pixels": decode(encode(torch.tensor(IMAGES))).reshape(IMAGES.shape).numpy()}
