"""Strict numerics for every test: no silent promotion of dtypes or ranks."""

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Decoded images of a test session stay out of the user's cache."""
    if not hasattr(own_cache, "folder"):
        own_cache.folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("JAXVAE_CACHE", str(own_cache.folder))
