"""What is measured on a model, and what it makes of images and codes."""

from jaxvae.evaluation.evaluate import (
    counted_examples,
    evaluate_streamed,
    has_terms_across,
    in_order,
    make_batch_sums,
    make_batch_terms,
    make_evaluate,
    not_finite,
)
from jaxvae.evaluation.trained import (
    Trained,
    decode,
    embed,
    has_prior,
    is_images,
    kl_per_latent,
    knows_labels,
    labels_for,
    pixels,
    prepare,
    reconstruct,
    sample,
)

__all__ = [
    "Trained",
    "counted_examples",
    "decode",
    "embed",
    "evaluate_streamed",
    "has_prior",
    "has_terms_across",
    "in_order",
    "is_images",
    "kl_per_latent",
    "knows_labels",
    "labels_for",
    "make_batch_sums",
    "make_batch_terms",
    "make_evaluate",
    "not_finite",
    "pixels",
    "prepare",
    "reconstruct",
    "sample",
]
