"""Frequent Directions: a matrix of any number of rows in a few rows, with an error that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_magnitude
from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.random import uniform
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.guard import changing, check_interrupt, uninterrupted
from ..core.state import StateSpec

__all__ = ["Directions", "FrequentDirections"]

#: The largest magnitude of a number. Sums of 2**63 squares of such numbers do not overflow.
_LARGEST = 1e140
#: The most numbers of a sketch, which take 8 GiB.
_MOST_NUMBERS = 1 << 30
#: Numbers of rows that are converted to float64 at a time.
_BLOCK = 1 << 22
#: The rounding error of the eigenvalues of the products of n rows of d columns is below this times 2 n + d
#: times the sum of all eigenvalues.
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


class Directions(NamedTuple):
    """Contain directions of a matrix, and how long the matrix is along each of them."""

    #: float64, shape (k, n_features): rows of length 1, orthogonal to each other.
    vectors: NDArray[np.float64]
    #: float64, shape (k,): singular values of the sketch. The square of the matrix's own length along a
    #: direction is at least the square of this, and at most `FrequentDirections.error` more.
    lengths: NDArray[np.float64]


class FrequentDirections(MergeableSketch):
    """Keep the directions along which the rows of a matrix are long: a low-rank matrix sketch in one pass.

    With the matrix A of all rows and the sketch's own few rows B, ``|B x|**2`` is at most ``|A x|**2`` and at
    least ``|A x|**2 - error`` for every x of length 1. So B stands for A in principal components, least
    squares and preconditioners.

    Parameters
    ----------
    n_features : int
        Number of columns d.
    n_directions : int, default 32
        Number of directions l that are kept. The sketch has at most 2 l rows.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Rows are kept until there are 2 l of them. Then the squares of all singular values are lowered by that of
    the value number l + 1, and the directions whose square becomes 0 are dropped (Liberty 2013). `error` is
    the sum of what was subtracted. It never exceeds

        (|A|**2 - |A_k|**2) / (l + 1 - k)     for every k up to l

    where ``|A|**2`` is the sum of the squares of all entries, and ``A_k`` the best approximation of rank k
    (Ghashami et al. 2016). So matrices that are near a matrix of rank k, with k well below l, have small
    errors. This holds with certainty, for any order of the rows. Nothing is random. (`error` itself includes
    a bound on rounding: each time that values are lowered, about 2e-15 (4 l + d) of the squares of the rows
    that are there. By so much it may exceed the bound above. Squares below 1e-308 count as 0.)

    **Merging** puts the rows of both sketches together and lowers the singular values if there are more than
    2 l rows. The errors add up, and the bound still holds. Up to 2 l rows nothing is lost, and the rows of
    sketches of parts are those of the sketch of the whole, bit for bit; `squared_norm` is equal up to
    rounding. Beyond that, other parts give other rows B within the same error.

    **Memory** is ``16 l d`` bytes. **Cost**: a row takes O(l d) operations, which are matrix products.

    References
    ----------
    - Liberty. Simple and deterministic matrix sketching. KDD 2013.
    - Ghashami, Liberty, Phillips, Woodruff. Frequent Directions: simple and deterministic matrix sketching.
      SIAM Journal on Computing 45(5), 2016.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((10_000, 3)) @ rng.standard_normal((3, 50))
    >>> here = mergesketch.FrequentDirections(50, 8).update(A[:4000])
    >>> there = mergesketch.FrequentDirections(50, 8).update(A[4000:])
    >>> both = here | there
    >>> exact = np.linalg.svd(A, compute_uv=False)[:3]
    >>> np.allclose(both.directions(3).lengths, exact)
    True
    """

    _parameters = ("n_features", "n_directions")
    # The sum of all squares is rounded, in the order in which they were added.
    _not_compared = frozenset({"squares"})

    def __init__(self, n_features: int, n_directions: int = 32) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 24)
        self.n_directions = check_int("n_directions", n_directions, 1, 1 << 20)
        n_numbers = 2 * self.n_directions * self.n_features
        if n_numbers > _MOST_NUMBERS:
            raise ValueError(
                f"2 * n_directions * n_features must be at most {_MOST_NUMBERS:,}, got {n_numbers:,}"
            )

    @classmethod
    def for_error(cls, n_features: int, relative_error: float) -> Self:
        """Return the smallest sketch whose error is at most a share of the sum of the squares of all entries.

        Parameters
        ----------
        n_features : int
        relative_error : float
            In (0, 1): `error` over `squared_norm`, for any matrix. Most matrices have much smaller errors.

        Returns
        -------
        FrequentDirections

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.FrequentDirections.for_error(100, 0.05).n_directions
        19
        """
        share = check_real("relative_error", relative_error, 0.0, 1.0)
        n_features = check_int("n_features", n_features, 1, 1 << 24)
        # With as many directions as columns nothing is ever dropped.
        n_directions = min(n_features, max(1, math.ceil(1.0 / share * (1.0 - 1e-12)) - 1))
        return cls(n_features, n_directions)._asked_for(relative_error=share)

    def _layout(self) -> dict[str, StateSpec]:
        shape = (2 * self.n_directions, self.n_features)
        return {
            "rows": StateSpec(shape, "float64", "directions", remedy="choose fewer n_directions"),
            "n_rows": StateSpec((1,), "int64", "directions"),
            "lost": StateSpec((1,), "float64", "directions"),
            "squares": StateSpec((1,), "float64", "sum"),
        }

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        n, rows = int(arrays["n_rows"][0]), arrays["rows"]
        if not 0 <= n <= min(len(rows), int(arrays["n_updates"][0])):
            raise ValueError(f"n_rows must be from 0 to {len(rows)} and at most n_updates, got {n}")
        # Rows of a sketch may be longer than those of the data: by the root of the number of entries.
        if not (np.abs(rows) <= _LARGEST * 2.0**44).all() or rows[n:].any():
            raise ValueError("rows must be finite, and 0 beyond n_rows")
        for name in ("lost", "squares"):
            if not 0.0 <= arrays[name][0] < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {arrays[name][0]}")

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike) -> Self:
        """Add rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers of at most 1e140 in magnitude.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN, infinity or larger numbers, or has another width. Nothing
            changes then.
        """
        return self._take_in({"X": X})

    def _read(self, X: Any) -> VectorRows:
        rows = read_rows(X, self.n_features)
        check_magnitude("X", rows.values, _LARGEST)
        return rows

    def _amounts(self, batch: VectorRows) -> dict[str, int]:
        return {"n_updates": batch.n}

    def _add(self, batch: VectorRows) -> None:
        with self._state.restored_on_failure():
            for start, stop in cut_range(0, batch.n, max(1, _BLOCK // self.n_features)):
                self._append(batch.cut(start, stop).dense.astype(np.float64))

    def _append(self, added: NDArray[np.float64]) -> None:
        arrays = self._arrays
        rows, squares, done = arrays["rows"], arrays["squares"], 0
        # The squares are added one row after the other, so that the sum does not depend on the batches.
        lengths = np.add.reduce(added * added, axis=1)
        squares[0] = np.add.accumulate(np.concatenate([squares, lengths]))[-1]
        while done < len(added):
            check_interrupt()
            n = int(arrays["n_rows"][0])
            if n == len(rows):
                self._replace_rows(*_shrunk(rows, self.n_directions))
                n = int(arrays["n_rows"][0])
            some = added[done : done + len(rows) - n]
            rows[n : n + len(some)] = some
            arrays["n_rows"][0], done = n + len(some), done + len(some)
        self._state.caches.clear()

    def _replace_rows(self, kept: NDArray[np.float64], lost: float) -> None:
        arrays = self._arrays
        arrays["rows"][: len(kept)], arrays["rows"][len(kept) :] = kept, 0.0
        arrays["n_rows"][0] = len(kept)
        arrays["lost"] += lost

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        joined = np.concatenate([part["rows"][: int(part["n_rows"][0])] for part in (ours, theirs)])
        ours["lost"] += theirs["lost"]
        kept, lost = joined, 0.0
        if len(joined) > len(ours["rows"]):
            kept, lost = _shrunk(joined, self.n_directions)
        self._replace_rows(kept, lost)
        self._state.caches.clear()

    def _canonicalise(self) -> None:
        # The sketch is a set of rows: only arrays give them an order.
        with self._lock:
            if self._state.is_allocated and not self._state.caches.get("is_ordered", False):
                with changing(self), uninterrupted():
                    n = int(self._arrays["n_rows"][0])
                    self._arrays["rows"][:n] = _ordered(self._arrays["rows"][:n])
                    self._state.caches["is_ordered"] = True

    # -- queries ----------------------------------------------------------------------------------

    @property
    def error(self) -> float:
        """The largest difference of ``|A x|**2`` and ``|B x|**2`` for x of length 1: 0 up to 2 l rows."""
        return float(self._arrays["lost"][0])

    @property
    def squared_norm(self) -> float:
        """The sum of the squares of all entries of the matrix."""
        return float(self._arrays["squares"][0])

    def rows(self) -> NDArray[np.float64]:
        """Return the rows of the sketch, a matrix that stands for the matrix of all rows.

        Returns
        -------
        ndarray of shape (m, n_features), float64
            At most ``2 n_directions`` rows, in an order that depends on the rows alone.
        """
        found: NDArray[np.float64] = _ordered(self._arrays["rows"][: int(self._arrays["n_rows"][0])])
        return found

    def query(self, X: RowsLike) -> Any:
        """Return the squared length of the matrix along each vector: ``|B x|**2``, for ``|A x|**2``.

        It is never larger than ``|A x|**2``, and smaller by at most ``error`` times ``|x|**2``, apart from
        rounding.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Vectors of any length, of numbers of at most 1e140 in magnitude.

        Returns
        -------
        ndarray of shape (n,), float64
            Infinity where a square exceeds the range of float64.

        Raises
        ------
        TypeError, ValueError
            If vectors have another width or are not finite.

        Examples
        --------
        >>> import mergesketch
        >>> sketch = mergesketch.FrequentDirections(2, 1).update([[3.0, 0.0], [0.0, 1.0], [4.0, 0.0]])
        >>> sketch.query([[1.0, 0.0]]), sketch.error < 1.01
        (array([24.]), True)
        """
        self._claim_device("X", X)
        asked, rows = self._read(X), self.rows()
        out = np.empty(asked.n)
        for start, stop in cut_range(0, asked.n, max(1, _BLOCK // self.n_features)):
            products = asked.cut(start, stop).dense.astype(np.float64) @ rows.T
            out[start:stop] = np.einsum("ij,ij->i", products, products)
        return like(X, out)

    def directions(self, k: int | None = None) -> Directions:
        """Return the directions along which the matrix is longest: its principal directions, uncentred.

        Parameters
        ----------
        k : int, optional
            Their number, `n_directions` by default.

        Returns
        -------
        Directions
            ``(vectors, lengths)``, the longest first. There are fewer than k if the sketch has a smaller
            rank. The largest entry of each vector is positive.

        Raises
        ------
        TypeError, ValueError
            If `k` is no integer from 1 to ``2 n_directions``.

        Notes
        -----
        It takes O(l**2 d) operations the first time after an update.
        """
        k = self.n_directions if k is None else check_int("k", k, 1, 2 * self.n_directions)
        vectors, lengths = self._state.cached("directions", self._decomposed)
        return Directions(vectors[:k].copy(), lengths[:k].copy())

    def sample_directions(self, k: int, *, seed: int = 0) -> Directions:
        """Return k different directions of the matrix, drawn in proportion to their lengths.

        A direction is drawn, then the next one among the others, and so on. Learning that always follows the
        longest directions never leaves their subspace. Draws reach the others, too.

        Parameters
        ----------
        k : int
            From 1 to ``2 n_directions``.
        seed : int, default 0
            In [0, 2**64). Equal sketches and seeds give equal directions on machines of one kind. Other
            processors and libraries of linear algebra round differently. Then directions differ in the last
            bits, and altogether where several of them are equally long.

        Returns
        -------
        Directions
            ``(vectors, lengths)``, the longest first. There are fewer than k if the sketch has a smaller
            rank.

        Raises
        ------
        TypeError, ValueError
            If an argument is no integer or lies outside its range.

        References
        ----------
        Zhang, Chen, Zhang, Sun, Wang, Li, Yin. Breaking the frozen subspace: importance sampling for low-rank
        optimization in LLM pretraining. 2025.
        """
        k = check_int("k", k, 1, 2 * self.n_directions)
        seed = check_int("seed", seed, 0, 2**64 - 1)
        vectors, lengths = self._state.cached("directions", self._decomposed)
        # The order of exponential variables over weights is that of successive draws.
        times = -np.log(uniform(seed, "sample_directions", lengths.size)) / lengths
        drawn = np.sort(np.argsort(times, kind="stable")[:k])
        return Directions(vectors[drawn], lengths[drawn])

    def _decomposed(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return all directions of the sketch and their lengths, the longest first."""
        rows = self.rows()
        unit = _unit(rows)
        if not len(rows) or unit == 0.0:
            return np.empty((0, self.n_features)), np.empty(0)
        _, lengths, vectors = np.linalg.svd(rows / unit, full_matrices=False)
        rank = int(np.count_nonzero(lengths > lengths[0] * max(rows.shape) * np.finfo(np.float64).eps))
        vectors = vectors[:rank]
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
        return vectors * np.sign(largest), lengths[:rank] * unit

    def _fullness(self) -> list[str]:
        squares = self.squared_norm
        return [f"error {self.error / squares:.2g} of squared_norm"] if squares > 0.0 else []


def _unit(rows: NDArray[np.float64]) -> float:
    """Return a power of two near the largest magnitude: in this unit no square overflows."""
    largest = float(np.abs(rows).max(initial=0.0))
    return 2.0 ** math.frexp(largest)[1] if largest > 0.0 else 0.0


def _ordered(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows in an order that depends on the rows alone, with 0.0 in place of -0.0."""
    # Hashes are compared instead of the rows, which would take time for each column.
    rows = np.ascontiguousarray(rows + 0.0)
    order = sorted(range(len(rows)), key=[xxhash.xxh3_128_digest(row) for row in rows].__getitem__)
    return rows[order]


def _shrunk(rows: NDArray[np.float64], n_directions: int) -> tuple[NDArray[np.float64], float]:
    """Return at most `n_directions` rows for more, and the most that a squared length has lost by that."""
    # The result must not depend on the order of the rows.
    rows = _ordered(rows)
    unit = _unit(rows)
    if unit == 0.0:
        return rows[:0], 0.0
    rows /= unit
    n, d = rows.shape
    # The smaller of the two matrices of products has the same eigenvalues, and the errors that rounding of
    # squares makes are small beside the largest square, as `error` says.
    is_wide = d >= n
    values, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    lost = float(values[n_directions]) if values.size > n_directions else 0.0
    slack = _ROUNDING * (2 * n + d) * float(values.sum())
    kept = np.flatnonzero(values[:n_directions] > lost + slack)
    # Lengths are lowered by what rounding may have added, so that none is too long.
    lengths = np.sqrt(values[kept] - lost - slack)
    if is_wide:
        shrunk = (lengths / np.sqrt(values[kept]))[:, None] * (vectors[:, kept].T @ rows)
    else:
        shrunk = lengths[:, None] * vectors[:, kept].T
    return shrunk * unit, (lost + 2.0 * slack) * unit**2


publish("mergesketch", __all__, globals())
