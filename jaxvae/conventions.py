"""The losses of well-known repositories, by name.

Each of them is c (recon + beta_eff kl) up to a constant, with recon the sum over an image's pixels
of the binary cross-entropy or of half the squared error, and kl the sum over its latents, both in
nats; `beta_eff` = 1 is the ELBO. docs/conventions.md has the table.
"""

from dataclasses import replace

from jaxvae.checks import require
from jaxvae.config import Experiment, Objective

_SUMMED = Objective("bernoulli", batch_reduction="sum")

conventions: dict[str, Objective] = {
    # BCE and KL summed over everything.
    "pytorch_examples": _SUMMED,
    "jackson_kang": _SUMMED,
    "gruheshkurra": _SUMMED,
    # -log N(x; x', 1) with its constant.
    "ethanluoyc": Objective("gaussian"),
    # Half the squared error, or the BCE; the AE has the whole squared error.
    "pythae_vae": Objective("half_mse"),
    "pythae_vae_bce": Objective("bernoulli"),
    "pythae_ae": Objective("mse"),
    # Flax's example, Haiku's and Keras's: sums, mean over the batch.
    "flax": Objective("bernoulli"),
    # Means over pixels and over latents, or over one of them.
    "flax_nnx_toy": Objective("bernoulli", beta=0.1, recon_reduction="mean", kl_reduction="mean"),
    "lightning_bolts": Objective("mse", beta=0.1, recon_reduction="mean", kl_reduction="mean"),
    "antixk_train": Objective("mse", beta=0.00025, recon_reduction="mean"),
    "antixk_validation": Objective("mse", recon_reduction="mean"),
    "ssakhash": Objective("mse", recon_reduction="mean", kl_reduction="mean"),
    # The squared error without its half: beta counts half of what it says.
    "disentanglement_lib": Objective("mse"),
}


def with_convention(experiment: Experiment, name: str) -> Experiment:
    """The experiment with the loss of a named convention; its beta warm-up stays.

    The decoder's output follows where it must: logits for a Bernoulli likelihood, and their sigmoid
    where there were logits and the convention wants pixel values. An AE takes only what is said of
    the reconstruction.

    Raises:
        ValueError: no such convention, or one without a KL for a VAE.
    """
    vae = experiment.model.family == "VAE"
    allowed = [other for other in conventions if not (vae and other == "pythae_ae")]
    require(name in allowed, "objective.convention", name, f"one of {', '.join(allowed)}")
    loss = conventions[name]
    objective = replace(
        experiment.objective,
        likelihood=loss.likelihood,
        sigma=loss.sigma,
        beta=loss.beta,
        recon_reduction=loss.recon_reduction,
        kl_reduction=loss.kl_reduction,
        batch_reduction=loss.batch_reduction,
    )
    output = experiment.model.output
    if loss.likelihood == "bernoulli":
        output = "logits"
    elif output == "logits":
        output = "sigmoid"
    return replace(experiment, objective=objective, model=replace(experiment.model, output=output))
