"""AE, CAE and VAE: an encoder, a bottleneck, a decoder.

All are called as `module.apply(variables, batch, train)` and return an `Output`; noise comes in
with the batch, so a forward pass is a function. `decode` returns what the decoder computes: logits
where the likelihood is Bernoulli.
"""

from typing import Literal, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.batch import Batch
from jaxvae.models.bottlenecks import FeatureMap, Gaussian, Vector
from jaxvae.models.layers import Activation, InitRule, keep_preactivation
from jaxvae.models.output import Arrays, Output

DecoderOutput = Literal["logits", "sigmoid", "tanh", "relu", "linear"]

OUTPUT_ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": nn.relu,
}


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

        Where that is N(0, I) they are `batch.noise.normal("sample", ...)`, by which it is known.

        Raises:
            UsageError: it has none.
        """


def decoder_mean(decoded: jax.Array, output: DecoderOutput) -> jax.Array:
    """The mean of p(x|z), in the range of the data, from what `decode` returns."""
    return nn.sigmoid(decoded) if output == "logits" else decoded


def dropout_keys(batch: Batch, train: bool) -> jax.Array | None:
    """One key per example, (batch,), for the dropout layers; None where nothing is dropped."""
    return batch.noise.keys("dropout") if train and batch.noise is not None else None


class Autoencoder(nn.Module, kw_only=True):
    """Encoder, bottleneck, decoder. Its subclasses choose the bottleneck.

    The bottleneck's parameters stand beside those of `encoder` and `decoder`.
    """

    encoder: nn.Module
    decoder: nn.Module
    output: DecoderOutput = "logits"
    init_rule: InitRule = "flax"

    def make_bottleneck(self) -> nn.Module:
        """The bottleneck, of `jaxvae.models.bottlenecks` or like them."""
        raise NotImplementedError

    def setup(self) -> None:
        self.bottleneck = self.make_bottleneck()
        nn.share_scope(self, self.bottleneck)

    def __call__(self, batch: Batch, train: bool = False) -> Output:
        """Examples to codes and back."""
        code = self.bottleneck(self.features(batch, train), batch.noise, train)
        return Output(self.decode(code.z, batch, train), *code)

    def features(self, batch: Batch, train: bool = False) -> jax.Array:
        """What the encoder makes of the input."""
        return self.encoder(batch.input, train, dropout_keys(batch, train))

    def decode(self, z: Arrays, batch: Batch, train: bool = False) -> jax.Array:
        """Codes to examples: logits, or the mean of p(x|z). Of several layers the first counts."""
        z = next(iter(z.values())) if isinstance(z, dict) else z
        decoded = self.decoder(z, train, dropout_keys(batch, train))
        keep_preactivation(self, "output_preactivation", decoded)
        activation = OUTPUT_ACTIVATIONS.get(self.output)
        return decoded if activation is None else activation(decoded)

    def embed(self, batch: Batch) -> Arrays:
        """The deterministic code, such as the posterior mean."""
        return self.bottleneck.embed(self.features(batch))

    def prior(self, batch: Batch) -> jax.Array:
        """Codes drawn from the prior with the batch's noise.

        Raises:
            UsageError: there is none.
        """
        assert batch.noise is not None
        return self.bottleneck.prior(batch.noise)


class AE(Autoencoder, kw_only=True):
    """An autoencoder with a vector code: z = activation(W encoder(x) + b), or without activation.

    Hinton and Salakhutdinov 2006 (trained end to end, as everybody does today).
    """

    latent_dim: int
    code_activation: Activation | None = None

    def make_bottleneck(self) -> nn.Module:
        return Vector(self.latent_dim, self.code_activation, self.init_rule)


class CAE(Autoencoder, kw_only=True):
    """A convolutional autoencoder whose code is the encoder's last feature map.

    Masci et al. 2011, with strides in place of max-pooling.
    """

    def make_bottleneck(self) -> nn.Module:
        return FeatureMap()


class VAE(Autoencoder, kw_only=True):
    """A variational autoencoder: q(z|x) = N(mean(x), exp(logvar(x))), p(z) = N(0, I).

    Kingma and Welling 2014, "Auto-Encoding Variational Bayes" (arXiv:1312.6114).
    """

    latent_dim: int

    def make_bottleneck(self) -> nn.Module:
        return Gaussian(self.latent_dim, self.init_rule)

    def posterior(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Mean and logvar of q(z|x), (batch, latent_dim) each."""
        return self.bottleneck.posterior(self.features(batch))
