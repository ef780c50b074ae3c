"""Which kernels serve an array: the backend is chosen by where the data lives."""

from __future__ import annotations

from types import ModuleType
from typing import Any

__all__ = ["backend_of"]


def backend_of(array: Any) -> ModuleType:
    """The module of kernels for `array`: Numba's for NumPy arrays, lists and SciPy sparse arrays.

    Raises
    ------
    TypeError
        For CuPy arrays, which this version has no kernels for; copy them with ``.get()``.
    """
    if type(array).__module__.partition(".")[0] in ("cupy", "cupyx"):
        raise TypeError(
            "expected an array in main memory (NumPy or SciPy), got a CuPy array; "
            "this version has no GPU kernels: pass array.get()"
        )
    from . import cpu

    return cpu
