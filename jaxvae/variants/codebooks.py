"""A code at each position, from a list: codebooks and rounded scalars."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.build import networks
from jaxvae.checks import require
from jaxvae.config import Family, Model, Objective
from jaxvae.info import Info
from jaxvae.models import Autoencoder, ResidualStack
from jaxvae.models.finite_scalars import FiniteScalars
from jaxvae.models.nearest import nearest
from jaxvae.models.residual_quantizer import ResidualQuantizer
from jaxvae.models.vector_quantizer import VectorQuantizer, codebook_of
from jaxvae.variants.kl import require_finite

Terms = dict[str, jax.Array]


class Quantised(Autoencoder, kw_only=True):
    """A code at each position of the encoder's feature map, by the quantiser of these settings."""

    settings: "QuantisedModel"

    def make_bottleneck(self) -> Any:
        return self.settings.quantiser()

    def prior(self, batch: Any) -> jax.Array:
        """Codes, each as likely as the others, at every position."""
        side = jax.eval_shape(self.encoder, jnp.zeros((1, *batch.info.shape))).shape[1:-1]
        return self.bottleneck.uniform(batch.noise, side)

    def quantised(self, batch: Any) -> jax.Array:
        """The features that are quantised."""
        return self.bottleneck.features(self.features(batch))


@dataclass(frozen=True)
class QuantisedModel(Model):
    """Convolutions, whose feature map is quantised position by position."""

    family: Family = "CAE"
    residual_blocks: int = 0
    """Residual blocks, behind a 3x3 convolution, after the encoder's convolutions and before the
    decoder's: van den Oord et al. 2017, sec. 4.1, have 2."""
    residual_dim: int = 32
    """Channels inside a residual block."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.family == "CAE", "model.family", self.family, "CAE: it has a map of codes")
        for name, least in (("residual_blocks", 0), ("residual_dim", 1)):
            value = getattr(self, name)
            require(value >= least, f"model.{name}", value, f"at least {least}")

    def build(self, info: Info) -> Quantised:
        stack = ResidualStack(self.residual_blocks, self.residual_dim)
        shared = networks(self, info)
        sides = {name: shared[name].clone(residual=stack) for name in ("encoder", "decoder")}
        return Quantised(**shared | sides, settings=self)

    def quantiser(self) -> Any:
        """The bottleneck."""
        raise NotImplementedError


@dataclass(frozen=True)
class VQ(QuantisedModel):
    """A codebook: van den Oord et al. 2017 (arXiv:1711.00937). Its codes begin as features of data.

    `latent_dim` is their length.
    """

    codes: int = 64
    """In the codebook."""
    decay: float | None = 0.99
    """Of the moving averages that the codes are; None: they are parameters, moved by gradients."""
    restart: float = 0.0
    """Codes that on average fewer features than this choose in a batch begin anew as one of its
    features; 0: none does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.codes >= 2, "model.codes", self.codes, "at least 2")
        d = self.decay
        require(d is None or 0 <= d < 1, "model.decay", d, "None or in [0, 1)")
        allowed = "at least 0 and finite, and 0 where model.decay is None"
        usable = 0 <= self.restart < math.inf and (self.restart == 0 or d is not None)
        require(usable, "model.restart", self.restart, allowed)

    def quantiser(self) -> VectorQuantizer:
        return VectorQuantizer(
            self.codes, self.latent_dim, self.decay, self.restart, init_rule=self.init
        )

    def initialise(self, module: Any, variables: Any, batch: Any, key: jax.Array) -> Any:
        book = codebook_of(module.apply(variables, batch, method="quantised"), self.codes, key)
        if self.decay is None:
            return variables | {"params": variables["params"] | {"codes": book["codes"]}}
        return variables | {"codebook": book}


@dataclass(frozen=True)
class RQ(QuantisedModel):
    """Residual quantisation: Zeghidour et al. 2021 (arXiv:2107.03312)."""

    codes: int = 16
    """In each codebook."""
    levels: int = 4
    """Codebooks, each of what the ones before it leave."""
    decay: float = 0.99
    """Of the moving averages that the codes are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.codes >= 2, "model.codes", self.codes, "at least 2")
        require(self.levels >= 1, "model.levels", self.levels, "at least 1")
        require(0 <= self.decay < 1, "model.decay", self.decay, "in [0, 1)")

    def quantiser(self) -> ResidualQuantizer:
        return ResidualQuantizer(
            self.codes, self.latent_dim, self.levels, self.decay, init_rule=self.init
        )

    def initialise(self, module: Any, variables: Any, batch: Any, key: jax.Array) -> Any:
        left, books = module.apply(variables, batch, method="quantised"), []
        for of_level in jax.random.split(key, self.levels):
            book = codebook_of(left, self.codes, of_level)
            left = left - book["codes"][nearest(left, book["codes"])]
            books.append(book)
        return variables | {"codebook": jax.tree.map(lambda *level: jnp.stack(level), *books)}


@dataclass(frozen=True)
class FSQ(QuantisedModel):
    """Finite scalar quantisation: Mentzer et al. 2023 (arXiv:2309.15505)."""

    levels: tuple[int, ...] = (8, 6, 5)
    """How many values each channel of a code takes; their product is the number of codes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Beyond, the outermost values of FiniteScalars would be followed by others.
        several = len(self.levels) >= 1 and all(2 <= level <= 1000 for level in self.levels)
        require(several, "model.levels", self.levels, "2 to 1000 values of at least one channel")
        few = math.prod(self.levels) <= 2**20
        require(few, "model.levels", self.levels, f"of a product of at most {2**20}, the codes")

    def quantiser(self) -> FiniteScalars:
        return FiniteScalars(self.levels, init_rule=self.init)


@dataclass(frozen=True)
class Quantisation(Objective):
    """loss = recon + commitment |z - sg(e)|^2 + |sg(z) - e|^2, the last where codes are parameters.

    van den Oord et al. 2017, eq. 3. Features z pay for their distance from their codes e.
    """

    commitment: float = 0.25
    """Weight of the features' distance from their codes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "commitment")

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms, aux = super().terms(output, batch, params), output.aux
        loss = terms["loss"]
        logged = {
            name: aux[name] for name in ("commitment", "codebook", "perplexity") if name in aux
        }
        if "commitment" in aux:
            loss = loss + self.commitment * aux["commitment"]
        if "codebook" in aux:
            loss = loss + aux["codebook"]
        return terms | {"loss": loss} | logged
