"""The prior of a model, where a page can draw from it.

Which one it is is tried, as the layers are (`report.weights`): with the noise that the model draws
from, the functions below draw what the page's `Model.fromPrior` draws with noise of its own.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.evaluation import Trained, has_prior, labels_for
from jaxvae.evaluation.trained import from_prior, has_standard_prior
from jaxvae.models.bottlenecks import flat
from jaxvae.models.categorical import gumbel_softmax
from jaxvae.models.vector_quantizer import uniform_indices
from jaxvae.noise import Noise
from jaxvae.report.codebooks import books_of
from jaxvae.variants.categorical import Gumbel, JointModel
from jaxvae.variants.codebooks import FSQ

TRIED = 24
"""Draws that are compared."""


def prior_of(trained: Trained) -> str | None:
    """Which of "standard normal", "categories", "codes" it is; None: another one, or none."""
    if not has_prior(trained):
        return None
    if has_standard_prior(trained):
        return "standard normal"
    own, z = from_prior(trained, labels_for(trained, TRIED, None), seed=0)
    shape = z.shape[1:]
    known = {"categories": _categories(trained, own, shape), "codes": _codes(trained, own, shape)}
    for name, drawn in known.items():
        if drawn is not None and drawn.shape == z.shape and np.allclose(drawn, z, atol=1e-5):
            return name
    return None


def categories_of(trained: Trained) -> tuple[int, int] | None:
    """How many numbers of a code stand before its one-hot vectors, and of which size these are;
    None: it has none."""
    model = trained.experiment.model
    if not isinstance(model, Gumbel):
        return None
    return model.latent_dim if isinstance(model, JointModel) else 0, model.categories


def _categories(trained: Trained, own: Noise, shape: tuple[int, ...]) -> jax.Array | None:
    """z ~ N(0, I), and after it the one-hot vectors of categories, all as likely."""
    if (parts := categories_of(trained)) is None or len(shape) != 1:
        return None
    before, size = parts
    logits = jnp.zeros((TRIED, (shape[0] - before) // size, size))
    one_hot = flat(gumbel_softmax(logits, own, None))
    return jnp.concatenate([own.normal("sample", (before,)), one_hot], axis=-1)


def _codes(trained: Trained, own: Noise, shape: tuple[int, ...]) -> np.ndarray | None:
    """At each position the sum of a code of each book, any of them as likely as its others."""
    if (books := books_of(trained)) is None:
        return None
    model, positions = trained.experiment.model, shape[:-1]
    if isinstance(model, FSQ):
        index = np.asarray(uniform_indices(own, positions, math.prod(model.levels)))
        chosen = np.stack(np.unravel_index(index, model.levels, order="F"), axis=-1)
    else:
        each = (*positions, len(books))
        chosen = np.asarray(uniform_indices(own, each, books.shape[1]))
    codes = [book[chosen[..., i]] for i, book in enumerate(books)]
    return np.asarray(np.sum(codes, axis=0, dtype=np.float32))
