"""Projections of rows onto random vectors in blocks: what the families of angles and distances share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..family import HashFamily
from ..inputs.rows import VectorRows, read_rows
from ..kernels.multiply import make_panels
from ..support.backend import Backend, device_of
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.threads import get_num_threads

__all__ = ["Prober", "ProjectionFamily"]

#: Products that are worth a thread of their own.
_VALUES_BLOCK = 1 << 17
#: Rows that the kernels work on at a time.
_ROWS_BLOCK = 192
#: Probes, or products to find them by, that are worth a thread of their own.
_PROBES_BLOCK = 1 << 12
#: Query rows that are probed at a time, all of whose products are kept; on a GPU so many products.
_PROBED_ROWS, _PRODUCTS = 24, 1 << 26


#: See `ProjectionFamily._prober`.
Prober = tuple[Backend, int, Callable[[int, int, NDArray[np.uint32]], None]]


class ProjectionFamily(HashFamily):
    """A family whose hashes come from products of rows and ``n_values`` random vectors."""

    n_features: int
    power: int

    @property
    def n_values(self) -> int:
        """Products of a row: ``n_hashes * power``. Product ``k * n_hashes + h`` is the k-th of hash h."""
        return self.n_hashes * self.power

    @lazy
    def _vectors(self) -> NDArray[np.float32]:
        """The random vectors, shape (n_values, n_features)."""
        return self._draw_vectors()

    @lazy
    def _panels(self) -> NDArray[np.float32]:
        """The vectors as the kernels multiply them."""
        return make_panels(self._vectors)

    @lazy
    def _vector_norms(self) -> NDArray[np.float64]:
        norms: NDArray[np.float64] = np.sqrt(
            np.einsum("pd,pd->p", self._vectors, self._vectors, dtype=np.float64)
        )
        return norms

    @abstractmethod
    def _draw_vectors(self) -> NDArray[np.float32]: ...

    @abstractmethod
    def _project(self, rows: VectorRows, out: NDArray[np.uint32]) -> Callable[[int, int], None]:
        """What writes the codes of the rows [start, stop) to `out`; random parameters are drawn here."""

    def read_rows(self, X: Any, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    def hash(self, X: Any) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; float32 and float64 are used as they are.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = self.read_rows(X)
        out = rows.backend.xp.empty((rows.n, self.n_hashes), dtype=np.uint32)
        if rows.n:
            run = self._project(rows, out)
            # As many ranges for each thread, and more than one only if each holds a block of rows: the
            # vectors are read from memory once a block.
            threads = get_num_threads()
            ranges = threads * min(4, max(1, rows.n // (_ROWS_BLOCK * threads)))
            rows.backend.map_blocks(run, rows.n, max(rows.n // ranges, _VALUES_BLOCK // self.n_values))
        return out

    # -- multi-probe querying -----------------------------------------------------------------------

    @property
    @abstractmethod
    def _changes(self) -> tuple[int, str]:
        """How many ways there are to change a value, and what a value is called."""

    @abstractmethod
    def _prober(self, rows: VectorRows) -> Prober:
        """The kernels for queries, how many there are, and what writes the probes of some, [start, stop)."""

    def probe(self, Q: Any, n_probes: int) -> NDArray[np.uint32]:
        """Codes of the `n_probes` buckets of each hash that are likeliest to hold a query's neighbours.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        n_probes : int
            From 1 to the number of buckets that differ by one change of each value: ``2**power`` for
            signs, ``3**power`` for steps.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The likeliest first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``. Buckets of one
            hash are distinct before they are reduced to `n_buckets`.

        Raises
        ------
        TypeError, ValueError
            If `Q` is refused by `hash`, or `n_probes` is out of range.

        Notes
        -----
        Query-directed probing of Lv, Josephson, Wang, Charikar and Li 2007, section 4.3: buckets come in
        the order of the summed squares of what the query lacks to reach them. That is the distance of a
        product to the border of its cell for steps of `PStable`, and its distance to 0, by which a bit
        would flip, for signs. A neighbour's products differ from the query's by normal noise, whose
        log-density falls with the square, so this is the order of their likelihoods to first order (of
        p-stable families for p = 2; for p = 1 it is a rule of thumb).

        O(n_probes log(n_probes) + power) for each row and hash, beside the projection. The order is by
        float32 products, and so another where scores are that close: on another processor, or a GPU.
        """
        kinds, name = self._changes
        n_probes = check_int("n_probes", n_probes, 1)
        limit = kinds**self.power
        if n_probes > limit:
            raise ValueError(
                f"n_probes must be at most {limit}, the ways to change {self.power} {name}, got {n_probes}"
            )
        if n_probes == 1:
            return self.hash_query(Q)[:, :, None]
        backend, n, probe = self._prober(self.read_rows(Q, "Q"))
        out = backend.xp.empty((n, self.n_hashes, n_probes), dtype=np.uint32)
        together = _PROBED_ROWS if device_of(out) == "cpu" else max(1, _PRODUCTS // self.n_values)

        def run(start: int, stop: int) -> None:
            for left in range(start, stop, together):
                right = min(left + together, stop)
                probe(left, right, out[left:right])

        backend.map_blocks(run, n, max(1, _PROBES_BLOCK // (self.n_hashes * (n_probes + self.power))))
        return out
