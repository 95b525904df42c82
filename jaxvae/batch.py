"""What belongs to an example travels together: stored, and as the model sees it."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from jaxvae.info import Info
from jaxvae.noise import Noise, Once


class Examples(NamedTuple):
    """Examples as they are stored, on the device: what a step is given.

    x: images, uint8 (batch, height, width, channels), or float32 values (batch, ...).
    label: int32 (batch,), -1: none.
    index: of each in its data set, int32 (batch,), which with the step determines its noise.
    """

    x: Any
    label: Any
    index: Any  # type: ignore[assignment]  # as a field of a tuple it hides a method


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Examples as the model and the objective see them; arrays are (batch, ...).

    input: what the encoder sees; None where codes come from elsewhere, as in sampling.
    target: what is to be reconstructed; None as above.
    label: int32 (batch,), -1: none.
    observed: of which values the target is known, bool, shaped like it; None: of all.
    noise: what is random; None: nothing is, and posteriors are replaced by their means.
    info: what is known about the data.
    """

    input: Any
    target: Any
    label: Any
    observed: jax.Array | None
    noise: Noise | None
    info: Info = field(metadata={"static": True})

    def another(self, draw: jax.Array | int) -> "Batch":
        """The same examples with another draw of their noise; `another(0)` is this batch."""
        return replace(self, noise=None if self.noise is None else self.noise.another(draw))

    def drawn_once(self) -> "Batch":
        """The same examples; numbers that are asked for again, within one trace, are the arrays
        that were drawn before, and not only equal."""
        once = None if self.noise is None else cast(Noise, Once(self.noise))
        return replace(self, noise=once)

    def without_noise(self) -> "Batch":
        """The same examples, to be mapped to their means."""
        return replace(self, noise=None)


def dummy(info: Info) -> Batch:
    """A batch of one example that shows every shape; nothing in it is random."""
    x = jnp.zeros((1, *info.shape))
    observed = jnp.ones(x.shape, bool) if info.missing else None
    return Batch(x, x, jnp.zeros(1, jnp.int32), observed, None, info)
