"""Weights from Flax parameters to PyTorch modules."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

# PyTorch layer of DenseVAE: path of the dense layer in the parameters of jaxvae's VAE.
DENSE_VAE = {
    "hidden": ("encoder", "Dense_0"),
    "mean": ("mean",),
    "logvar": ("logvar",),
    "expand": ("decoder", "Dense_0"),
    "pixels": ("decoder", "Dense_1"),
}


def dense_to_torch(params: Any, paths: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """A state dict's arrays from Flax parameters (or their gradients).

    A kernel (in, out) becomes a weight (out, in).
    """
    arrays = {}
    for name, path in paths.items():
        layer = params
        for key in path:
            layer = layer[key]
        arrays[f"{name}.weight"] = np.asarray(layer["kernel"]).T
        arrays[f"{name}.bias"] = np.asarray(layer["bias"])
    return arrays


def load(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into a module; missing or unknown names are an error."""
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
