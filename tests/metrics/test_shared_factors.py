"""The scores of FactorVAE and beta-VAE."""

import numpy as np
import pytest

from jaxvae.metrics import shared_factors
from jaxvae.metrics.shared_factors import factor_vae_score, sharing

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 6, (3000, 4))
NOISE = RNG.normal(size=(3000, 4))


def beta_vae_score(codes, factors):
    """The score alone, of a fit that converged."""
    score, converged = shared_factors.beta_vae_score(codes, factors)
    assert converged
    return score


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_codes_that_are_the_factors(score):
    """Also in another order, with other signs and scales, and beside a latent of noise."""
    codes = np.concatenate([FACTORS * [1, -2, 5, 0.5], NOISE[:, :1]], axis=1)[:, [4, 2, 0, 3, 1]]
    assert score(codes, FACTORS) > 0.99


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_codes_that_say_nothing_are_guessed_at(score):
    """A quarter is right by chance: 5 standard deviations of 5,000 draws, and what is fitted."""
    assert score(NOISE, FACTORS) == pytest.approx(0.25, abs=0.05)


def test_dead_latents():
    assert factor_vae_score(0.01 * NOISE, FACTORS) == 0
    assert beta_vae_score(0 * NOISE, FACTORS) == pytest.approx(0.25, abs=0.03)
    codes = np.concatenate([FACTORS, 0.04 * FACTORS[:, :1] / 6], axis=1)  # sd below 0.05
    assert factor_vae_score(codes, FACTORS) > 0.99


def test_one_latent_of_two_factors_cannot_be_told():
    """Half of these votes are lost: of four factors, two are told and two are one."""
    codes = np.stack([FACTORS[:, 0] + 6 * FACTORS[:, 1], FACTORS[:, 2], FACTORS[:, 3]], axis=1)
    # Fixing the second fixes most of the first latent; fixing the first, hardly any.
    assert 0.7 < factor_vae_score(codes, FACTORS) < 0.99


def test_a_rotation_disentangles_nothing():
    """Though every factor can be read off by a linear map."""
    turned = FACTORS @ np.linalg.qr(NOISE[:4])[0]
    assert factor_vae_score(turned, FACTORS) < 0.9


def test_partners_share_the_factor_and_are_fair():
    same = sharing(FACTORS)
    rng = np.random.default_rng(1)
    fixed, rows = rng.integers(4, size=50), rng.integers(3000, size=(50, 200))
    partners = same.partners(fixed, rows, rng)
    which = fixed[:, None]
    np.testing.assert_array_equal(FACTORS[partners, which], FACTORS[rows, which])
    ones = np.zeros((1, 200_000), int)
    found = np.bincount(same.partners(np.array([2]), ones, rng)[0], minlength=3000)
    there = FACTORS[:, 2] == FACTORS[0, 2]
    assert (found[~there] == 0).all()
    share = 200_000 / there.sum()
    assert np.abs(found[there] - share).max() < 5 * np.sqrt(share)


def test_a_value_of_one_example_is_refused():
    with pytest.raises(ValueError, match="of factor 2, one example alone has the value 9"):
        factor_vae_score(NOISE[:4], np.array([[0, 1], [0, 1], [1, 1], [1, 9]]))


def test_the_order_of_examples_matters_by_chance_alone():
    order = RNG.permutation(3000)
    codes = FACTORS + NOISE
    for score in (factor_vae_score, beta_vae_score):
        assert score(codes[order], FACTORS[order]) == pytest.approx(score(codes, FACTORS), abs=0.03)
        assert score(codes, FACTORS) == score(codes, FACTORS)


@pytest.mark.filterwarnings("error")
def test_a_fit_that_does_not_converge_is_said(monkeypatch):
    monkeypatch.setattr(shared_factors, "ITERATIONS", 2)
    score, converged = shared_factors.beta_vae_score(FACTORS + NOISE, FACTORS)
    assert not converged and 0.2 < score <= 1
