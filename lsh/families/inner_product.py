"""Asymmetric hashing for inner products: data and queries are mapped to one sphere, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..inputs.arrays import check_numbers, check_range
from ..inputs.rows import VectorRows, read_rows
from ..support.backend import refuse_gpu
from ..support.checks import check_choice, check_int, check_real
from ..support.public import publish
from ..support.types import RowsLike
from .angles import unit_rows
from .extended_rows import UNBOUNDED, Extension, extended_blocks, relative_norms
from .projection import rows_of_a_range
from .srp import SignedRandomProjection
from .width import FamilyOfWidth, with_width

__all__ = ["InnerProduct"]

#: Share of its bound by which a norm may exceed it, because it may have been computed in float32.
_SLACK = 1e-6
#: The bound of data and of queries, and the column that only they have, counted from the end.
_SIDES = {"X": ("max_norm", -2), "Q": ("query_norm", -1)}


class InnerProduct(FamilyOfWidth):
    """Hash rows and queries by inner product (MIPS): a larger inner product gives more shared codes.

    Parameters
    ----------
    n_features : int, optional
        Width of the rows. By default it is that of the first rows; with ``projection="sparse"`` rows may then
        have any width.
    n_hashes : int, default 128
    max_norm : float
        A bound M on the Euclidean norm of every data row, which must be known without reading private data.
        The smaller it is, the better codes distinguish inner products.
    query_norm : float, optional
        A bound on the norm of every query. By default each query is scaled to length 1. Its length does not
        change which rows have the largest inner products with it, and codes then distinguish them best.
    power : int, default 1
        Number of sign bits concatenated to one hash, at most 32.
    projection : {"gaussian", "hadamard", "sparse"}
        As for `SignedRandomProjection`.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``2**power``, where the code consists of its bits. Otherwise
        codes are mixed and reduced to `n_buckets`.
    oversize : {"raise", "clip"}
        Rows longer than their bound are refused, or hashed as if they were scaled down to it. `oversized`
        returns which rows are longer. A norm may exceed its bound by a millionth, to allow for rounding.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Data rows and queries get two more coordinates, so that all have the same length,

        x -> [x, sqrt(M**2 - |x|**2), 0],    q -> [q, 0, sqrt(query_norm**2 - |q|**2)]

    and are hashed by signed random projections. The cosine of their angle is x . q / (M query_norm), so a row
    and a query collide with probability

        (1 - acos(x . q / (M query_norm)) / pi) ** power

    which rises with their inner product (Neyshabur and Srebro 2015, "On symmetric and asymmetric LSHs for
    inner product search"; the idea is due to Shrivastava and Li 2014 and 2015). Without `query_norm`, |q|
    takes its place. Two rows have no such kernel, and neither have two queries: rows are hashed by `hash`,
    and queries by `hash_query`.

    The inner product of a row of zeros with any query is 0, and so is the product of a query of zeros with
    any row. They collide with the probability of product 0.

    Time and bytes are those of `SignedRandomProjection` with two more features, and of a copy of a few
    hundred rows at a time. With ``projection="hadamard"`` the two features double the time where `n_features`
    is 256 or a higher power of two, or one less.

    References
    ----------
    - Neyshabur, Srebro. On symmetric and asymmetric LSHs for inner product search. ICML 2015.
    - Shrivastava, Li. Asymmetric LSH (ALSH) for sublinear time maximum inner product search (MIPS). NIPS
      2014.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> from mergesketch.lsh import InnerProduct
    >>> X = np.random.default_rng(0).standard_normal((1000, 16))
    >>> family = InnerProduct(n_features=16, n_hashes=400, max_norm=10.0, power=4, seed=1)
    >>> index = mergesketch.LSHIndex(family, capacity=1000).update(X)
    >>> query = X[7] / np.linalg.norm(X[7])
    >>> ids, counts = index.query([query], k=20)
    >>> exact = X @ query
    >>> int(np.argmax(exact)) in ids
    True
    >>> estimate = index.distance_estimate(counts)  # of the inner products
    >>> bool(np.abs(estimate - exact[ids]).max() < 1.5)
    True
    """

    _parameters = (
        "n_features",
        "n_hashes",
        "max_norm",
        "query_norm",
        "power",
        "projection",
        "n_buckets",
        "oversize",
        "seed",
    )
    metric = "inner_product"

    def __init__(
        self,
        n_features: int | None = None,
        n_hashes: int = 128,
        *,
        max_norm: float,
        query_norm: float | None = None,
        power: int = 1,
        projection: str = "gaussian",
        n_buckets: int | None = None,
        oversize: str = "raise",
        seed: int = 0,
    ) -> None:
        self._set_width(n_features)
        self.max_norm = check_real("max_norm", max_norm, 0.0, math.inf)
        self.query_norm = None if query_norm is None else check_real("query_norm", query_norm, 0.0, math.inf)
        self.oversize: str = check_choice("oversize", oversize, ("raise", "clip"))
        bounded = n_features is not None and projection != "sparse"
        self._srp = SignedRandomProjection(
            self.n_features + 2 if self.n_features is not None and bounded else None,
            n_hashes,
            power=power,
            projection=projection,
            n_buckets=n_buckets,
            seed=seed,
        )
        self.projection = self._srp.projection
        self.n_hashes, self.power = self._srp.n_hashes, self._srp.power
        self.n_buckets, self.chance_collision = self._srp.n_buckets, self._srp.chance_collision
        self.seed = self._srp.seed
        #: The width of rows with the two columns that `extended_blocks` adds.
        self._width = UNBOUNDED if self._srp.n_features is None else self._srp.n_features
        self._query_bound = 1.0 if self.query_norm is None else self.query_norm

    @property
    def is_fixed(self) -> bool:
        return self._srp.is_fixed

    @property
    def _n_drawn(self) -> int:
        return self._srp._n_drawn

    # -- codes ------------------------------------------------------------------------------------

    def _read(self, X: RowsLike, name: str = "X") -> VectorRows:
        rows = read_rows(X, self.n_features, name)
        if rows.form == "csr" and rows.width > UNBOUNDED - 2:
            raise ValueError(f"{name} must have at most 2**63 - 3 columns, got {rows.width}")
        return rows

    @with_width
    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of data rows.

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
            If `X` holds no real numbers, NaN or infinity, has another width, or, unless
            ``oversize="clip"``, a row longer than `max_norm`.
        """
        return self._encode(self._read(X), "X", self._srp.hash)

    @with_width
    def hash_query(self, Q: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of queries.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            As for `hash`. Queries may have any length unless `query_norm` is given.
        """
        return self._encode(self._read(Q, "Q"), "Q", self._srp.hash)

    @with_width
    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Return the codes of the buckets that most likely contain rows of the largest inner products.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        n_probes : int
            Number of buckets of each hash.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The most likely bucket is first: ``probe(Q, n)[:, :, 0]`` equals ``hash_query(Q)``.

        Raises
        ------
        TypeError, ValueError
            As for `hash_query`, or as `SignedRandomProjection.probe` refuses `n_probes`.
        """
        n_probes = check_int("n_probes", n_probes, 1)

        def probe(rows: Any) -> NDArray[np.uint32]:
            return self._srp.probe(rows, n_probes)

        # The projection refuses an `n_probes` that is too large, even where there are no queries.
        probe(scipy.sparse.csr_array((0, self._width)))
        return self._encode(self._read(Q, "Q"), "Q", probe, n_probes)

    @with_width
    def oversized(self, X: RowsLike) -> NDArray[np.bool_]:
        """Return which data rows are longer than `max_norm`, that is, which are refused or clipped.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), bool
            True for rows that are longer.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        return relative_norms(self._read(X), self.max_norm) > 1.0 + _SLACK

    def _refuse(self, norms: NDArray[np.float64], name: str, bound_name: str) -> None:
        """Refuse rows whose norms, relative to their bound, exceed 1, unless they are to be clipped."""
        if self.oversize == "raise" and bool((norms > 1.0 + _SLACK).any()):
            row, bound = int((norms > 1.0 + _SLACK).argmax()), getattr(self, bound_name)
            raise ValueError(
                f"{name} must have rows of norm at most {bound_name} = {bound:g}, got norm "
                f'{float(norms[row]) * bound:.9g} in row {row}; with oversize="clip" such rows are shortened'
            )

    def _encode(
        self, rows: VectorRows, name: str, function: Callable[[Any], NDArray[np.uint32]], *shape: int
    ) -> NDArray[np.uint32]:
        """Return what `function` returns for the extended rows, shape (n, n_hashes, *shape).

        The name "X" stands for data, and "Q" for queries.
        """
        backend = rows.backend
        bound_name, column = _SIDES[name]
        extension = Extension(getattr(self, bound_name) or 0.0, self._width + column, self._width)
        norms = backend.xp.zeros(rows.n)
        out = backend.xp.empty((rows.n, self.n_hashes, *shape), np.uint32)
        longest = 1.0 + _SLACK if self.oversize == "raise" else math.inf

        def run(start: int, stop: int) -> None:
            for left, right, part in extended_blocks(rows, extension, start, stop, norms):
                if norms[left:right].max() > longest:
                    return
                out[left:right] = function(part)

        backend.map_blocks(run, rows.n, rows_of_a_range(rows.n, self._srp.n_values))
        # Every range stops at its first block with a row that is too long, so the first row is found.
        self._refuse(norms, name, bound_name)
        return out

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return ``(1 - acos(distance / (max_norm query_norm)) / pi) ** power`` at an inner product.

        Parameters
        ----------
        distance : array_like of float
            Inner products of rows and queries as given, at most ``max_norm query_norm`` in magnitude. Without
            `query_norm`, inner products with queries of length 1.

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If an inner product is not a number or is larger than the bounds allow.
        """
        refuse_gpu("collision_probability", distance)
        values = check_numbers("distance", distance)
        cosine = values / self.max_norm / self._query_bound
        if not bool(np.all(np.abs(cosine) <= 1.0 + 2.0 * _SLACK)):
            largest = self.max_norm * self._query_bound
            raise ValueError(
                f"distance must be an inner product of magnitude at most {largest:g}, "
                f"got {values.min()} to {values.max()}"
            )
        return self._probability(cosine)

    def _probability(self, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((1.0 - np.arccos(np.clip(cosine, -1.0, 1.0)) / math.pi) ** self.power)

    def distance(self, probability: ArrayLike) -> NDArray[np.float64]:
        """Return the inner product of a collision probability: the inverse of `collision_probability`.

        Parameters
        ----------
        probability : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of the shape of `probability`, float64
            ``max_norm query_norm cos(pi (1 - probability ** (1 / power)))``. Without `query_norm` it is
            the inner product with the query scaled to length 1; multiply it by the query's norm.

        Raises
        ------
        TypeError, ValueError
            If a probability is not a number or lies outside [0, 1].
        """
        refuse_gpu("distance", probability)
        values = check_range("probability", probability, 1.0)
        cosine = np.cos(math.pi * (1.0 - values ** (1.0 / self.power)))
        return np.asarray(self.max_norm * self._query_bound * cosine)

    @with_width
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact collision probability of every query and data row.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Queries.
        Y : array_like or SciPy sparse matrix of shape (m, n_features)
            Data rows.

        Returns
        -------
        ndarray of shape (n, m), float64

        Raises
        ------
        TypeError, ValueError
            As for `hash_query` and `hash`.
        """
        left, right = self._on_sphere(X, "X", "query_norm"), self._on_sphere(Y, "Y", "max_norm")
        cosine = left @ right.T
        return self._probability(np.asarray(cosine.toarray() if hasattr(cosine, "toarray") else cosine))

    def _on_sphere(self, X: Any, name: str, bound_name: str) -> Any:
        """Return rows divided by their bound, or scaled to length 1, without their additional coordinates."""
        rows, bound = self._read(X, name), getattr(self, bound_name)
        unit = unit_rows(rows, self.n_features, name)
        if bound is None:
            return unit
        norms = relative_norms(rows, bound)
        self._refuse(norms, name, bound_name)
        norms = np.minimum(norms, 1.0)
        return scipy.sparse.diags_array(norms) @ unit if rows.form == "csr" else unit * norms[:, None]


publish("mergesketch.lsh", __all__, globals())
