"""A codebook by itself: which codes are chosen, what they come to, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import noise
from jaxvae.models.nearest import first_largest, nearest
from jaxvae.models.vector_quantizer import (
    VectorQuantizer,
    as_product,
    one_by_one,
    sums_by_code,
)
from jaxvae.noise import Noise

CODES, DIM = 5, 3
H = np.random.default_rng(0).standard_normal((4, 6, 2)).astype(np.float32)  # 6 positions
LAYER = VectorQuantizer(CODES, DIM, decay=0.9)


@pytest.fixture(scope="module")
def variables():
    """A codebook that has moved before: its counts are not 1, and codes are not the sums."""
    own = LAYER.init(jax.random.key(0), H, None, False)
    counts = jnp.arange(1.0, 1 + CODES)
    book = own["codebook"] | {"counts": counts, "sums": own["codebook"]["codes"] * counts[:, None]}
    return own | {"codebook": book}


def chosen(variables):
    """By hand in float64: features (24, 3), the index of the next code, the codes."""
    projection = variables["params"]["projection"]
    z = np.float64(H.reshape(-1, 2)) @ np.float64(projection["kernel"]) + np.float64(
        projection["bias"]
    )
    codes = np.float64(variables["codebook"]["codes"])
    return z, np.square(z[:, None] - codes).sum(axis=-1).argmin(axis=1), codes


def test_codes_their_use_and_their_distance(variables):
    code = LAYER.apply(variables, H, None, False)
    z, index, codes = chosen(variables)
    assert len(set(index)) > 1
    np.testing.assert_allclose(code.z.reshape(-1, DIM), codes[index], rtol=1e-5, atol=1e-6)
    distance = np.square(z - codes[index]).reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(code.aux["commitment"], distance, rtol=1e-5)
    usage = np.bincount(index, minlength=CODES) / len(index)
    perplexity = np.prod(usage[usage > 0] ** -usage[usage > 0])
    np.testing.assert_allclose(code.aux["perplexity"], perplexity, rtol=1e-5)


def test_codes_move_as_the_formula_says(variables):
    _, moved = LAYER.apply(variables, H, None, True, mutable=["codebook"])
    z, index, _ = chosen(variables)
    one_hot = np.eye(CODES)[index]
    before, after = variables["codebook"], moved["codebook"]
    counts = 0.9 * np.float64(before["counts"]) + 0.1 * one_hot.sum(axis=0)
    sums = 0.9 * np.float64(before["sums"]) + 0.1 * one_hot.T @ z
    smoothed = (counts + 1e-5) / (counts.sum() + CODES * 1e-5) * counts.sum()
    for name, value in {"counts": counts, "sums": sums, "codes": sums / smoothed[:, None]}.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_gradients_pass_the_codes_as_if_they_were_the_features(variables):
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((4, 6, DIM)), jnp.float32)

    def through(read):
        def value(kernel):
            projection = variables["params"]["projection"] | {"kernel": kernel}
            own = variables | {"params": {"projection": projection}}
            return read(LAYER.apply(own, H, None, False))

        return jax.grad(value)(variables["params"]["projection"]["kernel"])

    z, index, codes = chosen(variables)
    rows = np.float64(H.reshape(-1, 2))
    straight = rows.T @ np.float64(weights).reshape(-1, DIM)
    np.testing.assert_allclose(through(lambda c: jnp.sum(c.z * weights)), straight, rtol=1e-4)
    pull = rows.T @ (2 * (z - codes[index]))  # of the features to codes that are held
    np.testing.assert_allclose(through(lambda c: c.aux["commitment"].sum()), pull, rtol=1e-4)


def test_every_code_is_drawn_alike(variables):
    own = Noise(noise.root(0), 0, jnp.arange(500))
    drawn = LAYER.apply(variables, own, (4,), method="uniform")
    index = np.asarray(nearest(drawn, variables["codebook"]["codes"]))
    shares = np.bincount(index.ravel(), minlength=CODES) / index.size
    assert np.abs(shares - 1 / CODES).max() < 5 * np.sqrt(0.2 * 0.8 / index.size)


@pytest.mark.parametrize("shape", [(7, 1), (5, 16), (40, 17), (40, 500)])
def test_first_largest_is_argmax(shape):
    """Of ties the first."""
    rng = np.random.default_rng(3)
    for x in (
        rng.standard_normal(shape),
        rng.integers(0, 3, shape),
        np.full(shape, -np.inf),
    ):
        np.testing.assert_array_equal(first_largest(jnp.float32(x)), x.argmax(axis=1))


@pytest.mark.parametrize("form", [sums_by_code, one_by_one, as_product])
def test_sums_by_code(form):
    """By hand; one code is chosen by none."""
    rng = np.random.default_rng(4)
    z, index = rng.standard_normal((50, DIM)).astype(np.float32), rng.integers(0, CODES - 1, 50)
    one_hot = np.eye(CODES)[index]
    sums, counts = form(z, jnp.asarray(index), CODES)
    # Sums of some 12 numbers around 1, in any order.
    np.testing.assert_allclose(sums, one_hot.T @ np.float64(z), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(counts, one_hot.sum(axis=0))
    assert counts.dtype == sums.dtype == np.float32
