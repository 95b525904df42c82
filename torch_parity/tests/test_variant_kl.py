"""The PyTorch variants of the KL and the likelihood: recomputations, closed forms, laws."""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.distributions import Normal, kl_divergence  # noqa: E402

from torch_parity.tests.variant_cases import (  # noqa: E402
    F64,
    LATENTS,
    PIXELS,
    SMALL,
    B,
    close,
    dense,
    draw,
    gaussian,
    images,
    nll,
    normal,
    standard,
)
from torch_parity.variants.kl import (  # noqa: E402
    BetaVAE,
    CapacityVAE,
    CyclicalVAE,
    FreeBitsVAE,
    LogCoshVAE,
    OptimalSigmaVAE,
    SigmaVAE,
    WarmUpVAE,
    log_cosh,
)
from torch_parity.variants.parts import total  # noqa: E402

pytestmark = pytest.mark.numeric

# The model, its own settings, and the step where it takes one. What lies on which side of a bound
# is for `kls` to say, since the weights may be of another seed.
CASES: dict[str, Any] = {
    "beta": (BetaVAE, {}, {}),
    "warm_up": (WarmUpVAE, {"warmup_steps": 8}, {"step": 3}),
    "cyclical": (CyclicalVAE, {"cycle_steps": 8}, {"step": 11}),
    "capacity": (CapacityVAE, {"capacity": 4.0, "capacity_steps": 10}, {"step": 7}),
    "capacity_final": (CapacityVAE, {"capacity": 3.2}, {}),
    "capacity_per_example": (CapacityVAE, {"capacity": 2.8, "per_example": True}, {}),
    "free_bits": (FreeBitsVAE, {}, {}),
    "sigma": (SigmaVAE, {}, {}),
    "optimal_sigma": (OptimalSigmaVAE, {}, {}),
    "log_cosh": (LogCoshVAE, {}, {}),
}
MEANS = ("sigma", "optimal_sigma", "log_cosh")


def make(name, **settings):
    """The case's model with larger than initial weights, and its arguments."""
    torch.manual_seed(0)
    cls, own, step = CASES[name]
    model = cls(**SMALL, **own | settings).to(F64)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
        for p in model.encoder.parameters():
            p.mul_(2.0)
        if name == "sigma":
            model.logvar.fill_(-1.0)
    return model, (images(B, PIXELS), draw(2, B, LATENTS)), step


def latent_kl(model, x):
    mean, logvar = gaussian(model, "encoder", x)
    zero = torch.zeros_like(mean)
    return kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(zero, zero + 1))


def kls(name):
    """The KL of each latent of each example, (B, LATENTS), of a case's model."""
    model, (x, _), _ = make(name)
    return latent_kl(model, x).detach()


def between(values):
    """The middle of the two middle ones of an even number of values."""
    lower, upper = values.sort().values[len(values) // 2 - 1 :][:2].tolist()
    assert upper - lower > 1e-3
    return (lower + upper) / 2


def code(model, x, eps):
    mean, logvar = gaussian(model, "encoder", x)
    return mean + torch.exp(logvar / 2) * eps


def pixel_means(model, z):
    return torch.sigmoid(dense(model, "decoder.logits", dense(model, "decoder.hidden", z).relu()))


def gradients(scalar, model):
    return torch.autograd.grad(scalar, list(model.parameters()), retain_graph=True)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_finite_differences(name):
    """Along one random direction of all parameters; it would tell a wrong detach."""
    model, arguments, step = make(name)
    slopes = gradients(total(model.terms(*arguments, **step)), model)
    directions = [draw(10 + i, p.numel()).view_as(p) for i, p in enumerate(model.parameters())]
    slope = sum((g * d).sum() for g, d in zip(slopes, directions, strict=True))
    h, values = 1e-6, []
    with torch.no_grad():
        for move in (h, -2 * h):
            for p, d in zip(model.parameters(), directions, strict=True):
                p.add_(move * d)
            values.append(total(model.terms(*arguments, **step)))
    close((values[0] - values[1]) / (2 * h), slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_is_logged(name):
    """kl is never weighted, whatever the loss, and recon never replaced."""
    model, (x, eps), step = make(name)
    terms = model.terms(x, eps, **step)
    mean, logvar = gaussian(model, "encoder", x)
    z = code(model, x, eps)
    close(terms["z"], z)
    close(terms["kl"], kl_divergence(normal(mean, logvar), standard(mean)))
    if name in MEANS:
        close(terms["decoded"], pixel_means(model, z))
    else:
        close(torch.sigmoid(terms["logits"]), pixel_means(model, z))
        close(terms["recon"], nll(model, z, x))
    assert terms["loss"].shape == terms["recon"].shape == (B,)
    further = {"free_bits": {"lacking"}, "optimal_sigma": {"sigma"}}
    extra = (
        {"capacity", "from_capacity"} if name.startswith("capacity") else further.get(name, set())
    )
    assert set(terms) == extra | {
        *("loss", "recon", "kl", "z", "decoded" if name in MEANS else "logits")
    }


def test_beta():
    model, (x, eps), _ = make("beta")
    kl, recon = latent_kl(model, x).sum(1), nll(model, code(model, x, eps), x)
    close(model.terms(x, eps)["loss"], recon + 4 * kl)
    plain, _, _ = make("beta", beta=1.0)
    close(plain.terms(x, eps)["loss"], recon + kl)


@pytest.mark.parametrize(
    "name, settings, betas",
    [
        ("warm_up", {"warmup_steps": 4}, {0: 0, 1: 0.25, 3: 0.75, 4: 1, 5: 1, 4000: 1}),
        ("warm_up", {"warmup_steps": 1000}, {0: 0, 1: 0.001, 999: 0.999, 1000: 1}),
        # Rising for half of each cycle, then 1 until the next one starts at 0 again.
        (
            "cyclical",
            {"cycle_steps": 8},
            {0: 0, 1: 0.25, 3: 0.75, 4: 1, 7: 1, 8: 0, 9: 0.25, 12: 1, 15: 1, 16: 0, 8001: 0.25},
        ),
        ("cyclical", {"cycle_steps": 10, "rising": 0.8}, {4: 0.5, 8: 1, 9: 1, 10: 0, 14: 0.5}),
        # Rising all the time it never reaches 1, but it is 1 in evaluation.
        ("cyclical", {"cycle_steps": 5, "rising": 1.0}, {4: 0.8, 5: 0, 9: 0.8}),
    ],
)
def test_schedules_of_beta(name, settings, betas):
    model, (x, eps), _ = make(name, **settings)
    kl, recon = latent_kl(model, x).sum(1), nll(model, code(model, x, eps), x)
    for step, beta in betas.items():
        close(model.terms(x, eps, step=step)["loss"], recon + beta * kl)
    close(model.terms(x, eps)["loss"], recon + kl)


@pytest.mark.parametrize("per_example", [False, True])
def test_capacity(per_example):
    middle = between(kls("capacity").sum(1))
    settings = {"capacity": 4 / 3 * middle, "capacity_steps": 8, "per_example": per_example}
    model, (x, eps), _ = make("capacity", **settings)
    kl, recon = latent_kl(model, x).sum(1), nll(model, code(model, x, eps), x)
    assert kl.min() < middle < kl.max()
    for step, part in {0: 0, 1: 1 / 8, 6: 3 / 4, 8: 1, 9: 1, 800: 1, None: 1}.items():
        terms, capacity = model.terms(x, eps, step=step), part * 4 / 3 * middle
        assert terms["capacity"].shape == ()
        assert terms["capacity"].item() == pytest.approx(capacity, rel=1e-12)
        if per_example:
            expected = recon + 30 * torch.stack([abs(k - capacity) for k in kl])
        else:
            expected = recon + 30 * abs(sum(kl) / B - capacity)
        close(terms["loss"], expected)


def test_capacity_of_the_batch_and_of_each_example_are_two_losses():
    # |mean| <= mean ||, and they are equal where all examples lie on one side.
    kl = kls("capacity").sum(1)
    for capacity, same in ((0.0, True), (kl.mean().item(), False), (kl.max().item() + 1, True)):
        losses = [
            total(model.terms(*arguments))
            for model, arguments, _ in (
                make("capacity", capacity=capacity, per_example=per_example)
                for per_example in (False, True)
            )
        ]
        if same:
            close(losses[0], losses[1])
        else:
            assert losses[0] < losses[1] - 1


def test_capacity_pushes_the_kl_towards_the_target():
    """d loss = gamma sign(KL - C) d KL: also upwards, which no weight on the KL does."""
    mean = kls("capacity").sum(1).mean().item()
    for target, sign in ((mean - 0.05, 1), (mean + 0.05, -1)):
        model, (x, eps), _ = make("capacity", capacity=target)
        terms = model.terms(x, eps)
        got = gradients(total(terms) - terms["recon"].mean(), model.encoder)
        expected = gradients(terms["kl"].mean(), model.encoder)
        for a, b in zip(got, expected, strict=True):
            close(a, sign * 30 * b)


def test_capacity_zero_and_gamma_one_are_the_vae():
    for per_example in (False, True):
        model, (x, eps), _ = make("capacity", gamma=1.0, capacity=0.0, per_example=per_example)
        expected = nll(model, code(model, x, eps), x) + latent_kl(model, x).sum(1)
        terms = model.terms(x, eps, step=3)
        close(total(terms), expected.mean())
        assert per_example == torch.allclose(terms["loss"], expected)


def test_free_bits_against_loops():
    free = between(kls("free_bits").mean(0))
    model, (x, eps), _ = make("free_bits", free_nats=free)
    kl, recon = latent_kl(model, x), nll(model, code(model, x, eps), x)
    means = [sum(kl[b, j] for b in range(B)) / B for j in range(LATENTS)]
    objective = recon.mean() + sum(max(free, m.item()) for m in means)
    assert min(means) < free < max(means)
    terms = model.terms(x, eps)
    close(total(terms), objective)
    extra = terms["loss"] - recon - kl.sum(1)
    close(extra, extra[0].item())  # one scalar for all
    # The bad variants: a clamp of each example, and one of the whole KL. Each is on one side of it,
    # by as much as the KLs are spread.
    assert (recon + kl.clamp(min=free).sum(1)).mean() > objective + 1e-3
    assert (recon.mean() + max(free, sum(means))) < objective - 1e-3


def test_free_bits_neutral_and_far():
    model, (x, eps), _ = make("free_bits", free_nats=0.0)
    plain = nll(model, code(model, x, eps), x) + latent_kl(model, x).sum(1)
    close(model.terms(x, eps)["loss"], plain)
    model, (x, eps), _ = make("free_bits", free_nats=100.0)
    recon = nll(model, code(model, x, eps), x)
    close(total(model.terms(x, eps)), recon.mean() + 100 * LATENTS)


def test_free_bits_hold_the_gradient_of_clamped_latents():
    free = between(kls("free_bits").mean(0))
    model, (x, eps), _ = make("free_bits", free_nats=free)
    below = latent_kl(model, x).mean(0) < free
    terms = model.terms(x, eps)
    heads = [getattr(model.encoder, h).weight for h in ("mean", "logvar")]
    assert below.any() and not below.all()
    got = torch.autograd.grad(total(terms) - terms["recon"].mean(), heads, retain_graph=True)
    plain = torch.autograd.grad(terms["kl"].mean(), heads, retain_graph=True)
    # d kl / d mean = mean and d kl / d logvar = (e^logvar - 1) / 2, times the hidden layer.
    mean, logvar = gaussian(model, "encoder", x)
    hidden = dense(model, "encoder.hidden", x).relu()
    for g, p, by_hand in zip(got, plain, (mean, (torch.exp(logvar) - 1) / 2), strict=True):
        expected = by_hand.T @ hidden / B
        close(p, expected)
        close(g, expected * ~below[:, None])


def test_sigma_from_the_state_dict():
    model, (x, eps), _ = make("sigma")
    assert dict(model.named_parameters())["logvar"].shape == ()
    assert SigmaVAE(**SMALL).logvar.item() == 0
    m = pixel_means(model, code(model, x, eps))
    for logvar in (0.0, -1.0, 2.0):
        with torch.no_grad():
            model.logvar.fill_(logvar)
        terms = model.terms(x, eps)
        close(terms["recon"], -Normal(m, math.exp(logvar / 2)).log_prob(x).sum(1))
        close(terms["loss"], terms["recon"] + latent_kl(model, x).sum(1))
        # d recon / d logvar = (1 - (x - m)^2 / sigma^2) / 2 per pixel.
        slope = torch.autograd.grad(total(terms), model.logvar)[0]
        close(slope, 0.5 * (1 - (x - m) ** 2 / math.exp(logvar)).sum(1).mean())


def test_sigma_at_its_optimum_is_optimal_sigma():
    model, (x, eps), _ = make("sigma")
    optimal = OptimalSigmaVAE(**SMALL).to(F64)
    optimal.load_state_dict({k: v for k, v in model.state_dict().items() if k != "logvar"})
    variance = ((x - pixel_means(model, code(model, x, eps))) ** 2).mean()
    losses = []
    for shift in (-0.1, 0.1, 0.0):
        with torch.no_grad():
            model.logvar.fill_(math.log(variance) + shift)
        losses.append(total(model.terms(x, eps)))
    assert losses[2] < min(losses[:2])
    close(torch.autograd.grad(losses[2], model.logvar)[0], 0.0)
    terms = optimal.terms(x, eps)
    close(terms["loss"], model.terms(x, eps)["loss"])
    close(terms["recon"].mean(), PIXELS / 2 * (math.log(2 * math.pi * variance) + 1))
    # The bad variants: a variance of each example, and one of each pixel.
    squares = (x - terms["decoded"]).square()
    for axis in (0, 1):
        scale = squares.mean(axis, keepdim=True).sqrt()
        other = -Normal(terms["decoded"], scale).log_prob(x).sum(1)
        assert other.mean() < terms["recon"].mean() - 1e-3


def test_the_gradient_through_the_optimal_variance_is_zero():
    """The envelope theorem: for the batch mean, though not for one example."""
    model, (x, eps), _ = make("optimal_sigma")
    terms = model.terms(x, eps)
    variance = (x - terms["decoded"]).square().mean()

    def loss(v):
        return -Normal(terms["decoded"], v.sqrt()).log_prob(x).sum(1) + terms["kl"]

    got, through, held = (
        gradients(t.mean(), model) for t in (terms["loss"], loss(variance), loss(variance.detach()))
    )
    for a, b, c in zip(got, through, held, strict=True):
        close(a, b)
        close(a, c)
    one, one_held = (gradients(t[0], model) for t in (loss(variance), loss(variance.detach())))
    assert max((a - b).abs().max() for a, b in zip(one, one_held, strict=True)) > 1e-3


def test_log_cosh_unit_values():
    close(log_cosh(torch.tensor(10 * 0.1, dtype=F64)) / 10, 0.043378, atol=1e-6)
    u = torch.linspace(-20, 20, 401, dtype=F64, requires_grad=True)
    close(log_cosh(u), torch.as_tensor(np.log(np.cosh(u.detach().numpy()))))
    close(torch.autograd.grad(log_cosh(u).sum(), u)[0], torch.tanh(u.detach()))
    # Far out |u| - log 2, where cosh or e^(2|u|) overflows, on either side.
    for dtype, far in ((torch.float32, 1e4), (F64, 1e5)):
        u = torch.tensor([-far, far, 0.0], dtype=dtype, requires_grad=True)
        expected = torch.tensor([far - math.log(2), far - math.log(2), 0.0], dtype=dtype)
        torch.testing.assert_close(log_cosh(u), expected)
        slope = torch.autograd.grad(log_cosh(u).sum(), u)[0]
        assert torch.equal(slope, torch.tensor([-1.0, 1.0, 0.0], dtype=dtype))


def test_log_cosh_from_the_state_dict():
    model, (x, eps), _ = make("log_cosh")
    t = (x - pixel_means(model, code(model, x, eps))).numpy()
    recon = torch.as_tensor(np.log(np.cosh(10 * t)).sum(1) / 10)
    terms = model.terms(x, eps)
    close(terms["recon"], recon)
    close(terms["loss"], recon + 0.05 * latent_kl(model, x).sum(1))
    # For small a it is a/2 squared error, for large a absolute error.
    for a, limit in ((1e-4, 1e-4 / 2 * t**2), (1e7, abs(t))):
        model, arguments, _ = make("log_cosh", a=a)
        expected = torch.as_tensor(limit.sum(1))
        close(model.terms(*arguments)["recon"], expected, rtol=1e-6, atol=1e-5 * min(a, 1))
