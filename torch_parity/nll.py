"""`python -m torch_parity.nll`: the bound on log p(x) by K draws, side by side with a PyTorch loop.

The loop is that of published collections: image by image, each repeated 100 times through encoder
and decoder until K draws are taken. Both have the weights of one 784-256-20 VAE, trained for one
epoch on MNIST, or on scikit-learn's digits where MNIST is not prepared. Beside them stands the time
of the decoder's products alone, which no way of doing it can save.
"""

import math
import sys
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from torch_parity import NO_TORCH

try:
    import torch
    from torch.nn import functional as F
except ModuleNotFoundError:
    sys.exit(str(NO_TORCH))

import jaxvae
from jaxvae.data import available
from jaxvae.evaluation import importance

REPEATED = 100
"""Copies of an image that the loop takes at once."""


def loop(state: dict[str, torch.Tensor], images: torch.Tensor, number: int) -> torch.Tensor:
    """-log 1/K sum_k w_k of each image, (n,), as published code computes it."""
    found = []
    layer = lambda x, name: F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])  # noqa: E731
    for image in images:
        log_w = []
        for _ in range(-(-number // REPEATED)):
            x = image.repeat(REPEATED, 1)
            h = torch.relu(layer(x, "encoder"))
            mean, logvar = layer(h, "mean"), layer(h, "logvar")
            std = torch.exp(0.5 * logvar)
            z = mean + std * torch.randn_like(std)
            log_q = -0.5 * (logvar + (z - mean) ** 2 / torch.exp(logvar)).sum(dim=-1)
            log_p_z = -0.5 * (z**2).sum(dim=-1)
            probability = torch.sigmoid(layer(torch.relu(layer(z, "decoder_1")), "decoder_2"))
            recon = F.binary_cross_entropy(probability, x, reduction="none").sum(dim=-1)
            log_w.append(log_p_z - recon - log_q)
        found.append(math.log(number) - torch.logsumexp(torch.cat(log_w)[:number], dim=0))
    return torch.stack(found)


def weights(trained: Any) -> dict[str, torch.Tensor]:
    """Those of the run, as PyTorch has them."""
    params = trained.variables.model["params"]
    layers = {
        "encoder": params["encoder"]["Dense_0"],
        "mean": params["mean"],
        "logvar": params["logvar"],
        "decoder_1": params["decoder"]["Dense_0"],
        "decoder_2": params["decoder"]["Dense_1"],
    }
    found = {}
    for name, layer in layers.items():
        found[f"{name}.weight"] = torch.from_numpy(np.array(layer["kernel"]).T.copy())
        found[f"{name}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    return found


def products(trained: Any, rows: int) -> float:
    """Seconds that the decoder's products take for a draw, `rows` of them at once."""
    first = jnp.ones((rows, trained.experiment.model.latent_dim))
    hidden = jnp.ones((first.shape[1], 256)), jnp.ones((256, 784))
    repeat = 20

    @jax.jit
    def some(z: jax.Array) -> jax.Array:
        def one(i: jax.Array, total: jax.Array) -> jax.Array:
            return total + jnp.max((z + total) @ hidden[0] @ hidden[1])

        return jax.lax.fori_loop(0, repeat, one, jnp.zeros(()))

    some(first).block_until_ready()
    times = []
    for _ in range(5):
        began = perf_counter()
        some(first).block_until_ready()
        times.append(perf_counter() - began)
    return min(times) / (rows * repeat)


def main(num_samples: int = 5000, images: int = 10_000, loop_images: int = 20) -> None:
    """Time the bound and print it.

    Args:
        num_samples: K.
        images: Test images of ours.
        loop_images: The first images, of the loop, which takes seconds for each.
    """
    prepared = any(entry["name"] == "mnist" for entry in available())
    source = "mnist" if prepared else "digits"
    run = jaxvae.train("mnist_vae", data=source, epochs=1, figures_every=None, quiet=True)
    split = run.dataset.test.take(range(min(images, len(run.dataset.test.images))))
    began = perf_counter()
    ours, _ = importance.nll(run.trained, split, num_samples)
    seconds = perf_counter() - began
    some = split.images[:loop_images].reshape(-1, 784).astype(np.float32) / 255
    with torch.inference_mode():
        began = perf_counter()
        theirs = loop(weights(run.trained), torch.from_numpy(some), num_samples).numpy()
        of_loop = (perf_counter() - began) / loop_images
    alone = products(run.trained, importance.VALUES // 784)
    of_image = seconds / len(ours)
    versions = f"jax {jax.__version__}, torch {torch.__version__}"
    share = alone * num_samples / of_image
    print(f"{source}, {jax.devices()[0].device_kind}, {versions}; K = {num_samples:,}")
    print(f"jaxvae    {seconds:.1f} s for {len(ours):,} images, compilation included")
    print(f"products  {share * seconds:.1f} s of them, {100 * share:.0f} %")
    print(f"loop      {of_loop:.3f} s for an image, {of_loop / of_image:.0f} times as long")
    gap = np.abs(theirs - ours[: len(theirs)]).max()
    both = f"{ours[: len(theirs)].mean():.3f} and {theirs.mean():.3f}"
    print(f"nll of the images of both: {both}, at most {gap:.2f} apart; of all: {ours.mean():.3f}")


if __name__ == "__main__":
    tyro.cli(main)
