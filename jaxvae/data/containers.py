"""Arrays by name in files of MATLAB and HDF5, which SciPy and h5py read."""

from pathlib import Path

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.arrays import of_named
from jaxvae.data.found import Found


def find_mat(path: Path) -> Found:
    """The arrays of a .mat file, whose names and forms are those of a .npz.

    MATLAB counts images along the last axis as often as along the first one: `jaxvae.data.looks`
    says where the order is suspicious. Labels are a column or a row there.

    Raises:
        UsageError: it is damaged, or has no such arrays; files since MATLAB 7.3 are HDF5.
    """
    import scipy.io

    try:
        with path.open("rb") as file:
            if b"MATLAB 7.3" in file.read(128):
                return find_hdf5(path)
        shapes = {name: tuple(shape) for name, shape, _ in scipy.io.whosmat(path)}

        def read(name: str) -> np.ndarray:
            array: np.ndarray = scipy.io.loadmat(path, variable_names=[name])[name]
            return _flat(array) if "label" in name or name.startswith("y_") else array

        return of_named(path, shapes, read)
    except UsageError:
        raise
    except Exception as error:  # SciPy's readers raise nearly anything on damaged files
        raise UsageError(f"{path}: not a readable MATLAB file ({_reason(error)})") from error


def find_hdf5(path: Path) -> Found:
    """The arrays of a .h5 or .hdf5 file, whose names and forms are those of a .npz.

    Raises:
        UsageError: it is damaged, has no such arrays, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"{path}: needs h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            others = [name for name in file if name not in arrays]

            def read(name: str) -> np.ndarray:
                array = np.asarray(arrays[name])
                if array.dtype == object:  # strings of any length
                    array = array.astype(str)
                return _flat(array) if "label" in name or name.startswith("y_") else array

            shapes = {name: array.shape for name, array in arrays.items()}
            return of_named(
                path, shapes, read, [f"not read: {', '.join(others)}"] if others else []
            )
    except UsageError:
        raise
    except Exception as error:  # h5py raises several types on damaged files
        raise UsageError(f"{path}: not a readable HDF5 file ({_reason(error)})") from error


def _flat(labels: np.ndarray) -> np.ndarray:
    """Labels along one axis, where MATLAB makes a row or a column of them."""
    return labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:300] or type(error).__name__
