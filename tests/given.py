"""Batches for tests: of images that the model sees as they are, with given noise or none."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.batch import Batch
from jaxvae.info import Info
from jaxvae.noise import Noise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Given(Noise):
    """Noise whose normal draws are `eps`; all else is drawn."""

    eps: Any = None

    def normal(self, name: str, shape: Any) -> Any:
        assert tuple(shape) == self.eps.shape[1:]
        return self.eps


def given(eps: Any, step: int = 0) -> Given:
    """Noise of seed 0 and the first examples, but for these normal draws, (batch, ...)."""
    return Given(noise.root(0), step, jnp.arange(len(eps)), eps=eps)


def batch(x: Any, eps: Any = None, own: Noise | None = None, observed: Any = None) -> Batch:
    """Examples x, (batch, ...), with the normal draws `eps`, or with `own` noise, or without."""
    own = own if eps is None else given(eps)
    label = jnp.full(len(x), -1, jnp.int32)
    return Batch(x, x, label, observed, own, Info(tuple(x.shape[1:])))
