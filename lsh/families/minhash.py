"""MinHash: a locality-sensitive family of sets under the Jaccard similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ..family import RowsToCodes
from ..inputs.sets import SetRows, read_sets
from ..kernels import minhash
from ..support.backend import backend_of, read_only, refuse_gpu
from ..support.checks import check_choice, check_int
from ..support.configured import differing_field
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import random_uint64
from ..support.threads import cut_range
from ..support.types import RowsLike
from .concatenation import ConcatenatedFamily
from .jaccard import jaccard_of_sets
from .minhash_schemes import ROUNDS, SCHEMES, choose_scheme, estimated_ns
from .signature_arrays import check_pair, check_signatures

__all__ = ["MinHash"]

#: Largest design effect of bins that copy others, which is reached where sets have few tokens.
_COPIES_EFFECT = 2.0
#: Time in nanoseconds of the work that is worth a thread of its own.
_BLOCK_NS = 300_000.0
#: Number of values of signatures in memory at a time while they are mixed to codes: 128 KiB, which stay in
#: L2.
_BLOCK_VALUES = {"cpu": 1 << 15, "gpu": 1 << 27}


class MinHash(ConcatenatedFamily):
    """Hash sets so that two sets share a code with the probability of their Jaccard similarity.

    Parameters
    ----------
    n_hashes : int, default 128
        Number of columns of the codes. ``n_hashes * power`` is at most 2**20.
    power : int, default 1
        Number of elementary hashes concatenated to one. Two sets collide with probability Jaccard ** power.
    n_buckets : int, default 2**32
        Codes lie in [0, n_buckets), from 2 to 2**32.
    scheme : {"auto", "permutations", "one-permutation", "fast-similarity"}
        The method that computes the ``m = n_hashes * power`` values of a signature; see Notes. The
        constructor replaces "auto" by "permutations" or "fast-similarity", and the configuration contains the
        chosen one.
    expected_set_size : int, default 100
        Typical number of tokens of a set, by which "auto" chooses. It is not part of the configuration.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Sets consist of 64-bit tokens. They are given as a SciPy sparse matrix (the columns of the non-zero
    entries of each row), as a pair ``(tokens, offsets)`` with row i in ``tokens[offsets[i]:offsets[i + 1]]``,
    or as a list of integer arrays. Order and repetition within a set do not matter. Negative tokens are taken
    modulo 2**64.

    In every scheme a value is the smallest token of a set under a random order of all tokens. The seed
    determines the order. So two sets share a value with probability equal to their Jaccard similarity J,
    apart from accidental ties of 32-bit values (under 2**-22 for sets of 100 tokens). The schemes differ in
    the time for a set of n tokens, and in the dependence between values:

    - "permutations": m independent orders (Broder 1997). Time O(n m), with sixteen values in a step. The
      share of equal values has standard error sqrt(J (1 - J) / m). It is the best scheme for short sets.
    - "one-permutation": the tokens are distributed over m bins, and the value of a bin is its least token
      (Li, Owen, Zhang 2012). An empty bin copies a random bin that is not empty (optimal densification:
      Shrivastava 2017). Time O(n) once n is several times m, and up to O(n + m sqrt(m)) for shorter sets. For
      sets much longer than m the error is at most that of permutations. For shorter sets it is larger,
      because copies add no information: up to sqrt(2) times as large for sets of one and two tokens
      (`design_effect`).
    - "fast-similarity": all tokens are thrown into m bins in three rounds, and the value of a bin is from the
      first round that fills it. A bin that stays empty takes the smallest token under another order, one for
      each bin (Fast Similarity Sketching: Dahlgaard, Knudsen, Thorup 2017; the orders replace its later
      rounds). Time O(n) once n is several times m, and O(n m) for n much less than m. The bins of one round
      have different tokens, a sample without replacement, so the standard error is less than that of
      permutations: 0.73 of it where the union of the sets has about m tokens.

    "auto" chooses the scheme with the smallest product of time and variance, by a cost model of
    (expected_set_size, m): for 128 values "permutations" up to 80 tokens, and for 64 values up to 112.

    Bytes: 8 for each value's parameters, drawn at first use; signatures take 4 for each value.

    References
    ----------
    - Broder. On the resemblance and containment of documents. SEQUENCES 1997.
    - Li, Owen, Zhang. One permutation hashing. NIPS 2012.
    - Shrivastava. Optimal densification for fast and accurate minwise hashing. ICML 2017.
    - Dahlgaard, Knudsen, Thorup. Fast similarity sketching. FOCS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import MinHash
    >>> family = MinHash(n_hashes=256, seed=1)
    >>> sets = [np.arange(0, 100), np.arange(20, 120), np.arange(500, 600)]
    >>> signatures = family.signatures(sets)
    >>> signatures.shape, signatures.dtype
    ((3, 256), dtype('uint32'))
    >>> family.kernel(sets[:1], sets).round(3)
    array([[1.   , 0.667, 0.   ]])
    >>> bool(abs(family.estimate_jaccard(signatures[:1], signatures[1:2])[0] - 2 / 3) < 0.1)
    True
    """

    _parameters = ("n_hashes", "power", "n_buckets", "scheme", "seed")
    metric = "jaccard"

    def __init__(
        self,
        n_hashes: int = 128,
        *,
        power: int = 1,
        n_buckets: int = 2**32,
        scheme: str = "auto",
        expected_set_size: int = 100,
        seed: int = 0,
    ) -> None:
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 2**20)
        self.power = check_int("power", power, 1, 2**20)
        if self.n_values > 2**20:
            raise ValueError(f"n_hashes * power must be at most {2**20}, got {self.n_hashes} * {self.power}")
        check_choice("scheme", scheme, SCHEMES)
        expected = check_int("expected_set_size", expected_set_size, 1)
        self.scheme = choose_scheme(min(expected, 2**40), self.n_values) if scheme == "auto" else scheme
        self._set_codes(n_buckets, 2**32 if self.power == 1 else None, seed)
        self.design_effect = _COPIES_EFFECT if self.scheme == "one-permutation" else 1.0

    @lazy
    def random_parameters(self) -> dict[str, NDArray[Any]]:
        """Return the random parameters of the kernels, by name."""
        words = random_uint64(self.seed, "minhash hash functions", self.n_values)
        return {
            "keys": random_uint64(self.seed, "minhash keys", 3),
            "multipliers": random_uint64(self.seed, "minhash throws", ROUNDS) | np.uint64(1),
            "a": words.astype(np.uint32) | np.uint32(1),
            "b": (words >> np.uint64(32)).astype(np.uint32),
            "codes": random_uint64(self.seed, "minhash codes", self.n_hashes),
        }

    def _read(self, X: RowsLike, name: str = "X") -> SetRows:
        return read_sets(X, name)

    def signatures(self, sets: RowsLike) -> NDArray[np.uint32]:
        """Return the signatures of sets: ``n_hashes * power`` values each, before concatenation.

        Parameters
        ----------
        sets : sparse matrix, (tokens, offsets) or list of integer arrays
            See the class.

        Returns
        -------
        ndarray of shape (n, n_hashes * power), uint32
            Two sets have equal values in a column with probability equal to their Jaccard similarity. The
            empty set has 0xFFFFFFFF in every column; other sets have it in no column.

        Raises
        ------
        TypeError, ValueError
            If `sets` has none of these forms.
        """
        rows = self._read(sets, "sets")
        return self._write(rows, self._signer(rows), self.n_values)

    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of sets: `power` values of the signature mixed to one, in [0, n_buckets).

        With ``power=1`` and ``n_buckets=2**32`` a code is the value of the signature itself. Otherwise the
        values pass one after the other through a 64-bit mixer, which is keyed by the seed and the number of
        the hash function, and the word is reduced by multiply-shift. Sets whose values differ then share a
        code with probability ``chance_collision = 1 / n_buckets``.

        Parameters
        ----------
        X : sparse matrix, (tokens, offsets) or list of integer arrays
            See the class.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` has none of these forms.
        """
        rows = self._read(X)
        return self._write(rows, self._coder(rows), self.n_hashes)

    def _write(self, rows: SetRows, write: RowsToCodes, width: int) -> NDArray[np.uint32]:
        """Return the `width` values that are written for each set."""
        out = rows.backend.xp.empty((rows.n, width), np.uint32)
        rows.backend.map_blocks(lambda a, b: write(a, b, out[a:b]), rows.n, self._range_size(rows))
        return out

    def codes(self, signatures: ArrayLike, *, family: MinHash | None = None) -> NDArray[np.uint32]:
        """Return the codes of sets from their signatures: ``codes(signatures(X))`` is ``hash(X)``.

        Parameters
        ----------
        signatures : array_like of shape (n, n_hashes * power), uint32
            Signatures of this family, or of another one with the same `n_hashes` times `power`, scheme and
            seed: stored signatures serve bands of any power.
        family : MinHash, optional
            The family that made the signatures. If given, it is checked to make the signatures of this one.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `signatures` is not a uint32 matrix with this number of columns.
        IncompatibleSketchError
            If `family` makes other signatures; the message names the first setting that differs.
        """
        self._check_same_signatures(family)
        values = check_signatures("signatures", signatures, "signatures", np.uint32, self.n_values)
        if self._code_is_exact:
            return values.copy()
        backend = backend_of(values)
        out = backend.xp.empty((len(values), self.n_hashes), np.uint32)
        keys, n_buckets = self.random_parameters["codes"], np.uint64(self.n_buckets)
        kernel, block = backend.kernels(minhash).concatenate_codes, _BLOCK_VALUES["cpu"] // self.n_values
        backend.map_blocks(
            lambda a, b: kernel(values[a:b], keys, n_buckets, out[a:b]), len(values), max(1, block)
        )
        return out

    def _signer(self, rows: SetRows) -> RowsToCodes:
        """Return what writes signatures of sets [start, stop) to ``out``, shape (stop - start, n_values)."""
        tokens, offsets = rows.arrays
        drawn = self.random_parameters
        key, walk_key, rank_key = drawn["keys"]
        parameters = {
            "permutations": (drawn["a"], drawn["b"]),
            "one-permutation": (drawn["multipliers"][0], walk_key, rank_key),
            "fast-similarity": (drawn["multipliers"], drawn["a"], drawn["b"]),
        }[self.scheme]
        kernel = getattr(rows.backend.kernels(minhash), "minhash_" + self.scheme.replace("-", "_"))

        def write_signatures(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            kernel(tokens, offsets[start : stop + 1], key, *parameters, out)

        return write_signatures

    def _coder(self, rows: SetRows) -> RowsToCodes:
        """Return what writes the codes of sets [start, stop) to ``out``, shape (stop - start, n_hashes)."""
        write_signatures, backend = self._signer(rows), rows.backend
        if self._code_is_exact:
            return write_signatures
        keys, n_buckets = self.random_parameters["codes"], np.uint64(self.n_buckets)
        together = max(1, _BLOCK_VALUES[backend.device] // self.n_values)
        concatenate = backend.kernels(minhash).concatenate_codes

        def write_codes(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            values = backend.xp.empty((min(together, stop - start), self.n_values), np.uint32)
            for first, last in cut_range(start, stop, together):
                part = values[: last - first]
                write_signatures(first, last, part)
                concatenate(read_only(part), keys, n_buckets, out[first - start : last - start])

        return write_codes

    def _range_size(self, rows: SetRows) -> int:
        """Return the least number of sets that are worth a thread of their own."""
        mean = rows.arrays[0].size / max(1, rows.n)
        return max(1, int(_BLOCK_NS / estimated_ns(self.scheme, max(1, mean), self.n_values)))

    def estimate_jaccard(
        self, A: ArrayLike, B: ArrayLike, *, family: MinHash | None = None
    ) -> NDArray[np.float64]:
        """Return the estimated Jaccard similarities of rows i of `A` and `B`: the shares of equal values.

        Parameters
        ----------
        A, B : array_like of shape (n, n_hashes * power), uint32
            Signatures of this family. An array does not show which family made it. Signatures of another seed
            or scheme agree with these only by chance, and look like sets that share nothing. The scheme may
            depend on `expected_set_size`.
        family : MinHash, optional
            The family that made `B`, if it was another object. It is checked to make the signatures of this
            one.

        Returns
        -------
        ndarray of shape (n,), float64
            The estimate is unbiased. Under "permutations" its standard error is
            sqrt(J (1 - J) / (n_hashes * power)); see the class for the other schemes. Two empty sets give 1,
            an empty set and another one 0.

        Raises
        ------
        TypeError, ValueError
            If `A` or `B` is not a uint32 matrix with this number of columns, or their shapes differ.
        IncompatibleSketchError
            If `family` makes other signatures; the message names the first setting that differs.

        Examples
        --------
        >>> import numpy as np
        >>> from mergesketch.lsh import MinHash
        >>> here, there = MinHash(64, seed=1), MinHash(64, seed=2)
        >>> sets = [np.arange(100)]
        >>> here.estimate_jaccard(here.signatures(sets), there.signatures(sets), family=there)
        Traceback (most recent call last):
        mergesketch.errors.IncompatibleSketchError: signatures differ in seed: 1 here, 2 there
        """
        self._check_same_signatures(family)
        left, right = check_pair(A, B, "signatures", np.uint32, self.n_values)
        backend = backend_of(left)
        equal = backend.xp.empty(len(left), np.uint32)
        block = max(1, (1 << 20) // self.n_values)
        backend.map_blocks(
            lambda a, b: backend.kernels(minhash).count_equal(left, right, a, b, equal), len(left), block
        )
        return equal / self.n_values

    def _check_same_signatures(self, family: MinHash | None) -> None:
        """Raise IncompatibleSketchError if `family` makes other signatures than this one."""
        if family is None:
            return
        if not isinstance(family, MinHash):
            raise TypeError(f"family must be a MinHash, got {type(family).__name__}")
        ours, theirs = (
            {"n_hashes * power": f.n_values, "scheme": f.scheme, "seed": f.seed} for f in (self, family)
        )
        difference = differing_field(ours, theirs)
        if difference is not None:
            raise IncompatibleSketchError(f"signatures differ in {difference}")

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return ``(1 - distance) ** power``, where the distance is 1 - Jaccard similarity J.

        It is exact for ``power=1``, and under "permutations". Under the other schemes the values of one
        signature are not independent, and `power` of them agree a little less or more often. Under
        "fast-similarity" they agree less often, by about
        ``power (power - 1) / 2 (1 - J) / J (1 - v) / m`` of the probability, where v is the variance relative
        to permutations (see the class). With power 8, m = 128 and two sets of 100 tokens together, that is
        2.7 % for J = 0.8 and 7.5 % for J = 0.6. Under "one-permutation" it is 2.4 % and 6 % more with 20
        tokens, and 1 % less with 200. This holds for m far above `power`. Where a code consists of all of a
        signature's few values, sets of equally few tokens almost never share it under "fast-similarity".

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
            If a distance is not a number or lies outside [0, 1].
        """
        return np.asarray((1.0 - self._check_distances(distance)) ** self.power)

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact Jaccard similarity ** power of every pair of sets.

        Parameters
        ----------
        X, Y : sparse matrix, (tokens, offsets) or list of integer arrays
            Sets; see the class.

        Returns
        -------
        ndarray of shape (len(X), len(Y)), float64
            Two empty sets have similarity 1, an empty set and another one 0. For the deviation of collisions
            where `power` is above 1, see `collision_probability`.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` has none of these forms.
        """
        refuse_gpu("kernel", X, Y)
        return np.asarray(jaccard_of_sets(self._read(X), self._read(Y, "Y")) ** self.power)


publish("mergesketch.lsh", __all__, globals())
