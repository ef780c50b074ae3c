"""Bit sampling: a locality-sensitive family of bit vectors under the Hamming distance."""

from __future__ import annotations

from itertools import combinations, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.arrays import check_array
from ..inputs.rows import DenseRows
from ..kernels import bit_sampling
from ..support.backend import Backend, backend_of, read_only, refuse_gpu
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import random_uint64
from ..support.threads import cut_range, map_blocks
from ..support.types import RowsLike
from .concatenation import ConcatenatedFamily

__all__ = ["BitSampling"]

_MAX_VALUES = 1 << 24
#: Largest number of bits of one hash, and so of the bytes that hold them: those of 64 rows stay in L2.
_MAX_POWER = 1 << 12
#: Number of sampled bits that are worth a thread of their own.
_BITS_BLOCK = 1 << 20
#: Number of 32-bit words in memory at a time while they are mixed to codes.
_WORDS_BLOCK = {"cpu": 1 << 16, "gpu": 1 << 27}


class _Chunk(NamedTuple):
    """The hashes [first, last), which sample bits of the bytes `columns`; see `sample_bits`."""

    first: int
    last: int
    columns: NDArray[np.int64]
    places: NDArray[np.int64]
    masks: NDArray[np.uint8]


def packed_rows(rows: NDArray[Any], backend: Backend) -> NDArray[np.uint8]:
    """Return rows of booleans packed, in the order of `numpy.packbits`, and packed ones in C order."""
    xp = backend.xp
    if rows.dtype != np.bool_:
        return xp.ascontiguousarray(rows)
    if xp is np:
        return np.packbits(rows, axis=1)
    # CuPy packs flat arrays only.
    n, n_bits = rows.shape
    whole = xp.zeros((n, -(-n_bits // 8) * 8), np.bool_)
    whole[:, :n_bits] = rows
    return xp.packbits(whole.reshape(-1)).reshape(n, -1)


class BitSampling(ConcatenatedFamily):
    """Hash bit vectors by Hamming distance: vectors with fewer different bits share more codes.

    Parameters
    ----------
    n_bits : int
        Number of bits of a row, at most 2**31.
    n_hashes : int
        ``n_hashes * power`` is at most 2**24.
    power : int, default 1
        Number of sampled bits concatenated to one hash, at most 4096.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``2**power``, where the code consists of its bits; from power
        33 on 2**32. Otherwise codes are mixed and reduced to `n_buckets`.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash is one bit of the row, at a random place. Two rows of d bits that differ in h of
    them share it with probability 1 - h / d, and all `power` bits of a hash with (1 - h / d) ** power
    (Indyk and Motwani 1998, section 4.2). This is exact, because bits are sampled with replacement,
    independently within a hash and between hashes.

    Rows are packed, as uint8 of shape (n, ceil(n_bits / 8)) in the order of `numpy.packbits`: bit i is ``0x80
    >> i % 8`` of byte ``i // 8``. The bits that pad the last byte are never read. Boolean rows of shape (n,
    n_bits) have the same codes; they are packed first, a block at a time. Where n_bits is a multiple of 8,
    the bits of a byte may have any other order, which only renumbers them. Words of more bytes can be viewed
    as bytes, ``words.view(np.uint8)``.

    Time: O(n_hashes power) for a row, about 7 bits in a nanosecond on one core. Bytes: 9 for each sampled
    bit.

    References
    ----------
    - Indyk, Motwani. Approximate nearest neighbors: towards removing the curse of dimensionality. STOC
      1998.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import BitSampling
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((1, 64)) < 0.5
    >>> y = x ^ (np.arange(64) < 16)
    >>> family = BitSampling(n_bits=64, n_hashes=4000, power=2, seed=1)
    >>> family.kernel(x, y)
    array([[0.5625]])
    >>> X, Y = np.packbits(x, axis=1), np.packbits(y, axis=1)
    >>> bool(abs((family.hash(X) == family.hash(Y)).mean() - 0.5625) < 0.05)
    True
    """

    _parameters = ("n_bits", "n_hashes", "power", "n_buckets", "seed")
    metric = "hamming"

    def __init__(
        self,
        n_bits: int,
        n_hashes: int,
        *,
        power: int = 1,
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self.n_bits = check_int("n_bits", n_bits, 1, 2**31)
        self._set_hashes(n_hashes, power, _MAX_POWER, _MAX_VALUES)
        default = 1 << min(self.power, 32)
        self._set_codes(default if n_buckets is None else n_buckets, 1 << self.power, seed)

    @property
    def _n_words(self) -> int:
        """Number of 32-bit words that hold the bits of a hash."""
        return -(-self.power // 32)

    # -- random parameters ------------------------------------------------------------------------

    @lazy
    def _bits(self) -> NDArray[np.int64]:
        """Return the sampled bits, shape (n_hashes, power)."""
        words = random_uint64(self.seed, "bit sampling places", self.n_values)
        bits = ((words >> np.uint64(32)) * np.uint64(self.n_bits)) >> np.uint64(32)
        return bits.astype(np.int64).reshape(self.n_hashes, self.power)

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "bit sampling codes", self.n_hashes)

    @lazy
    def _chunks(self) -> list[_Chunk]:
        """Return the hashes, in ranges whose bits lie in at most `_MAX_POWER` bytes."""
        step = max(1, _MAX_POWER // self.power)
        if -(-self.n_bits // 8) <= _MAX_POWER:
            step = self.n_hashes
        chunks = []
        for first in range(0, self.n_hashes, step):
            bits = self._bits[first : first + step]
            columns, places = np.unique(bits >> 3, return_inverse=True)
            masks = (0x80 >> (bits & 7)).astype(np.uint8)
            chunks.append(_Chunk(first, first + len(bits), columns, places.reshape(bits.shape), masks))
        return chunks

    # -- codes ------------------------------------------------------------------------------------

    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : array_like of shape (n, ceil(n_bits / 8)), uint8, or (n, n_bits), bool
            Packed or single bits; see the class.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` has another dtype or width.
        """
        flips = self._flips_kept.get(1)
        if flips is None:
            flips = self._flips_kept[1] = np.zeros((self.n_hashes, 1, self._n_words), np.uint32)
        return self._codes(self._read(X), flips)[:, :, 0]

    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Return the codes of the `n_probes` buckets of each hash that most likely contain neighbours.

        Parameters
        ----------
        Q : array_like of shape (n, ceil(n_bits / 8)), uint8, or (n, n_bits), bool
            Queries; see the class.
        n_probes : int
            At least 1, and at most the number of buckets that rows can have in every table: 2 to the
            number of distinct bits that the table samples.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The code of `hash_query` comes first. Codes with one sampled bit flipped follow, then those with
            two, and so on: near rows more likely differ in few bits than in many, and all sets with the same
            number of bits are equally likely. Such sets are listed in the order in which the table samples
            its bits (of two bits: first and second, first and third, ...). A bit that is sampled twice flips
            in both places. Codes of a table differ before they are reduced to `n_buckets`.

        Raises
        ------
        TypeError, ValueError
            If `Q` or `n_probes` is none of the above.
        """
        n_probes = check_int("n_probes", n_probes, 1, 1 << 31)
        flips = self._flips_kept.get(n_probes)
        if flips is None:
            flips = self._flips_kept[n_probes] = self._flips(n_probes)
        return self._codes(self._read(Q, "Q"), flips)

    @lazy
    def _flips_kept(self) -> dict[int, NDArray[np.uint32]]:
        """Flips by the number of probes, which are kept: making them takes longer than hashing a query."""
        return {}

    def _flips(self, n_probes: int) -> NDArray[np.uint32]:
        """Return the words that those of a hash are XORed with, shape (n_hashes, n_probes, words)."""
        flips = np.zeros((self.n_hashes, n_probes, self._n_words), np.uint32)
        for h, bits in enumerate(self._bits):
            distinct, where = np.unique(bits, return_inverse=True)
            n = distinct.size
            if n_probes > 1 << n:
                raise ValueError(
                    f"n_probes must be at most {1 << n}, for table {h} samples {n} distinct bits, "
                    f"got {n_probes}"
                )
            order = np.argsort(np.unique(where, return_index=True)[1])
            single = np.zeros((n, self._n_words), np.uint32)
            rank = np.empty(n, np.int64)
            rank[order] = np.arange(n)
            for k, i in enumerate(rank[where]):
                single[i, k // 32] |= np.uint32(1 << k % 32)
            sets = (chosen for size in range(n + 1) for chosen in combinations(range(n), size))
            for t, chosen in enumerate(islice(sets, n_probes)):
                flips[h, t] = np.bitwise_xor.reduce(single[list(chosen)], axis=0)
        return flips

    def _codes(self, rows: DenseRows, flips: NDArray[np.uint32]) -> NDArray[np.uint32]:
        backend, matrix, chunks, keys = rows.backend, rows.values, self._chunks, self._keys
        xp = backend.xp
        n_probes, n_words = flips.shape[1], self._n_words
        out = xp.empty((rows.n, self.n_hashes, n_probes), np.uint32)
        n_buckets = np.uint64(0 if self._code_is_exact else self.n_buckets)
        plain = self._code_is_exact and n_probes == 1
        step = max(64, _WORDS_BLOCK[backend.device] // (self.n_hashes * n_words) & -64)

        def run(start: int, stop: int) -> None:
            for left, right in cut_range(start, stop, step):
                packed = read_only(packed_rows(matrix[left:right], backend))
                target = (
                    out[left:right, :, 0]
                    if plain
                    else xp.empty((right - left, self.n_hashes * n_words), np.uint32)
                )
                for chunk in chunks:
                    backend.kernels(bit_sampling).sample_bits(
                        packed, chunk.columns, chunk.places, chunk.masks, chunk.first, 0, right - left, target
                    )
                if not plain:
                    words = target.reshape(right - left, self.n_hashes, n_words)
                    backend.kernels(bit_sampling).mix_words(words, flips, keys, n_buckets, out[left:right])

        backend.map_blocks(run, rows.n, max(64, _BITS_BLOCK // (self.n_values * n_probes)))
        return out

    def _read(self, X: RowsLike, name: str = "X") -> DenseRows:
        if isinstance(X, DenseRows):
            return X
        if hasattr(X, "tocsr"):
            raise TypeError(f"{name} must be packed or boolean rows, got a sparse matrix")
        array = check_array(name, X)
        if array.dtype not in (np.dtype(np.uint8), np.dtype(np.bool_)):
            raise TypeError(
                f"{name} must be packed bits of dtype uint8 (numpy.packbits) or booleans, "
                f"got dtype {array.dtype}"
            )
        width = self.n_bits if array.dtype == np.bool_ else -(-self.n_bits // 8)
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(
                f"{name} must have shape (n, {width}), {self.n_bits} bits in dtype {array.dtype}, "
                f"got {array.shape}"
            )
        return DenseRows(array, array.dtype, backend_of(array))

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return ``(1 - distance / n_bits) ** power``.

        Parameters
        ----------
        distance : array_like of float
            Hamming distances, which are numbers of bits that differ, in [0, n_bits].

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or lies outside [0, n_bits].
        """
        return np.asarray((1.0 - self._check_distances(distance) / self.n_bits) ** self.power)

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact collision probability of every pair of rows, from their Hamming distance.

        Parameters
        ----------
        X, Y : array_like of shape (n, ceil(n_bits / 8)), uint8, or (n, n_bits), bool
            Packed or single bits; see the class.

        Returns
        -------
        ndarray of shape (len(X), len(Y)), float64

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` has another dtype or width.
        """
        refuse_gpu("kernel", X, Y)
        A, B = self._words(X, "X"), self._words(Y, "Y")
        distances = np.empty((len(A), len(B)), np.int64)
        block = max(1, _BITS_BLOCK // max(1, B.size))
        map_blocks(
            lambda start, stop: bit_sampling.hamming_distances(A, B, start, stop, distances),
            len(A),
            block,
        )
        return np.asarray(self.collision_probability(distances))

    def _words(self, X: Any, name: str) -> NDArray[np.uint64]:
        """Return rows as 64-bit words, with zeros for padding."""
        rows = self._read(X, name)
        packed = packed_rows(rows.values, rows.backend)
        words = np.zeros((len(packed), -(-self.n_bits // 64)), np.uint64)
        if packed.size:
            as_bytes = words.view(np.uint8)
            as_bytes[:, : packed.shape[1]] = packed
            if self.n_bits % 8:
                as_bytes[:, packed.shape[1] - 1] &= np.uint8(0xFF00 >> self.n_bits % 8 & 0xFF)
        return words


publish("mergesketch.lsh", __all__, globals())
