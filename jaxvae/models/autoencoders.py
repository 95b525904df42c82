"""AE, CAE and VAE: an encoder, a code, a decoder.

All three are called as `model.apply(variables, x, eps, ...)` and return an `Output`; noise comes in
as arrays, so a forward pass is a function. `decode` returns what the decoder computes (logits where
the likelihood is Bernoulli); `reconstruct` and `sample` return pixel values.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.models.layers import Activation, Dense, InitRule, keep_preactivation

DecoderOutput = Literal["logits", "sigmoid", "tanh", "relu", "linear"]

OUTPUT_ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": nn.relu,
}


class Output(NamedTuple):
    """What a model returns for a batch.

    decoded: (batch, height, width, channels), logits or the mean of p(x|z).
    z: the code that was decoded, (batch, latent_dim), or a feature map for a CAE.
    mean, logvar: the posterior q(z|x), (batch, latent_dim) each; None without a posterior.
    x_logvar: learned log-variance of p(x|z), a scalar; None unless it is learned.
    """

    decoded: jax.Array
    z: jax.Array
    mean: jax.Array | None = None
    logvar: jax.Array | None = None
    x_logvar: jax.Array | None = None


def reparameterize(mean: jax.Array, logvar: jax.Array, eps: jax.Array) -> jax.Array:
    """z = mean + exp(logvar / 2) eps, a sample of N(mean, exp(logvar)) if eps is one of N(0, I).

    Kingma and Welling 2014, section 2.4. All shapes (batch, latent_dim).
    """
    return mean + jnp.exp(0.5 * logvar) * eps


def decoder_mean(decoded: jax.Array, output: DecoderOutput) -> jax.Array:
    """The mean of p(x|z), in the range of the data, from what `decode` returns."""
    return nn.sigmoid(decoded) if output == "logits" else decoded


class Autoencoder(nn.Module, kw_only=True):
    """What AE, CAE and VAE share: the two networks and the decoder's end."""

    encoder: nn.Module
    decoder: nn.Module
    output: DecoderOutput = "logits"
    init_rule: InitRule = "flax"
    learned_variance: bool = False

    def setup(self) -> None:
        if self.learned_variance:
            self.x_logvar = self.param("x_logvar", nn.initializers.zeros_init(), ())

    def __call__(
        self,
        x: jax.Array,
        eps: jax.Array | None = None,
        train: bool = False,
        dropout_keys: jax.Array | None = None,
    ) -> Output:
        """Encode and decode (batch, height, width, channels); only a VAE uses `eps`."""
        z = self.embed(x, train, dropout_keys)
        return Output(self.decode(z, train, dropout_keys), z, x_logvar=self._x_logvar())

    def decode(
        self, z: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        """Codes to (batch, height, width, channels): logits, or the mean of p(x|z)."""
        decoded = self.decoder(z, train, dropout_keys)
        keep_preactivation(self, "output_preactivation", decoded)
        activation = OUTPUT_ACTIVATIONS.get(self.output)
        return decoded if activation is None else activation(decoded)

    def decode_mean(self, z: jax.Array) -> jax.Array:
        """Codes to the mean of p(x|z), (batch, height, width, channels), in the data's range."""
        return decoder_mean(self.decode(z), self.output)

    def reconstruct(self, x: jax.Array) -> jax.Array:
        """Images through the deterministic code and back: the mean of p(x|z = embed(x))."""
        return self.decode_mean(self.embed(x))

    def _x_logvar(self) -> jax.Array | None:
        return self.x_logvar if self.learned_variance else None


class AE(Autoencoder, kw_only=True):
    """An autoencoder with a vector code: z = [activation](W encoder(x) + b).

    Hinton and Salakhutdinov 2006 (trained end to end, as everybody does today).
    """

    latent_dim: int
    code_activation: Activation | None = None

    def setup(self) -> None:
        super().setup()
        self.code = Dense(self.latent_dim, self.init_rule)

    def embed(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        """Images (batch, height, width, channels) to codes (batch, latent_dim)."""
        h = self.encoder(x, train, dropout_keys)
        z = self.code(h.reshape(h.shape[0], -1))
        keep_preactivation(self, "code_preactivation", z)
        return z if self.code_activation is None else self.code_activation(z)


class CAE(Autoencoder, kw_only=True):
    """A convolutional autoencoder whose code is the encoder's last feature map.

    Masci et al. 2011, with strides in place of max-pooling.
    """

    def embed(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        """Images (batch, height, width, channels) to feature maps (batch, h, w, features)."""
        return self.encoder(x, train, dropout_keys)


class VAE(Autoencoder, kw_only=True):
    """A variational autoencoder: q(z|x) = N(mean(x), exp(logvar(x))), p(z) = N(0, I).

    Kingma and Welling 2014, "Auto-Encoding Variational Bayes".
    """

    latent_dim: int

    def setup(self) -> None:
        super().setup()
        self.mean = Dense(self.latent_dim, self.init_rule)
        self.logvar = Dense(self.latent_dim, self.init_rule)

    def encode(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Images (batch, height, width, channels) to mean and logvar, (batch, latent_dim) each."""
        h = self.encoder(x, train, dropout_keys)
        h = h.reshape(h.shape[0], -1)
        return self.mean(h), self.logvar(h)

    def embed(self, x: jax.Array) -> jax.Array:
        """The code of an image: the posterior mean, (batch, latent_dim). Deterministic."""
        mean, _ = self.encode(x)
        return mean

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """`n` images from the prior: the mean of p(x|z) at z ~ N(0, I), in the data's range."""
        return self.decode_mean(jax.random.normal(key, (n, self.latent_dim)))

    def __call__(
        self,
        x: jax.Array,
        eps: jax.Array | None = None,
        train: bool = False,
        dropout_keys: jax.Array | None = None,
    ) -> Output:
        """Encode, sample z with `eps` ~ N(0, I) of shape (batch, latent_dim), decode.

        Without `eps`, the posterior mean is decoded.
        """
        mean, logvar = self.encode(x, train, dropout_keys)
        z = mean if eps is None else reparameterize(mean, logvar, eps)
        decoded = self.decode(z, train, dropout_keys)
        return Output(decoded, z, mean, logvar, self._x_logvar())
