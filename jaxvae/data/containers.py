"""Arrays by name in files of MATLAB and HDF5, which SciPy and h5py read."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from jaxvae.checks import UsageError, absent, reason
from jaxvae.data.arrays import of_named
from jaxvae.data.found import Found

# In a process of its own, since SciPy's reader crashes on some damaged files.
CHILD = """
import sys, numpy, scipy.io
found = scipy.io.loadmat(sys.argv[1])
plain = lambda value: isinstance(value, numpy.ndarray) and value.dtype.kind in "biufUS"
arrays = {name: value for name, value in found.items() if plain(value)}
numpy.savez(sys.argv[2], **{f"of_{name}": array for name, array in arrays.items()})
print(", ".join(name for name in found if name not in arrays and not name.startswith("__")))
"""


def find_mat(path: Path) -> Found:
    """The arrays of a .mat file, whose names and forms are those of a .npz.

    MATLAB counts images along the last axis as often as along the first one: `jaxvae.data.looks`
    says where the order is suspicious. Labels are a column or a row there.

    Raises:
        UsageError: it is damaged, or has no such arrays; files since MATLAB 7.3 are HDF5.
    """
    with path.open("rb") as file:
        if b"MATLAB 7.3" in file.read(128):
            return find_hdf5(path)
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "arrays.npz")
        command = [sys.executable, "-c", CHILD, str(path), str(converted)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["its reader crashed"])[-1][:300]
            raise UsageError(f"{path}: not a readable MATLAB file ({last})")
        with np.load(converted) as file:
            arrays = {name.removeprefix("of_"): file[name] for name in file}
    arrays = {name: _flat(a) if _is_label(name) else a for name, a in arrays.items()}
    others = done.stdout.strip()
    shapes = {name: array.shape for name, array in arrays.items()}
    return of_named(path, shapes, arrays.__getitem__, [f"not read: {others}"] if others else [])


def find_hdf5(path: Path) -> Found:
    """The arrays of a .h5 or .hdf5 file, whose names and forms are those of a .npz.

    Raises:
        UsageError: it is damaged, has no such arrays, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise absent(str(path), "h5py", "jaxvae[hdf5]") from error
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            others = [name for name in file if name not in arrays]

            def read(name: str) -> np.ndarray:
                array = np.asarray(arrays[name])
                if array.dtype == object:  # strings of any length
                    array = array.astype(str)
                return _flat(array) if _is_label(name) else array

            shapes = {name: array.shape for name, array in arrays.items()}
            return of_named(
                path, shapes, read, [f"not read: {', '.join(others)}"] if others else []
            )
    except UsageError:
        raise
    except Exception as error:  # h5py raises several types on damaged files
        raise UsageError(f"{path}: not a readable HDF5 file ({reason(error)})") from error


def _is_label(name: str) -> bool:
    return "label" in name or name.startswith("y_")


def _flat(labels: np.ndarray) -> np.ndarray:
    """Labels along one axis, where MATLAB makes a row or a column of them."""
    return labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
