"""Where the arrays of the variants' PyTorch models are in ours."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.config import Experiment
from jaxvae.interop.maps import Layer, Map, conv, conv_transpose, dense, parameter
from jaxvae.interop.weights import to_flax
from jaxvae.training.state import TrainState, state_of

# By the names of ours in {"params": {"model": ..., "objective": ...}, "codebook": ...}. Images have
# one channel, so pixels are flattened in the same order by both.
_HEADS = {"encoder.mean": dense("model/mean"), "encoder.logvar": dense("model/logvar")}
_DECODER = {
    "decoder.hidden": dense("model/decoder/Dense_0"),
    "decoder.logits": dense("model/decoder/Dense_1"),
}
VAE = {"encoder.hidden": dense("model/encoder/Dense_0")} | _HEADS | _DECODER
AE = {
    "encoder.hidden": dense("model/encoder/Dense_0"),
    "encoder.code": dense("model/code"),
    **_DECODER,
}
CATEGORIES = {
    "encoder.hidden": dense("model/encoder/Dense_0"),
    "encoder.logits": dense("model/logits"),
    **_DECODER,
}


def critic(layers: int) -> dict[str, Layer]:
    """Of a critic of so many layers."""
    return {f"critic.dense_{i}": dense(f"objective/critic/Dense_{i}") for i in range(layers)}


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
CONVOLUTIONS = {
    "encoder.conv_0": conv("model/encoder/Conv_0"),
    "encoder.conv_1": conv("model/encoder/Conv_1"),
    "encoder.conv_2": conv("model/projection"),
    "decoder.conv_0": conv_transpose("model/decoder/ConvTranspose_0"),
    "decoder.conv_1": conv_transpose("model/decoder/ConvTranspose_1"),
}
CODEBOOK = {name: parameter(name, "codebook") for name in ("codes", "sums", "counts")}
RESIDUAL = {
    f"{side}.{theirs}": layer
    for side, number in (("encoder", 2), ("decoder", 0))
    for theirs, layer in {
        "stack": conv(f"model/{side}/Conv_{number}"),
        "block.inner": conv(f"model/{side}/Residual_0/Conv_0", bias=False),
        "block.outer": conv(f"model/{side}/Residual_0/Conv_1", bias=False),
    }.items()
}
LEARNED_CODES = {"codes": parameter("model/codes")}
LEARNED_VARIANCE = {"logvar": parameter("objective/logvar")}


_OTHERS: dict[str, Map] = {
    "sigma_vae": VAE | LEARNED_VARIANCE,
    "factor_vae": VAE | critic(4),
    "wae_mmd": AE,
    "swae": AE,
    "aae": AE | critic(3),
    "vq_vae": CONVOLUTIONS | CODEBOOK,
    "vq_vae_restart": CONVOLUTIONS | CODEBOOK,
    "vq_vae_gradient": CONVOLUTIONS | LEARNED_CODES,
    "cifar_vq_vae": CONVOLUTIONS | RESIDUAL | CODEBOOK,
    "residual_vq_vae": CONVOLUTIONS | CODEBOOK,
    "fsq_vae": CONVOLUTIONS,
    "gumbel_vae": CATEGORIES,
    "joint_vae": VAE | CATEGORIES,
    "two_layer_vae": TWO_LAYERS,
    "vamp_prior_vae": VAE | PSEUDO_INPUTS,
    "flow_vae": VAE | FLOW,
}


def of(name: str) -> Map:
    """The map of an experiment of the family; of most, the VAE's."""
    return _OTHERS.get(name, VAE)


def start(
    state: TrainState, experiment: Experiment, arrays: Mapping[str, np.ndarray], weight_map: Map
) -> TrainState:
    """Our state before step 0, with the arrays of a PyTorch model by its names.

    Args:
        state: of a program that was just built, whose arrays are replaced.
        experiment: what is trained.
        arrays: of the PyTorch model's state dict.
        weight_map: where each of them is in ours.
    """
    template = {"params": state.params, **state.collections}
    found = jax.tree.map(jnp.asarray, to_flax(arrays, weight_map, template))
    params = found.pop("params")
    variables = {"params": params["model"], **found}
    return state_of(experiment, variables, params.get("objective", {}))
