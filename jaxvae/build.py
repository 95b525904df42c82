"""From settings to modules: the networks and the autoencoder that a `Model` describes."""

from typing import Any

from jaxvae import config
from jaxvae.checks import require
from jaxvae.info import Info
from jaxvae.models import (
    AE,
    CAE,
    VAE,
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    LayerSettings,
    feature_shapes,
)


def layer_settings(settings: config.Model) -> LayerSettings:
    """What all hidden layers share."""
    return LayerSettings(
        settings.activation,
        settings.negative_slope,
        settings.batch_norm,
        settings.dropout,
        settings.init,
        settings.compute,
    )


def networks(settings: config.Model, info: Info) -> dict[str, Any]:
    """The arguments that every `Autoencoder` takes: encoder, decoder, and how they end.

    Raises:
        UsageError: images or signals are too small for the strides, or convolutions are given rows.
    """
    dims, decoder_dims = settings.hidden_dims, settings.decoder_dims
    hidden = layer_settings(settings)
    encoder: Any
    decoder: Any
    if settings.network == "conv" or settings.family == "CAE":
        shape = info.shape
        allowed = (
            f"'dense' for examples of shape {shape}, which are neither images (height, width, "
            "channels) nor signals (length, channels)"
        )
        require(len(shape) in (2, 3), "model.network", "conv", allowed)
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
            feature_shapes(shape, *geometry, padding)  # refuses impossible strides early
        encoder = ConvEncoder(dims, strides, kernel_size, padding, dense_dims, hidden)
        decoder_layers, decoder_strides, side = mirrored
        decoder = ConvDecoder(
            decoder_layers,
            decoder_strides,
            shape,
            side,
            padding,
            dense_dims,
            settings.expands,
            hidden,
        )
    else:
        encoder = DenseEncoder(dims, hidden)
        outwards = dims[::-1] if decoder_dims is None else decoder_dims
        decoder = DenseDecoder(outwards, info.shape, hidden)
    return {
        "encoder": encoder,
        "decoder": decoder,
        "output": settings.output,
        "init_rule": settings.init,
    }


def build(settings: config.Model, info: Info) -> Autoencoder:
    """The module that `settings` describe, for these data.

    Raises:
        UsageError: as `networks`.
    """
    shared = networks(settings, info)
    if settings.family == "VAE":
        return VAE(**shared, latent_dim=settings.latent_dim)
    if settings.family == "CAE":
        return CAE(**shared)
    activation = layer_settings(settings).activate if settings.code_activation else None
    return AE(**shared, latent_dim=settings.latent_dim, code_activation=activation)
