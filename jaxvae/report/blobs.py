"""Arrays in a page: deflated, and written in letters that HTML leaves alone."""

import base64
import zlib
from typing import Any

import numpy as np

DTYPES = ("uint8", "int16", "float16", "float32")
"""What the page can read."""

Reference = dict[str, Any]
"""Where an array is: {"blob": name, "dtype": "float16", "shape": [10000, 2]}."""


class Blobs:
    """The arrays of a page by name, each as base64 of its deflated bytes."""

    def __init__(self) -> None:
        self.packed: dict[str, str] = {}

    def add(self, name: str, array: np.ndarray) -> Reference:
        """Keep an array, of `DTYPES`; return where it is."""
        dtype = str(array.dtype)
        assert dtype in DTYPES and name not in self.packed
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        self.packed[name] = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")
        return {"blob": name, "dtype": dtype, "shape": list(array.shape)}

    def read(self, reference: Reference) -> np.ndarray:
        """The array again."""
        content = zlib.decompress(base64.b64decode(self.packed[reference["blob"]]))
        return np.frombuffer(content, reference["dtype"]).reshape(reference["shape"])
