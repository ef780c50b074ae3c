"""Which kernels serve an array: the backend is chosen by where the data lives."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "add_at",
    "as_array",
    "backend_named",
    "backend_of",
    "check_one_device",
    "device_of",
    "read_only",
    "refuse_gpu",
    "sum_rows",
    "to_host",
]

#: Numbers of CUDA's devices, and of memory that they share with the CPU, in the DLPack standard.
_CUDA = (2, 13)


def device_of(array: Any) -> str:
    """ "gpu" for CuPy arrays and sparse matrices, pairs of them, and whatever else lies on a CUDA device."""
    if isinstance(array, tuple) and array:
        return device_of(array[0])
    if _is_cupy(array):
        return "gpu"
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack_device__"):
        return "gpu" if int(array.__dlpack_device__()[0]) in _CUDA else "cpu"
    return "cpu"


def _is_cupy(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] in ("cupy", "cupyx")


def backend_named(device: str) -> ModuleType:
    """The module of kernels for arrays of a device, "cpu" or "gpu".

    Raises
    ------
    ValueError
        If `device` is neither.
    ImportError, RuntimeError
        For "gpu" if CuPy is not installed, or finds no GPU.
    """
    if device == "cpu":
        from . import cpu

        return cpu
    if device != "gpu":
        raise ValueError(f'device must be "cpu" or "gpu", got {device!r}')
    try:
        import cupy
    except ImportError as error:
        raise ImportError("CuPy is needed for the GPU: pip install mergesketch[gpu]") from error
    if not cupy.cuda.is_available():
        raise RuntimeError("CuPy finds no GPU: cupy.cuda.is_available() is False")
    from ..gpu import kernels

    return kernels


def backend_of(array: Any) -> ModuleType:
    """The module of kernels for `array`: CUDA's for CuPy arrays, Numba's for all others.

    Both have the same names with the same arguments and results. Beside kernels they have ``xp``, NumPy or
    CuPy, and ``map_blocks``, which spreads a kernel's rows over threads or launches it once.
    """
    return backend_named(device_of(array))


def as_array(X: Any) -> Any:
    """`X` as an array where it lives: CuPy arrays as they are, all else by ``numpy.asarray``.

    Copied only where its numbers do not lie as kernels, and views of their bits, take them to: in the
    other byte order, or at odd addresses. Arrays of other libraries that lie on a GPU (PyTorch's, JAX's)
    become CuPy arrays of the same memory.
    """
    if device_of(X) == "gpu":
        return X if _is_cupy(X) else backend_named("gpu").xp.from_dlpack(X)
    array = np.asarray(X)
    if array.dtype.isnative and array.flags.aligned:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def refuse_gpu(what: str, *arrays: Any) -> None:
    """NotImplementedError where an array on a GPU comes to what has no kernels there."""
    if any(device_of(array) == "gpu" for array in arrays):
        raise NotImplementedError(f"{what} has no GPU kernels; pass arrays in main memory: array.get()")


def check_one_device(name: str, array: Any, other_name: str, other: Any) -> None:
    """TypeError unless two arguments lie on one device."""
    here, there = device_of(array), device_of(other)
    if here != there:
        told = {"gpu": "on the GPU", "cpu": "in main memory"}
        raise TypeError(
            f"{other_name} lies {told[there]}, but {name} {told[here]}: copy one to where the other is"
        )


def add_at(array: Any, places: Any, values: Any) -> None:
    """``numpy.add.at``, of which CuPy's knows no int64: both wrap as uint64 does."""
    if array.dtype == np.int64:
        array, values = array.view(np.uint64), values.view(np.uint64)
    backend_of(array).xp.add.at(array, places, values)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: kernels are compiled for one kind of array, mapped or not."""
    if device_of(array) == "gpu":
        return array
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def sum_rows(values: Any) -> Any:
    """``values.sum(axis=0)``, real numbers in one order on every device: by halves, one onto the other."""
    if values.dtype.kind != "f" or len(values) == 0:
        return values.sum(axis=0)
    half = -(-len(values) // 2)
    sums = values[:half].copy()
    sums[: len(values) - half] += values[half:]
    while half > 1:
        n, half = half, -(-half // 2)
        sums[: n - half] += sums[half:n]
    return sums[0]


def to_host(array: Any) -> NDArray[Any]:
    """`array` in main memory, copied if it lies on a GPU."""
    return np.asarray(array.get() if device_of(array) == "gpu" else array)
