"""Examples in memory, in the place of a data set's name."""

import hashlib
import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxvae.checks import UsageError

if TYPE_CHECKING:
    import numpy as np


PREFIX = "arrays in memory"


class Held(str):
    """The name of arrays, such as "arrays in memory: uint8 of 300x28x28, 5d41402a...", with them.

    The name tells them apart: so settings that hold arrays compare, print and are stored like any
    others. From a run folder they come back as the name alone.
    """

    arrays: "dict[str, np.ndarray]"

    def __new__(cls, name: str, arrays: "dict[str, np.ndarray]") -> "Held":
        held = super().__new__(cls, name)
        held.arrays = arrays
        return held

    def __deepcopy__(self, memo: Any) -> "Held":
        return self  # nothing changes the arrays, which may be large

    def __reduce__(self) -> Any:
        return Held, (str(self), self.arrays)


def refuse_name_alone(source: str) -> None:
    """Raise a UsageError where a source is the name of arrays that are not there."""
    if source.startswith(PREFIX) and not isinstance(source, Held):
        raise UsageError(
            f"data.source = {source!r}: give the same arrays, by the experiment that has them as"
            " jaxvae.Data(arrays): --experiment NAME or FILE (in Python: jaxvae.load(folder,"
            " data=arrays)), or others: --source FILE (in Python: run.evaluate(arrays), and the"
            " like)"
        )


def hold(examples: Any, labels: Any = None) -> Held:
    """An array of NumPy, JAX or PyTorch, lists of numbers, or several by name, as those of a .npz.

    One array holds images, or rows of a table where it has two axes; `labels` are of these.

    Raises:
        UsageError: something is no array.
    """
    import numpy as np

    if labels is not None and isinstance(examples, (Mapping, str)):
        raise UsageError(
            f"data.labels = {reprlib.repr(labels)}: must be left out where data.source is a name,"
            ' or arrays by name, of which one is "labels"'
        )
    if isinstance(examples, Mapping):
        given = dict(examples)
    else:
        array = as_array("data.source", examples)
        given = {"values" if array.ndim == 2 else "images": array}
        if labels is not None:
            given["labels"] = labels
    arrays = {str(name): as_array(str(name), value) for name, value in given.items()}
    if not arrays:
        raise UsageError("data.source = {}: must hold an array")
    found = hashlib.blake2b(digest_size=16)
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    first = next((a for a in arrays.values() if a.ndim > 1), next(iter(arrays.values())))
    shape = "x".join(map(str, first.shape))
    return Held(f"{PREFIX}: {first.dtype} of {shape}, {found.hexdigest()}", arrays)


def as_array(name: str, value: Any) -> "np.ndarray":
    """An array of NumPy, JAX or PyTorch, or lists of numbers, as NumPy's.

    Raises:
        UsageError: it is none; the message calls it `name`.
    """
    import numpy as np

    if hasattr(value, "detach"):  # a tensor of PyTorch, on whichever device
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        raise UsageError(f"{name}: no array ({error})") from error
    if array.dtype == object:
        raise UsageError(f"{name}: an array of objects: must be numbers")
    return array
