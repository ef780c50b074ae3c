"""Prefix codes for the values of a static function, stored compressed and read in place.

The code is Huffman's, limited in length. Rare values can be *escaped*: they share one word, which is followed
by raw bits. Escapes keep the codebook smaller than what it saves, and keep incompressible values from taking
more bits than their own width. A codebook is three arrays:

- `header`: the eight numbers of a `Header`;
- `class_sizes`: the number of words of each length, the escape's word included;
- `classes`: for each length the values of its words in ascending order, as Elias-Fano sequences one after
  another, of about ``2 + log2(range of values / class size)`` bits a value. The code is canonical: these
  arrays determine its words.

The decoder reads these arrays in place, and a small table of the short words, which is made at the first use.
The constructor checks the arrays: no window of bits can lead a decoder out of their bounds.
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
from .codebook_choice import Header, Others, choose
from .prefix_code import LARGEST_LIMIT, check_counts, first_codes

__all__ = ["ARRAYS", "Codebook", "Encoded"]

#: The arrays of a codebook, in their order, and their dtypes.
ARRAYS = {"header": "uint64", "class_sizes": "uint32", "classes": "uint64"}

_U = np.uint64
#: The decoding table has at most 2**_TABLE_BITS entries, and at most this share of the bytes of all words.
_TABLE_BITS, _TABLE_SHARE = 11, 0.01
#: The table may leave out long words that at most this share of the keys have.
_LONG_SHARE = 0.02


class Encoded(NamedTuple):
    """The words of a batch of values.

    Attributes
    ----------
    codes : ndarray of uint64
        The bits of each word, right-aligned.
    lengths : ndarray of uint8
    escaped : ndarray of bool
    raw : ndarray of uint64
        The raw bits of escaped values, 0 for others.
    """

    codes: NDArray[np.uint64]
    lengths: NDArray[np.uint8]
    escaped: NDArray[np.bool_]
    raw: NDArray[np.uint64]


class Codebook:
    """An immutable prefix code of distinct uint64 values.

    Parameters
    ----------
    arrays : mapping
        The arrays that `arrays` returned, which are not copied. `build` chooses a new code.

    Attributes
    ----------
    header : Header
    n_symbols : int
        Number of values that have words of their own.
    min_length, max_length : int
        The shortest and the longest length of a word, the escape's word included.
    table_bits : int
        Number of bits of a window that index the decoding table.
    nbytes : int
        Bytes of the arrays.

    Raises
    ------
    ValueError
        If the arrays are not those of a codebook. Accepted arrays decode every window of bits without an
        access out of bounds. The check reads about two bits a value.

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
        self._arrays = {name: _read_array(arrays, name) for name in ARRAYS}
        header, sizes, self._words = self._arrays.values()
        if header.shape != (len(Header._fields),):
            raise ValueError(f"header must have {len(Header._fields)} numbers, got shape {header.shape}")
        self.header = Header(*header.tolist())
        self._sizes: list[int] = sizes.tolist()
        self._check()
        self._check_classes()

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
        """Choose the codebook for which words, raw bits and the codebook itself take the fewest bytes.

        Parameters
        ----------
        values : (D,) uint64 array, strictly ascending
        counts : (D,) array of integers, at least 1 each
        limit : int, at most 32
            Longest word.
        raw_bits_allowed : bool
            True if rare values may be escaped.
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

    def _check(self) -> None:
        header, sizes = self.header, self._sizes
        if not 1 <= len(sizes) <= LARGEST_LIMIT + 1:
            raise ValueError(f"class_sizes must have 1 to {LARGEST_LIMIT + 1} numbers, got {len(sizes)}")
        n_words = sum(sizes)
        if n_words > elias_fano.LARGEST_N:
            raise ValueError(f"class_sizes must sum to at most {elias_fano.LARGEST_N}, got {n_words}")
        kraft = sum(size << (self.max_length - length) for length, size in enumerate(sizes))
        if (n_words and kraft != 1 << self.max_length) or (sizes[-1] == 0 and self.max_length):
            raise ValueError(f"class_sizes must be those of a complete code, got {sizes}")
        if header.has_escape > 1:
            raise ValueError(f"has_escape must be 0 or 1, got {header.has_escape}")
        if header.has_escape:
            if header.escape_length > self.max_length or sizes[header.escape_length] == 0:
                raise ValueError(f"escape_length must be that of a word, got {header.escape_length}")
        elif header.escape_length or header.raw_bits or header.raw_base:
            raise ValueError("escape_length, raw_bits and raw_base must be 0 without an escape")
        if header.raw_bits > 64:
            raise ValueError(f"raw_bits must be at most 64, got {header.raw_bits}")
        if not header.step or header.base + header.step * header.largest >= 2**64:
            raise ValueError(f"step must be at least 1 and keep values below 2**64, got {header.step}")
        largest_class = max(0, *sizes)
        if largest_class - header.has_escape > header.largest + 1:
            raise ValueError(
                f"largest must leave room for {largest_class} values in a class, got {header.largest}"
            )

    def _check_classes(self) -> None:
        stop = self._classes[-1].stop if self._classes else 0
        if self._words.size != stop:
            raise ValueError(f"classes must have {stop} words, got {self._words.size}")
        for part in self._classes:
            try:
                elias_fano.check(self._words[part.start : part.stop], part.n, part.largest)
            except ValueError as error:
                raise ValueError(f"classes: words of length {part.length}: {error}") from None

    # -- properties -----------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store, read-only: uint64 `header` and `classes`, uint32 `class_sizes`."""
        return dict(self._arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return Codebook, (self.arrays(),)

    @property
    def n_symbols(self) -> int:
        return sum(self._sizes) - self.header.has_escape

    @property
    def min_length(self) -> int:
        return next((length for length, size in enumerate(self._sizes) if size), 0)

    @property
    def max_length(self) -> int:
        return len(self._sizes) - 1

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    @lazy
    def table_bits(self) -> int:
        """Return the number of bits that index the table.

        It is the least for which few keys have longer words, unless the table would take too much memory. The
        lengths imply the shares of the keys: 2**-length for each word.
        """
        shares = [size * 2.0**-length for length, size in enumerate(self._sizes)]
        bits = sum(share * length for length, share in enumerate(shares)) * self.header.n_keys
        allowed = 0
        while allowed < min(_TABLE_BITS, self.max_length) and 8 << (allowed + 1) <= _TABLE_SHARE * bits / 8:
            allowed += 1
        enough = 0
        while sum(shares[enough + 1 :]) > _LONG_SHARE:
            enough += 1
        return min(enough, allowed)

    @lazy
    def _classes(self) -> list[_Class]:
        """Return the classes of values with words of their own, by the length of the words."""
        parts, start = [], 0
        for length, (size, first) in enumerate(zip(self._sizes, first_codes(self._sizes), strict=True)):
            n = size - (self.header.has_escape and length == self.header.escape_length)
            if n:
                largest = self.header.largest - (n - 1)
                stop = start + elias_fano.layout(n, largest).n_words
                parts.append(_Class(length, first, n, largest, start, stop))
                start = stop
        return parts

    def _class_values(self, part: _Class) -> NDArray[np.uint64]:
        index = np.arange(part.n)
        q = elias_fano.take(self._words[part.start : part.stop], part.n, part.largest, index)
        return _U(self.header.base) + _U(self.header.step) * (q + index.astype(np.uint64))

    def _escape_code(self) -> int:
        if not self.header.has_escape:
            return 0
        length = self.header.escape_length
        return first_codes(self._sizes)[length] + self._sizes[length] - 1

    # -- encoding -------------------------------------------------------------------------------------

    def encoder(self) -> Encoder:
        """Return the tables for `encode`, of about 25 bytes a value. The codebook does not keep them."""
        parts = self._classes
        values = np.concatenate([np.zeros(0, np.uint64), *map(self._class_values, parts)])
        lengths = np.concatenate([np.zeros(0, np.uint8), *(np.full(p.n, p.length, np.uint8) for p in parts)])
        codes = np.concatenate(
            [np.zeros(0, np.uint32), *(np.arange(p.first, p.first + p.n, dtype=np.uint32) for p in parts)]
        )
        order = np.argsort(values, kind="stable")
        values = values[order]
        span = int(values[-1]) - int(values[0]) if values.size else 0
        shift = max(0, span.bit_length() - values.size.bit_length())
        starts = np.zeros((span >> shift) + 2, dtype=np.uint32)
        if values.size:
            slots = ((values - values[0]) >> _U(shift)).astype(np.int64)
            starts[1:] = np.cumsum(np.bincount(slots, minlength=starts.size - 1))
        header = self.header
        return Encoder(
            values,
            codes[order],
            lengths[order],
            starts,
            *map(_U, (shift, self._escape_code(), header.escape_length, header.has_escape)),
            *map(_U, (header.step, header.raw_base, 2**header.raw_bits - 1)),
        )

    def encode(self, values: NDArray[np.integer[Any]], encoder: Encoder | None = None) -> Encoded:
        """Return the words of values that the codebook was built for, or that its escape covers.

        Parameters
        ----------
        values : (n,) array of integers, at least 0
        encoder : Encoder, optional
            What `encoder` returned. Pass it to encode many batches; without it each call makes it anew.

        Raises
        ------
        ValueError
            If a value has neither a word nor raw bits.
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
        n_encoded = encode_values(encoder or self.encoder(), values, *out)
        if n_encoded < n:
            raise ValueError(
                f"values must be among those of the codebook, got {values[n_encoded]} at {n_encoded}"
            )
        return out

    # -- decoding -------------------------------------------------------------------------------------

    def decoder(self, address_of: Callable[[NDArray[np.uint64]], np.uint64] = address_of) -> Decoder:
        """Return the numbers and addresses that `decode` reads, valid while this codebook exists.

        `address_of` returns the address of an array on the device of the decoding kernel.
        """
        header, longest, bits = self.header, max(self.max_length, 1), self.table_bits
        escape_first, escape_span = 0, 0
        if header.has_escape:
            escape_span = 1 << (longest - header.escape_length)
            escape_first = self._escape_code() * escape_span
        # A code without words needs no table: all windows find its only entry, 0.
        table_end = 1 << longest
        if any(self._sizes):
            table_end = sum(size << (longest - n) for n, size in enumerate(self._sizes[: bits + 1]))
        table, classes = self._tables
        return Decoder(
            *map(_U, (64 - longest, escape_first, escape_span, table_end, longest - bits)),
            *map(address_of, (table, classes, self._words)),
            *map(_U, (header.base, header.step, header.raw_base, header.raw_bits)),
        )

    @lazy
    def _tables(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the values by the first `table_bits` bits of a window, and the classes of longer words."""
        longest, bits = max(self.max_length, 1), self.table_bits
        table, classes = np.zeros(1 << bits, dtype=np.uint64), []
        for part in self._classes:
            if part.length <= bits:
                width = 1 << (bits - part.length)
                start = part.first * width
                table[start : start + part.n * width] = np.repeat(self._class_values(part), width)
                continue
            spare = longest - part.length
            plan = elias_fano.layout(part.n, part.largest)
            places = [part.start, plan.low_bits, part.start + plan.high_at, part.start + plan.samples_at]
            row = [(part.first + part.n) << spare, part.first << spare, spare, *places]
            classes.append(row + [0] * (CLASS_FIELDS - len(row)))
        return read_only(table), np.array(classes, dtype=np.uint64).reshape(-1, CLASS_FIELDS)


class _Class(NamedTuple):
    """The values whose words have one length.

    Attributes
    ----------
    length : int
    first : int
        The first word.
    n : int
        Number of values.
    largest : int
        Upper bound of the Elias-Fano sequence.
    start, stop : int
        The part of `classes` that the sequence takes.
    """

    length: int
    first: int
    n: int
    largest: int
    start: int
    stop: int


def _read_array(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"arrays must hold {name!r}, got {sorted(arrays)}")
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype != ARRAYS[name] or array.ndim != 1:
        raise ValueError(f"{name} must be a one-dimensional array of {ARRAYS[name]}, got {array!r}")
    return read_only(np.require(array, requirements=["C", "A"]))
