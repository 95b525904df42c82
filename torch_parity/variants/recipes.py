"""The variants as PyTorch would write them: model, weights by name, what is random, optimisers.

Nothing here reads an experiment file; that both say the same is what the comparison shows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch
from torch import Tensor, nn

from jaxvae.interop.maps import Map, conv, conv_transpose, dense, parameter
from jaxvae.noise import Noise
from torch_parity.variants.models import (
    IWAE,
    ConditionalVAE,
    FactorVAE,
    PlanarVAE,
    TwoLayerVAE,
    VampPriorVAE,
)
from torch_parity.variants.vqvae import VQVAE

Given = Callable[[Any, Noise, jax.Array], dict[str, jax.Array]]
Optimizers = Callable[[Any], list[torch.optim.Optimizer]]


def latents(net: Any) -> int:
    """The number of a Gaussian's latents."""
    return net.mean.out_features


def eps(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """One draw of the reparameterization, (B, L)."""
    return {"eps": noise.normal("eps", (latents(model.encoder),))}


def five_eps(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """Five draws, (5, B, L)."""
    draws = [eps(model, noise.another(k), label)["eps"] for k in range(5)]
    return {"eps": jnp.stack(draws)}


def eps_and_permutation(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """One draw, and for each latent an order of the batch, (B, L)."""
    found = eps(model, noise, label)
    rows = jnp.broadcast_to(jnp.arange(len(label))[:, None], found["eps"].shape)
    key = noise.shared("permute")
    return found | {"permutation": jax.random.permutation(key, rows, axis=0, independent=True)}


def eps_and_label(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """One draw, and the labels, (B,)."""
    return eps(model, noise, label) | {"label": label}


def two_eps(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """A draw for each layer, (B, L1) and (B, L2)."""
    return {
        "eps1": noise.normal("eps", (latents(model.encoder_1),)),
        "eps2": noise.normal("eps2", (latents(model.encoder_2),)),
    }


def nothing(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """A model that draws nothing."""
    return {}


def adam(model: nn.Module) -> list[torch.optim.Optimizer]:
    """One for all parameters."""
    return [torch.optim.Adam(model.parameters(), lr=1e-3)]


def two_adams(model: FactorVAE) -> list[torch.optim.Optimizer]:
    """One for the autoencoder, another for the critic."""
    return [
        torch.optim.Adam(model.autoencoder_parameters(), lr=1e-3),
        torch.optim.Adam(model.critic_parameters(), lr=1e-4, betas=(0.5, 0.9)),
    ]


def features_as_codes(model: VQVAE, x: Tensor) -> None:
    """Codes that are different features of these images, so that many are used; uneven counts."""
    with torch.no_grad():
        features = model.encoder(x).movedim(1, -1).flatten(0, -2).unique(dim=0)
        places = torch.linspace(0, len(features) - 1, len(model.codes)).long()
        model.codes.copy_(features[places])
        model.counts.copy_(torch.linspace(0.5, 2.0, len(model.codes)))
        model.sums.copy_(model.codes * model.counts[:, None])


# By the names of ours in {"params": {"model": ..., "objective": ...}, "codebook": ...}. Images have
# one channel, so pixels are flattened in the same order by both.
_HEADS = {"encoder.mean": dense("model/mean"), "encoder.logvar": dense("model/logvar")}
_DECODER = {
    "decoder.hidden": dense("model/decoder/Dense_0"),
    "decoder.logits": dense("model/decoder/Dense_1"),
}
VAE = {"encoder.hidden": dense("model/encoder/Dense_0")} | _HEADS | _DECODER
CRITIC = {f"critic.dense_{i}": dense(f"objective/critic/Dense_{i}") for i in range(4)}
TWO_LAYERS = _DECODER | {
    "encoder_1.hidden": dense("model/encoder/Dense_0"),
    "encoder_2.hidden": dense("model/up/Dense_0"),
    "prior_1.hidden": dense("model/down/Dense_0"),
    **{
        f"{theirs}.{head}": dense(f"model/{ours}/{head}")
        for theirs, ours in (("encoder_1", "q1"), ("encoder_2", "q2"), ("prior_1", "p1"))
        for head in ("mean", "logvar")
    },
}
PSEUDO_INPUTS = {"pseudo_inputs": parameter("model/pseudo_inputs", flat_out=(1, 28, 28))}
FLOW = {f"flow.{name}": parameter(f"model/{name}") for name in ("u", "w", "b")}
VECTOR_QUANTIZED = {
    "encoder.conv_0": conv("model/encoder/Conv_0"),
    "encoder.conv_1": conv("model/encoder/Conv_1"),
    "encoder.conv_2": conv("model/projection"),
    "decoder.conv_0": conv_transpose("model/decoder/ConvTranspose_0"),
    "decoder.conv_1": conv_transpose("model/decoder/ConvTranspose_1"),
    **{name: parameter(name, "codebook") for name in ("codes", "sums", "counts")},
}


class Variant(NamedTuple):
    """A variant in PyTorch."""

    model: Callable[..., Any]
    """With the sizes of the experiment, or those that are given."""
    weight_map: Map
    given: Given = eps
    """(model, noise, labels) to the arguments of `terms` besides x: what both sides are given."""
    optimizers: Optimizers = adam
    start: Callable[[Any, Tensor], None] = lambda model, x: None
    """Sets what follows from images."""
    update: Callable[[Any, Any], None] = lambda model, terms: None
    """Moves what is no parameter, after a batch."""
    inputs: Callable[[Tensor], Tensor] = lambda images: images.flatten(1)
    """From (B, 1, 28, 28) in [0, 1] to what the model sees."""


VARIANTS = {
    "iwae": Variant(IWAE, VAE, five_eps),
    "factor_vae": Variant(FactorVAE, VAE | CRITIC, eps_and_permutation, two_adams),
    "conditional_vae": Variant(ConditionalVAE, VAE, eps_and_label),
    "two_layer_vae": Variant(TwoLayerVAE, TWO_LAYERS, two_eps),
    "vamp_prior_vae": Variant(VampPriorVAE, VAE | PSEUDO_INPUTS),
    "flow_vae": Variant(PlanarVAE, VAE | FLOW),
    "vq_vae": Variant(
        VQVAE,
        VECTOR_QUANTIZED,
        nothing,
        start=features_as_codes,
        update=VQVAE.update,
        inputs=lambda images: images,
    ),
}
