"""The products whose signs are the bits of signed random projections, computed in three ways."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy
from numpy.typing import NDArray

from ..family import RowsToCodes
from ..inputs.rows import VectorRows
from ..kernels import hadamard, projection
from ..support.backend import Backend
from ..support.lazy import lazy
from ..support.random import normal, random_uint64
from ..support.threads import get_num_threads
from .projection import RandomVectors, prepare_vectors, rows_of_a_range

__all__ = ["PROJECTIONS", "Gaussian", "Given", "SignProjection"]

#: A function ``(start, stop)`` that returns the products of the rows [start, stop), whose signs are the bits.
Products = Callable[[int, int], NDArray[np.float32]]

_QUANTILES = 4096
#: Least size of a Hadamard block. In smaller ones products take so few values that rows of one or two
#: non-zeros collide with wrong probabilities (by 0.13 in blocks of 4, 0.001 in blocks of 128, ties aside).
_LEAST_SIZE = 256
#: Number of coordinates to transform that are worth a thread of their own.
_COORDINATES_BLOCK = 1 << 20
#: Number of hashed entries that are worth a thread of their own.
_ENTRIES_BLOCK = 1 << 16
#: Number of rows of a range, if there are enough for each thread: a feature that they share is hashed once.
_SHARING_ROWS = 32


class SignProjection(ABC):
    """Products of rows with ``n_values = n_hashes * power`` random vectors, and their signs as codes.

    Product ``k * n_hashes + h`` gives bit k of hash h. Random parameters are drawn at first use.
    """

    def __init__(self, n_features: int | None, n_hashes: int, power: int, seed: int) -> None:
        self.n_features, self.n_hashes, self.power, self.seed = n_features or 0, n_hashes, power, seed
        self.n_values = n_hashes * power

    @property
    @abstractmethod
    def n_drawn(self) -> int:
        """The number of random parameters, about."""

    @abstractmethod
    def signs(self, rows: VectorRows) -> RowsToCodes:
        """Return what writes the signs of products of rows [start, stop) to ``out[start:stop]``, as codes."""

    @abstractmethod
    def products(self, rows: VectorRows) -> Products:
        """Return what computes the products of rows [start, stop)."""

    @abstractmethod
    def range_size(self, rows: VectorRows) -> int:
        """Return the least number of rows that are worth a thread of their own."""

    def _in_new_array(self, backend: Backend, kernel: Callable[..., None]) -> Products:
        """Return a function that gives `kernel` an array to write products to, and returns that."""

        def products(start: int, stop: int) -> NDArray[np.float32]:
            values: NDArray[np.float32] = backend.xp.empty((stop - start, self.n_values), dtype=np.float32)
            kernel(start, stop, values)
            return values

        return products


class Gaussian(SignProjection):
    """Vectors of independent normal entries."""

    @property
    def n_drawn(self) -> int:
        return self.n_values * self.n_features

    @lazy
    def vectors(self) -> RandomVectors:
        shape = (self.n_values, self.n_features)
        return prepare_vectors(normal(self.seed, "srp gaussian vectors", math.prod(shape)).reshape(shape))

    def signs(self, rows: VectorRows) -> RowsToCodes:
        kernels = rows.backend.kernels(projection)
        kernel = kernels.project_signs_dense if rows.form == "dense" else kernels.project_signs_csr
        return partial(kernel, *rows.arrays, *self.vectors, self.n_hashes)

    def products(self, rows: VectorRows) -> Products:
        kernels = rows.backend.kernels(projection)
        kernel = kernels.sign_margins_dense if rows.form == "dense" else kernels.sign_margins_csr
        return partial(kernel, *rows.arrays, *self.vectors)

    def range_size(self, rows: VectorRows) -> int:
        return rows_of_a_range(rows.n, self.n_values)


class Given(Gaussian):
    """Vectors that a caller has given, and that are not random."""

    def __init__(self, matrix: NDArray[np.float32], n_hashes: int, power: int) -> None:
        super().__init__(matrix.shape[1], n_hashes, power, 0)
        self.matrix = matrix

    @property
    def n_drawn(self) -> int:
        return 0

    @lazy
    def vectors(self) -> RandomVectors:
        return prepare_vectors(self.matrix)


class Hadamard(SignProjection):
    """Rows of products of Walsh-Hadamard matrices and random signs, three rounds in each block."""

    @property
    def n_drawn(self) -> int:
        return max(self.n_values, self.n_features)

    @lazy
    def masks(self) -> NDArray[np.uint16]:
        """Random signs of the rounds, shape (blocks, 3 size / 16): a set bit flips a sign."""
        size = max(_LEAST_SIZE, 1 << (self.n_features - 1).bit_length())
        blocks = -(-self.n_values // size)
        words = random_uint64(self.seed, "srp hadamard signs", blocks * 3 * size // 64)
        return words.astype("<u8").view("<u2").astype(np.uint16).reshape(blocks, 3 * size // 16)

    def signs(self, rows: VectorRows) -> RowsToCodes:
        kernels = rows.backend.kernels(hadamard)
        kernel = kernels.hadamard_signs_dense if rows.form == "dense" else kernels.hadamard_signs_csr
        return partial(kernel, *rows.arrays, self.masks, self.n_hashes, self.power)

    def products(self, rows: VectorRows) -> Products:
        kernels = rows.backend.kernels(hadamard)
        kernel = kernels.hadamard_products_dense if rows.form == "dense" else kernels.hadamard_products_csr
        return self._in_new_array(rows.backend, partial(kernel, *rows.arrays, self.masks))

    def range_size(self, rows: VectorRows) -> int:
        return max(1, _COORDINATES_BLOCK // (16 * self.masks.size))


class Hashed(SignProjection):
    """Vectors whose entries are hashed from the numbers of feature and vector, and never stored."""

    @property
    def n_drawn(self) -> int:
        return self.n_values

    @lazy
    def key(self) -> np.uint64:
        return random_uint64(self.seed, "srp hashed entries", 1)[0]

    @lazy
    def quantiles(self) -> NDArray[np.float32]:
        """Midpoint quantiles of the normal distribution, scaled to unit variance."""
        middle = scipy.special.ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
        return (middle / middle.std()).astype(np.float32)

    def signs(self, rows: VectorRows) -> RowsToCodes:
        kernel = rows.backend.kernels(projection).hashed_signs
        return partial(kernel, *rows.csr, self.key, self.quantiles, self.n_hashes, self.power)

    def products(self, rows: VectorRows) -> Products:
        kernel = rows.backend.kernels(projection).hashed_products
        return self._in_new_array(rows.backend, partial(kernel, *rows.csr, self.key, self.quantiles))

    def range_size(self, rows: VectorRows) -> int:
        entries_a_row = 1 + rows.csr[2].size * self.n_values // max(1, rows.n)
        together = min(_SHARING_ROWS, -(-rows.n // get_num_threads()))
        return max(together, _ENTRIES_BLOCK // entries_a_row)


#: The ways by the names that callers give.
PROJECTIONS: dict[str, type[SignProjection]] = {
    "gaussian": Gaussian,
    "hadamard": Hadamard,
    "sparse": Hashed,
}
