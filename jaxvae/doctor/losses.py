"""Whether the objectives compute right: values and gradients against formulas in NumPy float64."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Batch
from jaxvae.config import Model, Objective
from jaxvae.doctor.blocks import Draws
from jaxvae.doctor.compare import (
    FLOAT32,
    doubles,
    judged,
    relative,
    with_gradients,
    with_products,
)
from jaxvae.doctor.report import Check, Checks
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.objectives import divergences, likelihoods

ROWS = 40_000
"""More than the 32 768 from which versions of XLA computed sums after products wrongly on CPUs."""


def cross_entropy(quick: bool) -> list[Check]:
    """BCE on logits of every size up to 1e4, and of 0; each size is compared by itself."""
    rng = np.random.default_rng(7)
    sizes = np.array([[0], [1e-3], [1], [30], [1e4]])
    logits = np.asarray(sizes * rng.uniform(-1, 1, (5, 784)), np.float32)
    x = rng.random((5, 784), np.float32)
    g = np.ones(5, np.float32)
    found = jax.jit(with_gradients(likelihoods.bernoulli_nll))(g, logits, x)
    logits, x = doubles(logits, x)
    value = (np.logaddexp(0, logits) - logits * x).sum(axis=1)
    exact = value, ((1 + np.tanh(logits / 2)) / 2 - x, -logits)
    error = relative(_by_row(found), _by_row(exact))
    return [judged("BCE on logits up to +-1e4", error, FLOAT32)]


def _by_row(tree: Any) -> Any:
    return jax.tree.map(lambda array: list(np.asarray(array)), tree)


def kl(quick: bool) -> list[Check]:
    """KL(N(mean, exp(logvar)) || N(0, I)): of any posterior, and of one that is almost the prior.

    The second is what collapsed latents are like: a difference of nearly equal numbers, in which
    exp(logvar) - 1 - logvar would lose every digit in float32.
    """
    rng = np.random.default_rng(8)
    args = [
        [np.asarray(size * rng.standard_normal((64, 20)), np.float32) for _ in range(2)]
        for size in (1, 1e-3)
    ]
    g = np.ones(64, np.float32)

    @jax.jit
    def both(args: Any) -> Any:
        function = with_gradients(divergences.gaussian_kl)
        return [function(g, *values) for values in args]

    wide, collapsed = both(args)
    exact = []
    for mean, logvar in (doubles(*pair) for pair in args):
        value = 0.5 * (mean**2 + np.expm1(logvar) - logvar).sum(axis=1)
        exact.append((value, (mean, np.expm1(logvar) / 2)))
    return [
        judged("KL", relative(wide, exact[0]), FLOAT32),
        # expm1(v) - v is known to 6e-8 |v| of some v^2 / 2: 1e-4 where v is 1e-3.
        judged("KL, almost collapsed", relative(collapsed, exact[1]), 1e-3),
    ]


def other_likelihoods(quick: bool) -> list[Check]:
    """Gaussian with a learned variance, Laplace and squared errors."""
    draw = Draws(9)
    args = abs(draw(16)) + 1, draw(16, 7, 7, 2), draw(16, 7, 7, 2), np.float32(-0.7)
    scale = 0.3

    @jax.jit
    def all_of(g: Any, x: Any, mean: Any, logvar: Any) -> Any:
        gaussian = with_gradients(lambda m, v: likelihoods.gaussian_nll(x, m, v))
        laplace = with_gradients(lambda m: likelihoods.laplace_nll(x, m, scale))
        squared = with_gradients(lambda m: likelihoods.half_squared_error(x, m))
        return gaussian(g, mean, logvar), laplace(g, mean), squared(g, mean)

    found = all_of(*args)
    g, x, mean, logvar = doubles(*args)
    d, weight, pixels = mean - x, g[:, None, None, None], (1, 2, 3)
    nll = 0.5 * (d**2 * np.exp(-logvar) + logvar + np.log(2 * np.pi))
    d_logvar = (g * (0.5 - 0.5 * d**2 * np.exp(-logvar)).sum(axis=pixels)).sum()
    exact = (
        (nll.sum(axis=pixels), (weight * d * np.exp(-logvar), d_logvar)),
        (
            (abs(d) / scale + math.log(2 * scale)).sum(axis=pixels),
            (weight * np.sign(d) / scale,),
        ),
        ((d**2 / 2).sum(axis=pixels), (weight * d,)),
    )
    return [judged("learned variance, Laplace, squared error", relative(found, exact), FLOAT32)]


class Given(NamedTuple):
    """Noise that was drawn elsewhere."""

    eps: Any

    def normal(self, name: str, shape: Sequence[int]) -> Any:
        return self.eps


def whole_vae(quick: bool) -> list[Check]:
    """-ELBO of a VAE per row, and the gradient of its mean over many rows, by hand."""
    shape, pixels, latents = (3, 4, 1), 12, 2
    draw = Draws(10)
    x = np.random.default_rng(11).random((ROWS, *shape), np.float32)
    eps = draw(ROWS, latents)

    def layer(fan_in: int, fan_out: int) -> dict[str, np.ndarray]:
        return {"kernel": draw(fan_in, fan_out, scale=fan_in**-0.5), "bias": draw(fan_out)}

    params = {
        "encoder": {"Dense_0": layer(pixels, 8)},
        "mean": layer(8, latents),
        "logvar": layer(8, latents),
        "decoder": {"Dense_0": layer(latents, 8), "Dense_1": layer(8, pixels)},
    }
    info = Info(shape)
    model = Model(hidden_dims=(8,), latent_dim=latents, activation="tanh").build(info)
    objective = Objective()

    def loss_and_gradient(params: Any, x: Any, eps: Any) -> Any:
        batch = Batch(x, x, jnp.full(ROWS, -1), None, cast(Noise, Given(eps)), info)

        def mean_loss(params: Any) -> Any:
            output: Any = model.apply({"params": params}, batch)
            loss = objective.terms(output, batch, {})["loss"]
            return jnp.mean(loss), loss

        gradient, rows = jax.grad(mean_loss, has_aux=True)(params)
        return rows, gradient

    exact = exact_vae(*jax.tree.map(np.float64, (params, x.reshape(ROWS, pixels), eps)))
    # The gradients are sums over 40 000 rows of either sign: five times the rounding of one layer.
    return with_products("VAE on 40 000 rows", loss_and_gradient, (params, x, eps), exact, 5e-5)


def exact_vae(params: Any, x: np.ndarray, eps: np.ndarray) -> Any:
    """-ELBO per row, in nats, and the gradient of its mean, by hand: a tanh VAE with one hidden
    layer, of rows x (n, pixels) with noise eps (n, latents); all in float64."""
    encoder, hidden = params["encoder"]["Dense_0"], params["decoder"]["Dense_0"]
    out, heads = params["decoder"]["Dense_1"], (params["mean"], params["logvar"])
    h = np.tanh(x @ encoder["kernel"] + encoder["bias"])
    mean, logvar = (h @ head["kernel"] + head["bias"] for head in heads)
    std = np.exp(logvar / 2)
    z = mean + std * eps
    g = np.tanh(z @ hidden["kernel"] + hidden["bias"])
    logits = g @ out["kernel"] + out["bias"]
    recon = (np.logaddexp(0, logits) - logits * x).sum(axis=1)
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)

    d_logits = ((1 + np.tanh(logits / 2)) / 2 - x) / len(x)
    d_g = (d_logits @ out["kernel"].T) * (1 - g**2)
    d_z = d_g @ hidden["kernel"].T
    d_mean = d_z + mean / len(x)
    d_logvar = d_z * eps * std / 2 + (np.exp(logvar) - 1) / 2 / len(x)
    d_h = (d_mean @ heads[0]["kernel"].T + d_logvar @ heads[1]["kernel"].T) * (1 - h**2)

    def layer(inputs: np.ndarray, delta: np.ndarray) -> dict[str, np.ndarray]:
        return {"kernel": inputs.T @ delta, "bias": delta.sum(axis=0)}

    gradient = {
        "encoder": {"Dense_0": layer(x, d_h)},
        "mean": layer(h, d_mean),
        "logvar": layer(h, d_logvar),
        "decoder": {"Dense_0": layer(z, d_g), "Dense_1": layer(g, d_logits)},
    }
    return recon + kl, gradient


CHECKS: Checks = {
    "BCE on logits up to +-1e4": cross_entropy,
    "KL": kl,
    "learned variance, Laplace, squared error": other_likelihoods,
    "VAE on 40 000 rows": whole_vae,
}
