"""b-bit MinHash: packed codes of a few bits, for similarities of many sets in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..family import check_same_family
from ..kernels import bbit_minhash
from ..support.backend import as_array, backend_of
from ..support.checks import check_choice, check_int
from ..support.public import publish
from ..support.threads import cut_range
from ..support.types import RowsLike
from .minhash import MinHash
from .signature_arrays import check_pair

__all__ = ["BBitMinHash"]

#: Number of codes in memory at a time while they are packed: 128 KiB, which stay in L2; on a GPU 256 MiB.
_BLOCK_CODES = {"cpu": 1 << 15, "gpu": 1 << 26}
#: Number of words whose comparison is worth a thread of its own.
_BLOCK_WORDS = 1 << 18


class BBitMinHash(MinHash):
    """Hash sets as `MinHash` does, and keep only b bits of each hash, packed into words.

    Parameters
    ----------
    n_hashes : int, default 128
    bits : {1, 2, 4, 8, 16}
        Number of bits of each code, b.
    power : int, default 1
        Number of elementary hashes mixed to one code.
    scheme, expected_set_size, seed
        As for `MinHash`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A code is the value of a MinHash, or `power` of them, mixed to b bits. Two sets share it with probability

        P = J**power + (1 - J**power) / 2**b

    (Li and König 2010, "b-bit minwise hashing"; mixing makes the low bits uniform for sets of all sizes, so
    the simple form of their theorem 1 is exact). The share of equal codes gives the similarity,
    ``(share - 2**-b) / (1 - 2**-b)``, with a standard error of ``sqrt(P (1 - P) / n_hashes)`` divided by
    ``1 - 2**-b`` under independent permutations. For similarities of 1/2 or more, b = 1 takes the least
    memory: three times the hashes of a full MinHash for the same error, with 1/32 of the bits for each hash.

    As a family it has the `kernel` and `collision_probability` of `MinHash`; its `chance_collision`, which
    sketches subtract, is 2**-b. Packed codes take ``n_hashes b / 8`` bytes for each set, rounded up to words
    of 8 bytes. They are compared 64 / b codes at a time.

    References
    ----------
    - Li, König. b-bit minwise hashing. WWW 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import BBitMinHash
    >>> family = BBitMinHash(n_hashes=2048, bits=1, seed=1)
    >>> packed = family.packed([np.arange(0, 100), np.arange(20, 120), np.arange(500, 600)])
    >>> packed.shape, packed.dtype, packed.nbytes // 3
    ((3, 32), dtype('uint64'), 256)
    >>> similar = family.estimate_packed(packed[:1].repeat(2, axis=0), packed[1:])
    >>> bool(abs(similar[0] - 2 / 3) < 0.1), bool(abs(similar[1]) < 0.15)
    (True, True)
    """

    _parameters = ("n_hashes", "bits", "power", "scheme", "seed")

    def __init__(
        self,
        n_hashes: int = 128,
        bits: int = 1,
        *,
        power: int = 1,
        scheme: str = "auto",
        expected_set_size: int = 100,
        seed: int = 0,
    ) -> None:
        self.bits: int = check_choice("bits", check_int("bits", bits, 1, 16), (1, 2, 4, 8, 16))
        super().__init__(
            n_hashes,
            power=power,
            n_buckets=1 << self.bits,
            scheme=scheme,
            expected_set_size=expected_set_size,
            seed=seed,
        )

    @property
    def n_words(self) -> int:
        """Number of 64-bit words of a set's packed codes."""
        return -(-self.n_hashes * self.bits // 64)

    def packed(self, sets: RowsLike) -> NDArray[np.uint64]:
        """Return the packed codes of sets.

        Parameters
        ----------
        sets : sparse matrix, (tokens, offsets) or list of integer arrays
            Sets in the forms that `MinHash` takes.

        Returns
        -------
        ndarray of shape (n, n_words), uint64
            Code v of a set begins at bit ``v * bits`` of its words.

        Raises
        ------
        TypeError, ValueError
            If `sets` has none of these forms.
        """
        rows = self._read(sets, "sets")
        backend, write_codes = rows.backend, self._coder(rows)
        out: NDArray[np.uint64] = backend.xp.empty((rows.n, self.n_words), np.uint64)
        together = max(1, _BLOCK_CODES[backend.device] // self.n_hashes)
        pack_fields = backend.kernels(bbit_minhash).pack_fields

        def pack(start: int, stop: int) -> None:
            # All codes at once would take up to 32 times the memory of the result.
            codes = backend.xp.empty((min(together, stop - start), self.n_hashes), np.uint32)
            for first, last in cut_range(start, stop, together):
                part = codes[: last - first]
                write_codes(first, last, part)
                pack_fields(part, self.bits, 0, last - first, out[first:last])

        backend.map_blocks(pack, rows.n, self._range_size(rows))
        return out

    def estimate_packed(
        self, A: ArrayLike, B: ArrayLike, *, family: BBitMinHash | None = None
    ) -> NDArray[np.float64]:
        """Return the estimated similarity of row i of `A` and row i of `B`.

        Parameters
        ----------
        A, B : array_like of shape (n, n_words), uint64
            Packed codes of this family. An array does not show which family made it. Codes of another seed,
            scheme or power look like sets that share nothing.
        family : BBitMinHash, optional
            The family that made `B`, if it was another object. It is checked to equal this one.

        Returns
        -------
        ndarray of shape (n,), float64
            Jaccard similarity to the power `power`. It is unbiased where `collision_probability` is exact,
            and may be below 0.

        Raises
        ------
        TypeError, ValueError
            If `A` or `B` is not a uint64 matrix with this number of columns, or their shapes differ.
        IncompatibleSketchError
            If `family` makes other codes; the message names the first setting that differs.
        """
        check_same_family("packed codes", self, family)
        left, right = check_pair(A, B, "packed codes", np.uint64, self.n_words)
        backend, block = backend_of(left), max(1, _BLOCK_WORDS // self.n_words)
        equal, count = backend.xp.empty(len(left), np.int64), backend.kernels(bbit_minhash).count_equal_fields
        arguments = (left, right, self.bits, self.n_hashes)
        backend.map_blocks(lambda a, b: count(*arguments, a, b, equal), len(left), block)
        return as_array((equal / self.n_hashes - self.chance_collision) / (1.0 - self.chance_collision))


publish("mergesketch.lsh", __all__, globals())
