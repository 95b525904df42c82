"""The only place that makes random keys: root -> named stream -> step -> example.

Nothing random is carried in a state. The noise of an example depends on (seed, stream, step, index
of the example in its data set) alone, so it does not change with the number of devices, the layout
of a batch, or where a run was interrupted.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp


def root(seed: int | jax.Array) -> jax.Array:
    """The root key of a seed. Threefry always: `rbg` keys ignore all but the first under `vmap`."""
    return jax.random.key(seed, impl="threefry2x32")


def stream(key: jax.Array, name: str) -> jax.Array:
    """The key of a named stream below the root; other names, other streams."""
    return jax.random.fold_in(key, jnp.uint32(zlib.crc32(name.encode())))


def example_keys(key: jax.Array, step: jax.Array | int, index: jax.Array) -> jax.Array:
    """One key per example, (batch,), from a stream's key, the step and the examples' indices."""
    step_key = jax.random.fold_in(key, step)
    return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(index)


def normal(keys: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Standard normal noise of shape (batch, *shape) from one key per example."""
    return jax.vmap(lambda key: jax.random.normal(key, tuple(shape)))(keys)


def uniform(keys: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Uniform noise in [0, 1) of shape (batch, *shape) from one key per example."""
    return jax.vmap(lambda key: jax.random.uniform(key, tuple(shape)))(keys)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """All that is random about a batch, by name: the same name is the same draw.

    key: the run's root key, or a stream of it.
    step: of the training; 0 in evaluation.
    index: of the batch's examples in their data set, (batch,).
    draw: which of several draws of everything but dropout this is; 0 is the first.
    """

    key: jax.Array
    step: jax.Array | int
    index: jax.Array
    draw: jax.Array | int = 0

    def _stream(self, name: str) -> jax.Array:
        key = stream(self.key, name)
        if isinstance(self.draw, int) and self.draw == 0:
            return key
        return jnp.where(self.draw == 0, key, jax.random.fold_in(key, self.draw))

    def keys(self, name: str) -> jax.Array:
        """One key per example, (batch,)."""
        key = stream(self.key, name) if name == "dropout" else self._stream(name)
        return example_keys(key, self.step, self.index)

    def normal(self, name: str, shape: Sequence[int]) -> jax.Array:
        """N(0, I) of shape (batch, *shape); the noise of the reparameterization is "eps"."""
        return normal(self.keys(name), shape)

    def uniform(self, name: str, shape: Sequence[int]) -> jax.Array:
        """Uniform in [0, 1), (batch, *shape)."""
        return uniform(self.keys(name), shape)

    def shared(self, name: str) -> jax.Array:
        """One key for the whole batch, the same on all devices: for permutations, directions."""
        return jax.random.fold_in(self._stream(name), self.step)

    def another(self, draw: jax.Array | int) -> "Noise":
        """Another draw of everything but dropout; `another(0)` is this one."""
        return replace(self, draw=draw)


@jax.tree_util.register_pytree_node_class
class Once:
    """A `Noise` that keeps what it has drawn, for who asks again within the same trace.

    As an argument of another transformation it is that `Noise`, which keeps nothing.
    """

    def __init__(self, noise: Noise):
        self.noise = noise
        self.drawn: dict[Any, jax.Array] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.noise, name)

    def normal(self, name: str, shape: Sequence[int]) -> jax.Array:
        """As `Noise.normal`."""
        return self._kept(self.noise.normal, name, shape)

    def uniform(self, name: str, shape: Sequence[int]) -> jax.Array:
        """As `Noise.uniform`."""
        return self._kept(self.noise.uniform, name, shape)

    def _kept(self, draw: Callable[..., jax.Array], name: str, shape: Sequence[int]) -> jax.Array:
        asked = draw.__name__, name, tuple(shape)
        if asked not in self.drawn:
            self.drawn[asked] = draw(name, shape)
        return self.drawn[asked]

    def tree_flatten(self) -> tuple[tuple[Noise], None]:
        return (self.noise,), None

    @staticmethod
    def tree_unflatten(_: None, noise: tuple[Noise]) -> Noise:
        return noise[0]
