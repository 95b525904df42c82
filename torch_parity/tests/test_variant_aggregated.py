"""The PyTorch variants that press on the aggregated posterior: loops, closed forms and traps."""

import math
from itertools import product
from typing import Any

import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.distributions import kl_divergence  # noqa: E402
from torch.nn import functional as F  # noqa: E402

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
from torch_parity.variants.aggregated import (  # noqa: E402
    AAE,
    DIPVAE,
    SWAE,
    WAEMMD,
    BetaTCVAE,
    InfoVAE,
    mmd_imq,
    mmd_rbf,
    sliced_distance,
)
from torch_parity.variants.models import IWAE  # noqa: E402
from torch_parity.variants.parts import total  # noqa: E402

pytestmark = pytest.mark.numeric

P, N = 5, 50
ESTIMATORS = ("mws", "mss", "plain")
EPS, PRIOR, DIRECTIONS = draw(2, B, LATENTS), draw(5, B, LATENTS), draw(6, P, LATENTS)
CASES: dict[str, Any] = {
    "mws": (BetaTCVAE, {"estimator": "mws", "number": N}, (EPS,)),
    "mss": (BetaTCVAE, {"estimator": "mss", "number": N}, (EPS,)),
    "plain": (BetaTCVAE, {"estimator": "plain", "number": N}, (EPS,)),
    "dip_i": (DIPVAE, {"kind": "I"}, (EPS,)),
    "dip_ii": (DIPVAE, {"kind": "II"}, (EPS,)),
    "info": (InfoVAE, {}, (EPS, PRIOR)),
    "wae": (WAEMMD, {}, (PRIOR,)),
    "swae": (SWAE, {}, (PRIOR, DIRECTIONS)),
    "aae": (AAE, {"critic_widths": (7, 5)}, (PRIOR,)),
}
# What turns the pressure off.
NEUTRAL: dict[str, dict[str, float]] = {
    "mws": {"tc_weight": 1.0},
    "mss": {"tc_weight": 1.0},
    "plain": {"tc_weight": 1.0},
    "dip_i": {"off_diagonal": 0.0, "diagonal": 0.0},
    "dip_ii": {"off_diagonal": 0.0, "diagonal": 0.0},
    "info": {"alpha": 0.0, "lambd": 1.0},
}


def make(name, **changes):
    """The case's model with larger than initial weights, and its arguments."""
    torch.manual_seed(0)
    build, own, arguments = CASES[name]
    model = build(**SMALL, **{**own, **changes}).to(F64)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model, [images(B, PIXELS), *arguments]


def scalar(terms):
    """What is differentiated."""
    return terms["minimised"] if "minimised" in terms else total(terms)


def weights(estimator, batch, number):
    """The weights of the B posteriors in q(z_i), row by row, from the paper's formulas."""
    rows = []
    for i in range(batch):
        if estimator == "mws":
            row = [1 / (batch * number)] * batch
        elif estimator == "plain":
            row = [1 / batch] * batch
        else:
            others = batch - 1
            row = [1 / others] * batch
            row[i] = 1 / number
            row[i + 1 if i + 1 < batch else 0] = (number - others) / (number * others)
        rows.append(row)
    return rows


def code(model, x):
    """The deterministic encoder from the state dict alone."""
    return dense(model, "encoder.code", dense(model, "encoder.hidden", x).clamp(min=0))


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_finite_differences(name):
    """Along one random direction of all parameters; it would tell a wrong detach."""
    model, arguments = make(name)
    of, parameters = scalar, list(model.parameters())
    if name == "aae":  # its total is no function whose gradient this is; see below
        of, parameters = lambda t: t["loss"].mean(), model.autoencoder_parameters()
    gradients = torch.autograd.grad(of(model.terms(*arguments)), parameters)
    directions = [draw(10 + i, *p.shape) for i, p in enumerate(parameters)]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    h, values = 1e-6, []
    with torch.no_grad():
        for step in (h, -2 * h):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
            values.append(of(model.terms(*arguments)))
    # Central differences of a loss of some 1e3: rounding 1e-13 / 1e-6 of it, truncation below.
    close((values[0] - values[1]) / (2 * h), slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_state(name):
    model, arguments = make(name)
    terms = model.terms(*arguments)
    for entry in ("loss", "recon", "kl"):
        assert terms[entry].shape == (B,)
    for entry in terms.keys() - {"loss", "recon", "kl", "z", "logits", "decoded"}:
        assert terms[entry].shape == ()
    assert all(t.dtype == F64 for t in terms.values())
    assert ("decoded" in terms) == ("minimised" in terms) == (name in ("wae", "swae"))
    assert ("logits" in terms) != ("decoded" in terms)
    encoder = {n for n in model.state_dict() if n.startswith("encoder")}
    layers = ("hidden", "mean", "logvar") if name in NEUTRAL else ("hidden", "code")
    assert encoder == {f"encoder.{n}.{p}" for n in layers for p in ("weight", "bias")}
    if name == "aae":
        critic = {n for n in model.state_dict() if n.startswith("critic")}
        assert critic == {f"critic.dense_{i}.{p}" for i in range(3) for p in ("weight", "bias")}
        assert model.critic.dense_2.weight.shape == (1, 5)
    single = model.to(torch.float32).terms(*(a.to(torch.float32) for a in arguments))
    assert all(t.dtype == torch.float32 for t in single.values())


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_setting_is_the_plain_vae(name):
    model, (x, eps, *rest) = make(name, **NEUTRAL[name])
    iwae = IWAE(**SMALL).to(F64)
    iwae.encoder.load_state_dict(model.encoder.state_dict())
    iwae.decoder.load_state_dict(model.decoder.state_dict())
    terms, plain = model.terms(x, eps, *rest), iwae.terms(x, eps[None])
    close(terms["recon"], plain["recon"])
    close(terms["z"], plain["z"][0])
    mean, logvar = gaussian(model, "encoder", x)
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    close(terms["kl"], kl)
    close(terms["loss"], plain["recon"] + kl)
    assert not torch.allclose(make(name)[0].terms(x, eps, *rest)["loss"], terms["loss"])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tc_against_loops_over_mixtures(estimator):
    changes = {"mi_weight": 2.5, "tc_weight": 4.0, "dw_weight": 0.25}
    model, (x, eps) = make(estimator, **changes)
    mean, logvar = gaussian(model, "encoder", x)
    std = torch.exp(logvar / 2)
    z = mean + std * eps
    mi, tc, dw = [], [], []
    for i, row in enumerate(weights(estimator, B, N)):
        density = torch.exp(torch.distributions.Normal(mean, std).log_prob(z[i]))  # (B, L)
        q = sum(w * density[b].prod() for b, w in enumerate(row))
        marginals = [
            sum(w * density[b, j] for b, w in enumerate(row)).log() for j in range(LATENTS)
        ]
        own, prior = normal(mean[i], logvar[i]).log_prob(z[i]), standard(z[i]).log_prob(z[i])
        mi.append(own - q.log())
        tc.append(q.log() - sum(marginals))
        dw.append(sum(marginals) - prior)
    terms = model.terms(x, eps)
    for entry, values in (("mi", mi), ("tc", tc), ("dw_kl", dw)):
        close(terms[entry], torch.stack(values).mean())
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    extra = 1.5 * terms["mi"] + 3 * terms["tc"] - 0.75 * terms["dw_kl"]
    close(terms["loss"], nll(model, z, x) + kl + extra)
    close(terms["kl"], kl)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mi_tc_and_dw_kl_telescope(estimator):
    model, (x, eps) = make(estimator)
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    terms = model.terms(x, eps)
    expected = (normal(mean, logvar).log_prob(z) - standard(z).log_prob(z)).mean()
    close(terms["mi"] + terms["tc"] + terms["dw_kl"], expected)


def far_apart(estimator, number):
    """Posterior means thousands of standard deviations apart, and z at the means."""
    model, (x, eps) = make(estimator, number=number)
    with torch.no_grad():
        model.encoder.mean.weight.mul_(1e5)
        model.encoder.logvar.weight.zero_()
        distances = torch.pdist(model.encoder(x)[0])
    assert distances.min() > 1e3
    return model.terms(x, torch.zeros_like(eps))


@pytest.mark.parametrize(
    ("estimator", "number", "mi"),
    [
        ("mss", 60000, 11.00210),  # log N
        ("mws", 60000, 12.79386),  # log(B N)
        ("plain", 60000, 1.79176),  # log B
        ("mss", B, 1.79176),  # the whole data set is the batch
    ],
)
def test_mi_of_separated_posteriors(estimator, number, mi):
    """The weight of the own example alone; weights in the first columns would give log(B - 1)."""
    close(far_apart(estimator, number)["mi"], mi, atol=1e-5)  # five decimals given


def test_stratified_weights_in_the_first_columns_are_another_estimate():
    """A known trap: 1/N in column 0 and (N - M) / (N M) in column 1, whatever the row."""
    bad = torch.full((B, B), 1 / (B - 1), dtype=F64)
    bad[:, 0], bad[:, 1] = 1 / N, (N - B + 1) / (N * (B - 1))
    good = torch.tensor(weights("mss", B, N), dtype=F64)
    close(good.sum(1), 1.0)
    close(bad.sum(1), 1.0)
    model, (x, eps) = make("mss")
    with torch.no_grad():
        model.encoder.mean.weight.mul_(30.0)
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    each = normal(mean, logvar).log_prob(z[:, None])  # (i, b)
    own = normal(mean, logvar).log_prob(z)
    mi = [(own - torch.logsumexp(w.log() + each, 1)).mean() for w in (good, bad)]
    close(model.terms(x, eps)["mi"], mi[0])
    assert mi[0] - mi[1] > 1


def test_equal_posteriors_show_the_estimators_offsets():
    """With q(z|x) = N(0, I) all three are 0, but MWS has log N for every density it estimates."""
    log_n = math.log(N)
    for estimator in ESTIMATORS:
        model, (x, eps) = make(estimator)
        with torch.no_grad():
            for p in model.encoder.parameters():
                p.zero_()
        terms = model.terms(x, eps)
        offset = log_n if estimator == "mws" else 0.0
        close(terms["mi"], offset)
        close(terms["tc"], (LATENTS - 1) * offset)
        close(terms["dw_kl"], -LATENTS * offset)


def test_the_smallest_batch_and_an_unknown_estimator():
    model, (x, eps) = make("mss")
    assert torch.isfinite(model.terms(x[:2], eps[:2])["loss"]).all()
    with pytest.raises(ZeroDivisionError):
        model.terms(x[:1], eps[:1])
    with pytest.raises(KeyError):
        make("mss", estimator="other")[0].terms(x, eps)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_dip_against_loops(kind):
    model, (x, eps) = make("dip_i", kind=kind, off_diagonal=3.0, diagonal=7.0)
    mean, logvar = gaussian(model, "encoder", x)
    off, on = 0.0, 0.0
    for i, j in product(range(LATENTS), repeat=2):
        c = (mean[:, i] * mean[:, j]).mean() - mean[:, i].mean() * mean[:, j].mean()
        if i == j:
            c = c + (torch.exp(logvar[:, i]).mean() if kind == "II" else 0)
            on = on + (c - 1) ** 2
        else:
            off = off + c**2
    terms = model.terms(x, eps)
    close(terms["off_diagonal"], off)
    close(terms["diagonal"], on)
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    close(terms["loss"], terms["recon"] + kl + 3 * off + 7 * on)
    # The traps: divided by B - 1, centred over the latents, exp(2 logvar).
    wrong = [torch.cov(mean.T), (mean - mean.mean(1, keepdim=True)).T @ mean / B]
    if kind == "II":
        wrong[0] = torch.cov(mean.T, correction=0) + torch.diag(torch.exp(2 * logvar).mean(0))
    for c in wrong:
        assert abs((torch.diagonal(c) - 1).square().sum() - on) > 1e-3 * on


def test_dip_of_a_batch_with_the_identity_for_covariance():
    """Means in the corners of a cube, which have C = I; a posterior variance then is its excess."""
    latents = 3
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=latents)), dtype=F64)
    for kind, logvar, diagonal in (("I", -1.0, 0.0), ("II", math.log(0.5), latents * 0.25)):
        own: dict[str, Any] = {"kind": kind}
        model = DIPVAE(latents, 2 * latents, latents, **own).to(F64)
        eye = torch.eye(latents, dtype=F64)
        with torch.no_grad():
            for p in model.encoder.parameters():
                p.zero_()
            model.encoder.hidden.weight.copy_(torch.cat([eye, -eye]))
            model.encoder.mean.weight.copy_(torch.cat([eye, -eye], 1))  # relu(x) - relu(-x) = x
            model.encoder.logvar.bias.fill_(logvar)
        terms = model.terms(corners, torch.zeros_like(corners))
        close(terms["z"], corners)
        close(terms["off_diagonal"], 0.0)
        close(terms["diagonal"], diagonal)


def normal_grid(side=30):
    """Two latents at the midpoints of equal masses of N(0, 1): as good as very many draws."""
    levels = (torch.arange(side, dtype=F64) + 0.5) / side
    return torch.cartesian_prod(*[math.sqrt(2) * torch.erfinv(2 * levels - 1)] * 2)


def test_rbf_mmd_of_two_normals():
    """N(0, I) and N(m, I), |m| = 1, in two dimensions: 2 s (1 - e^(-1 / (2 (h2 + 2)))).

    s = h2 / (h2 + 2). The midpoints are wrong by some 0.3 and 1 % of it, and by less the more.
    """
    z = normal_grid()
    y = z + torch.tensor([0.6, 0.8], dtype=F64)
    close(mmd_rbf(z, y, 1.0), 2 / 3 * (1 - math.exp(-1 / 6)), rtol=0.01)
    close(mmd_rbf(z, y, 2.0), 1 - math.exp(-1 / 8), rtol=0.02)
    close(mmd_rbf(z, z.flip(0), 1.0), 0.0)


def test_rbf_mmd_of_few_draws_is_biased_by_the_pairs_with_themselves():
    """By 2 (1 - E k) / n for n draws, E k = 1/3 here."""
    m = torch.tensor([0.6, 0.8], dtype=F64)
    values = [mmd_rbf(draw(s, 10, 2), draw(1000 + s, 10, 2) + m, 1.0) for s in range(400)]
    mean, error = torch.stack(values).mean(), torch.stack(values).std() / math.sqrt(400)
    expected = 2 / 3 * (1 - math.exp(-1 / 6)) + 2 * (2 / 3) / 10
    assert abs(mean - expected) < 3 * error < 0.03


def test_info_against_loops():
    model, (x, eps, prior) = make("info", alpha=0.3, lambd=5.0)
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    mmd = 0.0
    for a, b in product(range(B), repeat=2):  # h2 = L
        for first, second, sign in ((z, z, 1), (prior, prior, 1), (z, prior, -2)):
            mmd = mmd + sign * torch.exp(-((first[a] - second[b]) ** 2).sum() / (2 * LATENTS))
    mmd = mmd / B**2
    terms = model.terms(x, eps, prior)
    close(terms["mmd"], mmd)
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    close(terms["loss"], nll(model, z, x) + 0.7 * kl + 4.3 * mmd)
    close(model.terms(x, eps, z.flip(0))["mmd"], 0.0)
    assert terms["mmd"] > 0


def imq(z, y):
    scales = (0.1, 0.2, 0.5, 1, 2, 5, 10)
    c = [2 * z.shape[-1] * s for s in scales]
    return sum(k / (k + ((z - y) ** 2).sum()) for k in c)


def test_wae_against_loops():
    model, (x, prior) = make("wae", lambd=3.0)
    z = code(model, x)
    within, between = 0.0, 0.0
    for a, b in product(range(B), repeat=2):
        between = between + imq(z[a], prior[b])
        if a != b:
            within = within + imq(z[a], z[b]) + imq(prior[a], prior[b])
    mmd = within / (B * (B - 1)) - 2 * between / B**2
    terms = model.terms(x, prior)
    close(terms["mmd"], mmd)
    decoded = torch.sigmoid(
        dense(model, "decoder.logits", dense(model, "decoder.hidden", z).clamp(min=0))
    )
    close(terms["decoded"], decoded)
    error = ((x - decoded) ** 2).sum(1)
    close(terms["recon"], error / 2)
    close(terms["loss"], error / 2 + 1.5 * mmd)
    close(terms["minimised"], error.mean() + 3 * mmd)
    close(terms["kl"], 0.0)
    # At z = prior the cross term holds the pairs of a draw with itself: without them it is 0.
    same = mmd_imq(prior, prior)
    off = (within_pairs(prior) - 7 * B) / (B * (B - 1))
    close(same, 2 * off - 2 * within_pairs(prior) / B**2)
    assert same < -0.1


def within_pairs(z):
    return sum(imq(a, b) for a, b in product(z, repeat=2))


def test_imq_mmd_is_unbiased():
    """Its mean over many pairs of batches of one law is 0, and that of the biased one is not."""
    values = torch.stack([mmd_imq(draw(s, 4, 2), draw(1000 + s, 4, 2)) for s in range(400)])
    error = values.std() / math.sqrt(len(values))
    assert values.mean().abs() < 3 * error and 3 * error < 0.3 and (values < 0).any()
    z, y = draw(1, 4, 2), draw(1001, 4, 2)
    mean = (within_pairs(z) + within_pairs(y) - 2 * sum(imq(a, b) for a in z for b in y)) / 16
    assert mean - mmd_imq(z, y) > 0.5  # the kernel at 0 is 7, so the bias is some 2 (7 - E k) / 4
    # Laws apart are told: their distance at infinity is the mean of k within, some 7 each.
    assert mmd_imq(z, y + 1e6) > 1


def test_swae_against_loops():
    model, (x, prior, directions) = make("swae", lambd=3.0)
    z = code(model, x)
    sliced = 0.0
    for direction in directions:
        unit = direction / direction.square().sum().sqrt()
        a, b = sorted(unit @ v for v in z), sorted(unit @ v for v in prior)
        sliced = sliced + sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / B
    sliced = sliced / len(directions)
    terms = model.terms(x, prior, directions)
    close(terms["sliced"], sliced)
    error = ((x - terms["decoded"]) ** 2).sum(1)
    close(terms["recon"], error / 2)
    close(terms["minimised"], error.mean() + 3 * sliced)
    close(terms["loss"].mean() * 2, terms["minimised"])
    close(terms["kl"], 0.0)
    # Neither the lengths of the directions nor the order of the batch matters.
    other = model.terms(x, prior.flip(0), directions * torch.arange(1.0, P + 1)[:, None])
    close(other["sliced"], sliced)


def test_sliced_distance_of_a_shift():
    """|m|^2 / L: to rounding along the axes, on average along directions on the sphere."""
    z, m = draw(1, 20, LATENTS), draw(2, LATENTS)
    expected = m.square().sum() / LATENTS
    close(sliced_distance(z, (z + m).flip(0), 3 * torch.eye(LATENTS, dtype=F64)), expected)
    # sqrt(2 (L - 1) / (L + 2) / P) of it is the standard deviation: .007 for 20 000 directions.
    directions = draw(3, 20000, LATENTS)
    close(sliced_distance(z, z + m, directions), expected, rtol=0.03)
    # Directions that were not scaled would multiply it by L.
    bad = ((directions @ m) ** 2).mean()
    assert bad > 0.9 * LATENTS * expected


def critic(model, h):
    for i in range(2):
        h = dense(model, f"critic.dense_{i}", h)
        h = torch.where(h > 0, h, 0.2 * h)
    return dense(model, "critic.dense_2", h)[:, 0]


def test_aae_from_the_state_dict():
    model, (x, prior) = make("aae", lambd=3.0)
    z = code(model, x)
    at_codes, at_prior = torch.sigmoid(critic(model, z)), torch.sigmoid(critic(model, prior))
    terms = model.terms(x, prior)
    close(terms["z"], z)
    close(terms["adversarial"], -torch.log(at_codes).mean())
    close(terms["loss"], nll(model, z, x) - 3 * torch.log(at_codes).mean())
    close(terms["recon"], nll(model, z, x))
    close(terms["critic"], -torch.log(at_prior).mean() - torch.log(1 - at_codes).mean())
    close(terms["kl"], 0.0)
    close(total(terms), terms["loss"].mean() + terms["critic"])
    # A critic that cannot tell: log 2, and twice that for it.
    with torch.no_grad():
        model.critic.dense_2.weight.zero_()
        model.critic.dense_2.bias.zero_()
    terms = model.terms(x, prior)
    close(terms["adversarial"], math.log(2))
    close(terms["critic"], 2 * math.log(2))
    with torch.no_grad():  # and one that is sure stays finite, and its gradient too
        model.critic.dense_2.bias.fill_(-800.0)
    terms = model.terms(x, prior)
    close(terms["adversarial"], 800.0)
    close(terms["critic"], 800.0)


def test_aae_gradients_in_one_pass():
    model, (x, prior) = make("aae")
    groups = (model.autoencoder_parameters(), model.critic_parameters())
    assert len(groups[0]) + len(groups[1]) == len(list(model.parameters()))
    assert not {id(p) for p in groups[0]} & {id(p) for p in groups[1]}
    terms = model.terms(x, prior)
    for value, own, other in (
        (terms["loss"].mean(), groups[0], groups[1]),
        (terms["critic"], groups[1], groups[0]),
    ):
        grads = torch.autograd.grad(value, own + other, retain_graph=True, allow_unused=True)
        assert all(g is not None for g in grads[: len(own)])
        assert all(g is None for g in grads[len(own) :])
    total(terms).backward()

    # The same in two passes that hold the other network by hand.
    twin, _ = make("aae")
    z = twin.encoder(x)
    ones, zeros = torch.ones(B, dtype=F64), torch.zeros(B, dtype=F64)
    loss = F.binary_cross_entropy_with_logits(twin.decoder(z), x, reduction="sum") / B
    loss = loss + 10 * F.binary_cross_entropy_with_logits(critic(twin, z), ones)
    expected = list(torch.autograd.grad(loss, twin.autoencoder_parameters()))
    logits = twin.critic(torch.cat([prior, z.detach()]))[:, 0]
    labels = torch.cat([ones, zeros])
    loss = 2 * F.binary_cross_entropy_with_logits(logits, labels)  # a mean for each half
    expected += torch.autograd.grad(loss, twin.critic_parameters())
    for p, g in zip(groups[0] + groups[1], expected, strict=True):
        close(p.grad, g)


@pytest.mark.parametrize("name", ["wae", "swae"])
def test_minimised_is_twice_the_mean_loss_in_its_gradient_too(name):
    model, arguments = make(name)
    terms = model.terms(*arguments)
    parameters = list(model.parameters())
    twice = torch.autograd.grad(2 * terms["loss"].mean(), parameters, retain_graph=True)
    for a, b in zip(torch.autograd.grad(terms["minimised"], parameters), twice, strict=True):
        close(a, b)


def test_sliced_gradient_by_hand():
    """d/dz of mean_p mean_b (sorted difference)^2 is 2 difference unit / (P B), where z was."""
    z, y, directions = draw(1, B, LATENTS), draw(2, B, LATENTS), draw(3, P, LATENTS)
    z.requires_grad_()
    gradient = torch.autograd.grad(sliced_distance(z, y, directions), z)[0]
    expected = torch.zeros(B, LATENTS, dtype=F64)
    for direction in directions:
        unit = direction / direction.norm()
        place = (z.detach() @ unit).argsort()
        difference = (z.detach() @ unit)[place] - (y @ unit).sort().values
        expected[place] += 2 * difference[:, None] * unit / (P * B)
    close(gradient, expected)


def test_sizes_by_default():
    for build, networks in ((BetaTCVAE, 3), (DIPVAE, 3), (InfoVAE, 3), (WAEMMD, 2), (SWAE, 2)):
        model: Any = build()
        assert model.encoder.hidden.weight.shape == (256, 784)
        assert model.decoder.logits.weight.shape == (784, 256)
        assert model.decoder.hidden.weight.shape == (256, 10)
        assert len(list(model.encoder.parameters())) == 2 * networks
    assert [p.shape[0] for p in AAE().critic.parameters() if p.dim() == 2] == [256, 256, 1]
