"""Weighted MinHash: a locality-sensitive family of weighted sets under the weighted Jaccard similarity."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.rows import VectorRows, read_rows
from ..kernels import minhash, weighted_minhash
from ..support.backend import as_array, backend_of, check_one_device, read_only, to_host
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import random_uint64
from ..support.types import RowsLike
from .concatenation import ConcatenatedFamily

__all__ = ["WeightedMinHash", "read_weights"]

#: Number of weights, times hashes, that are worth a thread of their own.
_PAIRS_BLOCK = 1 << 17
#: Number of rows, and of their weights, in a block, in which random numbers are drawn once for each feature.
_BLOCK_ROWS = 4096
_BLOCK_ENTRIES = 1 << 19
#: Number of values in memory at a time while they are mixed to codes: 8 MiB, on a GPU 256 MiB.
_BLOCK_VALUES = {"cpu": 1 << 21, "gpu": 1 << 26}


class WeightedMinHash(ConcatenatedFamily):
    """Hash rows of weights: two rows share a code with the probability of their weighted Jaccard similarity.

    Parameters
    ----------
    n_hashes : int, default 128
        ``n_hashes * power`` is at most 2**20.
    power : int, default 1
        Number of elementary hashes concatenated to one.
    n_buckets : int, default 2**32
        Codes lie in [0, n_buckets), from 2 to 2**32.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Rows are weights of features, at least 0, such as counts of words, abundances or a histogram. Two rows
    share an elementary hash with probability

        J(x, y) = sum of min(x_f, y_f) / sum of max(x_f, y_f)

    over the features f, and a code with that probability to the power. For weights of 0 and 1 it is the
    Jaccard similarity of sets. Lengths matter: J(x, 2 x) is 1/2.

    The method is consistent weighted sampling (Ioffe 2010, "Improved consistent sampling, weighted minhash
    and L1 sketching", section 3). With r, c ~ Gamma(2, 1) and b uniform for each feature and hash, a feature
    of weight w has the step ``t = floor(ln w / r + b)`` and the value ``ln c - r (t - b) - r``. The feature
    of least value and its step are the hash. Both are mixed to 32 bits, so unequal hashes collide with
    probability 2**-32.

    r, c and b are hashed from the feature's number and never stored, so rows may have any width and any
    number of features. The library computes logarithms itself, so codes are the same on every machine.

    Time, with m = ``n_hashes * power``: about 1 ns for each weight and elementary hash, and 3.4 ns for each
    feature and elementary hash, once in 4096 rows (or half a million weights). So rows that share features
    are up to four times as fast as others. Bytes: 8 m for the parameters, the codes, and up to 50 MB for each
    thread while it runs, or more for rows of more than half a million weights.

    References
    ----------
    - Ioffe. Improved consistent sampling, weighted minhash and L1 sketching. ICDM 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import WeightedMinHash
    >>> family = WeightedMinHash(n_hashes=4000, seed=1)
    >>> x, y = np.array([[2.0, 1.0, 0.0]]), np.array([[1.0, 1.0, 1.0]])
    >>> family.kernel(x, y)
    array([[0.5]])
    >>> bool(abs((family.hash(x) == family.hash(y)).mean() - 0.5) < 0.05)
    True
    """

    metric: ClassVar[str] = "weighted_jaccard"
    _parameters = ("n_hashes", "power", "n_buckets", "seed")

    def __init__(self, n_hashes: int = 128, *, power: int = 1, n_buckets: int = 2**32, seed: int = 0) -> None:
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 2**20)
        self.power = check_int("power", power, 1, 2**20)
        if self.n_values > 2**20:
            raise ValueError(f"n_hashes * power must be at most {2**20}, got {self.n_hashes} * {self.power}")
        self._set_codes(n_buckets, 2**32 if self.power == 1 else None, seed)

    @lazy
    def _key(self) -> np.uint64:
        return np.uint64(random_uint64(self.seed, "weighted minhash features", 1)[0])

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "weighted minhash values", self.n_values)

    @lazy
    def _code_keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "weighted minhash codes", self.n_hashes)

    def _read(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_weights(X, name)

    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : SciPy sparse matrix or array_like of shape (n, features)
            Weights of at least 0; features of weight 0 are absent. The width may differ between calls.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32
            Rows without weights share a code that other rows have only by chance.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN, infinity or negative weights.
        """
        rows = self._read(X)
        backend, n, offsets = rows.backend, rows.n, _offsets(rows)
        out = backend.xp.empty((n, self.n_hashes), np.uint32)
        key, keys, code_keys, n_buckets = self._key, self._keys, self._code_keys, np.uint64(self.n_buckets)

        n_rows = _BLOCK_ROWS if backend.device == "cpu" else n
        if not self._code_is_exact:
            n_rows = min(n_rows, max(1, _BLOCK_VALUES[backend.device] // self.n_values))

        def run(start: int, stop: int) -> None:
            first = start
            while first < stop:
                last = min(first + n_rows, stop)
                if backend.device == "cpu":
                    end = int(np.searchsorted(offsets, offsets[first] + _BLOCK_ENTRIES, side="right")) - 1
                    last = min(max(end, first + 1), last)
                entries = _entries(rows.cut(first, last))
                if self._code_is_exact:
                    backend.kernels(weighted_minhash).weighted_minhash(*entries, key, keys, out[first:last])
                else:
                    values = backend.xp.empty((last - first, self.n_values), np.uint32)
                    backend.kernels(weighted_minhash).weighted_minhash(*entries, key, keys, values)
                    backend.kernels(minhash).concatenate_codes(
                        read_only(values), code_keys, n_buckets, out[first:last]
                    )
                first = last

        pairs_a_row = 1 + int(offsets[-1]) * self.n_values // max(1, n)
        backend.map_blocks(run, n, max(1, _PAIRS_BLOCK // pairs_a_row))
        return out

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return ``(1 - distance) ** power``, where the distance is 1 - weighted Jaccard similarity.

        Parameters
        ----------
        distance : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or is out of range.
        """
        return np.asarray((1.0 - self._check_distances(distance)) ** self.power)

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact weighted Jaccard similarity ** power of every pair of rows.

        Parameters
        ----------
        X, Y : SciPy sparse matrix or array_like
            Weights in the forms that `hash` takes.

        Returns
        -------
        ndarray of shape (len(X), len(Y)), float64
            Two rows without weights have similarity 1; such a row and any other row have 0.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, negative ones, NaN or infinity.
        """
        check_one_device("X", X, "Y", Y)
        # Conversions give all callers the same types of arrays, so that the kernel is compiled once.
        x, y = (
            (indptr.copy(), indices.astype(np.int64), data.astype(np.float64))
            for indptr, indices, data in (self._read(X).csr, self._read(Y, "Y").csr)
        )
        backend = backend_of(x[2])
        out = backend.xp.empty((x[0].size - 1, y[0].size - 1))
        kernel = backend.kernels(weighted_minhash).overlap_weights
        backend.map_blocks(lambda a, b: kernel(*x, *y, a, b, out), len(out), 16)
        return as_array(out**self.power)


def read_weights(X: Any, name: str = "X") -> VectorRows:
    """Read rows of weights of at least 0, of any width; rows that have been read are returned as they are."""
    if isinstance(X, VectorRows):
        return X
    rows = read_rows(X, name=name)
    weights = rows.values
    if weights.size == 0 or float(weights.min()) >= 0:
        return rows
    place = [int(places[0]) for places in rows.backend.xp.nonzero(weights < 0)]
    row, weight = place[0], weights[tuple(place)]
    if rows.form == "csr":
        row = int(np.searchsorted(to_host(rows.csr[0]), row, side="right")) - 1
    raise ValueError(f"{name} must hold weights of at least 0, got {float(weight)} in row {row}")


def _offsets(rows: VectorRows) -> NDArray[np.int64]:
    """Return where the entries of each row begin, and their number."""
    if rows.form == "csr":
        return rows.arrays[0]
    xp = rows.backend.xp
    offsets: NDArray[np.int64] = xp.zeros(rows.n + 1, np.int64)
    offsets[1:] = xp.cumsum(xp.count_nonzero(rows.dense, axis=1))
    return offsets


def _entries(rows: VectorRows) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float64]]:
    """Return offsets, features and weights of the entries of rows, in the dtypes that the kernel takes."""
    indptr, indices, data = rows.csr
    return indptr, indices.astype(np.uint64), data.astype(np.float64)


publish("mergesketch.lsh", __all__, globals())
