"""The PyTorch bounds of many samples: closed forms, laws, and gradients made by hand."""

import itertools
import math

import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch import nn  # noqa: E402

from torch_parity.tests.variant_cases import (  # noqa: E402
    F64,
    LATENTS,
    PIXELS,
    SMALL,
    B,
    close,
    draw,
    gaussian,
    images,
    nll,
    normal,
    standard,
)
from torch_parity.variants import samples  # noqa: E402
from torch_parity.variants.models import IWAE  # noqa: E402
from torch_parity.variants.parts import kl_standard_normal  # noqa: E402
from torch_parity.variants.samples import (  # noqa: E402
    CIWAE,
    MIWAE,
    PIWAE,
    STL,
    DReG,
    KSampleVAE,
    Renyi,
)

pytestmark = pytest.mark.numeric

M, K = 2, 3  # not equal, or a wrong axis would not show
GROUPED = (MIWAE, PIWAE)
ALL = (KSampleVAE, MIWAE, PIWAE, CIWAE, DReG, STL, Renyi)
LOG_P = -1.515512  # log p(x = 1) of p(z) = N(0, 1), p(x|z) = N(z, 1)


def make(cls, **settings):
    """Any model of this file with the same larger than initial weights."""
    torch.manual_seed(0)
    model = cls(**SMALL, **settings).to(F64)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model


def noise(cls, m=M, k=K):
    eps = draw(2, m, k, B, LATENTS)
    return eps if cls in GROUPED else eps.flatten(0, 1)


def minimised(terms):
    return terms["minimised"] if "minimised" in terms else terms["loss"].mean()


def gradients(scalar, network):
    return torch.autograd.grad(scalar, list(network.parameters()), retain_graph=True)


def equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        close(x, y)


def unequal(a, b):
    """Not by rounding alone, in each of the tensors."""
    assert all((x - y).abs().max() > 1e-4 for x, y in zip(a, b, strict=True))


def by_hand(model, x, eps):
    """-log p(x|z), log q - log p and z from the state dict, sample by sample."""
    mean, logvar = gaussian(model, "encoder", x)
    parts = []
    for e in eps.reshape(-1, B, LATENTS):
        z = mean + torch.exp(logvar / 2) * e
        kl = normal(mean, logvar).log_prob(z) - standard(z).log_prob(z)
        parts.append((nll(model, z, x), kl, z))
    return [torch.stack(part) for part in zip(*parts, strict=True)]


def losses(log_w):
    """Each loss from log w (M K, B), by plain exponentials; these are some e^-30 at least."""
    w = torch.exp(log_w)
    groups = [w[m * K : (m + 1) * K] for m in range(M)]
    k_samples, iwae = -sum(log_w) / (M * K), -torch.log(sum(w) / (M * K))
    return {
        KSampleVAE: k_samples,
        MIWAE: -sum(torch.log(sum(group) / K) for group in groups) / M,
        PIWAE: iwae,
        CIWAE: 0.05 * k_samples + 0.95 * iwae,
        DReG: iwae,
        STL: iwae,
        Renyi: -2 * torch.log(sum(w.sqrt()) / (M * K)),
    }


@pytest.mark.parametrize("cls", ALL)
def test_values_from_the_state_dict(cls):
    model, x, eps = make(cls), images(B, PIXELS), noise(cls)
    recon, kl, z = by_hand(model, x, eps)
    terms = model.terms(x, eps)
    close(terms["recon"], recon.mean(0))
    close(terms["kl"], kl.mean(0))
    close(terms["log_ratio"], kl)
    close(terms["log_w"], -recon - kl)
    close(terms["z"], z)
    p = torch.sigmoid(terms["logits"])
    close(-(x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum(-1), recon)
    expected = losses(-recon - kl)
    close(terms["loss"], expected[cls])
    value = expected[cls].mean()
    if cls is PIWAE:
        close(terms["encoder_loss"], expected[MIWAE])
        value = value + expected[MIWAE].mean()
    close(minimised(terms), value)
    assert minimised(terms).shape == ()


def test_weights_and_defaults():
    for cls in ALL:
        assert cls().decoder.hidden.in_features == 20
        # One seed, one set of weights, whatever the bound.
        equal(list(make(cls).parameters()), list(make(IWAE).parameters()))
    assert CIWAE().elbo_weight == 0.05 and Renyi().alpha == 0.5


@pytest.mark.parametrize("cls", [KSampleVAE, MIWAE, CIWAE, Renyi])
def test_the_gradient_is_that_of_finite_differences(cls):
    """Of the four that detach nothing, along one direction of all parameters."""
    model, x, eps = make(cls), images(B, PIXELS), noise(cls)
    parameters = list(model.parameters())
    directions = [draw(10 + i, *p.shape) for i, p in enumerate(parameters)]
    slopes = gradients(minimised(model.terms(x, eps)), model)
    slope = sum((g * d).sum() for g, d in zip(slopes, directions, strict=True))
    h, values = 1e-6, []
    with torch.no_grad():
        for step in (h, -2 * h):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
            values.append(minimised(model.terms(x, eps)))
    close((values[0] - values[1]) / (2 * h), slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_one_sample_is_the_elbo(cls):
    model, x, eps = make(cls), images(B, PIXELS), noise(cls, 1, 1)
    terms, one = model.terms(x, eps), make(IWAE).terms(x, eps.reshape(1, B, LATENTS))
    close(terms["loss"], one["loss"])
    close(terms["loss"], terms["recon"] + terms["kl"])
    # Weights that are equal: neither M nor K matters.
    same = eps.expand(M, K, B, LATENTS) if cls in GROUPED else eps.expand(K, B, LATENTS)
    close(model.terms(x, same)["loss"], one["loss"])
    # And kl is the analytic KL only on average: had it been that, every draw would give it.
    assert ((terms["kl"] - kl_standard_normal(*model.encoder(x))).abs() > 1e-3).all()


def test_one_sample_has_the_gradient_of_the_elbo():
    x, eps = images(B, PIXELS), noise(MIWAE, 1, 1)
    plain = make(IWAE)
    of_elbo = gradients(plain.terms(x, eps[0])["loss"].mean(), plain)
    for cls in (KSampleVAE, MIWAE, PIWAE, CIWAE, Renyi):
        model = make(cls)
        terms = model.terms(x, eps if cls in GROUPED else eps[0])
        equal(gradients(minimised(terms), model), of_elbo)
    # DReG of one sample is STL; their encoder's gradient lacks the score of q, so it is another.
    dreg, stl = make(DReG), make(STL)
    of_dreg = gradients(minimised(dreg.terms(x, eps[0])), dreg)
    equal(of_dreg, gradients(minimised(stl.terms(x, eps[0])), stl))
    encoder = len(list(dreg.encoder.parameters()))
    equal(of_dreg[encoder:], of_elbo[encoder:])
    unequal(of_dreg[:encoder], of_elbo[:encoder])


def test_neutral_settings():
    """Values and gradients of all parameters, where two models are one."""
    x, eps = images(B, PIXELS), draw(2, K, B, LATENTS)
    pairs = [
        (MIWAE, {}, eps[:, None], KSampleVAE),
        (MIWAE, {}, eps[None], IWAE),
        (CIWAE, {"elbo_weight": 1.0}, eps, KSampleVAE),
        (CIWAE, {"elbo_weight": 0.0}, eps, IWAE),
        (Renyi, {"alpha": 0.0}, eps, IWAE),
        (Renyi, {"alpha": 1.0}, eps, KSampleVAE),
    ]
    for cls, settings, e, other in pairs:
        a, b = make(cls, **settings), make(other)
        terms, expected = a.terms(x, e), b.terms(x, eps)
        close(terms["loss"], expected["loss"])
        equal(gradients(terms["loss"].mean(), a), gradients(expected["loss"].mean(), b))
    # Near 1 the loss changes by some |1 - alpha| Var(log w) / 2, with variances of about 10, and
    # the rounding of the logarithm is divided by 1 - alpha.
    expected = make(KSampleVAE).terms(x, eps)["loss"]
    for alpha in (1 - 1e-6, 1 + 1e-6):
        close(make(Renyi, alpha=alpha).terms(x, eps)["loss"], expected, rtol=0, atol=1e-3)


def test_order_of_the_bounds():
    """Jensen's inequality, for every draw."""
    x, eps = images(B, PIXELS), draw(2, M, K, B, LATENTS)
    flat = eps.flatten(0, 1)
    k_samples, iwae = make(KSampleVAE).terms(x, flat)["loss"], make(IWAE).terms(x, flat)["loss"]
    for loss in (
        make(MIWAE).terms(x, eps)["loss"],
        make(CIWAE).terms(x, flat)["loss"],
        make(Renyi).terms(x, flat)["loss"],
    ):
        assert (iwae < loss).all() and (loss < k_samples).all()
    # The Renyi bound falls with alpha, from the largest log w to the smallest.
    by_alpha = [make(Renyi, alpha=a).terms(x, flat) for a in (-1e6, -1, 0, 0.5, 1, 2, 1e6)]
    for a, b in itertools.pairwise(by_alpha):
        assert (a["loss"] < b["loss"]).all()
    log_w = by_alpha[0]["log_w"]
    close(by_alpha[0]["loss"], -log_w.max(0).values, rtol=0, atol=1e-5)  # log(6) / 1e6
    close(by_alpha[-1]["loss"], -log_w.min(0).values, rtol=0, atol=1e-5)


def test_miwae_normalises_over_k():
    x, eps = images(B, PIXELS), draw(2, M, K, B, LATENTS)
    loss = make(MIWAE).terms(x, eps)["loss"]
    iwae = make(IWAE)
    close(loss, (iwae.terms(x, eps[0])["loss"] + iwae.terms(x, eps[1])["loss"]) / 2)
    unequal([loss], [make(MIWAE).terms(x, eps.transpose(0, 1))["loss"]])
    # The samples of one group may change places, those of two may not.
    close(make(MIWAE).terms(x, eps.flip(0).flip(1))["loss"], loss)
    mixed = eps.reshape(K, M, B, LATENTS).transpose(0, 1)
    unequal([loss], [make(MIWAE).terms(x, mixed)["loss"]])


def test_piwae_gives_each_network_its_own_loss():
    x, eps = images(B, PIXELS), draw(2, M, K, B, LATENTS)
    model, iwae, miwae = make(PIWAE), make(IWAE), make(MIWAE)
    terms = model.terms(x, eps)
    for_decoder = gradients(iwae.terms(x, eps.flatten(0, 1))["loss"].mean(), iwae.decoder)
    miwae_loss = miwae.terms(x, eps)["loss"].mean()
    for_encoder = gradients(miwae_loss, miwae.encoder)
    equal(gradients(terms["minimised"], model.decoder), for_decoder)
    equal(gradients(terms["minimised"], model.encoder), for_encoder)
    # The sum of both losses with nothing held is another gradient, for both.
    unequal(for_decoder, gradients(miwae_loss, miwae.decoder))
    for scalar, other in (
        (terms["loss"].sum(), model.encoder),
        (terms["encoder_loss"].sum(), model.decoder),
    ):
        parameters = list(other.parameters())
        held = torch.autograd.grad(scalar, parameters, retain_graph=True, allow_unused=True)
        assert all(g is None for g in held)


def test_dreg_and_stl_gradients_by_hand():
    """Sample by sample, d log w / dz at a z that is a leaf, pulled back to the encoder."""
    x, eps = images(B, PIXELS), draw(2, K, B, LATENTS)
    model, stl, iwae = make(DReG), make(STL), make(IWAE)
    mean, logvar = model.encoder(x)
    q, pulled, log_ws = normal(mean.detach(), logvar.detach()), [], []
    for e in eps:
        z = mean + torch.exp(logvar / 2) * e
        leaf = z.detach().requires_grad_()
        # `nll` has the decoder's weights from the state dict, which no gradient reaches.
        log_w = standard(leaf).log_prob(leaf) - nll(model, leaf, x) - q.log_prob(leaf)
        pulled.append((z, torch.autograd.grad(log_w.sum(), leaf)[0]))
        log_ws.append(log_w.detach())
    w = torch.exp(torch.stack(log_ws))
    w = w / w.sum(0)
    for_dreg = sum(-(w[k] ** 2 / B * (z * d).sum(1)).sum() for k, (z, d) in enumerate(pulled))
    for_stl = sum(-(w[k] / B * (z * d).sum(1)).sum() for k, (z, d) in enumerate(pulled))
    by_hand_dreg, by_hand_stl = (gradients(s, model.encoder) for s in (for_dreg, for_stl))
    dreg_terms, stl_terms, iwae_terms = (m.terms(x, eps) for m in (model, stl, iwae))
    equal(gradients(minimised(dreg_terms), model.encoder), by_hand_dreg)
    equal(gradients(minimised(stl_terms), stl.encoder), by_hand_stl)
    iwae_loss = iwae_terms["loss"].mean()
    unequal(by_hand_dreg, by_hand_stl)
    unequal(by_hand_dreg, gradients(iwae_loss, iwae.encoder))
    # Without the stop inside log q, w^2 would weigh the score too.
    unheld = -(w.square() * iwae_terms["log_w"]).sum(0).mean()
    unequal(by_hand_dreg, gradients(unheld, iwae.encoder))
    for m, terms in ((model, dreg_terms), (stl, stl_terms)):
        equal(gradients(minimised(terms), m.decoder), gradients(iwae_loss, iwae.decoder))


class OwnGaussian(nn.Module):
    """q = N(mean, variance), with a mean and a logvar of its own for every example."""

    def __init__(self, mean, variance, examples):
        super().__init__()
        self.mean = nn.Parameter(torch.full((examples, 1), mean, dtype=F64))
        self.logvar = nn.Parameter(torch.full((examples, 1), math.log(variance), dtype=F64))

    def forward(self, x):
        return self.mean, self.logvar


@pytest.fixture
def linear_gaussian(monkeypatch):
    """Losses (n,) and gradients (n, 2) for (mean, logvar) of n draws with p(x|z) = N(z, 1), x = 1.

    The decoder is the identity, and the fixture puts its Gaussian in the Bernoulli's place.
    """

    def gaussian_nll(output, x):
        return (0.5 * math.log(2 * math.pi) + 0.5 * (x - output).square()).sum(-1)

    monkeypatch.setattr(samples, "bernoulli_nll", gaussian_nll)

    def run(cls, mean, variance, eps, **settings):
        n = eps.shape[-2]
        model = cls(pixels=1, hidden=1, latents=1, **settings)
        model.encoder, model.decoder = OwnGaussian(mean, variance, n), nn.Identity()
        terms = model.terms(torch.ones(n, 1, dtype=F64), eps)
        by_draw = [n * g for g in gradients(minimised(terms), model.encoder)]
        return terms["loss"].detach(), torch.cat(by_draw, 1)

    return run


@pytest.mark.parametrize("cls", ALL)
def test_at_the_posterior_every_bound_is_tight(cls, linear_gaussian):
    """q = N(1/2, 1/2): log w is log p(x) for every draw, so any bound is."""
    for m, k in ((1, 1), (2, 5)):
        eps = draw(1, m, k, 7, 1)
        loss, _ = linear_gaussian(cls, 0.5, 0.5, eps if cls in GROUPED else eps.flatten(0, 1))
        close(loss, -LOG_P, atol=1e-6)


def away_from_zero(values):
    """The mean over draws in standard errors, for each column."""
    return (values.mean(0) / values.std(0) * math.sqrt(len(values))).abs()


def test_at_the_posterior_dreg_and_stl_have_no_gradient(linear_gaussian):
    eps = draw(1, 5, 2000, 1)
    for cls in (DReG, STL):
        close(linear_gaussian(cls, 0.5, 0.5, eps)[1], 0.0)
    for other in (KSampleVAE, CIWAE, Renyi):  # zero only on average
        gradient = linear_gaussian(other, 0.5, 0.5, eps)[1]
        assert (gradient.std(0) > 0.1).all() and (away_from_zero(gradient) < 5).all()
    iwae = linear_gaussian(CIWAE, 0.5, 0.5, eps, elbo_weight=0.0)[1]
    assert (iwae.std(0) > 0.1).all() and (away_from_zero(iwae) < 5).all()


def test_linear_gaussian_gradients_by_formula(linear_gaussian):
    """d log w / dz = x - 2 z + (z - m) / v, dz / dm = 1 and dz / dlogvar = sqrt(v) eps / 2."""
    m, v, eps = 0.2, 0.8, draw(1, 4, 9, 1)
    z = m + math.sqrt(v) * eps
    log_w = -((1 - z) ** 2) / 2 - z**2 / 2 + (z - m) ** 2 / (2 * v)  # and a constant
    n = (torch.exp(log_w) / torch.exp(log_w).sum(0))[..., 0]
    d = 1 - 2 * z + (z - m) / v
    paths = torch.cat([d, d * math.sqrt(v) * eps / 2], 2)
    for cls, weight in ((DReG, n**2), (STL, n)):
        gradient = linear_gaussian(cls, m, v, eps)[1]
        close(gradient, -(weight[..., None] * paths).sum(0))


def test_dreg_is_unbiased_and_stl_is_not(linear_gaussian):
    eps = draw(1, 5, 40000, 1)
    _, iwae = linear_gaussian(CIWAE, 0.0, 1.5, eps, elbo_weight=0.0)
    _, dreg = linear_gaussian(DReG, 0.0, 1.5, eps)
    _, stl = linear_gaussian(STL, 0.0, 1.5, eps)
    assert (away_from_zero(iwae) > 20).all()  # so the next line says something
    assert (away_from_zero(dreg - iwae) < 5).all()
    assert (away_from_zero(stl - iwae) > 20).all()
    # It is the less noisy one.
    assert (dreg.var(0) < iwae.var(0)).all()
    # Of one sample both are unbiased.
    _, elbo = linear_gaussian(KSampleVAE, 0.0, 1.5, eps[:1])
    for cls in (DReG, STL):
        _, one = linear_gaussian(cls, 0.0, 1.5, eps[:1])
        assert (away_from_zero(one - elbo) < 5).all()


def test_linear_gaussian_unit_values(linear_gaussian):
    """The ELBO of q = N(0, 1) is -1.918939; the bounds rise with K, and stay under log p(x)."""
    eps = draw(1, 50, 20000, 1)
    bounds = [-linear_gaussian(KSampleVAE, 0.0, 1.0, eps)[0].mean().item()]
    # The K-sample mean has a standard deviation below 0.2, so a standard error below 0.0015.
    assert abs(bounds[0] + 1.918939) < 0.0075
    for cls in (Renyi, CIWAE, DReG):
        bounds.append(-linear_gaussian(cls, 0.0, 1.0, eps)[0].mean().item())
    assert bounds == sorted(bounds) and bounds[-1] < LOG_P < bounds[-1] + 0.05
