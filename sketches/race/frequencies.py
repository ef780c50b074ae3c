"""Random frequencies of the Gaussian and the Laplacian kernel, for one width or several."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64, uniform
from ..kernels import fourier, fourier_hadamard

__all__ = ["Frequencies", "HadamardFrequencies", "MatrixFrequencies", "frequencies_of", "hadamard_size"]

#: The least size of a Hadamard matrix: rows of three rounds are close enough to random directions then.
_LEAST_SIZE = 256


class Frequencies(ABC):
    """The frequencies of m components; each width has as many of them, up to one.

    Attributes
    ----------
    widths : ndarray of shape (k,)
        The widths in units of the least, which the first has.
    share : ndarray of shape (k,)
        The share of the components of each width.
    """

    def __init__(self, m: int, widths: NDArray[np.float64]) -> None:
        self.widths = widths
        counts = np.diff(np.arange(len(widths) + 1) * m // len(widths))
        self.share = counts / m
        self.owner = np.repeat(np.arange(len(widths)), counts)

    @property
    def _radians_of_a_turn(self) -> NDArray[np.float64]:
        """Radians a width of its own, for each component, of a frequency of one turn a least width."""
        radians: NDArray[np.float64] = 2.0 * math.pi * self.widths[self.owner]
        return radians

    @lazy
    def importance(self) -> NDArray[np.float64]:
        """Return the weights of all components for each width, shape (k, m).

        All components serve each width: weights are the density of a frequency for the width over its mean
        density for all widths, by the components' shares (the balance heuristic of Veach and Guibas 1995).
        """
        logs = self._log_densities()
        mixed = scipy.special.logsumexp(logs, axis=0, b=self.share[:, None])
        weights: NDArray[np.float64] = np.exp(logs - mixed)
        return weights

    @abstractmethod
    def _log_densities(self) -> NDArray[np.float64]:
        """Return the log-density of each frequency for each width, shape (k, m), up to a constant."""

    def _gaussian(self, squares: NDArray[Any], n_dimensions: int) -> NDArray[np.float64]:
        """Return log-densities of normal frequencies, whose squared lengths are in radians a width."""
        ratios = self.widths[:, None] / self.widths[self.owner]
        logs: NDArray[np.float64] = n_dimensions * np.log(self.widths)[:, None] - ratios**2 * squares / 2.0
        return logs

    @abstractmethod
    def add(self, rows: VectorRows, width: float, weights: NDArray[Any], sums: NDArray[Any]) -> None:
        """Add the features of rows, times their weights, to sums; `width` is the least width."""

    @abstractmethod
    def tell(self, rows: VectorRows, width: float, sums: NDArray[Any], terms: NDArray[Any]) -> None:
        """Set the terms of query rows, shape (n, m)."""


class MatrixFrequencies(Frequencies):
    """Frequencies that are the columns of a matrix.

    Attributes
    ----------
    matrix : ndarray of shape (d, m), float64
        In turns a least width.
    """

    def __init__(self, radians: NDArray[np.float32], widths: NDArray[np.float64], kernel: str) -> None:
        super().__init__(len(radians), widths)
        self.matrix = np.ascontiguousarray(radians.T.astype(np.float64) / self._radians_of_a_turn)
        self._kernel = kernel

    def _log_densities(self) -> NDArray[np.float64]:
        d, radians = len(self.matrix), self.matrix * self._radians_of_a_turn
        if self._kernel == "gaussian":
            return self._gaussian((radians * radians).sum(axis=0), d)
        logs = np.empty((len(self.widths), radians.shape[1]))
        for g, width in enumerate(self.widths):
            scaled = radians * (width / self.widths[self.owner])
            logs[g] = d * math.log(width) - np.log1p(scaled * scaled).sum(axis=0)
        return logs

    def add(self, rows: VectorRows, width: float, weights: NDArray[Any], sums: NDArray[Any]) -> None:
        kernels = rows.backend.kernels(fourier)
        kernel = kernels.add_features_dense if rows.form == "dense" else kernels.add_features_csr
        kernel(*rows.arrays, width, self.matrix, weights, 0, rows.n, sums)

    def tell(self, rows: VectorRows, width: float, sums: NDArray[Any], terms: NDArray[Any]) -> None:
        kernels = rows.backend.kernels(fourier)
        kernel = kernels.fourier_terms_dense if rows.form == "dense" else kernels.fourier_terms_csr
        kernel(*rows.arrays, width, self.matrix, sums, 0, rows.n, terms)


class HadamardFrequencies(Frequencies):
    """Frequencies whose directions are the rows of H D3 H D2 H D1, a product of Hadamard matrices and signs.

    Attributes
    ----------
    signs : ndarray of shape (blocks, 3, size), float64
    scales : ndarray of shape (m,), float64
        Turns a least width, over the length of a row of the product.
    """

    def __init__(self, m: int, d: int, widths: NDArray[np.float64], seed: int) -> None:
        super().__init__(m, widths)
        self.size = hadamard_size(d)
        shape = (-(-m // self.size), 3, self.size)
        words = random_uint64(seed, "FourierSketch Hadamard signs", math.prod(shape) // 64)
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
        self.signs = 1.0 - 2.0 * bits.reshape(shape)
        # Rounding removes the last bits, in which mathematical libraries may differ.
        chances = uniform(seed, "FourierSketch Hadamard lengths", m)
        self.lengths = np.sqrt(2.0 * scipy.special.gammaincinv(self.size / 2.0, chances)).astype(np.float32)
        self.scales = self.lengths.astype(np.float64) / (self._radians_of_a_turn * self.size**1.5)

    def _log_densities(self) -> NDArray[np.float64]:
        # They are frequencies of rows with zeros at the end, in as many dimensions as the matrix has.
        return self._gaussian(self.lengths.astype(np.float64) ** 2, self.size)

    def add(self, rows: VectorRows, width: float, weights: NDArray[Any], sums: NDArray[Any]) -> None:
        kernel = rows.backend.kernels(fourier_hadamard).add_hadamard
        kernel(rows.dense, width, self.signs, self.scales, weights, 0, rows.n, sums)

    def tell(self, rows: VectorRows, width: float, sums: NDArray[Any], terms: NDArray[Any]) -> None:
        kernel = rows.backend.kernels(fourier_hadamard).hadamard_terms
        kernel(rows.dense, width, self.signs, self.scales, sums, 0, rows.n, terms)


def hadamard_size(n_features: int) -> int:
    """Return the size of the Hadamard matrices for rows of so many features."""
    return max(_LEAST_SIZE, 1 << (n_features - 1).bit_length())


def frequencies_of(
    d: int, m: int, widths: Sequence[float], kernel: str, projection: str, seed: int
) -> Frequencies:
    """Draw the frequencies of a sketch with these parameters; the widths rise."""
    ratios = np.array(widths) / widths[0]
    if projection == "hadamard":
        return HadamardFrequencies(m, d, ratios, seed)
    if kernel == "laplacian":
        angles = uniform(seed, "FourierSketch Cauchy frequencies", m * d) - 0.5
        radians = np.tan(np.pi * angles).astype(np.float32).reshape(m, d)
    elif projection == "independent":
        radians = normal(seed, "FourierSketch normal frequencies", m * d).reshape(m, d)
    else:
        radians = _orthogonal(d, m, seed)
    return MatrixFrequencies(radians, ratios, kernel)


def _orthogonal(d: int, m: int, seed: int) -> NDArray[np.float32]:
    """Return frequencies in orthogonal directions, d at a time, each as long as a normal vector."""
    blocks = -(-m // d)
    numbers = normal(seed, "FourierSketch directions", blocks * d * d).astype(np.float64)
    # As in `Grids`: signs make the directions uniform (Mezzadri 2007), and rounding removes the last bits, in
    # which LAPACKs may differ.
    q, r = np.linalg.qr(numbers.reshape(blocks, d, d))
    signed = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    directions = (np.round(signed * 2.0**24) / 2.0**24).transpose(0, 2, 1).reshape(-1, d)[:m]
    lengths = normal(seed, "FourierSketch lengths", m * d).reshape(m, d).astype(np.float64)
    norms = np.sqrt((lengths * lengths).sum(axis=1)).astype(np.float32)
    return (directions * norms[:, None]).astype(np.float32)
