"""Quantisers by themselves: nearest codes, restarts, learned codes, residuals."""

import math
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import noise
from jaxvae.models.nearest import nearest
from jaxvae.models.residual_quantizer import ResidualQuantizer
from jaxvae.models.vector_quantizer import (
    Averages,
    VectorQuantizer,
    counts_of,
    perplexity,
    straight_through,
)
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric

CODES, DIM = 5, 3


def draws(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


H = draws(4, 6, DIM)  # 6 positions


def variables_of(book: Any = None, codes: Any = None) -> dict[str, Any]:
    """With a projection that changes nothing, so that the features are z."""
    projection = {"kernel": jnp.eye(DIM), "bias": jnp.zeros(DIM)}
    params = {"projection": projection} | ({} if codes is None else {"codes": codes})
    return {"params": params} | ({} if book is None else {"codebook": book})


def moved_before(*shape: int, seed: int = 5) -> dict[str, jax.Array]:
    """A codebook whose counts are not 1, and whose codes are not its sums."""
    codes, counts = draws(*shape, seed=seed), jnp.arange(1.0, 1 + math.prod(shape[:-1]))
    counts = counts.reshape(shape[:-1])
    return {"codes": codes, "sums": codes * counts[..., None], "counts": counts}


def of_step(step: int) -> Noise:
    return Noise(noise.root(0), step, jnp.arange(len(H)))


@pytest.mark.parametrize("seed", range(6))
def test_codes_are_the_nearest_by_brute_force(seed):
    """Of random shapes; half the codes are far out, so that their norms count."""
    rng = np.random.default_rng(seed)
    positions = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 4)))
    codes, dim = int(rng.integers(2, 30)), int(rng.integers(1, 20))
    z, book = rng.standard_normal((*positions, dim)), rng.standard_normal((codes, dim))
    book[::2] *= 3
    index = nearest(jnp.asarray(z, jnp.float32), jnp.asarray(book, jnp.float32))
    assert index.shape == positions
    distances = np.linalg.norm(z[..., None, :] - book, axis=-1)
    chosen = np.take_along_axis(distances, np.asarray(index)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, distances.min(axis=-1), rtol=1e-5)  # of ties either


def test_of_equal_codes_the_first_is_chosen():
    book = jnp.asarray([[5.0, 5.0], [1.0, 0.0], [1.0, 0.0]])
    assert int(nearest(jnp.asarray([0.9, 0.1]), book)) == 1


def test_gradients_pass_what_is_quantised_as_the_identity():
    z, e, w = draws(4, 3), draws(4, 3, seed=1), draws(4, 3, seed=2)
    np.testing.assert_allclose(straight_through(z, e), e, rtol=1e-6, atol=1e-6)
    of_z, of_e = jax.grad(lambda z, e: jnp.sum(w * straight_through(z, e)), (0, 1))(z, e)
    np.testing.assert_array_equal(of_z, w)
    assert not of_e.any()
    layers = {
        "vector": (VectorQuantizer(CODES, DIM), moved_before(CODES, DIM)),
        "residual": (ResidualQuantizer(CODES, DIM, 2), moved_before(2, CODES, DIM)),
    }
    weights = draws(*H.shape, seed=3)
    for layer, book in layers.values():
        own = variables_of(book)
        gradient = jax.grad(lambda h: jnp.sum(weights * layer.apply(own, h, None, False).z))(H)  # noqa: B023
        np.testing.assert_allclose(gradient, weights, rtol=1e-6)


def test_perplexity_lies_between_one_and_the_number_of_codes():
    assert float(perplexity(jnp.full(7, 3.0))) == pytest.approx(7, rel=1e-6)
    assert float(perplexity(jnp.asarray([0.0, 9.0, 0.0]))) == 1
    assert float(perplexity(jnp.asarray([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5, rel=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(20):
        index = rng.integers(0, rng.integers(1, 10), 12)
        counts = counts_of(jnp.asarray(index), 9)
        np.testing.assert_array_equal(counts, np.bincount(index, minlength=9))
        assert 1 <= float(perplexity(counts)) <= len(set(index)) * (1 + 1e-6)


def moved(layer: Any, book: dict[str, Any], own: Noise | None, train: bool = True) -> Any:
    _, after = layer.apply(variables_of(book), H, own, train, mutable=["codebook"])
    return after["codebook"]


def test_codes_below_the_threshold_begin_anew_as_features_of_the_batch():
    """Exactly these; what chose them counts as the threshold; the others are as without."""
    book = moved_before(CODES, DIM) | {"counts": jnp.asarray([0.1, 9.0, 0.1, 9.0, 9.0])}
    book["codes"] = book["codes"].at[0].set(50.0).at[3].set(-50.0)  # which nobody chooses
    without = moved(VectorQuantizer(CODES, DIM, 0.5), book, of_step(0))
    dead = np.asarray(without["counts"]) < 1.5
    assert dead.any() and not dead.all()  # of 24 features in a batch
    assert not dead[3]  # with an average of 4.5, though none chose it now
    layer = VectorQuantizer(CODES, DIM, 0.5, restart=1.5)
    found = moved(layer, book, of_step(0))
    for name in ("codes", "sums", "counts"):
        np.testing.assert_array_equal(found[name][~dead], without[name][~dead])
    rows = {tuple(row) for row in np.asarray(H).reshape(-1, DIM)}
    assert all(tuple(np.asarray(code)) in rows for code in found["codes"][dead])
    np.testing.assert_array_equal(found["counts"][dead], 1.5)
    np.testing.assert_allclose(found["sums"][dead], 1.5 * found["codes"][dead], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, found, moved(layer, book, of_step(0)))
    assert any((found["codes"] != moved(layer, book, of_step(s))["codes"]).any() for s in (1, 2))
    jax.tree.map(np.testing.assert_array_equal, without, moved(layer, book, None))
    jax.tree.map(np.testing.assert_array_equal, book, moved(layer, book, of_step(0), train=False))


def test_a_code_at_the_threshold_is_kept():
    before = Averages(draws(3, DIM), draws(3, DIM, seed=1), jnp.asarray([0.4999, 0.5, 0.0]))
    after = before.restarted(draws(3, DIM, seed=2), 0.5)
    np.testing.assert_array_equal((after.codes != before.codes).any(axis=1), [True, False, True])
    for a, b in zip(before.restarted(draws(3, DIM), 0.0), before, strict=True):
        np.testing.assert_array_equal(a, b)  # none is below 0


def test_learned_codes_are_moved_by_their_distance_alone_and_features_by_the_commitment():
    """|sg(z) - e|^2 moves the codes by 2 (e - z) for each feature that chose them, |z - sg(e)|^2
    the features by 2 (z - e); what is decoded moves no code."""
    layer, codes, weights = VectorQuantizer(CODES, DIM, None), draws(CODES, DIM, seed=1), 0.1 * H
    own = layer.init(jax.random.key(0), H, None, False)
    assert set(own) == {"params"} and own["params"]["codes"].shape == (CODES, DIM)

    @jax.jit
    def gradients(h: jax.Array, codes: jax.Array) -> Any:
        def value(h: jax.Array, codes: jax.Array, term: str) -> jax.Array:
            code = layer.apply(variables_of(codes=codes), h, None, True)
            return jnp.sum(code.z * weights) if term == "z" else jnp.sum(code.aux[term])

        return {t: jax.grad(value, (0, 1))(h, codes, t) for t in ("z", "codebook", "commitment")}

    found = gradients(H, codes)
    z, e = np.float64(H).reshape(-1, DIM), np.float64(codes)
    index = np.square(z[:, None] - e).sum(axis=-1).argmin(axis=1)
    of_codes = np.zeros_like(e)
    for i, row in zip(index, z, strict=True):
        of_codes[i] += 2 * (e[i] - row)
    np.testing.assert_allclose(found["codebook"][1], of_codes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["commitment"][0].reshape(-1, DIM), 2 * (z - e[index]), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found["z"][0], weights, rtol=1e-6)
    for held in (found["codebook"][0], found["commitment"][1], found["z"][1]):
        assert not held.any()


def test_one_level_of_residuals_is_the_vector_quantizer_to_the_bit():
    book, own = moved_before(CODES, DIM), of_step(2)
    single, stacked = VectorQuantizer(CODES, DIM, 0.9), ResidualQuantizer(CODES, DIM, 1, 0.9)
    of_stack = jax.tree.map(lambda x: x[None], book)
    expected, after = single.apply(variables_of(book), H, own, True, mutable=["codebook"])
    found, moved = stacked.apply(variables_of(of_stack), H, own, True, mutable=["codebook"])
    np.testing.assert_array_equal(found.aux["indices"][..., 0], expected.aux["indices"])
    for a, b in (
        (found.z, expected.z),
        (found.aux["commitment"], expected.aux["commitment"]),
        (found.aux["perplexity"], expected.aux["perplexity"]),
        *((moved["codebook"][n][0], after["codebook"][n]) for n in ("codes", "sums", "counts")),
        *(
            [layer.apply(v, *args, method=name) for layer, v in pairs]
            for pairs in [((stacked, variables_of(of_stack)), (single, variables_of(book)))]
            for name, args in (("embed", (H,)), ("uniform", (own, (7,))))
        ),
    ):
        np.testing.assert_array_equal(a, b)


def test_each_level_takes_what_the_ones_before_it_leave():
    """By loops, the moving averages too; the sum of codes is nearer with each level, as each book
    has a code of 0, and the commitment sums over levels."""
    levels, decay = 3, 0.8
    book = moved_before(levels, CODES, DIM)
    scale = jnp.asarray([1.0, 0.5, 0.25]).reshape(-1, 1, 1)
    book["codes"] = (book["codes"] * scale).at[:, 0].set(0.0)
    layer = ResidualQuantizer(CODES, DIM, levels, decay)
    code, after = layer.apply(variables_of(book), H, None, True, mutable=["codebook"])
    books = {name: np.float64(value) for name, value in book.items()}
    left, commitment, distances = np.float64(H).reshape(-1, DIM), np.zeros(4), []
    for level in range(levels):
        codes = books["codes"][level]
        distances.append(np.linalg.norm(left, axis=1))
        counts, sums = decay * books["counts"][level], decay * books["sums"][level]
        index = []
        for row in left:
            i = min(range(CODES), key=lambda i: np.linalg.norm(row - codes[i]))
            index.append(i)
            counts[i] += 1 - decay
            sums[i] += (1 - decay) * row
        np.testing.assert_array_equal(code.aux["indices"][..., level].ravel(), index)
        smoothed = (counts + 1e-5) / (counts.sum() + CODES * 1e-5) * counts.sum()
        for name, value in (
            ("counts", counts),
            ("sums", sums),
            ("codes", sums / smoothed[:, None]),
        ):
            np.testing.assert_allclose(
                after["codebook"][name][level], value, rtol=1e-4, atol=1e-5, err_msg=name
            )
        left = left - codes[index]
        commitment += np.square(left).reshape(4, -1).sum(axis=1)
    distances.append(np.linalg.norm(left, axis=1))
    np.testing.assert_allclose(code.aux["commitment"], commitment, rtol=1e-5)
    np.testing.assert_allclose(code.z.reshape(-1, DIM), H.reshape(-1, DIM) - left, atol=1e-5)
    for further, nearer in pairwise(distances):
        assert (nearer <= further).all() and nearer.mean() < 0.95 * further.mean()
