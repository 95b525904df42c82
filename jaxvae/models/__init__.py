"""Flax Linen modules: networks, and the AE, CAE and VAE over them.

The only room that imports Flax. A module is a description; its parameters are a plain pytree:

    model = VAE(
        encoder=DenseEncoder((256,)), decoder=DenseDecoder((256,), (28, 28, 1)), latent_dim=20
    )
    variables = model.init(key, images, eps)
    mean, logvar = model.apply(variables, images, method="encode")
"""

from typing import Any

from flax import linen as nn

from jaxvae import config
from jaxvae.models.autoencoders import (
    AE,
    CAE,
    VAE,
    Autoencoder,
    Output,
    decoder_mean,
    reparameterize,
)
from jaxvae.models.layers import LayerSettings
from jaxvae.models.networks import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Shape,
    feature_shapes,
)

__all__ = [
    "AE",
    "CAE",
    "VAE",
    "Autoencoder",
    "ConvDecoder",
    "ConvEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "LayerSettings",
    "Output",
    "build",
    "decoder_mean",
    "reparameterize",
]


def build(
    settings: config.Model, image_shape: Shape, learned_variance: bool = False
) -> Autoencoder:
    """The module that `settings` describe, for images of shape (height, width, channels).

    Raises:
        ValueError: the images are too small for the strides.
    """
    layers = LayerSettings(
        settings.activation,
        settings.negative_slope,
        settings.batch_norm,
        settings.dropout,
        settings.init,
        settings.compute,
    )
    dims, decoder_dims = settings.hidden_dims, settings.decoder_dims
    encoder: nn.Module
    decoder: nn.Module
    if settings.network == "conv" or settings.family == "CAE":
        strides, kernel_size = settings.strides or (2,) * len(dims), settings.kernel_size
        mirrored = (dims, strides, kernel_size)  # of what the decoder is the mirror image
        if decoder_dims is not None:
            mirrored = (
                decoder_dims[::-1],
                settings.decoder_strides[::-1] or (2,) * len(decoder_dims),
                settings.decoder_kernel_size or kernel_size,
            )
        padding, dense_dims = settings.padding, settings.dense_dims
        for geometry in ((dims, strides, kernel_size), mirrored):
            feature_shapes(image_shape, *geometry, padding)  # refuses impossible strides early
        encoder = ConvEncoder(dims, strides, kernel_size, padding, dense_dims, layers)
        decoder_layers, decoder_strides, side = mirrored
        decoder = ConvDecoder(
            decoder_layers, decoder_strides, image_shape, side, padding, dense_dims, layers
        )
    else:
        encoder = DenseEncoder(dims, layers)
        decoder = DenseDecoder(
            dims[::-1] if decoder_dims is None else decoder_dims, image_shape, layers
        )
    shared: dict[str, Any] = {
        "encoder": encoder,
        "decoder": decoder,
        "output": settings.output,
        "init_rule": settings.init,
        "learned_variance": learned_variance,
    }
    if settings.family == "VAE":
        return VAE(**shared, latent_dim=settings.latent_dim)
    if settings.family == "CAE":
        return CAE(**shared)
    code_activation = layers.activate if settings.code_activation else None
    return AE(**shared, latent_dim=settings.latent_dim, code_activation=code_activation)
