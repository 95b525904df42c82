"""Flax Linen modules: networks and bottlenecks, and the AE, CAE and VAE over them.

The only room that imports Flax. A module is a description; its parameters are a plain pytree:

    model = VAE(
        encoder=DenseEncoder((256,)), decoder=DenseDecoder((256,), (28, 28, 1)), latent_dim=20
    )
    variables = model.init(key, batch)
    output = model.apply(variables, batch)
"""

from jaxvae.models.autoencoders import (
    AE,
    CAE,
    VAE,
    Autoencoder,
    Module,
    decoder_mean,
    dropout_keys,
)
from jaxvae.models.bottlenecks import FeatureMap, Gaussian, Vector, flat, reparameterize
from jaxvae.models.bound import Bound
from jaxvae.models.layers import Dense, LayerSettings
from jaxvae.models.networks import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    ResidualStack,
    feature_shapes,
)
from jaxvae.models.output import Code, Output

__all__ = [
    "AE",
    "CAE",
    "VAE",
    "Autoencoder",
    "Bound",
    "Code",
    "ConvDecoder",
    "ConvEncoder",
    "Dense",
    "DenseDecoder",
    "DenseEncoder",
    "FeatureMap",
    "Gaussian",
    "LayerSettings",
    "Module",
    "Output",
    "ResidualStack",
    "Vector",
    "decoder_mean",
    "dropout_keys",
    "feature_shapes",
    "flat",
    "reparameterize",
]
