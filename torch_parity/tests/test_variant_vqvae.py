"""The PyTorch VQ-VAE against loops over places and codes, and its gradients."""

import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.nn import functional as F  # noqa: E402

from torch_parity.variants.parts import total  # noqa: E402
from torch_parity.variants.vqvae import VQVAE  # noqa: E402

pytestmark = pytest.mark.numeric

B, F64 = 6, torch.float64


def images(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.sigmoid(2 * torch.randn(*shape, generator=generator, dtype=F64))


def make():
    """A small model with larger than initial weights, five codes among its features, and images."""
    torch.manual_seed(0)
    model, x = VQVAE((3, 4), 2, 5).to(F64), images(B, 1, 8, 12)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
        model.codes.copy_(model.encoder(x).movedim(1, -1).reshape(-1, 2)[::8][:5])
        model.sums.copy_(model.codes)
    return model, x


def close(a, b):
    b = b if isinstance(b, torch.Tensor) else torch.full_like(a, b)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_terms_against_loops():
    model, x = make()
    z_e = model.encoder(x).detach().permute(0, 2, 3, 1).numpy()
    codes = model.codes.numpy()
    assert z_e.shape == (B, 2, 3, 2)
    indices = np.zeros((B, 2, 3), int)
    z_q, commitment = np.zeros_like(z_e), np.zeros(B)
    for place in np.ndindex(B, 2, 3):
        distances = [((z_e[place] - code) ** 2).sum() for code in codes]
        indices[place] = k = int(np.argmin(distances))
        z_q[place] = codes[k]
        commitment[place[0]] += distances[k]
    usage = np.bincount(indices.ravel(), minlength=5) / indices.size
    entropy = -sum(p * math.log(p) for p in usage if p)
    terms = model.terms(x)
    assert len(set(indices.ravel())) > 2
    assert np.array_equal(terms["indices"].numpy(), indices)
    close(terms["commitment"], torch.as_tensor(commitment))
    close(terms["perplexity"], math.exp(entropy))
    logits = model.decoder(torch.as_tensor(z_q).permute(0, 3, 1, 2))
    p = torch.sigmoid(logits)
    recon = -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum((1, 2, 3))
    close(terms["recon"], recon)
    assert torch.equal(terms["kl"], torch.zeros(B, dtype=F64))


def test_gradient_goes_straight_through():
    model, x = make()
    z_e = model.encoder(x).movedim(1, -1)
    e = model.codes[model.terms(x)["indices"]]
    e.requires_grad_()
    recon = F.binary_cross_entropy_with_logits(model.decoder(e.movedim(-1, 1)), x, reduction="sum")
    at_codes = torch.autograd.grad(recon, e)[0] / B
    # The encoder's gradient: that of the reconstruction at the codes, and of the commitment.
    cotangent = at_codes + 0.25 * 2 * (z_e.detach() - e.detach()) / B
    parameters = list(model.encoder.parameters())
    expected = torch.autograd.grad(z_e, parameters, cotangent)
    for a, b in zip(torch.autograd.grad(total(model.terms(x)), parameters), expected, strict=True):
        close(a, b)
    assert not any(b.requires_grad for b in model.buffers())


def test_update_against_loops():
    model, x = make()
    with torch.no_grad():
        model.codes[4] = 100.0  # a code nobody uses
        model.sums[4] = 100.0
    codes, sums, counts = (b.numpy().copy() for b in (model.codes, model.sums, model.counts))
    for step in range(3):
        before = model.codes.numpy().copy()
        terms = model.terms(x.roll(step, 3) ** (step + 1))
        assert np.array_equal(model.codes.numpy(), before)  # terms changes nothing
        model.update(terms)
        z_e, indices = terms["z_e"].numpy(), terms["indices"].numpy()
        for k in range(5):
            chosen = [z_e[place] for place in np.ndindex(*indices.shape) if indices[place] == k]
            counts[k] = 0.99 * counts[k] + 0.01 * len(chosen)
            sums[k] = 0.99 * sums[k] + 0.01 * sum(chosen, np.zeros(2))
        for k in range(5):
            smoothed = (counts[k] + 1e-5) / (counts.sum() + 5e-5) * counts.sum()
            codes[k] = sums[k] / smoothed
        for buffer, expected in ((model.codes, codes), (model.sums, sums), (model.counts, counts)):
            close(buffer, torch.as_tensor(expected))
    close(model.counts[4], 0.99**3)  # raw, not smoothed
    assert model.codes[4, 0] > 99  # and it stays where it was, but for the smoothing


def test_perplexity_bounds():
    model, x = make()
    with torch.no_grad():
        model.codes[1:] = 1e3
    close(model.terms(x)["perplexity"], 1.0)
    # As many codes as positions, and one at each.
    model, x = VQVAE((3, 4), 2, 24).to(F64), images(4, 1, 8, 12)
    with torch.no_grad():
        model.codes.copy_(model.encoder(x).movedim(1, -1).reshape(24, 2))
    close(model.terms(x)["perplexity"], 24.0)
    close(model.terms(x)["commitment"], 0.0)
