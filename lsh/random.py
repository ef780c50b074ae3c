"""Random parameters that are the same on every rank, device, run and machine.

Everything random in mergesketch is drawn from NumPy's counter-based Philox bit generator keyed by
``(seed, purpose)``. Only its raw 64-bit output is used, because NumPy keeps that stream stable while
the streams of its distributions may change between versions, and saved sketches depend on them.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

__all__ = ["normal", "random_uint64", "uniform"]


def random_uint64(seed: int, purpose: str, size: int) -> NDArray[np.uint64]:
    """The first ``size`` raw 64-bit words of the stream of ``(seed, purpose)``.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    purpose : str
        Names the use, so that two parameters of one object never share a stream.
    size : int

    Returns
    -------
    ndarray of shape (size,), uint64
    """
    key = np.array([seed, xxhash.xxh3_64_intdigest(purpose.encode())], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(size)


def uniform(seed: int, purpose: str, size: int) -> NDArray[np.float64]:
    """Uniform numbers in the open interval (0, 1): odd multiples of 2**-53."""
    bits = random_uint64(seed, purpose, size) >> np.uint64(12)
    return (2.0 * bits.astype(np.float64) + 1.0) * 2.0**-53


def normal(seed: int, purpose: str, size: int) -> NDArray[np.float32]:
    """Standard normal numbers by inversion of the distribution function.

    Inversion is computed in float64 and rounded to float32, so that libraries whose last bits differ
    still agree.
    """
    from scipy.special import ndtri

    return ndtri(uniform(seed, purpose, size)).astype(np.float32)
