"""Active latents: those whose posterior mean says something about the examples."""

from typing import Any

import jax
import numpy as np

from jaxvae.batch import dummy
from jaxvae.data import Split
from jaxvae.evaluation.trained import Trained, batches, codes_of, knows_labels

VARIANCE = 0.01  # above which a latent is active; Burda et al. 2016, section 5.2
LIMIT = 10_000  # examples that are looked at, at most


def has_posterior(trained: Trained) -> bool:
    """Whether there is a q(z|x), with a KL: not for an AE, nor for discrete codes."""
    variables, one = trained.variables.model, dummy(trained.info)
    return jax.eval_shape(trained.model.apply, variables, one).kl is not None


def active_latents(trained: Trained, split: Split) -> dict[str, Any] | None:
    """How many latents are active, of how many: {"active": 3, "of": 20}.

    None where there are no `variances`. Active is a latent whose own is above 0.01, the threshold
    of Burda, Grosse and Salakhutdinov 2016 (arXiv:1509.00519, section 5.2). Where a model has
    several layers, this is by layer.
    """
    by_layer = variances(trained, split)
    if by_layer is None:
        return None
    found = {
        name: {"active": number_active(variance), "of": variance.size}
        for name, variance in by_layer.items()
    }
    return found.get("", found)


def number_active(variance: np.ndarray) -> int:
    """Of latents of these `variances`, (latents,)."""
    return int(np.sum(variance > VARIANCE))


def variances(trained: Trained, split: Split) -> dict[str, np.ndarray] | None:
    """Var_x(E[z_j|x]) of each latent, (latents,), by layer: of a model of one layer, by "".

    Over the first 10,000 examples of the split: the statistic A_u = Cov_x(E[u|x]) of Burda et al.,
    of the code that `embed` gives each layer: that of an upper layer at the mean of the layer
    below.

    None without a posterior, and of one example, or of several that are the same to the encoder:
    over these nothing varies.
    """
    if not has_posterior(trained):
        return None
    parts, first, inputs_differ, labels_differ = [], None, False, False
    for batch, _ in batches(trained, split, np.arange(min(LIMIT, len(split.images)))):
        codes = codes_of(trained, batch)
        parts.append(codes if isinstance(codes, dict) else {"": codes})
        first = batch if first is None else first
        inputs_differ |= bool(np.any(batch.input != first.input[:1]))
        labels_differ |= bool(np.any(batch.label != first.label[:1]))
    if not (inputs_differ or (labels_differ and knows_labels(trained))):
        return None
    by_layer = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return {
        name: codes.reshape(len(codes), -1).astype(float).var(axis=0)
        for name, codes in by_layer.items()
    }
