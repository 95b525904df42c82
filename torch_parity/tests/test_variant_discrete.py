"""The PyTorch models of discrete codes: loops, closed forms and gradients by hand."""

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.distributions import Categorical, kl_divergence  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from torch_parity.tests.variant_cases import (  # noqa: E402
    F64,
    HIDDEN,
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
from torch_parity.variants.discrete import (  # noqa: E402
    FSQVAE,
    GradientVQVAE,
    GumbelVAE,
    JointVAE,
    ResidualVQVAE,
    RestartVQVAE,
)
from torch_parity.variants.parts import total  # noqa: E402
from torch_parity.variants.vqvae import VQVAE  # noqa: E402

pytestmark = pytest.mark.numeric

PLACES = list(np.ndindex(B, 2, 3))
UNIT_KL = 0.296794  # KL((.7, .2, .1) || uniform)


def enlarge(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name != "codes":
                p.mul_(2.0)
    return model


def make(kind, *args, **kwargs):
    """A small convolutional model, its codes (if any) among what they quantise, and images."""
    torch.manual_seed(0)
    model, x = enlarge(kind((3, 4), *args, **kwargs).to(F64)), images(B, 1, 8, 12)
    if hasattr(model, "codes"):
        left, books = encode(model, x).reshape(-1, 2), []
        for i in range(model.codes[..., 0].numel() // 5):
            books.append(left[i::7][:5])
            left = left - books[-1][torch.cdist(left, books[-1]).argmin(1)]
        with torch.no_grad():
            model.codes.copy_(torch.stack(books).reshape(model.codes.shape))
        if hasattr(model, "sums"):
            model.sums.copy_(model.codes)
    return model, x


def encode(model, x):
    """Features (B, h, w, D), from the state dict alone."""
    w = model.state_dict()
    for i in range(2):
        weight, bias = w[f"encoder.conv_{i}.weight"], w[f"encoder.conv_{i}.bias"]
        x = F.conv2d(x, weight, bias, stride=2, padding=1).clamp(min=0)
    x = F.conv2d(x, w["encoder.conv_2.weight"], w["encoder.conv_2.bias"])
    return x.permute(0, 2, 3, 1)


def recon(model, z, x):
    """-log p(x|z) (B,) from the state dict and probabilities."""
    w, h = model.state_dict(), z.permute(0, 3, 1, 2)
    for i in range(2):
        weight, bias = w[f"decoder.conv_{i}.weight"], w[f"decoder.conv_{i}.bias"]
        h = F.conv_transpose2d(h, weight, bias, stride=2, padding=1, output_padding=1)
        h = h if i else h.clamp(min=0)
    p = torch.sigmoid(h)
    return -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum((1, 2, 3))


def choice(z, codes):
    return int(np.argmin([((z - code) ** 2).sum() for code in codes]))


def exp_entropy(indices, size):
    usage = np.bincount(np.ravel(indices), minlength=size) / np.size(indices)
    return math.exp(-sum(p * math.log(p) for p in usage if p))


def at_code(model, z, x):
    """The gradient of the mean reconstruction with respect to what the decoder sees."""
    z = z.detach().requires_grad_()
    logits = model.decoder(z.movedim(-1, 1))
    loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / B
    return torch.autograd.grad(loss, z)[0]


def check_encoder_gradient(model, x, cotangent):
    """The encoder's gradient of `total` is that of its features with this cotangent."""
    parameters = list(model.encoder.parameters())
    z_e = model.encoder(x).movedim(1, -1)
    expected = torch.autograd.grad(z_e, parameters, cotangent)
    gradients = torch.autograd.grad(total(model.terms(x)), parameters)
    assert max(g.abs().max() for g in expected) > 1e-3
    for a, b in zip(gradients, expected, strict=True):
        close(a, b)


# The VQ-VAE with a learned codebook.


def test_gradient_vqvae_against_loops():
    model, x = make(GradientVQVAE, 2, 5)
    z_e, codes = encode(model, x).numpy(), model.codes.detach().numpy()
    indices, z, squares = np.zeros((B, 2, 3), int), np.zeros_like(z_e), np.zeros(B)
    for place in PLACES:
        indices[place] = k = choice(z_e[place], codes)
        z[place] = codes[k]
        squares[place[0]] += ((z_e[place] - codes[k]) ** 2).sum()
    terms = model.terms(x)
    assert len(set(indices.ravel())) > 1
    assert np.array_equal(terms["indices"].numpy(), indices)
    close(terms["z"], torch.as_tensor(z))
    close(terms["recon"], recon(model, torch.as_tensor(z), x))
    close(terms["codebook"], torch.as_tensor(squares))
    close(terms["commitment"], torch.as_tensor(squares))
    close(terms["loss"], terms["recon"] + 1.25 * torch.as_tensor(squares))
    close(terms["perplexity"], exp_entropy(indices, 5))
    assert torch.equal(terms["kl"], torch.zeros(B, dtype=F64))
    # A sum over the batch beside a mean reconstruction would grow with B.
    for name in ("loss", "codebook", "commitment"):
        close(model.terms(x[:2])[name], terms[name][:2])


def test_gradient_vqvae_gradients():
    model, x = make(GradientVQVAE, 2, 5)
    with torch.no_grad():
        model.codes[4] = 100.0  # a code that nobody uses
    terms = model.terms(x)
    z_e, indices = encode(model, x), terms["indices"]
    e = model.codes.detach()[indices]
    check_encoder_gradient(model, x, at_code(model, e, x) + 0.25 * 2 * (z_e - e) / B)
    expected = torch.zeros(5, 2, dtype=F64)
    for place in PLACES:
        expected[indices[place]] += 2 * (e[place] - z_e[place]) / B
    terms = model.terms(x)
    kept, unused = {"retain_graph": True}, {"allow_unused": True}
    assert torch.autograd.grad(terms["recon"].sum(), model.codes, **kept, **unused) == (None,)
    (gradient,) = torch.autograd.grad(total(terms), model.codes)
    close(gradient, expected)
    assert not gradient[4].any() and gradient[:4].any()


def test_gradient_vqvae_is_the_vqvae_for_the_encoder():
    model, x = make(GradientVQVAE, 2, 5)
    other = VQVAE((3, 4), 2, 5).to(F64)
    other.load_state_dict(model.state_dict(), strict=False)
    a, b = model.terms(x), other.terms(x)
    for name in ("recon", "commitment", "perplexity", "logits"):
        close(a[name], b[name])
    close(a["loss"], b["loss"] + a["codebook"])
    for net in ("encoder", "decoder"):
        ours, theirs = (list(getattr(m, net).parameters()) for m in (model, other))
        gradients = torch.autograd.grad(total(a), ours, retain_graph=True)
        expected = torch.autograd.grad(total(b), theirs, retain_graph=True)
        for g, h in zip(gradients, expected, strict=True):
            close(g, h)


# Restarts.


def test_restarts_against_loops():
    model, x = make(RestartVQVAE, 2, 5, threshold=0.7)
    plain, _ = make(VQVAE, 2, 5)
    for m in (model, plain):
        with torch.no_grad():
            m.codes[3:] = m.sums[3:] = 100.0  # two codes that nobody uses
            m.counts[3], m.counts[4] = 0.7, 0.8
    assert set(model.state_dict()) == set(plain.state_dict())
    rows = torch.tensor([0, 1, 2, 17, 4])
    terms = model.terms(x, rows)
    features = [encode(model, x)[place] for place in PLACES]
    plain_terms = plain.terms(x)
    assert terms.keys() == plain_terms.keys() | {"rows"}
    assert all(torch.equal(terms[name], plain_terms[name]) for name in plain_terms)
    plain.update(plain_terms)
    model.update(terms)
    assert [bool(c < 0.7) for c in plain.counts] == [False, False, False, True, False]
    for k in range(5):
        dead = k == 3
        close(model.codes[k], features[17] if dead else plain.codes[k])
        close(model.counts[k], 0.7 if dead else plain.counts[k])
        close(model.sums[k], 0.7 * features[17] if dead else plain.sums[k])
    again = model.terms(x, rows)
    assert again["indices"][PLACES[17]] == 3  # at distance 0
    model.update(again)
    assert model.counts[3] >= 0.7  # one use holds it


def test_restarts_below_the_threshold_alone():
    model, x = make(RestartVQVAE, 2, 5, decay=1.0)  # counts stay
    with torch.no_grad():
        model.counts.copy_(torch.tensor([0.5, 0.4999, 0.5001, 7.0, 0.0]))
    before = model.codes.clone()
    model.update(model.terms(x, torch.full((5,), 9)))
    close(model.counts, torch.tensor([0.5, 0.5, 0.5001, 7.0, 0.5]).to(F64), rtol=1e-6)
    feature = encode(model, x)[PLACES[9]]
    for k in (1, 4):
        close(model.codes[k], feature)
    assert (model.sums[[0, 2, 3]] == before[[0, 2, 3]]).all()


# Residual quantisation.


def residual_loops(model, x):
    """Indices (B, h, w, levels), the r_l (B, h, w, levels, D) and the e_l of the same shape."""
    z_e, books = encode(model, x).numpy(), model.codes.numpy()
    indices = np.zeros((B, 2, 3, len(books)), int)
    r, e = np.zeros((2, B, 2, 3, *books.shape[::2]))
    for place in PLACES:
        left = z_e[place].copy()
        for level, book in enumerate(books):
            indices[(*place, level)] = k = choice(left, book)
            r[(*place, level)], e[(*place, level)] = left, book[k]
            left = left - book[k]
    return indices, torch.as_tensor(r), torch.as_tensor(e)


def test_residual_vqvae_against_loops():
    model, x = make(ResidualVQVAE, 2, 5, 3)
    indices, r, e = residual_loops(model, x)
    terms = model.terms(x)
    assert np.array_equal(terms["indices"].numpy(), indices)
    close(terms["residuals"], r)
    close(terms["z"], e.sum(-2))
    close(terms["recon"], recon(model, e.sum(-2), x))
    close(terms["commitment"], (r - e).square().sum((1, 2, 3, 4)))
    close(terms["loss"], terms["recon"] + 0.25 * terms["commitment"])
    perplexities = [exp_entropy(indices[..., level], 5) for level in range(3)]
    assert len(set(perplexities)) == 3
    close(terms["perplexity"], sum(perplexities) / 3)
    check_encoder_gradient(model, x, at_code(model, e.sum(-2), x) + 0.25 * 2 * (r - e).sum(-2) / B)
    assert {k for k, _ in model.named_buffers()} == {"codes", "sums", "counts"}
    assert not any(terms[k].requires_grad for k in ("residuals", "indices", "perplexity"))


def test_residual_vqvae_quantises_what_is_left():
    """With one book for all levels, quantising z_e again would choose the same codes again."""
    model, x = make(ResidualVQVAE, 2, 5, 3)
    with torch.no_grad():
        model.codes.copy_(model.codes[:1].expand(3, -1, -1).clone())
        model.codes[:, 0] = 0.0  # with a zero in the book, no level makes the error grow
    terms = model.terms(x)
    indices = terms["indices"]
    assert (indices[..., 0] != indices[..., 1]).any()
    errors = terms["residuals"].square().sum(-1)
    assert (errors.diff(dim=-1) <= 1e-12).all() and (errors.diff(dim=-1) < -1e-3).any()


def test_residual_update_against_loops():
    model, x = make(ResidualVQVAE, 2, 5, 3)
    codes, sums, counts = (b.numpy().copy() for b in (model.codes, model.sums, model.counts))
    for step in range(3):
        batch = x.roll(step, 3) ** (step + 1)
        indices, r, _ = residual_loops(model, batch)
        before = model.codes.clone()
        terms = model.terms(batch)
        assert torch.equal(model.codes, before)  # terms changes nothing
        model.update(terms)
        for level, k in np.ndindex(3, 5):
            here = [p for p in PLACES if indices[(*p, level)] == k]
            vectors = [r[(*p, level)].numpy() for p in here]
            counts[level, k] = 0.99 * counts[level, k] + 0.01 * len(here)
            sums[level, k] = 0.99 * sums[level, k] + 0.01 * sum(vectors, np.zeros(2))
        for level, k in np.ndindex(3, 5):
            n = counts[level].sum()
            smoothed = (counts[level, k] + 1e-5) / (n + 5e-5) * n
            codes[level, k] = sums[level, k] / smoothed
        for buffer, expected in ((model.codes, codes), (model.sums, sums), (model.counts, counts)):
            close(buffer, torch.as_tensor(expected))


def test_residual_of_one_level_is_the_vqvae():
    model, x = make(ResidualVQVAE, 2, 5, 1)
    plain, _ = make(VQVAE, 2, 5)
    for p, q in zip(plain.parameters(), model.parameters(), strict=True):
        p.data.copy_(q.data)
    for name, buffer in plain.named_buffers():
        buffer.copy_(dict(model.named_buffers())[name][0])
    for _ in range(2):
        a, b = model.terms(x), plain.terms(x)
        for name in ("loss", "recon", "kl", "commitment", "perplexity", "z", "logits"):
            close(a[name], b[name])
        assert torch.equal(a["indices"][..., 0], b["indices"])
        model.update(a)
        plain.update(b)
        for name, buffer in plain.named_buffers():
            close(dict(model.named_buffers())[name][0], buffer)


# Finite scalar quantisation.


def test_fsq_has_exactly_so_many_codes():
    levels = (8, 6, 5)
    model = FSQVAE((3, 4), levels)
    assert model.encoder[-1].out_channels == 3
    # No value has less than 1/3.5 of z_e, so this grid meets them all.
    grid = torch.linspace(-9, 9, 73, dtype=F64)
    codes, indices = model.quantise(torch.cartesian_prod(grid, grid, grid))
    codes = codes.round(decimals=12)  # straight through leaves a rounding error
    assert codes.min() == -1.0 and codes.max() <= 1.0
    assert indices.unique().tolist() == list(range(240))
    for channel, n in enumerate(levels):
        expected = torch.arange(-(n // 2), n - n // 2, dtype=F64) / (n // 2)
        close(codes[:, channel].unique(), expected)
    digits = (codes * torch.tensor([4, 3, 2]) + torch.tensor([4, 3, 2])).round().long()
    assert torch.equal(indices, digits[:, 0] + 8 * (digits[:, 1] + 6 * digits[:, 2]))
    # Without its offset a channel of 8 levels would have 9.
    assert len((torch.tanh(grid) * 3.5 * 1.001).round().unique()) == 9


def test_fsq_unit_values():
    model = FSQVAE((3, 4), (8, 6, 5))
    codes, index = model.quantise(torch.zeros(1, 3, dtype=F64))
    close(codes, 0.0)
    assert index.item() == 4 + 8 * (3 + 6 * 2)
    # Either side of where three levels part, and two levels, which also keep zero.
    edge = math.atanh(0.5 / 1.001)
    near = torch.tensor([[edge - 1e-9], [edge + 1e-9], [-edge - 1e-9]], dtype=F64)
    assert FSQVAE((3, 4), (3,)).quantise(near)[1].tolist() == [1, 2, 0]
    two = torch.tensor([[-50.0], [0.0], [50.0]], dtype=F64)
    close(FSQVAE((3, 4), (2,)).quantise(two)[0], torch.tensor([[-1.0], [0.0], [0.0]]).to(F64))


def test_fsq_terms_and_gradients():
    levels = (8, 6, 5)
    model, x = make(FSQVAE, levels)
    # Every channel of mean 0 and standard deviation 2, so that it takes several of its levels.
    last, features = model.encoder.conv_2, encode(model, x)
    mean, std = features.mean((0, 1, 2)), features.std((0, 1, 2))
    with torch.no_grad():
        last.weight.mul_(2 / std[:, None, None, None])
        last.bias.sub_(mean).mul_(2 / std)
    z_e = encode(model, x)
    z, slope = torch.zeros_like(z_e), torch.zeros_like(z_e)
    indices = np.zeros((B, 2, 3), int)
    for place in PLACES:
        radix = 1
        for j, n in enumerate(levels):
            half, offset = (n - 1) / 2 * 1.001, (1 - n % 2) / 2
            tanh = math.tanh(z_e[(*place, j)].item() + math.atanh(offset / half))
            value = round(tanh * half - offset)  # Python's rounds half to even
            z[(*place, j)] = value / (n // 2)
            slope[(*place, j)] = half * (1 - tanh**2) / (n // 2)
            indices[place] += radix * (value + n // 2)
            radix *= n
    terms = model.terms(x)
    assert len(set(indices.ravel())) > 5
    assert np.array_equal(terms["indices"].numpy(), indices)
    close(terms["z"], z)
    close(terms["recon"], recon(model, z, x))
    assert torch.equal(terms["loss"], terms["recon"]) and not terms["kl"].any()
    close(terms["perplexity"], exp_entropy(indices, 240))
    check_encoder_gradient(model, x, at_code(model, z, x) * slope)


# Categorical latents.


def gumbel(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return -torch.log(-torch.log(torch.rand(*shape, generator=generator, dtype=F64)))


def make_gumbel(**kwargs):
    torch.manual_seed(0)
    model = enlarge(GumbelVAE(PIXELS, HIDDEN, 2, 3, **kwargs).to(F64))
    return model, images(B, PIXELS), gumbel(5, B, 2, 3)


def make_joint(**kwargs):
    torch.manual_seed(0)
    model = enlarge(JointVAE(**SMALL, categories=3, **kwargs).to(F64))
    return model, images(B, PIXELS), draw(2, B, LATENTS), gumbel(5, B, 3)


def categories(model, x):
    """Logits of the categories from the state dict alone."""
    return dense(model, "encoder.logits", dense(model, "encoder.hidden", x).clamp(min=0))


def kl_categorical(logits):
    return kl_divergence(Categorical(logits=logits), Categorical(logits=torch.zeros_like(logits)))


def one_hot_argmax(noisy):
    return (noisy == noisy.max(-1, keepdim=True).values).to(F64)


@pytest.mark.parametrize("make_model", [make_gumbel, make_joint])
def test_the_gradient_is_that_of_finite_differences(make_model):
    model, *arguments = make_model()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(total(model.terms(*arguments, step=100)), parameters)
    assert all(g.any() for g in gradients)
    directions = [draw(10 + i, *p.shape) for i, p in enumerate(parameters)]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    h, values = 1e-6, []
    with torch.no_grad():
        for step in (h, -2 * h):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
            values.append(total(model.terms(*arguments, step=100)))
    # Second order in h, and rounding over h.
    close((values[0] - values[1]) / (2 * h), slope, rtol=1e-5, atol=1e-5)


def test_gumbel_from_the_state_dict():
    model, x, noise = make_gumbel()
    logits = categories(model, x).reshape(B, 2, 3)
    for step, tau in ((0, 1.0), (500, 0.606531), (693, 0.5), (10**6, 0.5), (None, 0.5)):
        terms = model.terms(x, noise, step)
        close(terms["temperature"], tau, atol=1e-3 if step == 693 else 1e-6)
        e = torch.exp((logits + noise) / terms["temperature"])
        y = (e / e.sum(-1, keepdim=True)).reshape(B, 6)
        close(terms["z"], y)
        close(terms["recon"], nll(model, y, x))
        close(terms["kl"], kl_categorical(logits).sum(1))
        close(terms["loss"], terms["recon"] + terms["kl"])
    evaluated = model.terms(x, noise, train=False)
    y = one_hot_argmax(logits + noise).reshape(B, 6)
    assert torch.equal(evaluated["z"], y) and "temperature" not in evaluated
    close(evaluated["recon"], nll(model, y, x))
    close(evaluated["kl"], terms["kl"])
    # A temperature near zero is the one-hot already.
    close(make_gumbel(min_temperature=1e-4)[0].terms(x, noise)["z"], y)


def test_categorical_kl_unit_values():
    log_p = torch.log(torch.tensor([0.7, 0.2, 0.1], dtype=F64))
    model, x, noise = make_gumbel()
    joint, _, eps, joint_noise = make_joint()
    with torch.no_grad():
        for m in (model, joint):
            m.encoder.logits.weight.zero_()
        model.encoder.logits.bias.copy_(log_p.repeat(2) + 5.0)  # a constant changes nothing
        joint.encoder.logits.bias.copy_(log_p)
    close(model.terms(x, noise)["kl"], 2 * UNIT_KL, atol=2e-6)
    close(joint.terms(x, eps, joint_noise)["kl_discrete"], UNIT_KL, atol=1e-6)
    with torch.no_grad():
        joint.encoder.logits.bias.copy_(torch.tensor([0.0, 0.0, 2000.0]))
    close(joint.terms(x, eps, joint_noise)["kl_discrete"], math.log(3))


def test_gumbel_max_frequencies():
    model, x, _ = make_gumbel()
    n = 20000
    p = Categorical(logits=categories(model, x[:1]).reshape(2, 3)).probs
    noise = gumbel(7, n, 2, 3)
    with torch.no_grad():
        z = model.terms(x[:1].expand(n, -1), noise, train=False)["z"].reshape(n, 2, 3)
    assert (z.sum(-1) == 1).all()
    close(z.mean(0), p, rtol=0, atol=0.015)  # four standard errors
    # The two variables are drawn independently.
    close(torch.einsum("ni,nj->ij", z[:, 0], z[:, 1]) / n, torch.outer(*p), rtol=0, atol=0.015)


def test_gumbel_evaluation_is_a_bound():
    """Averaged over q, -log p(x) + KL(q(y|x) || p(y|x)), all nine codes enumerated."""
    model, x, _ = make_gumbel()
    log_q = F.log_softmax(categories(model, x).reshape(B, 2, 3), -1)
    bound, joint, weights = torch.zeros(B, dtype=F64), [], []
    for i, j in itertools.product(range(3), repeat=2):
        noise = torch.zeros(B, 2, 3, dtype=F64)
        noise[:, 0, i] = noise[:, 1, j] = 1e3  # this code for certain
        q = log_q[:, 0, i] + log_q[:, 1, j]
        bound += q.exp() * model.terms(x, noise, train=False)["loss"]
        y = F.one_hot(torch.tensor([i, j]), 3).to(F64).reshape(1, 6).expand(B, -1)
        joint.append(-nll(model, y, x) - math.log(9))
        weights.append(q)
    joint, weights = torch.stack(joint), torch.stack(weights)
    log_p = joint.logsumexp(0)
    gap = (weights.exp() * (weights - (joint - log_p))).sum(0)
    close(bound, -log_p + gap)


# JointVAE.


def test_joint_from_the_state_dict():
    model, x, eps, noise = make_joint()
    mean, logvar = gaussian(model, "encoder", x)
    logits = categories(model, x)
    kl_c = kl_divergence(normal(mean, logvar), standard(mean))
    kl_d = kl_categorical(logits)
    z_c = mean + torch.exp(logvar / 2) * eps
    soft = F.softmax((logits + noise) / 0.67, 1)
    # At step 50 one capacity is half of its KL, the other at least twice.
    top, discrete = 10 * kl_c.mean().item(), max(2.0, 40 * kl_d.mean().item())
    model, *_ = make_joint(capacity=top, discrete_capacity=discrete)
    for step, part in ((0, 0), (50, 0.05), (250, 0.25), (1000, 1), (4000, 1), (None, 1)):
        # No KL of three categories is more than log 3.
        capacities = part * top, min(part * discrete, math.log(3))
        terms = model.terms(x, eps, noise, step)
        z = torch.cat([z_c, soft], 1)
        close(terms["z"], z)
        close(terms["recon"], nll(model, z, x))
        close(terms["kl_continuous"], kl_c)
        close(terms["kl_discrete"], kl_d)
        close(terms["kl"], kl_c + kl_d)
        distance = abs(kl_c.mean() - capacities[0]) + abs(kl_d.mean() - capacities[1])
        close(terms["loss"], terms["recon"] + 30 * distance)
    evaluated = model.terms(x, eps, noise, train=False)
    z = torch.cat([z_c, one_hot_argmax(logits + noise)], 1)
    close(evaluated["z"], z)
    close(evaluated["loss"], nll(model, z, x) + 30 * distance)


def test_joint_distance_is_of_the_batch_mean():
    model, x, eps, noise = make_joint()
    kl = model.terms(x, eps, noise)["kl_continuous"]
    capacity = kl.mean().item()
    twin, *_ = make_joint(capacity=capacity, discrete_capacity=0.0)
    terms = twin.terms(x, eps, noise)
    close(terms["loss"] - terms["recon"], 30 * terms["kl_discrete"].mean().item())
    # The distance of each example would be more than a nat away.
    assert 30 * (kl - capacity).abs().mean() > 1


def test_joint_without_capacity_is_the_vae():
    """gamma 1, no capacities, and a category that tells nothing and is not looked at."""
    model, x, eps, noise = make_joint(gamma=1.0, capacity=0.0, discrete_capacity=0.0)
    with torch.no_grad():
        model.encoder.logits.weight.zero_()
        model.encoder.logits.bias.zero_()
        model.decoder.hidden.weight[:, LATENTS:] = 0.0
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    w = model.state_dict()
    h = (z @ w["decoder.hidden.weight"][:, :LATENTS].T + w["decoder.hidden.bias"]).clamp(min=0)
    p = torch.sigmoid(dense(model, "decoder.logits", h))
    reconstruction = F.binary_cross_entropy(p, x, reduction="none").sum(1)
    kl = kl_divergence(normal(mean, logvar), standard(mean))
    terms = model.terms(x, eps, noise)
    close(terms["kl_discrete"], 0.0)
    close(terms["recon"], reconstruction)
    close(total(terms), (reconstruction + kl).mean())
