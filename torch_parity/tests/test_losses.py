"""Named losses are c (R + beta_eff KL) + constant with the table's numbers; clamps; batches."""

import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch_parity.losses import LOSSES  # noqa: E402

pytestmark = pytest.mark.numeric

BATCH = 3
# name: image shape (PyTorch's layout), latents, R ("bce" or "half" the squared error), c, beta_eff
TABLE = {
    "pytorch_examples": ((1, 28, 28), 20, "bce", BATCH, 1.0),
    "jackson_kang": ((1, 28, 28), 200, "bce", BATCH, 1.0),
    "gruheshkurra": ((1, 28, 28), 2, "bce", BATCH, 1.0),
    "ethanluoyc": ((1, 28, 28), 8, "half", 1, 1.0),
    "pythae_vae": ((1, 28, 28), 10, "half", 1, 1.0),
    "pythae_vae_bce": ((1, 28, 28), 10, "bce", 1, 1.0),
    "pythae_ae": ((1, 28, 28), 10, "half", 2, 0.0),
    "flax": ((1, 28, 28), 20, "bce", 1, 1.0),
    "flax_nnx_toy": ((1, 28, 28), 32, "bce", 1 / 784, 2.45),
    "lightning_bolts": ((3, 32, 32), 256, "half", 2 / 3072, 0.6),
    "antixk_train": ((3, 64, 64), 128, "half", 2 / 12288, 1.536),
    "antixk_validation": ((3, 64, 64), 128, "half", 2 / 12288, 6144.0),
    "ssakhash": ((1, 28, 28), 20, "half", 2 / 784, 19.6),
    "disentanglement_lib": ((1, 64, 64), 10, "half", 2, 0.5),
}
CONSTANT = {"ethanluoyc": 784 / 2 * math.log(2 * math.pi)}


def test_every_loss_is_in_the_table():
    assert LOSSES.keys() == TABLE.keys()


def test_the_unit_gaussian_constant():
    assert round(CONSTANT["ethanluoyc"], 3) == 720.448


@pytest.mark.parametrize("name", TABLE)
def test_value_and_gradients(name):
    shape, latents, recon, c, beta_eff = TABLE[name]
    rng = np.random.default_rng(0)
    p, x = rng.uniform(0.02, 0.98, (2, BATCH, *shape))
    mean, logvar = rng.standard_normal((2, BATCH, latents))

    axes = tuple(range(1, p.ndim))
    if recon == "bce":
        r = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axes)
        r_gradient = (p - x) / (p * (1 - p))
    else:
        r = 0.5 * ((p - x) ** 2).sum(axes)
        r_gradient = p - x
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).sum(1)
    value = c * np.mean(r + beta_eff * kl) + CONSTANT.get(name, 0.0)
    gradients = [
        c / BATCH * r_gradient,
        c / BATCH * beta_eff * mean,
        c / BATCH * beta_eff * 0.5 * (np.exp(logvar) - 1),
    ]

    inputs = [torch.tensor(a, requires_grad=True) for a in (p, mean, logvar)]
    loss = LOSSES[name](inputs[0], inputs[1], inputs[2], torch.tensor(x))
    # pythae's AE takes no notice of mean and logvar; the table's beta_eff of 0 says so.
    theirs = torch.autograd.grad(loss, inputs, materialize_grads=True)

    # Double precision, sums of at most 36864 positive terms: 1e-12 is some thousand roundings.
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    for ours, gradient in zip(gradients, theirs, strict=True):
        np.testing.assert_allclose(gradient, ours, rtol=0, atol=1e-12 * abs(ours).max())


@pytest.mark.parametrize("name", TABLE)
def test_layout_is_free(name):
    """Pixels flat, images not; or both flat in another order: one loss, to a few roundings."""
    shape, latents, *_ = TABLE[name]
    generator = torch.Generator().manual_seed(0)
    p, x = torch.rand((2, BATCH, *shape), generator=generator, dtype=torch.float64)
    mean, logvar = torch.randn((2, BATCH, latents), generator=generator, dtype=torch.float64)
    last_p, last_x = (a.movedim(1, -1).flatten(1) for a in (p, x))
    loss = LOSSES[name](p, mean, logvar, x)
    flat = LOSSES[name](p.flatten(1), mean, logvar, x)
    channels_last = LOSSES[name](last_p, mean, logvar, last_x)
    torch.testing.assert_close(flat, loss, rtol=0, atol=0)
    torch.testing.assert_close(channels_last, loss, rtol=1e-12, atol=0)


def saturated(name: str, logit: float, target: float) -> tuple[float, float]:
    """The loss of one pixel without any KL, and its gradient with respect to the logit."""
    logits = torch.tensor([[logit]], dtype=torch.float64, requires_grad=True)
    x, zero = torch.full_like(logits, target), torch.zeros_like(logits)
    loss = LOSSES[name](torch.sigmoid(logits), zero, zero, x)
    loss.backward()
    assert logits.grad is not None
    return loss.item(), logits.grad.item()


def test_an_autoencoder_has_no_posterior():
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    loss = LOSSES["pythae_ae"](torch.full((2, 2), 0.5), None, None, x)
    assert loss.item() == 0.5  # two pixels of 0.25 in each image, exact in binary


@pytest.mark.parametrize(
    "name", ["pytorch_examples", "jackson_kang", "gruheshkurra", "pythae_vae_bce"]
)
def test_bce_on_probabilities_is_clamped_at_100(name):
    """A pixel that is wrong by 150 nats costs 100, and its logit has no gradient left."""
    for logit, target in ((-150.0, 1.0), (150.0, 0.0)):
        loss, gradient = saturated(name, logit, target)
        assert loss == 100
        # PyTorch divides by max(p (1 - p), 1e-12): at most 1e12 exp(-150), or 0.
        assert abs(gradient) < 1e-50


@pytest.mark.parametrize("name", ["flax", "flax_nnx_toy"])
def test_bce_of_logits_is_not_clamped(name):
    loss, gradient = saturated(name, -150.0, 1.0)
    np.testing.assert_allclose([loss, gradient], [150.0, -1.0], rtol=1e-14)  # a few roundings
    # The sigmoid of 150 is exactly 1: probabilities cannot say how wrong this pixel is.
    assert saturated(name, 150.0, 0.0)[0] == math.inf


@pytest.mark.parametrize("name", TABLE)
def test_a_mean_of_batch_means_overweights_a_partial_last_batch(name):
    """Batches of 4 and 1: the mean of their losses gives the last image a weight of 1/2, not 1/5.

    Weighted by example it is the loss of all five; a loss that sums over its batch only needs
    dividing by the number of examples.
    """
    shape, latents, _, c, _ = TABLE[name]
    x = torch.full((5, *shape), 0.5, dtype=torch.float64)
    p = x.clone()
    p[-1] += 0.3  # only the last image is reconstructed badly

    def loss(images: slice) -> float:
        code = torch.zeros((len(x[images]), latents), dtype=x.dtype)
        return LOSSES[name](p[images], code, code, x[images]).item()

    full, last, together = loss(slice(0, 4)), loss(slice(4, 5)), loss(slice(0, 5))
    if c == BATCH:  # summed over the batch
        np.testing.assert_allclose(full + last, together, rtol=1e-12)  # roundings of the sums
        full, together = full / 4, together / 5
    assert last > full
    np.testing.assert_allclose((4 * full + 1 * last) / 5, together, rtol=1e-12)
    # 1/2 - 4/5 of the full batch, 1/2 - 1/5 of the last one; a difference of like numbers.
    np.testing.assert_allclose((full + last) / 2 - together, 0.3 * (last - full), rtol=1e-9)
