"""Vectors in few bits a coordinate: groups of coupled channels take the nearest centroid of a codebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import Backend, backend_of, check_one_device, read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.wording import counted
from ..core.guard import changing, uninterrupted
from ..core.state import ArraySpec, State
from ..core.stored import Stored
from ..kernels import product_quantizer
from .coupled_entropy import CoupledEntropy, coupled_entropy
from .product_fit import ALONE, Ranks, fit_codebooks
from .product_rows import LARGEST, FitRows, is_within, read_fit_rows, read_numbers
from .product_tables import exact_tables, plain_tables, rounded_tables

__all__ = ["ProductQuantizer"]

#: The most channels, for which sums of bytes and products of channels do not overflow.
_MOST_FEATURES = 1 << 16
#: Rows that are worth a thread of their own, numbers that are converted at a time, and entries of tables that
#: are made at a time.
_ROWS, _NUMBERS, _ENTRIES = 256, 1 << 22, 1 << 20


class ProductQuantizer(Stored):
    """Encode vectors in few bits a coordinate, and score the codes by look-ups (vector quantization).

    Parameters
    ----------
    n_features : int
        Number of columns of rows (channels), at most 65,536.
    n_groups : int
        Number of groups, a divisor of `n_features`. A group has the ``c = n_features / n_groups`` channels
        that lie side by side.
    n_codes : {2, 4, 8, 16, 32, 64, 128, 256}, default 256
        Number of centroids of a group. A row takes ``n_groups log2(n_codes)`` bits.
    n_iterations : int, default 25
        The most steps of Lloyd's algorithm.
    n_restarts : int, default 2
        Number of starts by k-means++, of which the best is taken.
    seed : int, default 0
        Seed of the starts, in [0, 2**64).

    Attributes
    ----------
    centroids : ndarray of shape (n_groups, n_codes, c), float64
    code_size : int
        Bytes of the code of a row.
    is_fitted : bool
    nbytes : int
        Bytes of the centroids and weights.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A row is cut into groups of c coupled channels, and each group is replaced by the nearest of its
    centroids, which k-means has found. With c = 1 these are the codes of NoMAD-Attention (2024), and with
    c > 1 those of Coupled Quantization (2024): channels depend on each other, so their joint entropy is below
    the sum of their entropies, which `entropy` reports. Let p be the smallest prime factor that c and the
    bits of a code have in common. Then the error on the rows of `fit` is at most that of groups of c / p
    channels at equal bits a channel: the combinations of these groups' centroids are one of the starts.

    A score is the sum of one table entry for each group. With ``tables="bytes"`` the entries are rounded to
    bytes, all of a query with one step ``s``. The sums are integers, which are equal on all processors. A
    score differs by at most ``n_groups s / 2`` from that of exact tables; `return_bound` returns this number.

    **Cost**: a step of `fit` takes ``n n_features n_codes`` operations, and there are up to
    ``2 n_iterations`` steps for each number of coupled channels c, c / p, ... Encoding takes as long as a
    step. A score takes `n_groups` look-ups, and a query ``n_features n_codes`` operations for its tables.

    Fitted quantizers do not merge, but the sums of the steps do: `mergesketch.distributed.fit_over_ranks`
    fits to the rows of many machines. Codes of parts concatenate to the codes of the whole.

    References
    ----------
    - Jegou, Douze, Schmid. Product quantization for nearest neighbor search. IEEE TPAMI 33(1), 2011.
    - Zhang, Yi, Yao, Xu, Shrivastava. NoMAD-Attention: efficient LLM inference on CPUs through
      multiply-add-free attention. NeurIPS 2024.
    - Zhang, Yi, Xu, Shrivastava. KV cache is 1 bit per channel: efficient large language model inference with
      coupled quantization. NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.standard_normal((2000, 8)), 2, axis=1)  # pairs of equal channels
    >>> quantizer = mergesketch.ProductQuantizer(n_features=16, n_groups=8, n_codes=16).fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, codes.dtype
    ((2000, 4), dtype('uint8'))
    >>> error = ((quantizer.decode(codes) - X) ** 2).mean() / X.var()
    >>> bool(error < 0.02)
    True
    >>> scores, bound = quantizer.scores(X[:1], codes, return_bound=True)
    >>> exact = X[:1] @ quantizer.decode(codes).T
    >>> bool((np.abs(scores - exact) <= bound * (1 + 1e-9)).all())
    True
    """

    _parameters = ("n_features", "n_groups", "n_codes", "n_iterations", "n_restarts", "seed")

    def __init__(
        self,
        n_features: int,
        n_groups: int,
        n_codes: int = 256,
        *,
        n_iterations: int = 25,
        n_restarts: int = 2,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, _MOST_FEATURES)
        self.n_groups = check_int("n_groups", n_groups, 1, self.n_features)
        if self.n_features % self.n_groups:
            raise ValueError(f"n_groups must divide n_features, {self.n_features}, got {n_groups}")
        self.n_codes = check_choice("n_codes", n_codes, [1 << bits for bits in range(1, 9)])
        self.n_iterations = check_int("n_iterations", n_iterations, 1, 10_000)
        self.n_restarts = check_int("n_restarts", n_restarts, 1, 10_000)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {"centroids": ArraySpec("float64", 3), "feature_weights": ArraySpec("float64")}
        return State(
            type(self).__name__, specs, {"centroids": np.zeros((0, 0, 0)), "feature_weights": np.zeros(0)}
        )

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        centroids, weights = arrays["centroids"], arrays["feature_weights"]
        if centroids.size == 0 and weights.size == 0:
            return
        if centroids.shape != (self.n_groups, self._width, self.n_codes):
            raise ValueError(f"centroids must be empty or have shape {self._shape}, got {centroids.shape}")
        if weights.shape != (self.n_features,) or not is_within(weights) or weights.min() < 0.0:
            raise ValueError(f"feature_weights must be {self.n_features} numbers in [0, {LARGEST:g}]")
        if not is_within(centroids):
            raise ValueError(f"centroids must be numbers of at most {LARGEST:g}")

    @property
    def _width(self) -> int:
        return self.n_features // self.n_groups

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.n_groups, self._width, self.n_codes

    @property
    def _bits(self) -> int:
        return self.n_codes.bit_length() - 1

    @property
    def code_size(self) -> int:
        """Bytes of the code of a row."""
        return -(-self.n_groups * self._bits // 8)

    @property
    def is_fitted(self) -> bool:
        """True if there are centroids."""
        return self._arrays["centroids"].size > 0

    @property
    def centroids(self) -> NDArray[np.float64]:
        """The centroids of each group."""
        return np.ascontiguousarray(self._fitted("centroids").transpose(0, 2, 1))

    def _fitted(self, name: str) -> NDArray[np.float64]:
        if not self.is_fitted:
            raise ValueError("this ProductQuantizer has no centroids yet: call fit")
        return self._arrays[name]

    # -- fitting ----------------------------------------------------------------------------------

    def fit(
        self, X: ArrayLike, weights: ArrayLike | None = None, *, feature_weights: ArrayLike | None = None
    ) -> Self:
        """Find centroids for rows, in place of those that there were.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Real numbers of at most 1e150 in magnitude, at least one row.
        weights : array_like of shape (n,) or (n, n_groups), optional
            Importance of rows, or of the groups of rows: Coupled Quantization takes the sum of the squared
            gradients of the loss by the group's channels. At least 0, and 1 by default.
        feature_weights : array_like of shape (n_features,), optional
            Importance of channels, from 0 to 1e150. Distances are weighted by it, also in `encode`.

        Returns
        -------
        The quantizer itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range, or all weights are 0. Nothing changes then.
        """
        rows = read_fit_rows(X, weights, feature_weights, self.n_features, self.n_groups)
        return self.fit_rows(rows, ALONE)

    def fit_rows(self, rows: FitRows, ranks: Ranks) -> Self:
        """Find centroids for the rows of all ranks, each of which calls this method.

        Parameters
        ----------
        rows : FitRows
            The rows of this rank, as `read_fit_rows` returns them.
        ranks : Communicator, or an object like it

        Returns
        -------
        The quantizer itself.

        Raises
        ------
        ValueError
            If there are no rows, or all weights are 0.
        """
        settings = {"seed": self.seed, "n_iterations": self.n_iterations, "n_restarts": self.n_restarts}
        centroids = fit_codebooks(rows, self.n_groups, self._bits, ranks=ranks, **settings)
        with self._lock, changing(self), uninterrupted():
            self._set_arrays({"centroids": centroids, "feature_weights": rows.channel_weights.copy()})
        return self

    def entropy(self, X: ArrayLike, n_levels: int = 16) -> CoupledEntropy:
        """Report how much the channels of each group depend on each other; no fit is needed.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        n_levels : int, default 16
            Number of intervals of equal length that the range of a channel is cut into, from 2 to 65,536.

        Returns
        -------
        CoupledEntropy
            For each group the entropy of its channels together, and the sum of their entropies, in bits.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range, or X has no rows.

        Warns
        -----
        SaturationWarning
            If the rows are too few for the joint entropy of a group, which is NaN then.
        """
        refuse_gpu("ProductQuantizer.entropy", X)
        return coupled_entropy(
            read_numbers("X", X, self.n_features), self._width, check_int("n_levels", n_levels, 2, 1 << 16)
        )

    # -- codes ------------------------------------------------------------------------------------

    def encode(self, X: ArrayLike) -> Any:
        """Return the codes of rows.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Real numbers of at most 1e150 in magnitude, in main memory or on a GPU.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            A code of a group takes log2(n_codes) bits. The first group has the lowest bits of the first byte.
            Of equally near centroids, the first one is taken.

        Raises
        ------
        TypeError, ValueError
            If X has another shape, is not finite or is too large, or there are no centroids yet.
        """
        centroids, weights = self._fitted("centroids"), self._fitted("feature_weights")
        rows = read_numbers("X", X, self.n_features)
        backend, bits = backend_of(rows), self._bits
        xp, given = backend.xp, (_on(backend, weights), _on(backend, centroids))
        packed = xp.zeros((len(rows), self.code_size), np.uint8)
        encode_groups = backend.kernels(product_quantizer).encode_groups
        for first, last in cut_range(0, len(rows), max(_ROWS, _NUMBERS // self.n_features)):
            part, out = read_only(rows[first:last].astype(np.float64, copy=False)), packed[first:last]

            def encode(start: int, stop: int, part: Any = part, out: Any = out) -> None:
                encode_groups(part, *given, bits, start, stop, out)

            backend.map_blocks(encode, last - first, _ROWS)
        return like(X, packed)

    def decode(self, codes: ArrayLike) -> Any:
        """Return the rows that codes stand for: the centroids of all groups, joined.

        Parameters
        ----------
        codes : array_like of shape (n, code_size), uint8

        Returns
        -------
        ndarray of shape (n, n_features), float64

        Raises
        ------
        TypeError, ValueError
            If codes have another dtype or shape, or there are no centroids yet.
        """
        centroids, packed = self._fitted("centroids"), self._read_codes(codes)
        backend = backend_of(packed)
        out = backend.xp.empty((len(packed), self.n_features), np.float64)
        given, bits = _on(backend, centroids), self._bits
        decode_codes = backend.kernels(product_quantizer).decode_codes
        backend.map_blocks(
            lambda start, stop: decode_codes(packed, given, bits, start, stop, out), len(packed), 16 * _ROWS
        )
        return like(codes, out)

    @overload
    def scores(
        self, Q: ArrayLike, codes: ArrayLike, *, metric: str = ..., tables: str = ...,
        return_bound: Literal[False] = ...,
    ) -> Any: ...  # fmt: skip
    @overload
    def scores(
        self, Q: ArrayLike, codes: ArrayLike, *, metric: str = ..., tables: str = ...,
        return_bound: Literal[True],
    ) -> tuple[Any, Any]: ...  # fmt: skip
    def scores(
        self,
        Q: ArrayLike,
        codes: ArrayLike,
        *,
        metric: str = "inner_product",
        tables: str = "bytes",
        return_bound: bool = False,
    ) -> Any:
        """Return products of queries with the rows that codes stand for, or distances, without decoding.

        Parameters
        ----------
        Q : array_like of shape (n_queries, n_features)
            Real numbers of at most 1e150 in magnitude.
        codes : array_like of shape (n, code_size), uint8
        metric : {"inner_product", "sqeuclidean"}
            "sqeuclidean" is the square of the Euclidean distance, without feature weights.
        tables : {"bytes", "floats"}
            Tables of bytes are faster to read, and rounded.
        return_bound : bool
            True to return bounds of the rounding, too.

        Returns
        -------
        scores : ndarray of shape (n_queries, n), float64
        bounds : ndarray of shape (n_queries, 1), float64, only if `return_bound`
            The most by which a score differs from that of exact tables: ``n_groups s / 2`` for tables of
            bytes with step s, and 0 for tables of floats, both up to the rounding of float64.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or shape, or there are no centroids yet.
        """
        centroids = self._fitted("centroids")
        check_choice("metric", metric, ("inner_product", "sqeuclidean"))
        rounded = check_choice("tables", tables, ("bytes", "floats")) == "bytes"
        return_bound = check_flag("return_bound", return_bound)
        queries, packed = read_numbers("Q", Q, self.n_features), self._read_codes(codes)
        check_one_device("Q", queries, "codes", packed)
        backend, bits = backend_of(packed), self._bits
        xp, given, n = backend.xp, _on(backend, centroids), len(packed)
        score_codes = backend.kernels(product_quantizer).score_codes
        scores = xp.empty((len(queries), n), np.float64)
        bounds = xp.zeros((len(queries), 1), np.float64)
        for first, last in cut_range(0, len(queries), max(1, _ENTRIES // given.size)):
            exact = exact_tables(queries[first:last].astype(np.float64), given, metric)
            tables_of_part = rounded_tables(exact) if rounded else plain_tables(exact)
            out = scores[first:last]

            def score(start: int, stop: int, given: Any = tables_of_part, out: Any = out) -> None:
                score_codes(packed, *given, bits, start, stop, out)

            backend.map_blocks(score, n, 16 * _ROWS)
            if rounded:
                bounds[first:last, 0] = tables_of_part[2] * (self.n_groups / 2.0)
        return like(Q, (scores, bounds) if return_bound else scores)

    # -- arguments --------------------------------------------------------------------------------

    def _read_codes(self, codes: Any) -> NDArray[np.uint8]:
        array = check_array("codes", codes)
        if array.dtype.kind not in "iu":
            raise TypeError(f"codes must be bytes, as encode returns them, got dtype {array.dtype}")
        if array.ndim != 2 or array.shape[1] != self.code_size:
            raise ValueError(f"codes must have shape (n, {self.code_size}), got {array.shape}")
        # Bytes in a list have become wider integers.
        if array.dtype != np.uint8 and array.size and (int(array.min()) < 0 or int(array.max()) > 255):
            raise ValueError(f"codes must be from 0 to 255, got {array.min()} to {array.max()}")
        return read_only(backend_of(array).xp.ascontiguousarray(array, np.uint8))

    def _facts(self) -> list[tuple[str, str]]:
        return [("code of a row", counted(self.code_size, "byte")), *super()._facts()]

    def __copy__(self) -> Self:
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    def __repr__(self) -> str:
        fitted = "fitted" if self.is_fitted else "not fitted"
        return f"<{super().__repr__()}: {counted(self.code_size, 'byte')} a row, {fitted}>"


def _on(backend: Backend, array: NDArray[np.float64]) -> Any:
    """Return an array of the state where kernels of a backend can read it."""
    return backend.constant(array) if backend.device == "gpu" else read_only(array)


publish("mergesketch", __all__, globals())
