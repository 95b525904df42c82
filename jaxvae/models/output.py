"""What a module returns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from jaxvae.checks import UsageError

Arrays = Any
"""An array, or of several layers a dict of arrays."""


class Code(NamedTuple):
    """What a bottleneck makes of the encoder's features; the fields are those of `Output`."""

    z: Arrays
    kl: Arrays | None = None
    log_ratio: jax.Array | None = None
    aux: Mapping[str, Any] = {}


class Output(NamedTuple):
    """What a module returns for a batch. Several samples put their axes before that of the batch.

    decoded: (..., batch, ...), logits or the mean of p(x|z).
    z: the code that was decoded, (..., batch, ...); by layer where there are several, whose names
        are in order from the data upwards (z1, z2).
    kl: KL(q(z|x) || p(z)), or one sample of it, in nats, (..., batch); by layer where there are
        several; None: the model has no posterior.
    log_ratio: log q(z|x) - log p(z) at z, (..., batch), for bounds of several samples.
    aux: whatever else is of interest: `mean`, `logvar`, `kl_per_latent`, ...
    """

    decoded: jax.Array
    z: Arrays
    kl: Arrays | None = None
    log_ratio: jax.Array | None = None
    aux: Mapping[str, Any] = {}

    @property
    def kl_of_example(self) -> Any:
        """The KL of all layers together, (..., batch); None where there is none."""
        return sum(self.kl.values()) if isinstance(self.kl, dict) else self.kl

    @property
    def num_latents(self) -> int:
        """The length of a code, of all layers together."""
        layers = self.z.values() if isinstance(self.z, dict) else [self.z]
        return sum(layer.shape[-1] for layer in layers)

    @property
    def gaussian(self) -> tuple[jax.Array, jax.Array]:
        """Mean and logvar of q(z|x) = N(mean, exp(logvar)) under p(z) = N(0, I), shaped like z.

        Raises:
            UsageError: posterior or prior are others.
        """
        per_latent = self.aux.get("kl_per_latent")  # which only such a bottleneck has
        if per_latent is None or per_latent.shape != self.z.shape:
            raise UsageError("the objective needs a Gaussian posterior and the prior N(0, I)")
        return self.aux["mean"], self.aux["logvar"]
