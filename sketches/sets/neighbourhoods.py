"""Signatures of neighbourhoods: edges set their bits, and the bits of two of them are counted."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.inputs.sparse_structure import check_coo, csr_parts
from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import get_num_threads, run_tasks
from ..core.base import MergeableSketch
from ..core.state import StateSpec
from ..kernels import bloom_signatures
from .bloom_theory import MOST_ERROR, warn_of_saturation

__all__ = ["Edges", "Neighbourhoods", "ratio"]

#: Number of edges that are worth a second thread. Every thread reads all edges.
_EDGES = 1 << 16
_MAX_READERS = 8
#: Number of pairs of nodes that are worth a thread of their own.
_PAIRS_BLOCK = 1 << 12
#: The least degree whose logarithm is taken: a common neighbour has degree 2 or more.
_LEAST_DEGREE = 2.0


class Edges(NamedTuple):
    """The nodes at both ends of edges."""

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]


class Neighbourhoods(MergeableSketch):
    """The signatures of a graph's nodes: the part of `BloomSignatures` that reads edges and counts bits."""

    _gpu = True
    _filled = ("signatures", "bits set")

    n_nodes: int
    n_bits: int
    directed: bool
    seed: int

    def _layout(self) -> dict[str, StateSpec]:
        return {"signatures": StateSpec((self.n_nodes, self.n_bits // 64), "uint64", "or")}

    @lazy
    def _key(self) -> np.uint64:
        return random_uint64(self.seed, "node bits", 1)[0]

    # -- edges ------------------------------------------------------------------------------------

    def _amounts(self, batch: Edges) -> dict[str, int]:
        return {"n_updates": batch.sources.size}

    def _add(self, batch: Edges) -> None:
        kernel = self._backend.kernels(bloom_signatures).set_neighbour_bits
        signatures, key, both_ways = self._arrays["signatures"], self._key, not self.directed
        self._by_nodes(lambda a, b: kernel(*batch, both_ways, key, a, b, signatures), batch.sources.size)

    def _by_nodes(self, work: Any, amount: int) -> None:
        """Call ``work(first, last)`` on ranges of nodes; every task reads all edges."""
        threads = get_num_threads() if self.device == "cpu" and amount >= _EDGES else 1
        tasks = min(threads, _MAX_READERS, self.n_nodes)
        bounds = [self.n_nodes * i // tasks for i in range(tasks + 1)]
        run_tasks(lambda i: work(bounds[i], bounds[i + 1]), tasks)

    def _read(self, edges: Any) -> Edges:
        """Return edges as their sources and targets, checked."""
        self._claim_device("edges", edges)
        if hasattr(edges, "tocoo") and scipy.sparse.issparse(edges):
            matrix: Any = edges
            if matrix.shape != (self.n_nodes, self.n_nodes):
                raise ValueError(f"edges must have shape {(self.n_nodes, self.n_nodes)}, got {matrix.shape}")
            if matrix.format == "coo":  # a conversion would add up repeated entries
                check_coo(matrix, "edges")
            else:
                matrix = csr_parts(matrix, "edges").matrix.tocoo()
            sources, targets = matrix.row, matrix.col
        else:
            array = check_array("edges", edges)
            if array.size == 0:
                array = self._backend.xp.empty((0, 2), dtype=np.int64)
            if array.ndim != 2 or array.shape[1] != 2:
                raise ValueError(f"edges must have shape (n, 2), got {array.shape}")
            sources, targets = array[:, 0], array[:, 1]
        read = Edges(self._nodes("edges", sources), self._nodes("edges", targets))
        refuse_flags("edges", edges)
        return read

    def _nodes(self, name: str, nodes: Any) -> NDArray[np.int64]:
        """Return nodes as int64; TypeError or ValueError unless all are in the graph."""
        self._claim_device(name, nodes)
        array, xp = check_array(name, nodes), self._backend.xp
        if array.size == 0:
            return read_only(xp.empty(0, dtype=np.int64))
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        refuse_flags(name, nodes)
        if array.ndim != 1:
            raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= self.n_nodes:
            wrong = low if low < 0 else high
            raise ValueError(f"{name} must lie in [0, {self.n_nodes}), got {wrong}")
        return read_only(xp.ascontiguousarray(array, dtype=np.int64))

    # -- bits -------------------------------------------------------------------------------------

    @property
    def _sizes(self) -> NDArray[np.float64]:
        return self._backend.constant(self._size_table)

    @lazy
    def _size_table(self) -> NDArray[np.float64]:
        """Return the estimated size of a set for each number of set bits; a full one counts one bit less."""
        ones = np.minimum(np.arange(self.n_bits + 1), self.n_bits - 1)
        return -self.n_bits * np.log1p(-ones / self.n_bits)

    def _counts(self, u: Any, v: Any, other: Self | None = None) -> NDArray[np.int64]:
        """Return, for each pair, the set bits of u's signature, of v's signature in `other`, and of both."""
        u, v = self._nodes("u", u), self._nodes("v", v)
        if u.size != v.size:
            raise ValueError(f"u and v must have the same length, got {u.size} and {v.size}")
        signatures = self._arrays["signatures"]
        others = signatures if other is None else other._arrays["signatures"]
        backend = self._backend
        counts: NDArray[np.int64] = backend.xp.empty((u.size, 3), dtype=np.int64)
        kernel = backend.kernels(bloom_signatures).count_signature_bits
        backend.map_blocks(
            lambda start, stop: kernel(signatures, others, u, v, start, stop, counts), u.size, _PAIRS_BLOCK
        )
        return counts

    @lazy
    def _most_ones(self) -> int:
        """Return the largest number of set bits of a union that tells what two sets share."""
        t = self._size_table / self.n_bits
        tells = np.sqrt((np.expm1(t) - t) / self.n_bits) <= MOST_ERROR
        return int(np.count_nonzero(tells)) - 1

    def _overlaps(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        """Return the sizes of both sets and of their intersection.

        The intersection may be below 0, and is NaN if too few bits of the union are unset.
        """
        left, right, both = counts.T
        either = left + right - both
        size_u, size_v = self._sizes[left], self._sizes[right]
        shared = size_u + size_v - self._sizes[either]
        is_full = either > self._most_ones
        n_full = int(is_full.sum())
        if n_full:
            warn_of_saturation(
                f"{n_full:,} of {either.size:,} pairs have neighbourhoods too large for {self.n_bits:,} "
                "bits: so few bits are unset that what they share is NaN; use more bits"
            )
            shared[is_full] = np.nan
        return size_u, size_v, shared

    def _known_sizes(self, ones: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sizes of sets by their numbers of set bits; NaN if too few bits are unset."""
        return self._backend.xp.where(ones > self._most_ones, np.nan, self._sizes[ones])

    @property
    def _node_bits(self) -> NDArray[np.int64]:
        """The bit of every node."""
        backend = self._backend
        bits: NDArray[np.int64] = backend.xp.empty(self.n_nodes, dtype=np.int64)
        kernel = backend.kernels(bloom_signatures).fill_node_bits
        backend.map_blocks(
            lambda start, stop: kernel(self._key, np.uint64(self.n_bits), start, stop, bits),
            self.n_nodes,
            _EDGES,
        )
        return bits

    def _weighted(self, u: Any, v: Any, counts: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return Adamic-Adar and resource allocation of each pair, in two columns."""
        counts = self._counts(u, v) if counts is None else counts
        u, v = self._nodes("u", u), self._nodes("v", v)
        signatures = self._arrays["signatures"]
        weights, mean = self._bit_weights()
        backend = self._backend
        sums, kernel = backend.xp.empty((u.size, 2)), backend.kernels(bloom_signatures).weigh_signatures
        backend.map_blocks(
            lambda start, stop: kernel(signatures, u, v, weights, start, stop, sums), u.size, _PAIRS_BLOCK
        )
        shared, both = self._overlaps(counts)[2], counts[:, 2].astype(np.float64)[:, None]
        return shared[:, None] * backend.xp.where(both > 0, ratio(sums, both), mean)

    def _bit_weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means of 1 / log(degree) and 1 / degree over the nodes with each bit, and over all nodes.

        Every node has its squared degree as its weight.
        """
        nodes = self._backend.xp.arange(self.n_nodes)
        degrees = self._sizes[self._counts(nodes, nodes)[:, 0]]
        bits = self._node_bits
        xp = self._backend.xp
        share = xp.maximum(degrees, 1e-9) ** 2
        every = xp.bincount(bits, share, minlength=self.n_bits)
        known = xp.maximum(degrees, _LEAST_DEGREE)
        values = (1.0 / xp.log(known), 1.0 / xp.maximum(degrees, 1.0))
        weights: NDArray[np.float64] = xp.stack(
            [ratio(xp.bincount(bits, share * value, minlength=self.n_bits), every) for value in values],
            axis=1,
        )
        mean: NDArray[np.float64] = xp.stack([(share * value).sum() for value in values]) / share.sum()
        return weights, mean


def ratio(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return a / b, 0 where b is 0, and NaN where either is."""
    xp = backend_of(b).xp
    return xp.where(b == 0, 0.0, a / xp.where(b == 0, 1.0, b))
