"""The PyTorch models of the variants, small, and their networks from the state dict alone."""

from typing import Any

import torch
from torch.distributions import Independent, Normal

from torch_parity.variants.models import (
    IWAE,
    ConditionalVAE,
    FactorVAE,
    PlanarVAE,
    TwoLayerVAE,
    VampPriorVAE,
)

B, PIXELS, HIDDEN, LATENTS, K = 6, 30, 8, 4, 3
SMALL = {"pixels": PIXELS, "hidden": HIDDEN, "latents": LATENTS}
F64 = torch.float64


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def images(*shape):
    return torch.sigmoid(2 * draw(1, *shape))


def permutations():
    generator = torch.Generator().manual_seed(3)
    columns = [torch.randperm(B, generator=generator) for _ in range(LATENTS)]
    return torch.stack(columns, 1)


# The model, small, and what it takes besides x.
CASES: dict[str, Any] = {
    "iwae": (lambda: IWAE(**SMALL), lambda: (draw(2, K, B, LATENTS),)),
    "factor": (
        lambda: FactorVAE(**SMALL, critic_widths=(7, 5)),
        lambda: (draw(2, B, LATENTS), permutations()),
    ),
    "conditional": (
        lambda: ConditionalVAE(**SMALL, num_classes=5),
        lambda: (draw(2, B, LATENTS), torch.arange(B) % 5),
    ),
    "two_layer": (
        lambda: TwoLayerVAE(PIXELS, (HIDDEN, 5), (LATENTS, 2)),
        lambda: (draw(2, B, LATENTS), draw(4, B, 2)),
    ),
    "vamp": (
        lambda: VampPriorVAE(**SMALL, num_pseudo_inputs=K),
        lambda: (draw(2, B, LATENTS),),
    ),
    "planar": (lambda: PlanarVAE(**SMALL, num_layers=3), lambda: (draw(2, B, LATENTS),)),
}


def make(name):
    """The case's model with larger than initial weights, and its arguments."""
    torch.manual_seed(0)
    model = CASES[name][0]().to(F64)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model, [images(B, PIXELS), *CASES[name][1]()]


def normal(mean, logvar):
    return Independent(Normal(mean, torch.exp(logvar / 2)), 1)


def standard(like):
    return normal(torch.zeros_like(like), torch.zeros_like(like))


def dense(model, name, x):
    state = model.state_dict()
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def gaussian(model, name, x):
    """A Gaussian net from the state dict alone."""
    h = dense(model, f"{name}.hidden", x).clamp(min=0)
    return dense(model, f"{name}.mean", h), dense(model, f"{name}.logvar", h)


def nll(model, z, x):
    """-log p(x|z) from the state dict; 1 - p is s(-l), since near 1 p leaves it no digits."""
    h = dense(model, "decoder.hidden", z).clamp(min=0)
    logits = dense(model, "decoder.logits", h)
    log_p, log_not_p = -torch.log1p(torch.exp(-logits)), -torch.log1p(torch.exp(logits))
    return -(x * log_p + (1 - x) * log_not_p).sum(-1)


def close(a, b, rtol=1e-9, atol=1e-9):
    """Sums of at most 30 terms of size 1, so 1e-9 is some million roundings."""
    b = b if isinstance(b, torch.Tensor) else torch.full_like(a, b)
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
