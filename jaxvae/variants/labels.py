"""Models that are told the class of an example."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.build import networks
from jaxvae.checks import require
from jaxvae.config import Model
from jaxvae.info import Info
from jaxvae.models import VAE, dropout_keys, flat


class ConditionalVAE(VAE, kw_only=True):
    """A VAE whose encoder and decoder see the one-hot label, behind the pixels and the code."""

    num_classes: int

    def with_label(self, values: jax.Array, batch: Any) -> jax.Array:
        """Rows, with the label appended; zeros where there is none."""
        one_hot = jax.nn.one_hot(batch.label, self.num_classes, dtype=values.dtype)
        return jnp.concatenate([flat(values), one_hot], axis=-1)

    def features(self, batch: Any, train: bool = False) -> jax.Array:
        """What the encoder makes of the input and the label."""
        seen = self.with_label(batch.input, batch)
        return self.encoder(seen, train, dropout_keys(batch, train))

    def decode(self, z: jax.Array, batch: Any, train: bool = False) -> jax.Array:
        """Codes and labels to examples."""
        return super().decode(self.with_label(z, batch), batch, train)


@dataclass(frozen=True)
class Conditional(Model):
    """A conditional VAE: Sohn, Lee and Yan 2015 (https://papers.nips.cc/paper/5775)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("family", "VAE"), ("network", "dense")):
            value = getattr(self, name)
            require(value == allowed, f"model.{name}", value, f"{allowed}: rows have the label")

    def build(self, info: Info) -> ConditionalVAE:
        allowed = "that of examples with labels"
        require(info.num_classes >= 2, "data.source", f"{info.num_classes} classes", allowed)
        shared = networks(self, info)
        return ConditionalVAE(**shared, latent_dim=self.latent_dim, num_classes=info.num_classes)
