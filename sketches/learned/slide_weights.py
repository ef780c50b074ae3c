"""Rows of weights with the moments of Adam, each row with steps of its own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.random import uniform
from ..kernels.slide_rows import LANES

__all__ = ["Adam", "Weights", "padded"]

#: Rows whose first weights are drawn together. Rows of a range have the weights that they have in the whole.
_ROWS_BLOCK = 1 << 13
#: Steps of a row whose bias corrections are tabled. Later ones differ from 1 by less than a float32 resolves.
_MOST_STEPS = 1 << 20


def padded(n: int) -> int:
    """Return the next multiple of the lanes of a register, the width in which rows are stored."""
    return -(-n // LANES) * LANES


class Adam(NamedTuple):
    """The settings of Adam, and the factors of the steps of a row.

    Attributes
    ----------
    settings : tuple of float32
        beta_1, beta_2 and epsilon.
    rates : ndarray of float32, shape (2, times)
        For the t-th step: the learning rate over 1 - beta_1^t, and 1 over the root of 1 - beta_2^t.
    """

    settings: tuple[np.float32, np.float32, np.float32]
    rates: NDArray[np.float32]

    @classmethod
    def of(
        cls, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8
    ) -> Adam:
        """Return the settings of a learning rate."""
        # From this step on, 1 - beta^t rounds to 1 in float32.
        n = min(_MOST_STEPS, 2 + math.ceil(math.log(2.0**-26) / math.log(max(beta_1, beta_2))))
        t = np.arange(1, n + 1)
        rates = np.array([learning_rate / (1.0 - beta_1**t), 1.0 / np.sqrt(1.0 - beta_2**t)], np.float32)
        return cls((np.float32(beta_1), np.float32(beta_2), np.float32(epsilon)), rates)


class Weights:
    """Rows of weights, float32 or bfloat16, with two moments in float32 and a number of steps each.

    Parameters
    ----------
    first, stop : int
        The numbers of the rows, in the whole matrix.
    width : int
    scale : float
        The first weights are uniform in (-scale, scale).
    kind : {"float32", "bfloat16"}
    seed : int
    purpose : str
        The name of the stream of random numbers.
    part : (int, int), optional
        The first column, and the one after the last, where others are elsewhere. By default all.
    """

    def __init__(
        self,
        first: int,
        stop: int,
        width: int,
        scale: float,
        kind: str,
        seed: int,
        purpose: str,
        part: tuple[int, int] | None = None,
    ) -> None:
        self.column, end = part or (0, width)
        self.width = end - self.column
        n, columns = stop - first, padded(self.width)
        self.floats = np.zeros((n if kind == "float32" else 0, columns), np.float32)
        self.halves = np.zeros((n if kind == "bfloat16" else 0, columns), np.uint16)
        self.first = np.zeros((n, columns), np.float32)
        self.second = np.zeros((n, columns), np.float32)
        self.steps = np.zeros(n, np.int32)
        for block in range(first // _ROWS_BLOCK, -(-stop // _ROWS_BLOCK)):
            begin = block * _ROWS_BLOCK
            numbers = uniform(seed, f"{purpose} {block}", _ROWS_BLOCK * width).reshape(-1, width)
            low, high = max(first, begin), min(stop, begin + _ROWS_BLOCK)
            drawn = numbers[low - begin : high - begin, self.column : end]
            self.set_rows(low - first, scale * (2.0 * drawn - 1.0))

    def set_rows(self, first: int, rows: NDArray[np.floating]) -> None:
        """Set the rows from `first` on, rounded to the nearest numbers that the weights can have."""
        rows = rows.astype(np.float32)
        if len(self.halves):
            self.halves[first : first + len(rows), : self.width] = _to_bfloat16(rows)
        else:
            self.floats[first : first + len(rows), : self.width] = rows

    @property
    def n_rows(self) -> int:
        return len(self.steps)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the rows [start, stop) in float32, of shape (stop - start, width)."""
        if len(self.halves):
            bits = self.halves[start:stop, : self.width].astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32)
        return self.floats[start:stop, : self.width]

    @property
    def matrices(self) -> tuple[NDArray[Any], ...]:
        """The weights in both forms, of which one has no rows, and the moments: of the padded width."""
        return self.floats, self.halves, self.first, self.second

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (*self.matrices, self.steps))


def _to_bfloat16(rows: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round finite numbers to the nearest bfloat16, ties to the even one."""
    bits = np.ascontiguousarray(rows).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
