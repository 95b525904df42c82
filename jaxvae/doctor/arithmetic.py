"""Whether the device's bits, sums and single operations are right, and known faults of XLA."""

from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.data import batches
from jaxvae.doctor.blocks import Draws
from jaxvae.doctor.compare import FLOAT32, doubles, judged, relative, with_products
from jaxvae.doctor.report import WRONG, XLA_BUG, Check, Checks

# Of the streams of seed 0, step 3, example 5 (shuffle: epoch 3): the same on every backend and in
# every version of JAX, or a run would not resume with the noise that it began with.
KNOWN_WORDS: dict[str, tuple[int, int]] = {
    "eps": (0xDB95FF92, 0x6EABBDCE),
    "dropout": (0x600EF46E, 0x60496239),
    "shuffle": (0xE456EAC1, 0x01457C29),
}
KNOWN_KEYS = {"eps": (3658433870, 1287809790), "dropout": (240307836, 3261179547)}
KNOWN_ORDER = (6, 1, 4, 3, 2, 7, 5, 0)


def noise_bits(quick: bool) -> list[Check]:
    """Words of three named streams, and the order of an epoch, against known numbers."""

    @jax.jit
    def words() -> Any:
        root, index = noise.root(0), jnp.arange(5, 6)
        keys = [noise.example_keys(noise.stream(root, name), 3, index)[0] for name in KNOWN_WORDS]
        drawn = jnp.stack([jax.random.bits(key, (2,)) for key in keys])
        return drawn, batches.epoch_order(root, 3, len(KNOWN_ORDER))

    drawn, order = map(np.asarray, words())
    known = np.array(list(KNOWN_WORDS.values()))
    differ = int((drawn != known).sum() + (order != np.array(KNOWN_ORDER)).sum())
    return [judged("noise bits: eps, dropout, shuffle", differ, 0)]


def noise_values(quick: bool) -> list[Check]:
    """Standard normal and uniform numbers, from the bits of a known key by their formulas."""
    number = 4096

    @jax.jit
    def draw() -> Any:
        own = noise.Noise(noise.root(0), 3, jnp.arange(5, 6))
        bits = [
            jax.random.bits(
                jax.random.wrap_key_data(jnp.uint32(KNOWN_KEYS[name]), impl="threefry2x32"),
                (number,),
            )
            for name in ("eps", "dropout")
        ]
        uniform = own.uniform("dropout", (number,))
        return bits, (own.normal("eps", (number,))[0], uniform[0])

    bits, found = draw()
    # 23 bits of each word make a uniform number. The normal one has that quantile, of a number in
    # (-1, 1) that is rounded here as there, since the tails magnify its rounding.
    eps_uniform, uniform = (np.float32(np.asarray(word) >> 9) / np.float32(2**23) for word in bits)
    low = np.nextafter(np.float32(-1), np.float32(0))
    between = np.float64(np.maximum(low, eps_uniform * np.float32(2) + low))
    normal = np.vectorize(NormalDist().inv_cdf)((between + 1) / 2)
    return [judged("normal and uniform noise", relative(found, (normal, uniform)), FLOAT32)]


def sums(quick: bool) -> list[Check]:
    """Of 10^7 numbers (a million, if quick), and their mean."""
    number = 10**6 if quick else 10**7
    x = np.random.default_rng(12).random(number, np.float32)
    found = jax.jit(lambda x: (jnp.sum(x), jnp.mean(x), jnp.sum(jnp.square(x))))(x)
    (x,) = doubles(x)
    exact = x.sum(), x.mean(), np.square(x).sum()
    # Added one after the other these would be off by some 1e-4; every backend adds in blocks.
    return [judged(f"sums of 10^{len(str(number)) - 1} numbers", relative(found, exact), FLOAT32)]


def one_by_one(quick: bool) -> list[Check]:
    """Operations outside of any compiled program, each of which is a program of its own.

    Some versions gave what was left in memory on some GPUs:
    https://github.com/jax-ml/jax/issues/40633
    """
    draw = Draws(13)
    x, matrix = draw(512), draw(64, 512)
    found = (
        jnp.sqrt(jnp.full((4,), 512.0)),
        jnp.ones(4) + 1,
        jnp.exp(x),
        jnp.sum(jnp.asarray(x)),
        jnp.asarray(matrix).T,
        jnp.arange(512)[::-1].astype(float),
    )
    x, matrix = doubles(x, matrix)
    exact = (
        np.full(4, 512.0**0.5),
        np.full(4, 2.0),
        np.exp(x),
        x.sum(),
        matrix.T,
        np.arange(512.0)[::-1],
    )
    return [judged("operations one by one", relative(found, exact), FLOAT32)]


def scaled_affine(quick: bool) -> list[Check]:
    """alpha (A b + c) under `vmap`, in which a fusion lost alpha's effect on c on some GPUs.

    https://github.com/jax-ml/jax/issues/39336
    """
    draw = Draws(14)
    a, b, c = draw(32, 15), draw(100, 15), draw(32, scale=100)

    def function(a: Any, b: Any, c: Any) -> Any:
        return jax.vmap(lambda row: 0.1 * ((a @ row) + c))(b)

    exact_a, exact_b, exact_c = doubles(a, b, c)
    exact = 0.1 * (exact_b @ exact_a.T + exact_c)
    return with_products("a (A b + c) (jax#39336)", function, (a, b, c), exact)


def product_and_sum(quick: bool) -> list[Check]:
    """Two products followed by sums that versions of XLA miscompile on CPUs.

    The first from 32 769 rows on: https://github.com/jax-ml/jax/issues/39103. The second multiplies
    a matrix by one whose columns are equal, and by itself. No program of this package is of these
    forms, which the other checks show on as many rows; where they fail on a CPU, this is named.
    """
    draw = Draws(15)
    rows, matrix, wide, column = draw(32_769, 3), draw(3, 3), draw(8, 512), draw(512)

    def first(rows: Any, matrix: Any) -> Any:
        return jax.vmap(lambda row: jnp.sum(jnp.square(matrix @ row)))(rows)

    def second(wide: Any, column: Any) -> Any:
        square = jnp.broadcast_to(column[:, None], (512, 512))
        return jnp.sum((wide @ square) * wide, axis=1)

    exact_rows, exact_matrix, exact_wide, exact_column = doubles(rows, matrix, wide, column)
    exact = ((exact_rows @ exact_matrix.T) ** 2).sum(axis=1)
    weighted = (exact_wide @ exact_column) * exact_wide.sum(axis=1)
    found = [
        *with_products("sum((A b)^2) (jax#39103)", first, (rows, matrix), exact),
        *with_products("sum((E C) E), equal columns in C", second, (wide, column), weighted),
    ]
    return [_known_on_cpus(check) for check in found]


def _known_on_cpus(check: Check) -> Check:
    if check.verdict != WRONG or jax.default_backend() != "cpu":
        return check
    note = "a known fault of XLA; jaxvae's own programs do not contain this"
    return Check(check.name, check.error, check.allowed, XLA_BUG, note)


CHECKS: Checks = {
    "noise bits: eps, dropout, shuffle": noise_bits,
    "normal and uniform noise": noise_values,
    "sums": sums,
    "operations one by one": one_by_one,
    "a (A b + c) (jax#39336)": scaled_affine,
    "products and sums": product_and_sum,
}
