"""The dense VAE against PyTorch: values, loss terms and all gradients, same weights, same noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model, Objective

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch_parity.reference import DenseVAE, summed_elbo  # noqa: E402
from torch_parity.weights import DENSE_VAE, dense_to_torch, load  # noqa: E402

BATCH, SIDE, HIDDEN, LATENTS = 7, 12, 30, 5


def compare(dtype: Any, tolerance: float) -> None:
    """Relative to the largest entry of each quantity."""
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, SIDE, SIDE, 1)).astype(dtype)
    eps = rng.standard_normal((BATCH, LATENTS)).astype(dtype)
    model = Model(hidden_dims=(HIDDEN,), latent_dim=LATENTS, init="torch").build(
        (SIDE, SIDE, 1), False
    )
    params = jax.jit(model.init)(jax.random.key(0), x, eps)["params"]
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    objective = Objective("bernoulli", batch_reduction="sum")
    scale = objective.scale(SIDE * SIDE, BATCH)

    def loss_fn(params):
        output: Any = model.apply({"params": params}, x, eps)
        terms = objective.terms(output, jnp.asarray(x), jnp.asarray(1, dtype))
        return scale * terms["loss"].mean(), (output, terms)

    grads, (output, terms) = jax.jit(jax.grad(loss_fn, has_aux=True))(params)

    reference = DenseVAE(SIDE * SIDE, HIDDEN, LATENTS).to(getattr(torch, np.dtype(dtype).name))
    load(reference, dense_to_torch(params, DENSE_VAE))
    flat = torch.tensor(x.reshape(BATCH, -1))
    probabilities, mean, logvar = reference(flat, torch.tensor(eps))
    bce, kl = summed_elbo(probabilities, flat, mean, logvar)
    (bce + kl).backward()

    def close(ours: object, theirs: object) -> None:
        theirs = np.asarray(theirs)
        np.testing.assert_allclose(
            np.asarray(ours).reshape(theirs.shape),
            theirs,
            rtol=0,
            atol=tolerance * abs(theirs).max(),
        )

    close(jax.nn.sigmoid(output.decoded), probabilities.detach())
    close(output.mean, mean.detach())
    close(output.logvar, logvar.detach())
    close(terms["recon"].sum(), bce.detach())
    close(terms["kl"].sum(), kl.detach())
    theirs = {name: np.asarray(p.grad) for name, p in reference.named_parameters()}
    ours = dense_to_torch(grads, DENSE_VAE)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        close(ours[name], theirs[name])


def test_float64():
    # Sums of at most 1008 terms in double precision: a few hundred times its epsilon of 2e-16.
    with jax.enable_x64(True):
        compare(np.float64, tolerance=1e-12)


def test_float32():
    # The same sums in single precision, whose epsilon is 6e-8.
    compare(np.float32, tolerance=2e-5)
