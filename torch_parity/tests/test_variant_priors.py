"""The PyTorch models of the VampPrior and of planar flows: mixtures, Jacobians, special cases."""

import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.distributions import Categorical, MixtureSameFamily  # noqa: E402
from torch.func import jacrev, vmap  # noqa: E402

from torch_parity.tests.variant_cases import (  # noqa: E402
    F64,
    LATENTS,
    PIXELS,
    SMALL,
    B,
    K,
    close,
    draw,
    gaussian,
    make,
    nll,
    normal,
    standard,
)
from torch_parity.variants.models import IWAE, PlanarFlow, PlanarVAE, invertible_u  # noqa: E402
from torch_parity.variants.parts import sample, total  # noqa: E402

pytestmark = pytest.mark.numeric


def test_vamp_from_the_state_dict():
    model, (x, eps) = make("vamp")
    with torch.no_grad():
        model.pseudo_inputs[0, :5] = torch.tensor([-1.0, -0.1, 1.1, 2.0, 0.4])
    mean, logvar = gaussian(model, "encoder", x)
    z = mean + torch.exp(logvar / 2) * eps
    components = normal(*gaussian(model, "encoder", model.pseudo_inputs.detach().clamp(0, 1)))
    mixture = MixtureSameFamily(Categorical(torch.full((K,), 1 / K, dtype=F64)), components)
    terms = model.terms(x, eps)
    close(terms["log_p"], mixture.log_prob(z))
    close(terms["kl"], normal(mean, logvar).log_prob(z) - mixture.log_prob(z))
    close(terms["recon"], nll(model, z, x))
    # Outside [0, 1] a pseudo-input is stuck, and so it is at 0 and at 1 themselves.
    with torch.no_grad():
        model.pseudo_inputs[1, :2] = torch.tensor([0.0, 1.0])
    total(model.terms(x, eps)).backward()
    grad = model.pseudo_inputs.grad
    assert (grad[0, :4] == 0).all() and grad[0, 4] != 0 and (grad[1, :2] == 0).all()


def test_vamp_of_one_standard_pseudo_input_is_the_vae():
    model, (x, eps) = make("vamp")
    model.pseudo_inputs = torch.nn.Parameter(torch.zeros(1, PIXELS, dtype=F64))
    with torch.no_grad():  # no biases: the posterior of the black image is N(0, I), of others not
        for layer in (model.encoder.hidden, model.encoder.mean, model.encoder.logvar):
            layer.bias.zero_()
    terms = model.terms(x, eps)
    mean, logvar = model.encoder(x)
    z = sample(mean, logvar, eps)
    close(terms["log_p"], standard(z).log_prob(z))
    iwae = IWAE(**SMALL).to(F64)
    iwae.load_state_dict({k: v for k, v in model.state_dict().items() if k != "pseudo_inputs"})
    plain = iwae.terms(x, eps[None])
    for key in ("loss", "recon", "kl"):
        close(terms[key], plain[key])
    assert (plain["kl"].abs() > 1e-3).any()


def test_planar_log_det_is_that_of_the_jacobian():
    flow = PlanarFlow(4, LATENTS).to(F64)
    with torch.no_grad():
        for i, p in enumerate((flow.u, flow.w, flow.b)):
            p.copy_(2 * draw(i, *p.shape))
    z = draw(5, B, LATENTS)
    jacobian = vmap(jacrev(lambda one: flow(one[None])[0][0]))(z)
    sign, expected = torch.linalg.slogdet(jacobian)
    close(flow(z)[1], expected)
    assert (sign > 0).all() and (expected.abs() > 0.1).any()


def test_planar_reparameterisation():
    u, w = draw(1, LATENTS), draw(2, LATENTS)
    for scale in (-20.0, -1.0, 0.1, 30.0):
        a = w @ (scale * u)
        close(w @ invertible_u(scale * u, w), torch.log1p(torch.exp(a)) - 1)
        assert w @ invertible_u(scale * u, w) > -1
    # Only along w does u change.
    across = w * 0
    across[0], across[1] = w[1], -w[0]
    close(across @ invertible_u(u, w), across @ u)


def test_planar_of_identity_layers_is_the_vae():
    model, (x, eps) = make("planar")
    with torch.no_grad():  # u_hat is 0 where m(w.u) = 0, that is w.u = log(e - 1), and u along w
        w = model.flow.w
        model.flow.u.copy_(math.log(math.e - 1) * w / w.square().sum(1, keepdim=True))
    iwae = IWAE(**SMALL).to(F64)
    iwae.load_state_dict({k: v for k, v in model.state_dict().items() if "flow" not in k})
    none = PlanarVAE(**SMALL, num_layers=0).to(F64)
    none.encoder.load_state_dict(model.encoder.state_dict())
    none.decoder.load_state_dict(model.decoder.state_dict())
    plain = iwae.terms(x, eps[None])
    for terms in (model.terms(x, eps), none.terms(x, eps)):
        close(terms["log_det"], 0.0)
        for key in ("loss", "recon", "kl"):
            close(terms[key], plain[key])


def test_planar_from_the_state_dict():
    model, (x, eps) = make("planar")
    mean, logvar = gaussian(model, "encoder", x)
    z0 = z = mean + torch.exp(logvar / 2) * eps
    log_det, state = torch.zeros(B, dtype=F64), model.state_dict()
    for t in range(3):
        u, w, b = (state[f"flow.{name}"][t].numpy() for name in "uwb")
        a = (w * u).sum()
        u = torch.as_tensor(u + (np.log1p(np.exp(a)) - 1 - a) * w / (w**2).sum())
        for i in range(B):
            h = math.tanh(float((z[i].numpy() * w).sum() + b))
            z = z.clone()
            z[i] = z[i] + u * h
            log_det[i] += math.log(1 + (1 - h * h) * float(u @ torch.as_tensor(w)))
    terms = model.terms(x, eps)
    close(terms["log_det"], log_det)
    close(terms["kl"], normal(mean, logvar).log_prob(z0) - log_det - standard(z).log_prob(z))
    close(terms["recon"], nll(model, z, x))
