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
        settings.activation, settings.batch_norm, settings.dropout, settings.init
    )
    dims = settings.hidden_dims
    encoder: nn.Module
    decoder: nn.Module
    if settings.network == "conv" or settings.family == "CAE":
        strides = settings.strides or (2,) * len(dims)
        geometry = (settings.kernel_size, settings.padding)
        feature_shapes(image_shape, dims, strides, *geometry)  # refuses impossible strides early
        encoder = ConvEncoder(dims, strides, *geometry, layers)
        decoder = ConvDecoder(dims, strides, image_shape, *geometry, layers)
    else:
        mirrored = dims[::-1] if settings.decoder_dims is None else settings.decoder_dims
        encoder = DenseEncoder(dims, layers)
        decoder = DenseDecoder(mirrored, image_shape, layers)
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
    code_activation = settings.activation if settings.code_activation else None
    return AE(**shared, latent_dim=settings.latent_dim, code_activation=code_activation)
