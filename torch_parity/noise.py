"""Feeding our noise to a PyTorch model: the two random generators cannot be made to agree."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from jaxvae.checks import UsageError
from jaxvae.interop.maps import Layer, Map
from jaxvae.models.layers import keep_mask

_mask = jax.jit(keep_mask, static_argnums=(1, 2, 3))

# Whatever draws standard normal noise in a forward pass, `Normal.rsample` included.
_DRAWS = (torch.randn, torch.randn_like, torch.normal, Tensor.normal_)


class _Eps(TorchFunctionMode):
    """Within it, drawing standard normal noise gives `eps`, once."""

    def __init__(self, eps: Tensor):
        super().__init__()
        self.eps, self.drawn = eps, False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func not in _DRAWS:
            return func(*args, **(kwargs or {}))
        if self.drawn:
            raise UsageError("the PyTorch model draws noise more than once in a forward pass")
        self.drawn = True
        if func is torch.normal:  # Normal.rsample draws by normal(zeros, ones)
            mean, std = args[:2]
            return mean + std * self.eps
        return self.eps


@contextlib.contextmanager
def shared_noise(
    model: nn.Module, eps: Tensor, dropout_keys: jax.Array, weight_map: Map
) -> Iterator[None]:
    """For one forward pass: `model` reparameterizes with `eps`, and its dropout has our masks.

    Args:
        model: draws its noise by torch.randn_like, torch.randn, torch.normal or `normal_`, once.
        eps: (batch, latent_dim), as PyTorch would draw it.
        dropout_keys: one per example, as our step makes them.
        weight_map: names our counterpart of each nn.Dropout.

    Raises:
        UsageError: a dropout layer of `model` has no counterpart, or noise is drawn twice.
    """
    handles = []

    def masked(ours: Layer, layer: nn.Dropout, args: tuple[Tensor], output: Tensor) -> Tensor:
        if not layer.training:
            return output
        channels, *size = ours.flat_out or tuple(output.shape[1:])
        keep = np.asarray(_mask(dropout_keys, ours.paths[0], (*size, channels), layer.p))
        keep = np.moveaxis(keep, -1, 1).reshape(output.shape)
        return torch.where(torch.tensor(keep), args[0] / (1 - layer.p), 0.0)

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Dropout) and layer.p > 0:
            if name not in weight_map:
                raise UsageError(f"weight_map: lacks the dropout layer {name!r}")
            handles.append(layer.register_forward_hook(partial(masked, weight_map[name])))
    try:
        with _Eps(eps):
            yield
    finally:
        for handle in handles:
            handle.remove()
