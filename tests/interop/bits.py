"""What several tests assert."""

from collections.abc import Mapping

import numpy as np


def assert_same_bits(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    """The same keys, dtypes, shapes and bits."""
    assert ours.keys() == theirs.keys()
    for key, array in theirs.items():
        assert (ours[key].dtype, ours[key].shape) == (array.dtype, array.shape), key
        assert ours[key].tobytes() == array.tobytes(), key
