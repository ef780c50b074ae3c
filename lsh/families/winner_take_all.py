"""Winner-take-all hashing: the locality-sensitive family of orders, densified for sparse rows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import ArrayLike, NDArray

from ..family import HashFamily
from ..inputs.rows import VectorRows, read_rows
from ..kernels import rank_agreement, winner_take_all
from ..support.backend import refuse_gpu
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.random import random_uint64
from ..support.threads import map_blocks
from ..support.types import RowsLike
from .order_agreement import agreement_series

__all__ = ["WinnerTakeAll"]

_MAX_VALUES = 1 << 20
#: Each of the parts of a hash has permutations of its own.
_MAX_POWER = 1 << 10
_MAX_GROUP = 1 << 16
#: Features that blocks of dense rows are transposed of: 1 MiB in float32.
_MAX_COLUMNS = 1 << 12
#: Steps of the kernels, about a nanosecond each, that are worth a thread of their own.
_STEPS_BLOCK = 1 << 18
#: Features that two rows have in all for which `kernel` knows the number of their bins by its average.
_FEW = 128


class WinnerTakeAll(HashFamily):
    """Hash functions of vectors that collide the more, the more alike their features are ordered.

    Parameters
    ----------
    n_features : int
        Width of the rows, from `group_size` to 2**31 - 1.
    n_hashes : int
        ``n_hashes * power`` is at most 2**20.
    group_size : int, default 8
        Features of a group, K: from 2 to 65,536.
    power : int, default 1
        Winners concatenated to one hash; at most 1,024.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``group_size ** power``, where that is at most 2**32: the
        code is the winners' places in their groups, as digits. Otherwise (and by default, where it is
        not) the numbers of the winning features are mixed and reduced to `n_buckets`, or 2**32.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash is the place of the largest number in a random group of K features (Yagnik, Strelow,
    Ross and Lin 2011). It depends only on the order of a row's numbers: neither on their scale nor on any
    other rising function of them. Two rows collide with the probability that in a random group of K features
    the same one is largest in both; `kernel` computes it exactly. For K = 2 that is the share of pairs of
    features that both rows order alike, (1 + Kendall's tau) / 2; larger groups look more at the top of the
    order. The first of equal numbers wins, in the random order of the group.

    **Zeros are absent**: they never win, not even over negative numbers, so that sparse rows and dense
    ones have the same codes. Where a zero is a number like others, add a constant to all features: orders
    stay as they are. A group of nothing but zeros takes the winner of another one (densified winner-take-all:
    Chen and Shrivastava 2018): a random permutation of the features is cut into bins of K (a last one may
    be smaller), hash h has bin h, and an empty bin copies the first bin that is not empty in a random
    order of its own, given by a hash of (bin, attempt). When there are more hashes than bins, they go on
    with another permutation, and the `power` parts of a hash always come from different ones. Rows whose
    bins differ in what they copied collide by chance where places are concatenated, with probability 1 / K,
    and not at all where `n_buckets` has features mixed: so give it for sparse rows. A place that is copied is
    turned by a random number of the two bins, so that bins which copy one donor do not collide together.
    Where a group seldom has two numbers, collisions tell little more than whether features are present:
    choose K larger than n_features divided by the entries of a row.

    Hashes with bins of one permutation are not independent. For rows of many entries that makes means over
    them vary less, for they see different features; rows of few entries fill few bins, and means vary up
    to sqrt(2) times as much as independent ones: `design_effect`.

    A row of zeros has a code of its own, of a feature that does not exist; where places are concatenated,
    code 0, which other rows can have.

    Time: for dense rows about 0.2 ns a feature of each group, and 0.4 ns a feature; rows with an empty bin
    and sparse ones O(entries P + n_hashes power), with P permutations,
    ``power * ceil(n_hashes / (n_features // K))``. Bytes: 8 a feature and permutation, and 12 a feature of
    each group, drawn at first use.

    References
    ----------
    - Yagnik, Strelow, Ross, Lin. The power of comparative reasoning. ICCV 2011.
    - Chen, Shrivastava. Densified winner take all (WTA) hashing for sparse datasets. UAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import WinnerTakeAll
    >>> family = WinnerTakeAll(n_features=5, n_hashes=4000, group_size=2, seed=1)
    >>> x, y = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), np.array([[1.0, 9.0, 5.0, 25.0, 16.0]])
    >>> family.kernel(x, y)
    array([[0.8]])
    >>> bool(abs((family.hash(x) == family.hash(y)).mean() - 0.8) < 0.05)
    True
    """

    _parameters = ("n_features", "n_hashes", "group_size", "power", "n_buckets", "seed")
    metric = "rank"
    #: Of bins that copy the same few others: where rows have few entries. Others have less than 1.
    design_effect = 2.0

    def __init__(
        self,
        n_features: int,
        n_hashes: int,
        *,
        group_size: int = 8,
        power: int = 1,
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 2**31 - 1)
        self.n_hashes = check_int("n_hashes", n_hashes, 1)
        self.group_size = check_int("group_size", group_size, 2, _MAX_GROUP)
        if self.group_size > self.n_features:
            raise ValueError(
                f"group_size must be at most n_features, {self.n_features}, got {self.group_size}"
            )
        self.power = check_int("power", power, 1, _MAX_POWER)
        if self.n_hashes * self.power > _MAX_VALUES:
            raise ValueError(
                f"n_hashes * power must be at most {_MAX_VALUES}, got {self.n_hashes * self.power}"
            )
        self._n_places = self.group_size**self.power if self.power <= 32 else 2**33
        if n_buckets is None:
            self.n_buckets = min(self._n_places, 2**32)
        else:
            self.n_buckets = check_int("n_buckets", n_buckets, 2, 2**32)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.chance_collision = 0.0 if self._code_is_places else 1.0 / self.n_buckets

    @property
    def _code_is_places(self) -> bool:
        return self.n_buckets == self._n_places

    # -- random parameters ------------------------------------------------------------------------

    @property
    def _n_drawn(self) -> int:
        return self.power * self._n_rounds * self.n_features

    @property
    def _n_own(self) -> int:
        """Bins of a permutation that hashes have for their own, those of group_size features."""
        return self.n_features // self.group_size

    @property
    def _n_bins(self) -> int:
        return -(-self.n_features // self.group_size)

    @property
    def _n_rounds(self) -> int:
        """Permutations for one of the parts of all hashes."""
        return -(-self.n_hashes // self._n_own)

    def _permutation(self, number: int) -> NDArray[np.int64]:
        """The features in a random order."""
        words = random_uint64(self.seed, f"winner-take-all permutation {number}", self.n_features)
        return np.argsort(words, kind="stable")

    @lazy
    def _layout(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Bin and place of each feature, (permutations, n_features); features of each hash's own groups."""
        shape = self.power * self._n_rounds, self.n_features
        bins, spots = np.empty(shape, np.int32), np.empty(shape, np.int32)
        groups = np.empty((self.n_hashes, self.power, self.group_size), np.int32)
        places = np.arange(self.n_features)
        for part in range(self.power):
            for turn in range(self._n_rounds):
                number = part * self._n_rounds + turn
                order = self._permutation(number)
                bins[number, order] = places // self.group_size
                spots[number, order] = places % self.group_size
                first = turn * self._n_own
                own = min(self._n_own, self.n_hashes - first)
                groups[first : first + own, part] = order[: own * self.group_size].reshape(own, -1)
        return bins, spots, groups

    @lazy
    def _dense_groups(self) -> tuple[NDArray[Any], ...]:
        """The groups as `winners_dense` reads them, in ranges of hashes that have few enough features."""
        groups = self._layout[2]
        step = max(1, _MAX_COLUMNS // (self.power * self.group_size))
        if self.n_features <= _MAX_COLUMNS:
            step = self.n_hashes
        hashes = np.append(np.arange(0, self.n_hashes, step), self.n_hashes)
        columns, offsets, places = [], [0], np.empty(groups.shape, np.int32)
        for first, last in pairwise(hashes):
            distinct, where = np.unique(groups[first:last], return_inverse=True)
            columns.append(distinct.astype(np.int64))
            offsets.append(offsets[-1] + distinct.size)
            places[first:last] = where.reshape(last - first, self.power, self.group_size)
        labels = groups.astype(np.uint32)
        if self._code_is_places:
            labels[:] = np.arange(self.group_size, dtype=np.uint32)
        return hashes, np.concatenate(columns), np.array(offsets), places, labels

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        """Where the words of codes start."""
        if self._code_is_places:
            return np.zeros(self.n_hashes, np.uint64)
        return random_uint64(self.seed, "winner-take-all codes", self.n_hashes)

    @lazy
    def _donor_keys(self) -> NDArray[np.uint64]:
        """Keys of the orders that empty bins look for others in, (2, permutations)."""
        n = self.power * self._n_rounds
        return random_uint64(self.seed, "winner-take-all donors", 2 * n).reshape(2, n)

    @lazy
    def _settings(self) -> tuple[Any, ...]:
        n_buckets = np.uint64(0 if self._code_is_places else self.n_buckets)
        # A quarter of sqrt(bins): an attempt costs several times what a bin does in the search.
        attempts = 1 + math.isqrt(self._n_bins) // 4
        walk, rank = self._donor_keys
        return self.power, np.uint64(self.group_size), n_buckets, attempts, walk, rank

    # -- codes ------------------------------------------------------------------------------------

    def read_rows(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; zeros are absent.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = self.read_rows(X)
        backend = rows.backend
        out = backend.xp.empty((rows.n, self.n_hashes), np.uint32)
        if rows.n == 0:
            return out
        bins, spots, _ = self._layout
        layout, settings, keys = (bins, spots, self._n_own, self._n_bins), self._settings, self._keys
        values = self.n_hashes * self.power
        if rows.form == "dense":
            (dense,) = rows.arrays
            groups = self._dense_groups
            steps = values * self.group_size // 8 + groups[1].size

            def run(start: int, stop: int) -> None:
                backend.kernels(winner_take_all).winners_dense(
                    dense, groups, layout, settings, keys, start, stop, out
                )

        else:
            indptr, indices, data = rows.arrays
            indices = indices.astype(np.int32, copy=False)
            steps = 20 * values + 2 * len(bins) * indices.size // rows.n

            def run(start: int, stop: int) -> None:
                backend.kernels(winner_take_all).winners_csr(
                    indptr, indices, data, layout, settings, keys, start, stop, out
                )

        backend.map_blocks(run, rows.n, max(1, _STEPS_BLOCK // steps))
        return out

    # -- theory -----------------------------------------------------------------------------------

    @lazy
    def _series(self) -> NDArray[np.float64]:
        return agreement_series(self.group_size)

    @lazy
    def _few_shares(self) -> NDArray[np.float64]:
        """For two rows of u features in all, the sum over groups with no more than m of them, weighted.

        A hash whose bin is empty takes another one of the same permutation, so each of the F bins that are
        not empty counts 1 / F: a group with j of the features by the inverse of the F expected then, that
        of a permutation whose other bins share out the u - j others. Where F varies little, as for more
        than _FEW features, the weights are nearly equal and are left out.
        """
        d, K = self.n_features, self.group_size
        few = min(_FEW, d)
        u, j = np.ogrid[: few + 1, : few + 1]
        # Another group of K, among the d - K other features, has none of the t others.
        t = np.arange(few + 1)
        none = (t == 0).astype(np.float64)
        if d >= 2 * K:
            none = np.exp(_log_choose(d - K - t, K) - _log_choose(np.int64(d - K), K))
        full = 1.0 + (d - K) / K * (1.0 - none[np.maximum(u - j, 0)])
        groups = np.exp(_log_choose(d - u, K - j) - _log_choose(np.int64(d), K))
        weights = np.where((j >= 1) & (j <= u), groups / full, 0.0)
        m = np.arange(few + 1)[:, None]
        return np.asarray(weights @ np.exp(_log_choose(m, np.arange(few + 1))).T)

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Probability that a hash collides for rows that follow a normal copula.

        No number tells of two orders how often their winners agree, unless K = 2; `kernel` takes the rows
        themselves. This is the probability for rows whose features are, up to rising functions, independent
        pairs of normal numbers of correlation rho::

            P = (K E[F(X, Y) ** (K - 1)]) ** power,    distance = 1 - rho

        with F their joint distribution function; for K = 2 it is ``(1/2 + asin(rho) / pi) ** power``. Such
        rows have Kendall's tau ``2 asin(rho) / pi`` and Spearman's correlation ``6 asin(rho / 2) / pi``, so
        either gives a distance for rows: ``1 - sin(pi tau / 2)`` or ``1 - 2 sin(pi spearman / 6)``.

        Parameters
        ----------
        distance : array_like of float
            1 - rho, in [0, 2].

        Returns
        -------
        ndarray of the shape of `distance`, float64
            With errors below 1e-9. The first call takes some 0.2 s, with groups of 256 and more 2 s.

        Raises
        ------
        TypeError, ValueError
            If a distance is no number or lies outside [0, 2].
        """
        rho = 1.0 - self._check_distances(distance)
        agreement = np.clip(chebval(2.0 / np.pi * np.arcsin(rho), self._series), 0.0, 1.0)
        return np.asarray(agreement**self.power)

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Collision probability of every pair of rows, over random groups.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; zeros are absent.

        Returns
        -------
        ndarray of shape (len(X), len(Y)), float64
            Exact for rows without zeros, and for rows of one entry. With zeros the number of bins that are
            not empty is taken to be what it is on average, which changes probabilities by less than 1 % of
            themselves. O(e log e) a pair of rows with e entries.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        d, K = self.n_features, self.group_size
        x, y = _ranks(self.read_rows(X)), _ranks(self.read_rows(Y, "Y"))
        n, m = x[0].size - 1, y[0].size - 1
        sizes = np.diff(x[0])[:, None], np.diff(y[0])[None, :]
        most = min(d, sum(int(size.max(initial=0)) for size in sizes))
        # Of all groups, those within d - most + i given features.
        within = np.arange(d, d - most, -1, dtype=np.float64)
        shares = np.cumprod(np.append(1.0, np.maximum(within - K, 0.0) / within))[::-1].copy()
        agreements, unions = np.empty((n, m)), np.empty((n, m), np.int64)
        block = max(1, _STEPS_BLOCK // max(1, 30 * (x[1].size * m // max(1, n) + y[1].size)))
        few = self._few_shares
        map_blocks(
            lambda start, stop: rank_agreement.rank_agreements(
                x, y, shares, few, start, stop, agreements, unions
            ),
            n,
            block,
        )
        is_few = unions < len(few)
        u = np.minimum(unions, len(few) - 1)
        either = np.where(is_few, few[u, u], 1.0 - shares[most - unions])
        # Of groups with an entry of one row only; none of few features is left out of `few`.
        neither = np.where(is_few, 0.0, shares[most - unions])
        lone = [
            np.where(is_few, few[u, np.maximum(u - size, 0)], shares[most - size] - neither) for size in sizes
        ]
        either[unions == 0] = 1.0
        result = agreements / either
        if self._code_is_places:
            # Winners of different bins, one being empty in x or in y, have any places.
            result += sum(lone) / either / K
        result[unions == 0] = 1.0
        return np.asarray(np.minimum(result, 1.0) ** self.power)


def _log_choose(n: Any, k: Any) -> NDArray[np.float64]:
    """Logarithms of binomial coefficients; minus infinity where there is no such choice."""
    from scipy.special import gammaln

    possible = (k >= 0) & (k <= n)
    n, k = np.where(possible, n, 0), np.where(possible, k, 0)
    value = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return np.where(possible, value, -np.inf)


def _ranks(rows: VectorRows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows as ``(indptr, indices, ranks)`` of their entries that are no zeros, ranks from 1."""
    indptr, indices, data = rows.csr
    refuse_gpu("kernel", data)
    stored = data != 0
    indptr = np.concatenate([[0], np.cumsum(stored)])[indptr]
    indices, data = indices[stored], data[stored]
    ranks = np.empty(data.size, np.int64)
    for start, stop in pairwise(indptr):
        ranks[start:stop] = np.unique(data[start:stop], return_inverse=True)[1] + 1
    return indptr, indices.astype(np.int64), ranks
