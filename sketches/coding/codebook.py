"""Prefix codes for the values of a static function, kept compressed and read in place.

The code is Huffman's, limited in length. Rare values can be *escaped*: they share one word, which some
raw bits follow; so that neither the codebook outgrows what it saves, nor incompressible values cost more
than their own width. A codebook is three arrays:

- `header`: eight numbers (`FIELDS`);
- `class_sizes`: how many words there are of each length, the escape's included;
- `classes`: for each length the values of its words, ascending, as Elias-Fano sequences one after another:
  about ``2 + log2(range of values / class size)`` bits a value. The code being canonical, this is all.

Decoding reads them in place, and a small table of the short words, made at first use. What was loaded has
been checked so far that no window of bits can lead a decoder out of bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int
from ...lsh.support.lazy import lazy
from ..kernels.codes import CLASS_FIELDS, Decoder, Encoder, encode_values
from ..kernels.elias_fano import address_of
from . import elias_fano
from .codebook_choice import FIELDS, Others, choose
from .prefix_code import LARGEST_LIMIT, check_counts, first_codes

__all__ = ["Codebook", "Encoded"]

_U = np.uint64
#: The table's index has at most so many bits, its bytes are at most so much of the payload's ...
_TABLE_BITS, _TABLE_SHARE = 11, 0.01
#: ... and it need not hold the longest words, as long as so few keys have them.
_LONG_SHARE = 0.02


class Encoded(NamedTuple):
    """Words of a batch of values: bits right-aligned, lengths, and where escaped, the raw bits."""

    codes: NDArray[np.uint64]
    lengths: NDArray[np.uint8]
    escaped: NDArray[np.bool_]
    raw: NDArray[np.uint64]


class Codebook:
    """An immutable prefix code of distinct uint64 values; made by `build` or `from_arrays`.

    Attributes
    ----------
    n_keys : int
        The sum of the counts it was built for.
    n_symbols : int
        Values that have words of their own.
    has_escape, escape_length : bool, int
        Whether there is an escape, and its word's length.
    raw_bits : int
        Raw bits that follow an escape.
    min_length, max_length : int
        Of any word, the escape's included.
    table_bits : int
        Bits of a window that index the decoding table.
    nbytes : int
        Of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> book = Codebook.build(np.array([3, 5, 70], dtype=np.uint64), np.array([200, 100, 100]))
    >>> [f"{code:0{length}b}" for code, length in zip(*book.encode(np.array([3, 5, 70]))[:2])]
    ['0', '10', '11']
    >>> from mergesketch.sketches.kernels.codes import decode
    >>> value, is_escape = decode(book.decoder(), np.uint64(0b11 << 62))
    >>> int(value), bool(is_escape)
    (70, False)
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._header = _array(arrays, "header", np.uint64)
        self._sizes = _array(arrays, "class_sizes", np.uint32)
        self._words = _array(arrays, "classes", np.uint64)
        self._check()

    # -- making ---------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        values: NDArray[np.uint64],
        counts: NDArray[np.integer[Any]],
        *,
        limit: int = 24,
        raw_bits_allowed: bool = True,
        others: Others | None = None,
    ) -> Codebook:
        """The codebook for which words, raw bits and the codebook itself take the least in all.

        Parameters
        ----------
        values : (D,) uint64 array, strictly ascending
        counts : (D,) array of integers, at least 1 each
        limit : int, at most 32
            Longest word.
        raw_bits_allowed : bool
            Whether rare values may be escaped.
        others : Others, optional
            Further values, which are all escaped.

        Raises
        ------
        ValueError
            If values do not ascend, counts are out of range, or there are more values than words of
            `limit` bits and they may not be escaped.
        """
        limit = check_int("limit", limit, 1, LARGEST_LIMIT)
        values = np.ascontiguousarray(values)
        if values.ndim != 1 or (values.size and values.dtype != np.uint64):
            raise ValueError(
                f"values must be one-dimensional of uint64, got {values.ndim} dimensions of {values.dtype}"
            )
        counts = check_counts(counts)
        if counts.shape != values.shape:
            raise ValueError(f"counts must have shape {values.shape} as values, got {counts.shape}")
        if not (values[1:] > values[:-1]).all():
            raise ValueError("values must be strictly ascending")
        if others is not None and not (values.size and raw_bits_allowed):
            raise ValueError("others need an escape, and values beside them")
        return cls(choose(values, counts, limit, escapes=raw_bits_allowed, others=others))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Codebook:
        """The codebook whose `arrays` these are; they are not copied.

        Reads about two bits a value; the decoding table is made when `decoder` is first called.

        Raises
        ------
        ValueError
            With what is wrong. What is accepted decodes every window of bits without leaving an array's
            bounds.
        """
        return cls(arrays)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays to store, read-only: uint64 `header` and `classes`, uint32 `class_sizes`."""
        return {"header": self._header, "class_sizes": self._sizes, "classes": self._words}

    def __reduce__(self) -> tuple[Any, ...]:
        return Codebook.from_arrays, (self.arrays(),)

    # -- encoding -------------------------------------------------------------------------------------

    def encoder(self) -> Encoder:
        """What `encode_value` and `encode` read; about 25 bytes a value, kept only by the caller."""
        values, lengths, codes = self._coded()
        order = np.argsort(values, kind="stable")
        values, lengths, codes = values[order], lengths[order], codes[order]
        span = int(values[-1]) - int(values[0]) if values.size else 0
        shift = max(0, span.bit_length() - values.size.bit_length())
        starts = np.zeros((span >> shift) + 2, dtype=np.uint32)
        if values.size:
            slots = ((values - values[0]) >> _U(shift)).astype(np.int64)
            starts[1:] = np.cumsum(np.bincount(slots, minlength=starts.size - 1))
        return Encoder(
            values,
            codes,
            lengths,
            starts,
            _U(shift),
            _U(self._escape_code()),
            _U(self.escape_length),
            _U(self.has_escape),
            _U(self._field("step")),
            _U(self._field("raw_base")),
            _U(2**self.raw_bits - 1),
        )

    def encode(self, values: NDArray[np.integer[Any]], encoder: Encoder | None = None) -> Encoded:
        """Words of values that the codebook was built for (or that its escape reaches).

        Parameters
        ----------
        values : (n,) array of integers, at least 0
        encoder : Encoder, optional
            As `encoder` gave it; to be passed where many batches are encoded, else it is made each time.

        Raises
        ------
        ValueError
            At a value that has neither word nor raw bits.
        """
        values = np.ascontiguousarray(values)
        n = values.size
        if values.ndim != 1 or values.dtype.kind not in "ui" or (n and int(values.min()) < 0):
            raise ValueError(f"values must be non-negative integers in one dimension, got {values!r}")
        values = values.astype(np.uint64, copy=False)
        out = Encoded(
            np.empty(n, dtype=np.uint64),
            np.empty(n, dtype=np.uint8),
            np.zeros(n, dtype=np.bool_),
            np.zeros(n, dtype=np.uint64),
        )
        at = encode_values(self.encoder() if encoder is None else encoder, values, *out)
        if at < n:
            raise ValueError(f"values must be among those of the codebook, got {values[at]} at {at}")
        return out

    def _coded(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint32]]:
        """Values with words of their own, their lengths and their words, by (length, value)."""
        values, lengths, codes = [], [], []
        for part in self._classes:
            values.append(self._class_values(part))
            lengths.append(np.full(part.n, part.length, dtype=np.uint8))
            codes.append((part.first + np.arange(part.n)).astype(np.uint32))
        if not values:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint8), np.zeros(0, np.uint32)
        return np.concatenate(values), np.concatenate(lengths), np.concatenate(codes)

    def _class_values(self, part: _Class) -> NDArray[np.uint64]:
        index = np.arange(part.n)
        q = elias_fano.take(self._words[part.start : part.stop], part.n, part.largest, index)
        return _U(self._field("base")) + _U(self._field("step")) * (q + index.astype(np.uint64))

    # -- decoding -------------------------------------------------------------------------------------

    def decoder(self, address_of: Callable[[NDArray[np.uint64]], np.uint64] = address_of) -> Decoder:
        """What `decode` reads: numbers and addresses, good as long as this codebook lives.

        `address_of` says where an array lies for those who read it.
        """
        longest, bits = max(self.max_length, 1), self.table_bits
        n_short = [size << (longest - length) for length, size in enumerate(self._sizes.tolist())]
        escape_first, escape_span = 0, 0
        if self.has_escape:
            escape_first = self._escape_code() << (longest - self.escape_length)
            escape_span = 1 << (longest - self.escape_length)
        table, classes = self._tables
        return Decoder(
            _U(64 - longest),
            _U(escape_first),
            _U(escape_span),
            # An empty code has no word; then all windows find the table's zero.
            _U(sum(n_short[: bits + 1]) if self._sizes.any() else 1 << longest),
            _U(longest - bits),
            address_of(table),
            address_of(classes),
            address_of(self._words),
            _U(self._field("base")),
            _U(self._field("step")),
            _U(self._field("raw_base")),
            _U(self.raw_bits),
        )

    @lazy
    def _tables(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Values by the first `table_bits` bits, and the numbers on the classes of longer words."""
        longest, bits = max(self.max_length, 1), self.table_bits
        table, classes = np.zeros(1 << bits, dtype=np.uint64), []
        for part in self._classes:
            if part.length <= bits:
                width = 1 << (bits - part.length)
                at = part.first * width
                table[at : at + part.n * width] = np.repeat(self._class_values(part), width)
                continue
            spare = longest - part.length
            plan = elias_fano.layout(part.n, part.largest)
            places = [part.start, plan.low_bits, part.start + plan.high_at, part.start + plan.samples_at]
            row = [(part.first + part.n) << spare, part.first << spare, spare, *places]
            classes.append(row + [0] * (CLASS_FIELDS - len(row)))
        return read_only(table), np.array(classes, dtype=np.uint64).reshape(-1, CLASS_FIELDS)

    @lazy
    def table_bits(self) -> int:
        """Bits that index the table: as few as leave few keys out, if that is not too much memory.

        By the shares that the lengths imply, 2**-length of the keys for each word.
        """
        shares = [size * 2.0**-length for length, size in enumerate(self._sizes.tolist())]
        bits = sum(share * length for length, share in enumerate(shares)) * self.n_keys
        allowed = 0
        while allowed < min(_TABLE_BITS, self.max_length) and 8 << (allowed + 1) <= _TABLE_SHARE * bits / 8:
            allowed += 1
        enough = 0
        while sum(shares[enough + 1 :]) > _LONG_SHARE:
            enough += 1
        return min(enough, allowed)

    # -- what the arrays say --------------------------------------------------------------------------

    def _field(self, name: str) -> int:
        return int(self._header[FIELDS.index(name)])

    @property
    def n_keys(self) -> int:
        return self._field("n_keys")

    @property
    def has_escape(self) -> bool:
        return bool(self._field("has_escape"))

    @property
    def escape_length(self) -> int:
        return self._field("escape_length")

    @property
    def raw_bits(self) -> int:
        return self._field("raw_bits")

    @property
    def n_symbols(self) -> int:
        return int(self._sizes.sum(dtype=np.int64)) - self.has_escape

    @property
    def min_length(self) -> int:
        used = np.flatnonzero(self._sizes)
        return int(used[0]) if used.size else 0

    @property
    def max_length(self) -> int:
        return int(self._sizes.size) - 1

    @property
    def nbytes(self) -> int:
        return self._header.nbytes + self._sizes.nbytes + self._words.nbytes

    def _escape_code(self) -> int:
        if not self.has_escape:
            return 0
        return first_codes(self._sizes)[self.escape_length] + int(self._sizes[self.escape_length]) - 1

    @lazy
    def _classes(self) -> list[_Class]:
        """Classes of coded values, by length; cheap: a handful of numbers each."""
        parts, start = [], 0
        for length, (size, first) in enumerate(
            zip(self._sizes.tolist(), first_codes(self._sizes), strict=True)
        ):
            n = size - (self.has_escape and length == self.escape_length)
            if n:
                largest = self._field("largest") - (n - 1)
                stop = start + elias_fano.layout(n, largest).n_words
                parts.append(_Class(length, first, n, largest, start, stop))
                start = stop
        return parts

    def _check(self) -> None:
        if self._header.shape != (len(FIELDS),):
            raise ValueError(f"header must have {len(FIELDS)} numbers, got shape {self._header.shape}")
        if not 1 <= self._sizes.size <= LARGEST_LIMIT + 1:
            raise ValueError(
                f"class_sizes must have 1 to {LARGEST_LIMIT + 1} numbers, got {self._sizes.size}"
            )
        sizes = self._sizes.tolist()
        n_words = sum(sizes)
        if n_words > elias_fano.LARGEST_N:
            raise ValueError(f"class_sizes must sum to at most {elias_fano.LARGEST_N}, got {n_words}")
        kraft = sum(size << (self.max_length - length) for length, size in enumerate(sizes))
        if (n_words and kraft != 1 << self.max_length) or (sizes[-1] == 0 and self.max_length):
            raise ValueError(f"class_sizes must be those of a complete code, got {sizes}")
        if self._field("has_escape") > 1:
            raise ValueError(f"has_escape must be 0 or 1, got {self._field('has_escape')}")
        if self.has_escape:
            if self.escape_length > self.max_length or sizes[self.escape_length] == 0:
                raise ValueError(f"escape_length must be that of a word, got {self.escape_length}")
        elif self.escape_length or self.raw_bits or self._field("raw_base"):
            raise ValueError("escape_length, raw_bits and raw_base must be 0 without an escape")
        if self.raw_bits > 64:
            raise ValueError(f"raw_bits must be at most 64, got {self.raw_bits}")
        step, largest = self._field("step"), self._field("largest")
        if not step or self._field("base") + step * largest >= 2**64:
            raise ValueError(f"step must be at least 1 and keep values below 2**64, got {step}")
        largest_class = max([0, *sizes])
        if largest_class - self.has_escape > largest + 1:
            raise ValueError(f"largest must leave room for {largest_class} values in a class, got {largest}")
        stop = self._classes[-1].stop if self._classes else 0
        if self._words.size != stop:
            raise ValueError(f"classes must have {stop} words, got {self._words.size}")
        for part in self._classes:
            try:
                elias_fano.check(self._words[part.start : part.stop], part.n, part.largest)
            except ValueError as error:
                raise ValueError(f"classes: words of length {part.length}: {error}") from None


class _Class(NamedTuple):
    """The values whose words have one length."""

    length: int
    first: int  # word
    n: int
    largest: int  # of q - index
    start: int
    stop: int


def _array(arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"arrays must hold {name!r}, got {sorted(arrays)}")
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"{name} must be a one-dimensional array of {np.dtype(dtype)}, got {array!r}")
    return read_only(np.require(array, requirements=["C", "A"]))
