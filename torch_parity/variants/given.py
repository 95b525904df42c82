"""What the variants' PyTorch models are given besides images: our own noise and labels.

Each function is called with the PyTorch model, whose sizes count, with the noise of the batch and
its labels, and returns the arguments of `terms` by name.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.noise import Noise


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


def eps_and_prior(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """One draw of the posterior's noise and one of the prior, (B, L) each."""
    found = eps(model, noise, label)
    return found | {"prior": noise.normal("prior", found["eps"].shape[1:])}


def prior(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """Of a model whose codes are not drawn: one draw of the prior, (B, L)."""
    return {"prior": noise.normal("prior", (model.encoder.code.out_features,))}


def prior_and_directions(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """The same, and 50 directions, (50, L), as long as they come."""
    found, key = prior(model, noise, label), noise.shared("directions")
    return found | {"directions": jax.random.normal(key, (50, found["prior"].shape[1]))}


def two_by_four_eps(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """Eight draws in order, (2, 4, B, L)."""
    draws = [eps(model, noise.another(k), label)["eps"] for k in range(8)]
    return {"eps": jnp.stack(draws).reshape(2, 4, *draws[0].shape)}


def _gumbel(noise: Noise, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: jax.random.gumbel(key, shape))(noise.keys("gumbel"))


def gumbel(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """Gumbel noise, (B, variables, categories)."""
    return {"gumbel": _gumbel(noise, model.shape)}


def eps_and_gumbel(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """One draw for the Gaussian latents, and Gumbel noise, (B, categories), for the category."""
    return eps(model, noise, label) | {"gumbel": _gumbel(noise, (categories(model),))}


def categories(model: Any) -> int:
    """The number of categories of a model that has one variable of them."""
    return model.encoder.logits.out_features


def rows(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """Which feature of the batch each code begins anew at, of 7 x 7 positions of each image."""
    shape, features = (len(model.codes),), 49 * len(label)
    return {"rows": jax.random.randint(noise.shared("restart"), shape, 0, features)}


def nothing(model: Any, noise: Noise, label: jax.Array) -> dict[str, jax.Array]:
    """A model that draws nothing."""
    return {}
