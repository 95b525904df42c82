"""Compression: test images as the actual bytes of bits-back coding, and back to the same bits.

A VAE codes an image in -ELBO nats if the bits that choose z ~ q(z|x) come from the message so far
and return when it is decoded (Townsend, Bird and Barber 2019, arXiv:1901.04866). The message is a
stack, that of asymmetric numeral systems (extra `compression`). Each latent is a whole
number of steps of 1/256; prior and posterior are Gaussians over these. Two sets: MNIST binarized by
a Bernoulli draw, and its 8-bit images, with a beta-binomial likelihood.

The decoder must compute the same floats as the encoder: both call one compiled program for one
image, in one process. Another machine may round otherwise; then nothing can be decoded.

The message includes the random words that it begins with, but not the model's parameters; the
baselines code all images in one file, in the better of two layouts, and know nothing of MNIST.

Number: bits per pixel of binarized MNIST, against the best of bz2, 1-bit PNG and lossless WebP.
Job: python -m jaxvae.experiments.jobs.bits_back
"""

import bz2
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, evaluation, figures, runs
from jaxvae.batch import Batch
from jaxvae.build import networks
from jaxvae.checks import absent
from jaxvae.evaluation import score
from jaxvae.figures.style import plot_figure, style_axes
from jaxvae.models import VAE, DenseDecoder, Output, dropout_keys

# -- a likelihood of 8-bit pixels, two parameters each --------------------------------------------

LEVELS = 255


class TwoMaps(VAE, kw_only=True):
    """A VAE whose decoder says log alpha and log beta of every pixel; `decode` is their mean."""

    def maps(self, z: jax.Array, batch: Batch, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Log alpha and log beta, (batch, height, width, 1) each, within -7 and 7.

        Beyond, the differences of log-gamma functions have no digits left in float32.
        """
        both = 7 * jnp.tanh(self.decoder(z, train, dropout_keys(batch, train)) / 7)
        return both[..., :1], both[..., 1:]

    def decode(self, z: jax.Array, batch: Batch, train: bool = False) -> jax.Array:
        log_alpha, log_beta = self.maps(z, batch, train)
        return jax.nn.sigmoid(log_alpha - log_beta)

    def __call__(self, batch: Batch, train: bool = False) -> Output:
        code = self.bottleneck(self.features(batch, train), batch.noise, train)
        log_alpha, log_beta = self.maps(code.z, batch, train)
        aux = {**code.aux, "log_alpha": log_alpha, "log_beta": log_beta}
        decoded = jax.nn.sigmoid(log_alpha - log_beta)
        return Output(decoded, code.z, code.kl, code.log_ratio, aux)


@dataclass(frozen=True)
class Grey(Model):
    output: Any = "sigmoid"

    def build(self, info: Any) -> TwoMaps:
        shared = networks(self, info)
        height, width, _ = info.shape
        decoder = DenseDecoder(self.hidden_dims[::-1], (height, width, 2))
        return TwoMaps(**shared | {"decoder": decoder}, latent_dim=self.latent_dim)


def beta_binomial_nll(x: jax.Array, log_alpha: jax.Array, log_beta: jax.Array) -> jax.Array:
    """-log BetaBinomial(x; 255, alpha, beta) per value, in nats; x is whole numbers in 0..255.

    log C(n, x) + log B(x + alpha, n - x + beta) - log B(alpha, beta).
    """
    n, alpha, beta = float(LEVELS), jnp.exp(log_alpha), jnp.exp(log_beta)
    lgamma = jax.lax.lgamma
    choices = math.lgamma(n + 1) - lgamma(x + 1) - lgamma(n - x + 1)
    above = lgamma(x + alpha) + lgamma(n - x + beta) - lgamma(n + alpha + beta)
    below = lgamma(alpha) + lgamma(beta) - lgamma(alpha + beta)
    return -(choices + above - below)


def beta_binomial(log_alpha: jax.Array, log_beta: jax.Array) -> jax.Array:
    """The probabilities of 0..255, (..., 256), by p(k+1)/p(k); they sum to 1 in float32 too."""
    n, k = LEVELS, jnp.arange(LEVELS, dtype=log_alpha.dtype)
    alpha, beta = jnp.exp(log_alpha)[..., None], jnp.exp(log_beta)[..., None]
    k = k.reshape((1,) * log_alpha.ndim + (-1,))
    ratio = jnp.log((n - k) * (k + alpha) / ((k + 1) * (n - k - 1 + beta)))
    first = jnp.zeros_like(ratio[..., :1])
    return jax.nn.softmax(jnp.concatenate([first, jnp.cumsum(ratio, axis=-1)], axis=-1))


@dataclass(frozen=True)
class BetaBinomial(Objective):
    likelihood: Any = "beta_binomial"

    def recon(self, output: Output, batch: Batch, params: dict[str, Any]) -> jax.Array:
        x = jnp.round(batch.target * LEVELS)
        terms = beta_binomial_nll(x, output.aux["log_alpha"], output.aux["log_beta"])
        return terms.reshape(len(x), -1).sum(axis=-1)


# -- bits back -------------------------------------------------------------------------------------

STEPS, BOUND = 256, 10
"""Of a latent: steps per unit, and its largest size."""


class Codec(NamedTuple):
    """What bits-back coding has to know of a model.

    posterior: an image to mean and standard deviation of q(z|x), (latents,) each.
    likelihood: a code (latents,) to a family of `constriction.stream.model` and its parameters, for
        the pixels of an image in a row.
    """

    posterior: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    likelihood: Callable[[np.ndarray], tuple[Any, np.ndarray]]


def coders() -> Any:
    """`constriction.stream`, or a UsageError where it is not installed."""
    try:
        import constriction
    except ModuleNotFoundError as error:
        raise absent("bits_back", "constriction", "jaxvae[compression]") from error
    return constriction.stream


def _gaussian() -> Any:
    return coders().model.QuantizedGaussian(-BOUND * STEPS, BOUND * STEPS)


def _in_steps(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    limit = BOUND * STEPS
    return np.clip(mean.astype(float) * STEPS, -limit, limit), std.astype(float) * STEPS


def _prior(latents: int) -> tuple[np.ndarray, np.ndarray]:
    return _in_steps(np.zeros(latents), np.ones(latents))


def encode(images: np.ndarray, codec: Codec, initial: np.ndarray) -> np.ndarray:
    """The message of whole-number images (n, ...): words of 32 bits, on top of `initial` ones."""
    message, gaussian = coders().stack.AnsCoder(initial, seal=True), _gaussian()
    for x in images:
        mean, std = codec.posterior(x)
        z = message.decode(gaussian, *_in_steps(mean, std))  # takes bits
        family, parameters = codec.likelihood(z / STEPS)
        message.encode_reverse(x.ravel().astype(np.int32), family, parameters)
        message.encode_reverse(z, gaussian, *_prior(len(z)))
    return message.get_compressed()


def decode(
    words: np.ndarray, n: int, shape: tuple[int, ...], latents: int, codec: Codec
) -> tuple[np.ndarray, np.ndarray]:
    """The n images of a message, (n, *shape), and the words that it began with."""
    message, gaussian, images = coders().stack.AnsCoder(words), _gaussian(), []
    for _ in range(n):
        z = message.decode(gaussian, *_prior(latents))
        family, parameters = codec.likelihood(z / STEPS)
        x = message.decode(family, parameters).reshape(shape)
        mean, std = codec.posterior(x)
        message.encode_reverse(z, gaussian, *_in_steps(mean, std))  # gives them back
        images.append(x)
    return np.stack(images[::-1]), message.get_compressed(unseal=True)


def codec_of(run: jaxvae.Run, maximum: int) -> Codec:
    """Of a VAE with a Bernoulli (maximum 1) or beta-binomial (255) likelihood."""
    model, variables, info = run.trained.model, run.trained.variables.model, run.trained.info

    def batch(x: jax.Array | None) -> Batch:
        return Batch(x, x, jnp.full(1, -1), None, None, info)

    @jax.jit
    def posterior(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, logvar = model.apply(variables, batch(x[None] / maximum), method="posterior")
        return mean[0], jnp.exp(0.5 * logvar[0])

    @jax.jit
    def likelihood(z: jax.Array) -> jax.Array:
        if maximum == 1:
            return jax.nn.sigmoid(model.apply(variables, z[None], batch(None), method="decode"))
        maps = model.apply(variables, z[None], batch(None), method="maps")
        return beta_binomial(*(each.ravel() for each in maps))

    if maximum == 1:
        bits = coders().model.Bernoulli(perfect=False)
        return Codec(
            lambda x: jax.device_get(posterior(np.float32(x))),
            lambda z: (bits, np.asarray(likelihood(np.float32(z))).ravel()),
        )
    levels = coders().model.Categorical(perfect=False)
    return Codec(
        lambda x: jax.device_get(posterior(np.float32(x))),
        lambda z: (levels, np.asarray(likelihood(np.float32(z)))),
    )


# -- others ----------------------------------------------------------------------------------------


def sizes(images: np.ndarray, maximum: int) -> dict[str, int]:
    """Bytes of whole-number images (n, height, width, 1), all in one file, by other coders."""
    n, height, width, _ = images.shape
    across = max(c for c in range(1, 33) if n % c == 0)
    square = images.reshape(n // across, across, height, width).transpose(0, 2, 1, 3)
    layouts = [images.reshape(n * height, width), square.reshape(-1, across * width)]

    def least(coders: list[Callable[[np.ndarray], bytes]]) -> int:
        return min(len(coder(layout)) for coder in coders for layout in layouts)

    def file(pixels: np.ndarray, **options: Any) -> bytes:
        buffer = io.BytesIO()
        if max(pixels.shape) > 16_383:  # WebP can hold no more: in parts
            half = len(pixels) // 2
            return file(pixels[:half], **options) + file(pixels[half:], **options)
        image = Image.fromarray(pixels.astype(np.uint8) * (255 // maximum))
        image = image.convert("1", dither=Image.Dither.NONE) if maximum == 1 else image
        image = image.convert("RGB") if options["format"] == "WebP" else image
        image.save(buffer, **options)
        return buffer.getvalue()

    plain = [lambda pixels: bz2.compress(pixels.astype(np.uint8).tobytes())]
    packed = [lambda pixels: bz2.compress(np.packbits(pixels.astype(bool)).tobytes())]
    return {
        "bz2": least(plain + (packed if maximum == 1 else [])),
        "PNG": least([lambda pixels: file(pixels, format="PNG", optimize=True)]),
        "WebP": least([lambda p: file(p, format="WebP", lossless=True, quality=100, method=6)]),
    }


# -- the job ---------------------------------------------------------------------------------------


def main(
    limit: int = 20_000, epochs: int = 12, out: Path = Path("runs/jobs/bits_back")
) -> dict[str, float]:
    """Train, encode, decode, compare, draw.

    Args:
        limit: So many training images; a twentieth as many test images are coded.
        epochs: Of either training.
        out: Folder of results.json, figure.png and the two messages.
    """
    coders()  # to fail early
    data = Data("mnist", limit=limit, validation_fraction=0.1)
    binary = Experiment(
        name="binary",
        data=replace(data, binarize="dynamic"),
        model=Model(hidden_dims=(256,), latent_dim=32),
        train=Train(epochs=epochs, figures_every=None),
    )
    grey = Experiment(
        name="grey",
        data=data,
        model=Grey(hidden_dims=(256,), latent_dim=32),
        objective=BetaBinomial(),
        train=binary.train,
    )
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, float] = {}
    for experiment, maximum in ((binary, 1), (grey, LEVELS)):
        name, run = experiment.name, jaxvae.train(experiment)
        test = run.dataset.test.take(range(max(1, limit // 20)))
        prepared = evaluation.prepare(run.trained, test)
        images = np.rint(np.asarray(prepared.target) * maximum).astype(np.int32)
        pixels = images.size

        codec, latents = codec_of(run, maximum), experiment.model.latent_dim
        initial = np.random.default_rng(0).integers(1, 2**32, 64, dtype=np.uint32)
        encode(images, codec, initial).tofile(out / f"{name}.bin")
        words = np.fromfile(out / f"{name}.bin", np.uint32)
        decoded, rest = decode(words, len(images), images.shape[1:], latents, codec)
        assert np.array_equal(decoded, images) and np.array_equal(rest, initial)

        rates = {"bits-back": words.nbytes, **sizes(images, maximum)}
        for coder, size in rates.items():
            results[f"{name}: {coder}"] = 8 * size / pixels
        scored = evaluation.as_stored(run.trained, test)
        loss = score.means(score.terms(run.trained, scored, sampled=True))["loss"]
        results[f"{name}: -ELBO"] = loss / math.log(2) / math.prod(images.shape[1:])
        print(
            f"{name}: {len(images)} images in {words.nbytes} bytes, decoded to the same bits; bits"
            f" per pixel: " + ", ".join(f"{c} {8 * size / pixels:.4f}" for c, size in rates.items())
        )

    for name in ("binary", "grey"):
        best = min(results[f"{name}: {coder}"] for coder in ("bz2", "PNG", "WebP"))
        results[f"{name}: best baseline"] = best
    results["number"] = results["binary: bits-back"]
    results["baseline"] = results["binary: best baseline"]
    runs.write_json(out / "results.json", results)
    figures.save(drawn(results), out / "figure.png")
    return results


def drawn(results: dict[str, float]) -> Any:
    """Bars: bits per pixel by coder, of either set, and the bound that bits-back coding has."""
    figure = plot_figure(7, 2.6)
    titles = {"binary": "binarized MNIST", "grey": "8-bit MNIST"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        coders = ("bits-back", "bz2", "PNG", "WebP")
        values = [results[f"{name}: {coder}"] for coder in coders]
        style_axes(axes, title, "", "bits per pixel")
        bars = axes.bar(coders, values, color=["tab:blue", "0.7", "0.7", "0.7"], width=0.6)
        axes.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=8, padding=2)
        axes.plot(
            [-0.3, 0.3], [results[f"{name}: -ELBO"]] * 2, color="k", label="\N{MINUS SIGN}ELBO"
        )
        axes.set_ylim(0, 1.15 * max(values))
        axes.grid(axis="x", visible=False)
        axes.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
