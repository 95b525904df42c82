"""What a module returns, and what it must offer."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax

from jaxvae.batch import Batch

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


class Module(Protocol):
    """What a model must offer; `jaxvae.models.Autoencoder` does.

    All of it is called through `module.apply(variables, ..., method=...)`.
    """

    def __call__(self, batch: Batch, train: bool = False) -> Output:
        """Encode, draw a code (its mean where `batch.noise` is None), decode."""

    def embed(self, batch: Batch) -> Arrays:
        """The deterministic code of the examples, which `decode` takes.

        Of several layers a dict by name, the one that `decode` takes first.
        """

    def decode(self, z: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        """Codes to logits, or to the mean of p(x|z); of `batch` a label may be used."""

    def prior(self, batch: Batch) -> jax.Array:
        """Codes drawn from the model's own prior, with `batch.noise`, one per label.

        Raises:
            UsageError: it has none.
        """
