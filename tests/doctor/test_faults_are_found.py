"""Every check of `jaxvae doctor` finds a fault that is planted under it, and the others do not."""

import jax
import jax.numpy as jnp
import pytest

from jaxvae import noise
from jaxvae.data import batches
from jaxvae.doctor import COMPUTES, arithmetic, blocks, losses
from jaxvae.doctor.report import WRONG, XLA_BUG, guarded
from jaxvae.models import bottlenecks, layers
from jaxvae.objectives import divergences, likelihoods

QUICK = blocks.CHECKS | losses.CHECKS | arithmetic.CHECKS


class Faulty:
    """A module of which some functions are replaced."""

    def __init__(self, module, **replaced):
        self.__dict__.update(replaced, _module=module)

    def __getattr__(self, name):
        return getattr(self._module, name)


def wrong(checks):
    return {
        check.name
        for name, function in checks.items()
        for check in guarded(name, lambda function=function: function(True))
        if check.verdict == WRONG
    }


def one_weight_off(monkeypatch):
    original = layers.products_in

    def faulty(compute, x, kernel):
        if compute == "float32" and kernel.shape == (784, 256):
            kernel = kernel.at[7, 7].multiply(1.1)
        return original(compute, x, kernel)

    monkeypatch.setattr(layers, "products_in", faulty)


def one_tap_off(monkeypatch):
    original = layers.conv

    def faulty(x, kernel, stride, padding):
        return original(x, kernel.at[0, 0].multiply(1 + 1e-3), stride, padding)

    monkeypatch.setattr(layers, "conv", faulty)


def shifted_by_a_pixel(monkeypatch):
    original = layers.conv_transpose
    monkeypatch.setattr(
        layers, "conv_transpose", lambda *args: jnp.roll(original(*args), 1, axis=1)
    )


def biased_running_variance(monkeypatch):
    # As of so many rows that n / (n - 1) is 1.
    monkeypatch.setattr(layers, "axis", Faulty(layers.axis, size=lambda: 10**9))


def other_momentum(monkeypatch):
    monkeypatch.setattr(layers, "KEEP", 0.99)


def not_rescaled(monkeypatch):
    def where(keep, scaled, zero):
        return jnp.where(keep, scaled * 0.7, zero)

    monkeypatch.setattr(layers, "jnp", Faulty(jnp, where=where))


def half_the_rate(monkeypatch):
    original = layers.keep_mask
    monkeypatch.setattr(layers, "keep_mask", lambda *args: original(*args[:-1], args[-1] / 2))


def variance_for_deviation(monkeypatch):
    monkeypatch.setattr(
        bottlenecks, "reparameterize", lambda mean, logvar, eps: mean + jnp.exp(logvar) * eps
    )


def factors_in_8_bits(monkeypatch):
    original = layers.products_in

    def faulty(compute, *arrays):
        if compute == "bfloat16":
            arrays = [array.astype(jnp.float8_e4m3fn).astype(jnp.float32) for array in arrays]
        return original(compute, *arrays)

    monkeypatch.setattr(layers, "products_in", faulty)


def overflowing_cross_entropy(monkeypatch):
    def faulty(logits, x):
        return jnp.sum(jnp.log1p(jnp.exp(logits)) - logits * x, axis=1)

    monkeypatch.setattr(likelihoods, "bernoulli_nll", faulty)


def no_half(monkeypatch):
    original = divergences.gaussian_kl
    monkeypatch.setattr(divergences, "gaussian_kl", lambda *args: 2 * original(*args))


def textbook_kl(monkeypatch):
    def faulty(mean, logvar):
        return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(logvar) - 1 - logvar, axis=-1)

    monkeypatch.setattr(divergences, "gaussian_kl", faulty)


def no_constant(monkeypatch):
    original = likelihoods.gaussian_nll
    monkeypatch.setattr(likelihoods, "gaussian_nll", lambda *args: original(*args) - 1e-2)


def kl_off_in_the_elbo(monkeypatch):
    original = bottlenecks.gaussian_kl
    monkeypatch.setattr(bottlenecks, "gaussian_kl", lambda *args: 1.001 * original(*args))


def other_order(monkeypatch):
    original = batches.epoch_order
    monkeypatch.setattr(
        batches, "epoch_order", lambda key, epoch, number: original(key, epoch + 1, number)
    )


def other_stream(monkeypatch):
    def faulty(self, name, shape):
        keys = noise.example_keys(noise.stream(self.key, "evaluate"), self.step, self.index)
        return noise.normal(keys, shape)

    monkeypatch.setattr(noise.Noise, "normal", faulty)


def sums_that_lose_numbers(monkeypatch):
    def faulty(x, **options):
        if x.size < 10**5:
            return jnp.sum(x, **options)
        return jnp.sum(x.at[..., ::1000].set(0), **options)

    monkeypatch.setattr(arithmetic, "jnp", Faulty(jnp, sum=faulty))


def square_root_lost(monkeypatch):
    monkeypatch.setattr(arithmetic, "jnp", Faulty(jnp, sqrt=jnp.zeros_like))


def vmapped_off(monkeypatch):
    def faulty(function):
        return lambda x: jax.vmap(function)(x) * (1 + 1e-4)

    monkeypatch.setattr(arithmetic, "jax", Faulty(jax, vmap=faulty))


CASES = {
    one_weight_off: {"dense layer"},
    one_tap_off: {"convolution"},
    shifted_by_a_pixel: {"transposed convolution"},
    biased_running_variance: {"BatchNorm with its statistics"},
    other_momentum: {"BatchNorm with its statistics"},
    not_rescaled: {"dropout"},
    half_the_rate: {"dropout, share that is kept"},
    variance_for_deviation: {"posterior and its sample", "VAE on 40 000 rows"},
    factors_in_8_bits: {"bfloat16 products"},
    overflowing_cross_entropy: {"BCE on logits up to +-1e4"},
    no_half: {"KL", "KL, almost collapsed"},
    textbook_kl: {"KL, almost collapsed"},
    no_constant: {"learned variance, Laplace, squared error"},
    kl_off_in_the_elbo: {"VAE on 40 000 rows"},
    other_order: {"noise bits: eps, dropout, shuffle"},
    other_stream: {"normal and uniform noise"},
    sums_that_lose_numbers: {"sums of 10^6 numbers"},
    square_root_lost: {"operations one by one"},
    vmapped_off: {"a (A b + c) (jax#39336)"},
}


# One of each kind in every run: of layers, losses, noise and sums.
KINDS = (shifted_by_a_pixel, textbook_kl, other_stream, sums_that_lose_numbers)


@pytest.mark.parametrize(
    "plant",
    [pytest.param(p, marks=[] if p in KINDS else pytest.mark.slow, id=p.__name__) for p in CASES],
)
def test_exactly_the_check_of_a_fault_finds_it(plant, monkeypatch):
    plant(monkeypatch)
    assert wrong(QUICK) == CASES[plant]


def test_a_fault_that_cpus_are_known_for_is_named_there_and_wrong_elsewhere(monkeypatch):
    vmapped_off(monkeypatch)
    (first, _) = arithmetic.product_and_sum(True)
    assert first.verdict == XLA_BUG
    monkeypatch.setattr(arithmetic.jax, "default_backend", lambda: "gpu", raising=False)
    (first, _) = arithmetic.product_and_sum(True)
    assert first.verdict == WRONG


def test_a_check_that_fails_is_wrong_and_says_why(monkeypatch):
    monkeypatch.setattr(layers, "conv", None)
    found = guarded("convolution", lambda: COMPUTES["convolution"](True))
    assert [(check.verdict, check.error) for check in found] == [(WRONG, None)]
    assert found[0].note == "TypeError: 'NoneType' object is not callable"
