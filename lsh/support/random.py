"""Random parameters that are the same on every rank, device, run and machine.

All random parameters are drawn from NumPy's counter-based Philox bit generator, keyed by ``(seed, purpose)``.
`docs/developers/decisions/philox.md` has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy
import xxhash
from numpy.typing import NDArray

__all__ = ["normal", "random_uint64", "uniform"]

_BLOCK = 1 << 18


def random_uint64(seed: int, purpose: str, size: int) -> NDArray[np.uint64]:
    """Return the first `size` raw 64-bit words of the stream of ``(seed, purpose)``.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    purpose : str
        A name of the use. Parameters of one object have different purposes, and so different streams.
    size : int

    Returns
    -------
    ndarray of shape (size,), uint64
    """
    return _generator(seed, purpose).random_raw(size)


def _generator(seed: int, purpose: str) -> np.random.Philox:
    key = np.array([seed, xxhash.xxh3_64_intdigest(purpose.encode())], dtype=np.uint64)
    return np.random.Philox(key=key)


def uniform(seed: int, purpose: str, size: int) -> NDArray[np.float64]:
    """Return uniform numbers in the open interval (0, 1): odd multiples of 2**-53."""
    out = np.empty(size)
    for start, numbers in _uniform_blocks(seed, purpose, size):
        out[start : start + numbers.size] = numbers
    return out


def _uniform_blocks(seed: int, purpose: str, size: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the numbers of `uniform` in blocks, with the place of each block's first number.

    Blocks bound the memory for intermediate results.
    """
    generator = _generator(seed, purpose)
    for start in range(0, size, _BLOCK):
        bits = generator.random_raw(min(_BLOCK, size - start)) >> np.uint64(12)
        yield start, (2.0 * bits.astype(np.float64) + 1.0) * 2.0**-53


def normal(seed: int, purpose: str, size: int) -> NDArray[np.float32]:
    """Return standard normal numbers, by inversion of the distribution function.

    They are computed in float64 and rounded to float32, so that mathematical libraries which differ in the
    last bits give the same numbers.
    """
    out = np.empty(size, np.float32)
    for start, numbers in _uniform_blocks(seed, purpose, size):
        out[start : start + numbers.size] = scipy.special.ndtri(numbers)
    return out
