"""What is measured on a model, and what it makes of images and codes."""

from jaxvae.evaluation.evaluate import (
    evaluate_streamed,
    in_order,
    make_batch_sums,
    make_evaluate,
    not_finite,
)
from jaxvae.evaluation.trained import (
    Trained,
    decode,
    embed,
    has_prior,
    pixels,
    posterior,
    prepare,
    reconstruct,
    sample,
)

__all__ = [
    "Trained",
    "decode",
    "embed",
    "evaluate_streamed",
    "has_prior",
    "in_order",
    "make_batch_sums",
    "make_evaluate",
    "not_finite",
    "pixels",
    "posterior",
    "prepare",
    "reconstruct",
    "sample",
]
