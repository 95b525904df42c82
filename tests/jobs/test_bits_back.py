"""Bits-back coding gives every bit back, at the rate that the ELBO says."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import betabinom, norm

from experiments.jobs import bits_back

constriction = pytest.importorskip("constriction")
INITIAL = np.random.default_rng(1).integers(1, 2**32, 64, dtype=np.uint32)


COLUMNS = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 2)))[0]
WEIGHTS = 2 * COLUMNS  # orthogonal, so that the posterior's latents are all but independent


def codec(factor: float = 1) -> bits_back.Codec:
    """Nine bits with logits linear in two latents, and q(z|x) by Laplace's method (the curvature of
    the cross entropy is at most 1/4), with `factor` times its standard deviation.
    """
    precision = 1 + np.square(WEIGHTS).sum(axis=0) / 4
    family = constriction.stream.model.Bernoulli(perfect=False)
    return bits_back.Codec(
        lambda x: (WEIGHTS.T @ (x.ravel() - 0.5) / precision, factor / np.sqrt(precision)),
        lambda z: (family, 1 / (1 + np.exp(-WEIGHTS @ z))),
    )


def drawn(n: int) -> np.ndarray:
    """Images that the model itself makes, for which coded bits look like coins."""
    rng = np.random.default_rng(2)
    p = 1 / (1 + np.exp(-rng.normal(size=(n, 2)) @ WEIGHTS.T))
    return (rng.random((n, 9)) < p).astype(int).reshape(n, 3, 3, 1)


def exact_rate(images: np.ndarray, model: bits_back.Codec) -> float:
    """Mean -ELBO in bits per image, by quadrature over both latents."""
    grid = np.stack(np.meshgrid(*[np.linspace(-5, 5, 31)] * 2), axis=-1).reshape(-1, 2)
    weights = norm.pdf(grid).prod(axis=1)
    total = 0.0
    for x in images:
        mean, std = model.posterior(x)
        p = np.stack([model.likelihood(z)[1] for z in mean + std * grid])
        nll = -np.log(np.where(x.ravel() == 1, p, 1 - p)).sum(axis=1)
        total += np.average(nll, weights=weights)
        total += 0.5 * np.sum(mean**2 + std**2 - 1 - 2 * np.log(std))
    return total / math.log(2) / len(images)


@pytest.mark.parametrize("factor", [0.1, 1])
def test_decoded_to_the_same_bits(factor):
    images, model = drawn(40), codec(factor)
    words = bits_back.encode(images, model, INITIAL)
    decoded, rest = bits_back.decode(words, 40, (3, 3, 1), 2, model)
    assert np.array_equal(decoded, images) and np.array_equal(rest, INITIAL)


def test_another_decoder_does_not_decode():
    """So the equality above is no accident; what is left may then be no whole number of words."""
    images = drawn(40)
    words = bits_back.encode(images, codec(1), INITIAL)
    try:
        decoded, rest = bits_back.decode(words, 40, (3, 3, 1), 2, codec(1.01))
    except AssertionError:  # the coder's own
        return
    assert not np.array_equal(decoded, images) and not np.array_equal(rest, INITIAL)


@pytest.mark.slow
@pytest.mark.ci
def test_the_rate_is_the_negative_elbo():
    """Over the same 300 images, so that only the draws of z differ."""
    model, images = codec(), drawn(300)
    sizes = [32 * len(bits_back.encode(images[:n], model, INITIAL)) for n in (0, 300)]
    rate, truth = (sizes[1] - sizes[0]) / 300, exact_rate(images, model)
    # recon + log ratio of a draw of z varies by some 1.5 bits: 3 standard errors are 0.26.
    assert rate == pytest.approx(truth, abs=0.26)
    # Without getting back what chose z, the rate is higher by the entropy of q(z|x) in steps.
    _, std = model.posterior(images[0])
    entropy = np.log2(std * bits_back.STEPS * math.sqrt(2 * math.pi * math.e)).sum()
    assert entropy > 10


def test_beta_binomial_is_that_of_scipy():
    """Also at the ends of the range, where log-gamma of 2500 is 17,000: 5 digits are left."""
    a, b = (x.ravel() for x in np.meshgrid([-7, -1.5, 0, 2, 7], [-7, -0.5, 0, 3, 7]))
    k = np.array([0, 1, 100, 254, 255])
    truth = betabinom.logpmf(k[:, None], 255, np.exp(a), np.exp(b))
    log_alpha, log_beta = (jnp.asarray(np.tile(v, (5, 1)), jnp.float32) for v in (a, b))
    x = jnp.asarray(np.tile(k[:, None], (1, len(a))), jnp.float32)
    found = -np.asarray(bits_back.beta_binomial_nll(x, log_alpha, log_beta))
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=0.02)
    table = np.asarray(bits_back.beta_binomial(log_alpha[0], log_beta[0]))
    np.testing.assert_allclose(table.sum(axis=-1), 1, rtol=1e-5)
    at = np.log(np.maximum(table[:, k].T, 1e-30))
    seen = truth > -60
    np.testing.assert_allclose(at[seen], truth[seen], rtol=1e-3, atol=2e-3)


def test_uniform_pixels_are_coded_in_eight_bits():
    """alpha = beta = 1 is the uniform distribution of 0..255."""
    x = jnp.arange(256, dtype=jnp.float32)
    zeros = jnp.zeros(256)
    nll = bits_back.beta_binomial_nll(x, zeros, zeros) / math.log(2)
    np.testing.assert_allclose(nll, 8, atol=2e-3)
    slope = jax.grad(lambda a: bits_back.beta_binomial_nll(x[255], a, jnp.float32(0)))(
        jnp.float32(0)
    )
    # p(n; alpha, 1) = alpha / (n + alpha): d/d log alpha of -log p is -n / (n + alpha).
    assert slope == pytest.approx(-255 / 256, rel=1e-3)


@pytest.mark.slow
def test_other_coders_count_bytes_of_the_better_layout():
    images = np.zeros((6, 28, 28, 1), np.int32)
    for maximum in (1, 255):
        empty = bits_back.sizes(images, maximum)
        noise = np.random.default_rng(0).integers(0, maximum + 1, images.shape)
        full = bits_back.sizes(noise, maximum)
        entropy = images.size * math.log2(maximum + 1) / 8
        for coder in ("bz2", "PNG", "WebP"):
            assert empty[coder] < 0.4 * entropy
            assert entropy < full[coder] < 1.7 * entropy
