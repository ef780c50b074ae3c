"""Winner-take-all hashing: a locality-sensitive family of orders, densified for sparse rows."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import ArrayLike, NDArray

from ..family import RowsToCodes
from ..inputs.rows import VectorRows, read_rows
from ..kernels import winner_take_all
from ..support.backend import read_only
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import random_uint64
from ..support.types import RowsLike
from .concatenation import ConcatenatedFamily
from .order_agreement import agreement_series
from .shared_winners import shared_winners, shares_of_few
from .width import FamilyOfWidth, with_width

__all__ = ["WinnerTakeAll"]

_MAX_VALUES = 1 << 20
#: Largest number of parts of a hash, each of which has its own permutations.
_MAX_POWER = 1 << 10
_MAX_GROUP = 1 << 16
#: Number of features of a transposed block of dense rows: 1 MiB in float32.
_MAX_COLUMNS = 1 << 12
#: Number of steps of the kernels, about a nanosecond each, that are worth a thread of their own.
_STEPS_BLOCK = 1 << 18


class WinnerTakeAll(FamilyOfWidth, ConcatenatedFamily):
    """Hash vectors by the order (ranking) of their features: similar rankings share more codes.

    Parameters
    ----------
    n_features : int, optional
        Width of the rows, from `group_size` to 2**31 - 1; by default that of the first rows.
    n_hashes : int, default 128
        ``n_hashes * power`` is at most 2**20.
    group_size : int, default 8
        Number of features of a group, K, from 2 to 65,536.
    power : int, default 1
        Number of winners concatenated to one hash, at most 1,024.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``group_size ** power``, where that is at most 2**32. The code
        then consists of the winners' places in their groups, as digits. With another number of buckets (and
        by default with 2**32, where there are more places) the numbers of the winning features are mixed and
        reduced to `n_buckets`.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash is the place of the largest number in a random group of K features (Yagnik, Strelow,
    Ross and Lin 2011). It depends only on the order of a row's numbers, so a rising function of all numbers
    does not change it. Two rows collide with the probability that in a random group of K features the same
    one is largest in both; `kernel` computes it exactly. For K = 2 that is the share of pairs of features
    that have the same order in both rows, (1 + Kendall's tau) / 2. Larger groups give more weight to the top
    of the order. Of equal numbers the first one in the random order of the group wins.

    **Zeros are absent**: they never win, not even over negative numbers, so that sparse and dense rows have
    the same codes. If zeros are ordinary numbers, add a constant to all features, which does not change
    orders. A group of zeros only takes the winner of another one (densified winner-take-all: Chen and
    Shrivastava 2018). For this a random permutation of the features is cut into bins of K (the last one may
    be smaller), and hash h has bin h. An empty bin copies the first bin that is not empty in a random order
    of its own, given by a hash of (bin, attempt). Where there are more hashes than bins, the next hashes use
    another permutation, and the `power` parts of a hash always have different permutations. Rows whose bins
    copied different ones collide by chance, with probability 1 / K, where places are concatenated. They do
    not collide where `n_buckets` is given and features are mixed, so give it for sparse rows. A copied place
    is shifted by a random number of the two bins, so that bins which copy one donor do not collide together.
    Where a group rarely has two numbers, collisions show little more than which features are present: choose
    K larger than n_features divided by the number of entries of a row.

    Hashes with bins of one permutation are not independent. For rows of many entries means over them vary
    less than over independent hashes, because they use different features. Rows of few entries fill few bins,
    and means vary up to sqrt(2) times as much: `design_effect`.

    A row of zeros has the code of a feature that does not exist. If places are concatenated, it has code 0,
    which other rows can have too.

    Time: for dense rows about 0.2 ns for each feature of each group, and 0.4 ns for each feature. Rows with
    an empty bin and sparse rows take O(entries P + n_hashes power), with P permutations, ``power *
    ceil(n_hashes / (n_features // K))``. Bytes: 8 for each feature and permutation, and 12 for each feature
    of each group, drawn at first use.

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
    #: Design effect of bins that copy the same few others, where rows have few entries. Other rows have less
    #: than 1.
    design_effect = 2.0

    def __init__(
        self,
        n_features: int | None = None,
        n_hashes: int = 128,
        *,
        group_size: int = 8,
        power: int = 1,
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self._set_width(n_features, 2**31 - 1)
        self.group_size = check_int("group_size", group_size, 2, _MAX_GROUP)
        if self.n_features is not None and self.group_size > self.n_features:
            raise ValueError(
                f"group_size must be at most n_features, {self.n_features}, got {self.group_size}"
            )
        self._set_hashes(n_hashes, power, _MAX_POWER, _MAX_VALUES)
        n_places = self.group_size**self.power
        self._set_codes(min(n_places, 2**32) if n_buckets is None else n_buckets, n_places, seed)

    # -- random parameters ------------------------------------------------------------------------

    @property
    def _n_drawn(self) -> int:
        return 0 if self.n_features is None else self.power * self._n_rounds * self.n_features

    @property
    def _least_width(self) -> int:
        return self.group_size

    @property
    def _n_own(self) -> int:
        """Number of bins of a permutation that belong to hashes: those of `group_size` features."""
        return self._known_features // self.group_size

    @property
    def _n_bins(self) -> int:
        return -(-self._known_features // self.group_size)

    @property
    def _n_rounds(self) -> int:
        """Number of permutations for one part of all hashes."""
        return -(-self.n_hashes // self._n_own)

    def _permutation(self, number: int) -> NDArray[np.int64]:
        """Return the features in a random order."""
        words = random_uint64(self.seed, f"winner-take-all permutation {number}", self._known_features)
        return np.argsort(words, kind="stable")

    @lazy
    def _layout(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Bins and places of features, shape (permutations, n_features), and features of hashes' groups."""
        shape = self.power * self._n_rounds, self._known_features
        bins, spots = np.empty(shape, np.int32), np.empty(shape, np.int32)
        groups = np.empty((self.n_hashes, self.power, self.group_size), np.int32)
        places = np.arange(self._known_features)
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
        """Return the groups as `winners_dense` reads them, in ranges of hashes with few enough features."""
        groups = self._layout[2]
        step = max(1, _MAX_COLUMNS // (self.power * self.group_size))
        if self._known_features <= _MAX_COLUMNS:
            step = self.n_hashes
        hashes = np.append(np.arange(0, self.n_hashes, step), self.n_hashes)
        columns, offsets, places = [], [0], np.empty(groups.shape, np.int32)
        for first, last in pairwise(hashes):
            distinct, where = np.unique(groups[first:last], return_inverse=True)
            columns.append(distinct.astype(np.int64))
            offsets.append(offsets[-1] + distinct.size)
            places[first:last] = where.reshape(last - first, self.power, self.group_size)
        labels = groups.astype(np.uint32)
        if self._code_is_exact:
            labels[:] = np.arange(self.group_size, dtype=np.uint32)
        return hashes, np.concatenate(columns), np.array(offsets), places, labels

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        """Return the initial words of codes."""
        if self._code_is_exact:
            return np.zeros(self.n_hashes, np.uint64)
        return random_uint64(self.seed, "winner-take-all codes", self.n_hashes)

    @lazy
    def _donor_keys(self) -> NDArray[np.uint64]:
        """Keys of the orders in which empty bins look for others, shape (2, permutations)."""
        n = self.power * self._n_rounds
        return random_uint64(self.seed, "winner-take-all donors", 2 * n).reshape(2, n)

    @lazy
    def _settings(self) -> tuple[Any, ...]:
        n_buckets = np.uint64(0 if self._code_is_exact else self.n_buckets)
        # A quarter of sqrt(bins): an attempt costs several times what a bin does in the search.
        attempts = 1 + math.isqrt(self._n_bins) // 4
        walk, rank = self._donor_keys
        return self.power, np.uint64(self.group_size), n_buckets, attempts, walk, rank

    # -- codes ------------------------------------------------------------------------------------

    def _read(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    @with_width
    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers. Zeros are absent.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = self._read(X)
        out: NDArray[np.uint32] = rows.backend.xp.empty((rows.n, self.n_hashes), np.uint32)
        if rows.n:
            write, n_steps = self._coder(rows)
            rows.backend.map_blocks(lambda a, b: write(a, b, out), rows.n, max(1, _STEPS_BLOCK // n_steps))
        return out

    def _coder(self, rows: VectorRows) -> tuple[RowsToCodes, int]:
        """Return what writes codes of rows [start, stop) to ``out[start:stop]``, and its steps for a row."""
        kernels, n_values = rows.backend.kernels(winner_take_all), self.n_values
        bins, spots, _ = self._layout
        arguments = ((bins, spots, self._n_own, self._n_bins), self._settings, self._keys)
        if rows.form == "dense":
            groups = self._dense_groups
            n_steps = n_values * self.group_size // 8 + groups[1].size
            return partial(kernels.winners_dense, *rows.arrays, groups, *arguments), n_steps
        indptr, indices, data = rows.csr
        n_steps = 20 * n_values + 2 * len(bins) * indices.size // rows.n
        indices = read_only(indices.astype(np.int32, copy=False))
        return partial(kernels.winners_csr, indptr, indices, data, *arguments), n_steps

    # -- theory -----------------------------------------------------------------------------------

    @lazy
    def _series(self) -> NDArray[np.float64]:
        return agreement_series(self.group_size)

    @lazy
    def _few_shares(self) -> NDArray[np.float64]:
        return shares_of_few(self._known_features, self.group_size)

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that a hash collides for rows that follow a normal copula.

        Unless K = 2, no single number of two orders determines how often their winners agree; `kernel` takes
        the rows themselves. This is the probability for rows whose features are, up to rising functions,
        independent pairs of normal numbers of correlation rho::

            P = (K E[F(X, Y) ** (K - 1)]) ** power,    distance = 1 - rho

        where F is their joint distribution function. For K = 2 it is ``(1/2 + asin(rho) / pi) ** power``.
        Such rows have Kendall's tau ``2 asin(rho) / pi`` and Spearman's correlation ``6 asin(rho / 2) / pi``,
        so each of these gives a distance for rows: ``1 - sin(pi tau / 2)`` or ``1 - 2 sin(pi spearman / 6)``.

        Parameters
        ----------
        distance : array_like of float
            Distances 1 - rho, in [0, 2].

        Returns
        -------
        ndarray of the shape of `distance`, float64
            Errors are below 1e-9. The first call takes about 0.2 s, or 2 s with groups of 256 or more.

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or lies outside [0, 2].
        """
        rho = 1.0 - self._check_distances(distance)
        agreement = np.clip(chebval(2.0 / np.pi * np.arcsin(rho), self._series), 0.0, 1.0)
        return np.asarray(agreement**self.power)

    @with_width
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the collision probability of every pair of rows, over random groups.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers. Zeros are absent.

        Returns
        -------
        ndarray of shape (len(X), len(Y)), float64
            The result is exact for rows without zeros, and for rows of one entry. For other rows with zeros
            the number of bins that are not empty is replaced by its average, which changes probabilities by
            less than 1 % of their values. Time: O(e log e) for a pair of rows with e entries.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        rows, others, places = self._read(X), self._read(Y, "Y"), self._code_is_exact
        shared = shared_winners(rows, others, self.group_size, self._few_shares, places)
        return np.asarray(shared**self.power)


publish("mergesketch.lsh", __all__, globals())
