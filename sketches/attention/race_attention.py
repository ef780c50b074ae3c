"""Attention from counters: a context of any length in tables of fixed size, which merge."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.inputs.answers import like
from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.hashed_rows import hash_block
from ..core.state import StateSpec
from ..kernels import race_attention
from .soft_codes import SoftCodes

__all__ = ["RaceAttention"]

#: The most bits of a code, for each of which soft codes double.
_MOST_BITS = 12
#: The most counters, which take 8 GiB.
_MOST_COUNTERS = 1 << 30
#: The most entries of codes that are kept at a time, soft or hard.
_ENTRIES = 1 << 22
#: Columns, and queries, that are worth a thread of their own.
_COLUMNS, _QUERIES = 16, 64


class _Batch(NamedTuple):
    """Keys, and the columns that they add: a one and the values. Queries, if attention is causal."""

    keys: VectorRows
    columns: NDArray[np.float64]
    queries: VectorRows | None
    #: The sums of causal queries.
    out: NDArray[np.float64]


class RaceAttention(MergeableSketch):
    """Keep a context of keys and values in counters, and answer attention queries from them (RACE attention).

    Parameters
    ----------
    n_features : int
        Number of columns of keys and queries.
    n_values : int
        Number of columns of values.
    n_hashes : int, default 32
        Number of tables, L.
    power : int, default 4
        Number of bits of a code, P, at most 12. A table has ``2**P`` buckets.
    beta : float, optional
        Sharpness of soft codes, above 0. By default codes are hard: a token belongs to one bucket of a table.
        Infinity means the same, and is stored as None.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    family : SignedRandomProjection
        The hash functions.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Each table has P random vectors W. A row x gives bucket r, with signs v, the weight

        phi(x)[r] = softmax over all v of beta tanh(W x) . v

    A token (k, v) adds phi(k) to the weights A of the buckets, and ``phi(k) v`` to the values B. A query
    returns ``phi(q) . B / phi(q) . A`` over all tables. So this is attention with the kernel
    ``phi(q) . phi(k)`` in place of the exponential. With hard codes its expectation over the random vectors
    is the angular kernel ``(1 - angle / pi)**P``, which ``family.kernel(Q, K)`` returns, and lengths of rows
    have no effect.
    The output converges to attention with this kernel as L grows: the standard error falls as
    ``1 / sqrt(L)``. With small beta the kernel is flatter than the angular one, and more tables do not change
    that. Longer rows have sharper soft codes.

    **Merging.** All arrays are sums, so contexts on different machines merge, and `subtract` removes tokens.
    Soft codes are rounded to multiples of 2**-24, so weights of up to 2**29 tokens are summed exactly. With
    integer values (or multiples of 1/256 of moderate size), values are, too: then the counters of parts are
    those of the whole, bit for bit. Other values agree up to the rounding of float64.

    **Memory** is ``8 L 2**P (1 + n_values)`` bytes, whatever the number of tokens.
    **Cost**: a token or a query takes ``L P n_features`` operations for its codes, and ``L 2**P n_values``
    additions, ``L n_values`` with hard codes.

    References
    ----------
    - RACE Attention: a strictly linear-time attention for long-sequence training.
    - Coleman, Shrivastava. Sub-linear RACE sketches for approximate kernel density estimation on
      streaming data. WWW 2020.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> K, V = rng.standard_normal((1000, 16)), rng.standard_normal((1000, 2))
    >>> here = mergesketch.RaceAttention(16, 2, 200, power=3, seed=1).update(K[:500], V[:500])
    >>> there = mergesketch.RaceAttention(16, 2, 200, power=3, seed=1).update(K[500:], V[500:])
    >>> output = (here | there).query(K[:1])
    >>> weights = here.family.kernel(K[:1], K)
    >>> bool(abs(output - weights @ V / weights.sum()).max() < 0.05)
    True
    """

    _parameters = ("n_features", "n_values", "n_hashes", "power", "beta", "seed")
    _filled = ("sums", "counters used")
    _gpu = True

    def __init__(
        self,
        n_features: int,
        n_values: int,
        n_hashes: int = 32,
        *,
        power: int = 4,
        beta: float | None = None,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 24)
        self.n_values = check_int("n_values", n_values, 1, 1 << 24)
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 1 << 20)
        self.power = check_int("power", power, 1, _MOST_BITS)
        self.beta = None if beta is None or beta == math.inf else check_real("beta", beta, 0.0, math.inf)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        n_counters = (self.n_hashes << self.power) * (1 + self.n_values)
        if n_counters > _MOST_COUNTERS:
            raise ValueError(
                f"n_hashes * 2**power * (1 + n_values) must be at most {_MOST_COUNTERS:,}, got {n_counters:,}"
            )
        self.family = SignedRandomProjection(self.n_features, self.n_hashes, power=self.power, seed=self.seed)
        self._soft = None if self.beta is None else SoftCodes(self.family, self.beta)

    @property
    def is_hard(self) -> bool:
        """True if a token belongs to one bucket of a table, False if codes are soft."""
        return self.beta is None

    def _layout(self) -> dict[str, StateSpec]:
        shape = (self.n_hashes, 1 << self.power, 1 + self.n_values)
        return {"sums": StateSpec(shape, "float64", "sum", remedy="fewer n_hashes or a smaller power")}

    # -- tokens -----------------------------------------------------------------------------------

    def update(self, K: RowsLike, V: ArrayLike) -> Self:
        """Add tokens to the context.

        Parameters
        ----------
        K : array_like of shape (n, n_features)
            Keys.
        V : array_like of shape (n, n_values)
            Values.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If keys or values have another shape, or are not finite numbers. Nothing changes then.
        """
        return self._take_in({"K": K, "V": V})

    def causal(self, Q: RowsLike, K: RowsLike, V: ArrayLike) -> Any:
        """Add tokens one after the other, and return the attention of each over the context up to itself.

        Parameters
        ----------
        Q, K : array_like of shape (n, n_features)
            Queries and keys of the tokens.
        V : array_like of shape (n, n_values)
            Values of the tokens.

        Returns
        -------
        ndarray of shape (n, n_values), float64
            Row i is what `query` would return for ``Q[i]`` after the tokens up to i have been added, and NaN
            where no bucket of the query has a token. A sequence may be given in parts, one call after the
            other: the result is the same.

        Raises
        ------
        TypeError, ValueError
            As `update` does, or if there is not one query for each key. Nothing changes then.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> K = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> context = mergesketch.RaceAttention(2, 1, 500, power=8, seed=1)
        >>> context.causal(K, K, [[1.0], [2.0], [3.0]]).round(1)
        array([[1.],
               [2.],
               [3.]])
        """
        with self._lock:
            found: list[NDArray[np.float64]] = []
            self._take_in({"Q": Q, "K": K, "V": V}, found)
            return like(Q, _ratios(found[0], math.nan))

    def _read(self, *given: Any) -> _Batch:
        found: list[NDArray[np.float64]] | None = None
        Q: Any = None
        if len(given) == 2:
            K, V = given
        else:
            Q, K, V, found = given
        queries = None if Q is None else read_rows(Q, self.n_features, "Q")
        keys = read_rows(K, self.n_features, "K")
        if queries is not None and queries.n != keys.n:
            raise ValueError(f"Q must have {keys.n} rows, one for each row of K, got {queries.n}")
        xp = self._backend.xp
        columns = xp.ones((keys.n, 1 + self.n_values))
        columns[:, 1:] = check_real_weights("V", V, keys.n, self.n_values)
        out = xp.empty((0 if queries is None else keys.n, 1 + self.n_values))
        if found is not None:
            found.append(out)
        return _Batch(keys, columns, queries, out)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return dict.fromkeys(self._state.counters, batch.keys.n)

    def _add(self, batch: _Batch) -> None:
        sums, columns = self._arrays["sums"], read_only(batch.columns)
        backend, kernels = self._backend, self._backend.kernels(race_attention)
        with self._state.restored_on_failure():
            for first, last in self._blocks(batch.keys.n):
                codes, some = self._codes(batch.keys, first, last), columns[first:last]
                if batch.queries is None:
                    add = kernels.add_tokens_hard if self.is_hard else kernels.add_tokens
                    given: tuple[Any, ...] = (codes, some)
                    results: tuple[Any, ...] = (sums,)
                    n, block = self.n_hashes, 1
                else:
                    add = kernels.attend_causally_hard if self.is_hard else kernels.attend_causally
                    given = self._codes(batch.queries, first, last), codes, some
                    results = sums, batch.out[first:last]
                    n, block = 1 + self.n_values, _COLUMNS
                _map(backend, add, given, results, n, block)

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, *, fill: float = math.nan) -> Any:
        """Return the attention of queries over the whole context.

        Parameters
        ----------
        Q : array_like of shape (n, n_features)
        fill : float, default NaN
            The result where no bucket of the query has a token.

        Returns
        -------
        ndarray of shape (n, n_values), float64

        Raises
        ------
        TypeError, ValueError
            If queries have another width or are not finite, or `fill` is not a number.
        """
        is_nan = isinstance(fill, (float, np.floating)) and math.isnan(fill)
        fill = math.nan if is_nan else check_real("fill", fill, -math.inf, math.inf)
        return like(Q, _ratios(self._sums(Q), fill))

    def kernel_sum(self, Q: RowsLike) -> Any:
        """Return the estimated sum over the tokens of the kernel of query and key: the weight of the context.

        Parameters
        ----------
        Q : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            If queries have another width or are not finite.
        """
        return like(Q, self._sums(Q)[:, 0] / self.n_hashes)

    def _sums(self, Q: Any) -> NDArray[np.float64]:
        """Return the sums over the buckets of queries: of weights, and of weighted values."""
        self._claim_device("Q", Q)
        queries, backend = read_rows(Q, self.n_features, "Q"), self._backend
        kernels, sums = backend.kernels(race_attention), read_only(self._arrays["sums"])
        ask = kernels.query_counters_hard if self.is_hard else kernels.query_counters
        out = backend.xp.empty((queries.n, 1 + self.n_values))
        for first, last in self._blocks(queries.n):
            given = self._codes(queries, first, last), sums
            _map(backend, ask, given, (out[first:last],), last - first, _QUERIES)
        return out

    def _codes(self, rows: VectorRows, first: int, last: int) -> NDArray[Any]:
        """Return the codes of some rows: numbers of buckets, or with soft codes the weights of all."""
        if self._soft is None:
            return read_only(hash_block(self.family, self.family.hash, rows, first, last))
        return read_only(self._soft.weights(rows.cut(first, last)))

    def _blocks(self, n: int) -> Any:
        entries = self.n_hashes if self.is_hard else self.n_hashes << self.power
        return cut_range(0, n, max(1, _ENTRIES // entries))


def _map(
    backend: Any, kernel: Any, given: tuple[Any, ...], results: tuple[Any, ...], n: int, block: int
) -> None:
    """Run a kernel on ranges of n, shared by threads."""
    backend.map_blocks(lambda a, b: kernel(*given, a, b, *results), n, block)


def _ratios(sums: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    """Return values over weights, and `fill` where there is no weight."""
    mass = sums[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: NDArray[np.float64] = sums[:, 1:] / mass
    ratios[mass[:, 0] <= 0.0] = fill
    return ratios


publish("mergesketch", __all__, globals())
