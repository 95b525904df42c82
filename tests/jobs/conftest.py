"""Jobs use Optax, which relies on the promotion of dtypes that other tests forbid."""

import jax
import pytest


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield
