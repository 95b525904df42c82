"""The PyTorch models of the variants: closed forms, laws, and independent recomputations."""

import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.distributions import kl_divergence  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from torch_parity.tests.variant_cases import (  # noqa: E402
    CASES,
    F64,
    LATENTS,
    SMALL,
    B,
    close,
    dense,
    draw,
    gaussian,
    make,
    nll,
    normal,
    standard,
)
from torch_parity.variants.models import IWAE  # noqa: E402
from torch_parity.variants.parts import (  # noqa: E402
    importance_bound,
    kl_standard_normal,
    log_normal,
    log_standard_normal,
    sample,
    total,
)

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_finite_differences(name):
    """Along one random direction of all parameters; it would tell a wrong detach."""
    model, arguments = make(name)
    if name == "factor":  # its total is no function whose gradient this is; see below
        parameters, scalar = model.autoencoder_parameters(), lambda t: t["loss"].mean()
    else:
        parameters, scalar = list(model.parameters()), total
    gradients = torch.autograd.grad(scalar(model.terms(*arguments)), parameters)
    directions = [draw(10 + i, *p.shape) for i, p in enumerate(parameters)]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    h, values = 1e-6, []
    with torch.no_grad():
        for step in (h, -2 * h):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
            values.append(scalar(model.terms(*arguments)))
    close((values[0] - values[1]) / (2 * h), slope, rtol=1e-5, atol=1e-5)


def test_densities_are_those_of_torch_distributions():
    z, mean, logvar = draw(1, B, LATENTS), draw(2, B, LATENTS), draw(3, B, LATENTS)
    close(log_normal(z, mean, logvar), normal(mean, logvar).log_prob(z))
    close(log_standard_normal(z), standard(z).log_prob(z))
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    close(kl_standard_normal(mean, logvar), kl)
    close(sample(mean, logvar, z), mean + torch.exp(logvar).sqrt() * z)


def linear_gaussian_log_w(mean, variance, eps):
    """log w of p(z) = N(0, 1), p(x|z) = N(z, 1), x = 1 and q = N(mean, variance); eps (..., 1)."""
    m, v = torch.full((1,), mean, dtype=F64), torch.full((1,), math.log(variance), dtype=F64)
    z, one = sample(m, v, eps), torch.ones(1, dtype=F64)
    likelihood = log_normal(one, z, torch.zeros_like(z))
    return likelihood + log_standard_normal(z) - log_normal(z, m, v)


def test_linear_gaussian_unit_values():
    log_p = -1.515512
    nodes, masses = np.polynomial.hermite_e.hermegauss(20)
    weights = torch.as_tensor(masses / masses.sum())
    log_w = linear_gaussian_log_w(0.0, 1.0, torch.as_tensor(nodes)[:, None])
    close((weights * log_w).sum(), -1.918939, atol=1e-6)
    gap = kl_divergence(
        normal(*torch.zeros(2, 1, dtype=F64)),
        normal(torch.full((1,), 0.5, dtype=F64), torch.full((1,), math.log(0.5), dtype=F64)),
    )
    close(gap, 0.403426, atol=1e-6)
    for k in (1, 2, 10):  # at the posterior the bound is tight for any K and any draw
        log_w = linear_gaussian_log_w(0.5, 0.5, draw(k, k, 7, 1))
        close(log_w, log_p, atol=1e-6)
        close(importance_bound(log_w), log_p, atol=1e-6)
    # Elsewhere it rises with K, between the two.
    log_w = linear_gaussian_log_w(0.0, 1.0, draw(0, 50, 20000, 1))
    bounds = [importance_bound(log_w[:k]).mean().item() for k in (1, 5, 50)]
    assert bounds == sorted(bounds) and abs(bounds[0] + 1.918939) < 0.03 and bounds[2] < log_p
    close(importance_bound(log_w[:, 0]), torch.exp(log_w[:, 0]).mean().log())


def test_iwae_from_the_state_dict():
    model, (x, eps) = make("iwae")
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    kl = normal(mean, logvar).log_prob(z) - standard(z).log_prob(z)
    recon = torch.stack([nll(model, z[k], x) for k in range(len(eps))])
    terms = model.terms(x, eps)
    close(terms["log_w"], -recon - kl)
    close(terms["loss"], -torch.exp(-recon - kl).mean(0).log())
    close(terms["recon"], recon.mean(0))
    close(terms["kl"], kl.mean(0))


def test_iwae_of_one_sample_is_the_elbo():
    model, (x, eps) = make("iwae")
    one = model.terms(x, eps[:1])
    close(one["loss"], one["recon"] + one["kl"])
    same = model.terms(x, eps[:1].expand(5, -1, -1))  # equal weights: K does not matter
    close(same["loss"], one["loss"])
    # kl is the analytic KL on average, to a few hundredths for 20 000 draws.
    mean, logvar = model.encoder(x)
    kl = model.terms(x, draw(9, 20000, B, LATENTS))["kl"]
    close(kl, kl_standard_normal(mean, logvar), rtol=0.02, atol=0.05)


def test_factor_from_the_state_dict():
    model, (x, eps, permutation) = make("factor")
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    permuted = torch.empty_like(z)
    for b in range(B):
        for j in range(LATENTS):
            permuted[b, j] = z[permutation[b, j], j]

    def critic(h):
        for i in range(2):
            h = dense(model, f"critic.dense_{i}", h)
            h = torch.where(h > 0, h, 0.2 * h)
        return dense(model, "critic.dense_2", h)

    terms = model.terms(x, eps, permutation)
    logits, zero = critic(z), torch.zeros(B, dtype=torch.int64)
    close(terms["recon"], nll(model, z, x))
    close(terms["kl"], kl_divergence(normal(mean, logvar), standard(mean)))
    close(terms["tc"], (logits[:, 0] - logits[:, 1]).mean())
    expected = F.cross_entropy(logits, zero) / 2 + F.cross_entropy(critic(permuted), zero + 1) / 2
    close(terms["critic"], expected)
    close(total(terms), terms["loss"].mean() + expected)


def test_factor_gradients_in_one_pass():
    model, arguments = make("factor")
    groups = (model.autoencoder_parameters(), model.critic_parameters())
    assert len(groups[0]) + len(groups[1]) == len(list(model.parameters()))
    assert not {id(p) for p in groups[0]} & {id(p) for p in groups[1]}
    terms = model.terms(*arguments)
    for scalar, own, other in (
        (terms["loss"].mean(), groups[0], groups[1]),
        (terms["critic"], groups[1], groups[0]),
    ):
        grads = torch.autograd.grad(scalar, own + other, retain_graph=True, allow_unused=True)
        assert all(g is not None for g in grads[: len(own)])
        assert all(g is None for g in grads[len(own) :])
    total(terms).backward()

    # The same in two passes that hold the other network by hand.
    x, eps, permutation = arguments
    twin, _ = make("factor")
    mean, logvar = twin.encoder(x)
    z = sample(mean, logvar, eps)
    logits = twin.critic(z)
    loss = F.binary_cross_entropy_with_logits(twin.decoder(z), x, reduction="sum") + torch.sum(
        kl_standard_normal(mean, logvar)
    )
    loss = loss / B + 10 * (logits[:, 0] - logits[:, 1]).mean()
    expected = list(torch.autograd.grad(loss, twin.autoencoder_parameters()))
    z = z.detach()
    permuted = torch.stack([z[permutation[:, j], j] for j in range(LATENTS)], 1)
    labels = torch.tensor([0] * B + [1] * B)
    critic = F.cross_entropy(twin.critic(torch.cat([z, permuted])), labels)
    expected += torch.autograd.grad(critic, twin.critic_parameters())
    for p, g in zip(groups[0] + groups[1], expected, strict=True):
        close(p.grad, g)


def test_conditional_from_the_state_dict():
    model, (x, eps, label) = make("conditional")
    y = torch.zeros(B, 5, dtype=F64)
    y[torch.arange(B), label] = 1.0
    mean, logvar = gaussian(model, "encoder", torch.cat([x, y], 1))
    z = mean + torch.exp(logvar / 2) * eps
    terms = model.terms(x, eps, label)
    close(terms["kl"], kl_divergence(normal(mean, logvar), standard(mean)))
    close(terms["recon"], nll(model, torch.cat([z, y], 1), x))
    other = model.terms(x, eps, (label + 1) % 5)
    assert (other["kl"] != terms["kl"]).all() and (other["recon"] != terms["recon"]).all()


def test_two_layers_from_the_state_dict():
    model, (x, eps1, eps2) = make("two_layer")
    q1 = gaussian(model, "encoder_1", x)
    z1 = q1[0] + torch.exp(q1[1] / 2) * eps1
    q2 = gaussian(model, "encoder_2", z1)
    z2 = q2[0] + torch.exp(q2[1] / 2) * eps2
    p1 = gaussian(model, "prior_1", z2)
    terms = model.terms(x, eps1, eps2)
    close(terms["recon"], nll(model, z1, x))
    close(terms["kl_1"], normal(*q1).log_prob(z1) - normal(*p1).log_prob(z1))
    close(terms["kl_2"], kl_divergence(normal(*q2), standard(z2)))
    close(terms["kl"], terms["kl_1"] + terms["kl_2"])


def test_two_layers_with_an_unused_top_are_one_layer():
    model, (x, eps1, eps2) = make("two_layer")
    with torch.no_grad():
        for net in (model.encoder_2, model.prior_1):
            for head in (net.mean, net.logvar):
                head.weight.zero_()
                head.bias.zero_()
    iwae = IWAE(**SMALL).to(F64)
    iwae.encoder.load_state_dict(model.encoder_1.state_dict())
    iwae.decoder.load_state_dict(model.decoder.state_dict())
    terms = model.terms(x, eps1, eps2)
    close(terms["kl_2"], 0.0)
    close(terms["loss"], iwae.terms(x, eps1[None])["loss"])
