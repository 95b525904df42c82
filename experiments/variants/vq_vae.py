"""A VQ-VAE whose codebook is a moving average of the features that choose its codes.

loss = -log p(x|e) + 0.25 |z - sg(e)|^2, e the code next to each position's features z, through
which gradients pass as if it were z. Codes are sums / counts, moving averages with decay 0.99,
Laplace smoothed. van den Oord, Vinyals and Kavukcuoglu 2017, eq. 3 and appendix A.1
(arXiv:1711.00937). Convolutions 1-16-32, k3 s2, a code of 16 numbers at each of 7x7 positions, 64
codes. The prior is uniform over the codes.

Expect: EXPECT
Run: jaxvae train experiments/variants/vq_vae.py   (WALL)
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import Data, Experiment, Model, Objective, Train
from jaxvae.models import Autoencoder, networks
from jaxvae.models.vector_quantizer import VectorQuantizer, from_examples


class VQVAE(Autoencoder, kw_only=True):
    codes: int
    code_dim: int
    decay: float

    def make_bottleneck(self) -> VectorQuantizer:
        return VectorQuantizer(self.codes, self.code_dim, self.decay, self.init_rule)

    def prior(self, batch: Any) -> jax.Array:
        """Codes, each as likely as the others, at every position."""
        x = jnp.zeros((1, *batch.info.shape))
        side = jax.eval_shape(self.encoder, x).shape[1:-1]
        return self.bottleneck.uniform(batch.noise, side)


@dataclass(frozen=True)
class VQ(Model):
    codes: int = 64
    """In the codebook."""
    decay: float = 0.99
    """Of the codebook's moving averages."""

    def build(self, info: Any) -> VQVAE:
        shared = networks(self, info) | {"codes": self.codes, "decay": self.decay}
        return VQVAE(**shared, code_dim=self.latent_dim)

    initialise = staticmethod(from_examples)


@dataclass(frozen=True)
class Commitment(Objective):
    commitment: float = 0.25
    """Weight of the features' distance from their codes."""

    def terms(self, output: Any, batch: Any, params: Any) -> dict[str, jax.Array]:
        terms, aux = super().terms(output, batch, params), output.aux
        loss = terms["loss"] + self.commitment * aux["commitment"]
        return terms | {"loss": loss} | {name: aux[name] for name in ("commitment", "perplexity")}


experiment = Experiment(
    name="vq_vae",
    data=Data("digits", batch_size=32),
    model=VQ(family="CAE", network="conv", hidden_dims=(16, 32), latent_dim=16),
    objective=Commitment("bernoulli"),
    train=Train(epochs=50, figures_every=0),
)
