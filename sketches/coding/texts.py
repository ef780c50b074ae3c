"""Sorted texts in few bytes, of which each can be read by its number.

Blocks of 8 texts are *front-coded*: each text but the first of its block leaves out the prefix that it shares
with the text before. The bytes that remain are written as symbols of a `Grammar`, each of which stands for up
to 256 bytes. Three prefix codes (Huffman's) write the change of the prefix's length from text to text, the
number of symbols of each text, and the symbols. A reader decodes the block of a text up to the text, and
expands only the symbols that the text consists of. The arrays are

- `text_bits` (uint64): the bits of all blocks, and two words of zeros;
- `text_starts` (uint64): the bit where each block starts, as an Elias-Fano sequence;
- `text_rules` (uint32): for each symbol its two symbols, the second in the upper half; or a byte, and 0xFFFF;
- `text_codes` (uint16): for each code the number of its words of 0, 1, ... bits, preceded by how many such
  numbers follow; then the numbers of the words of the first two codes, in the order of the words.

The codes are canonical, and symbols are numbered in the order of their words. A change c of the prefix's
length is the number 2c, or -2c - 1 if it is negative; the first text of a block has none. All numbers of k
bits, for each k over 8, share the word of ``247 + k``, and the bits behind their highest follow. If a text
has 256 symbols or more, their number of bits precedes them, in 48 bits.

References: I. Witten, A. Moffat and T. Bell, "Managing Gigabytes" (1999), for front coding in blocks; M.
Martinez-Prieto et al., "Practical compressed string dictionaries", Information Systems 56 (2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.lazy import lazy
from ..kernels.elias_fano import address_of
from ..kernels.texts import (
    BLOCK,
    LONGEST,
    NUMBERS,
    PADDING,
    SKIP_BITS,
    TABLE_BITS,
    Code,
    find_distinct,
    number_words,
    prefix_changes,
    read_texts,
    shared_prefixes,
    write_texts,
)
from . import elias_fano
from .grammar import NO_PAIR, Grammar, Strings
from .prefix_code import code_lengths, first_codes

__all__ = ["ARRAYS", "Texts", "encode_texts"]

#: The arrays of texts and their dtypes.
ARRAYS = {
    "text_bits": "uint64",
    "text_starts": "uint64",
    "text_rules": "uint32",
    "text_codes": "uint16",
}
#: The longest word, and the words of numbers: those below NUMBERS, and one for each number of bits beyond.
_LIMIT, _NUMBER_WORDS = 24, NUMBERS + 48
#: Bytes that are decoded at a time, at least: strings are made of them while they are in the cache.
_ROOM = 1 << 16


def encode_texts(entries: list[bytes]) -> dict[str, NDArray[Any]]:
    """Return the arrays of texts.

    It takes about a second for 100,000 paths, and two seconds and 100 MB for a million texts of ten bytes.

    Parameters
    ----------
    entries : list of bytes
        The texts, sorted.
    """
    data = np.frombuffer(b"".join(entries), dtype=np.uint8)
    ends = np.fromiter(accumulate(map(len, entries), initial=0), dtype=np.int64, count=len(entries) + 1)
    strings = Strings(data, ends, np.empty(len(entries), dtype=np.int64))
    shared_prefixes(data, ends, strings.prefixes)
    grammar = Grammar(strings)
    rules = np.array(grammar.rules, dtype=np.uint32).reshape(-1, 2)
    symbols = grammar.parse(strings)
    sizes = np.diff(np.flatnonzero(symbols == NO_PAIR), prepend=-1) - 1

    counts = np.zeros((2, _NUMBER_WORDS), dtype=np.int64)
    changes = np.empty(len(entries), dtype=np.int64)
    number_words(changes[: prefix_changes(strings.prefixes, changes)], counts[0])
    number_words(sizes, counts[1])
    codes = np.zeros((3, max(_NUMBER_WORDS, len(rules))), dtype=np.uint32)
    lengths = np.zeros(codes.shape, dtype=np.uint8)
    of_symbols = np.bincount(symbols[symbols != NO_PAIR], minlength=len(rules))
    parts = [_choose_code(row, codes[i], lengths[i]) for i, row in enumerate((*counts, of_symbols))]

    n_bits = _bits_of(counts, of_symbols, lengths, sizes)
    words = np.zeros(-(-n_bits // 64) + PADDING, dtype=np.uint64)
    starts = np.zeros(-(-len(entries) // BLOCK), dtype=np.uint64)
    write_texts(strings.prefixes, sizes, symbols, codes, lengths, words, starts)

    # Symbols are numbered in the order of their words; those without a word follow.
    order = np.concatenate([parts[2][1], np.flatnonzero(of_symbols == 0)])
    number = np.empty(order.size, dtype=np.uint16)
    number[order] = np.arange(order.size)
    is_pair = rules[:, 1] != NO_PAIR
    rules[is_pair] = number[rules[is_pair]]
    of_codes = [np.concatenate([[len(sizes)], sizes]) for sizes, _ in parts] + [parts[0][1], parts[1][1]]
    return {
        "text_bits": words,
        "text_starts": elias_fano.encode(starts, (words.size - PADDING) * 64),
        "text_rules": rules[order, 0] | rules[order, 1] << np.uint32(16),
        "text_codes": np.concatenate(of_codes).astype(np.uint16),
    }


def _choose_code(
    counts: NDArray[np.int64], codes: NDArray[np.uint32], lengths: NDArray[np.uint8]
) -> tuple[list[int], NDArray[np.int64]]:
    """Write the word of each index that occurs; return how many words have each length, and their order."""
    used = np.flatnonzero(counts)
    # Every word has a bit at least, so that the bits bound the work of a reader.
    found = np.maximum(code_lengths(counts[used], _LIMIT), 1)
    order = used[np.argsort(found, kind="stable")]
    lengths[used] = found
    sizes = np.bincount(found, minlength=1)
    firsts = np.repeat(np.array(first_codes(sizes.tolist())) - (np.cumsum(sizes) - sizes), sizes)
    codes[order] = firsts + np.arange(order.size)
    return sizes.tolist(), order


def _bits_of(
    counts: NDArray[np.int64],
    of_symbols: NDArray[np.int64],
    lengths: NDArray[np.uint8],
    sizes: NDArray[np.int64],
) -> int:
    """Return the number of bits that `write_texts` writes."""
    low_bits = np.maximum(np.arange(_NUMBER_WORDS) - NUMBERS + 8, 0) * (np.arange(_NUMBER_WORDS) >= NUMBERS)
    of_numbers = sum(int(row @ (lengths[i, : row.size] + low_bits)) for i, row in enumerate(counts))
    skips = SKIP_BITS * int((sizes >= NUMBERS).sum())
    return of_numbers + int(of_symbols @ lengths[2, : of_symbols.size].astype(np.int64)) + skips


class Texts:
    """Texts that are decoded when they are asked for.

    Parameters
    ----------
    arrays : mapping
        The arrays that `encode_texts` returned, which are not copied.
    n : int
        The number of texts.
    is_str : bool
        True to return str, False to return bytes.

    Raises
    ------
    ValueError
        If the arrays are not those of texts. Whatever the bits of accepted arrays are, decoding stays within
        the arrays. The check reads `text_rules`, `text_codes` and `text_starts`.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.sketches.coding.texts import Texts, encode_texts
    >>> texts = Texts(encode_texts([b"Lima", b"Limerick", b"Paris"]), 3, is_str=True)
    >>> texts.take(np.array([2, 0], dtype=np.uint64)).tolist()
    ['Paris', 'Lima']
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], n: int, is_str: bool) -> None:
        self.n, self._is_str = n, is_str
        self._bits, self._starts, self._rules, codes = (
            np.require(arrays[name], requirements=["C", "A"]) for name in ARRAYS
        )
        if self._bits.size < PADDING or self._bits[-PADDING:].any():
            raise ValueError(f"text_bits must end with {PADDING} words of zeros")
        self._n_bits = (self._bits.size - PADDING) * 64
        n_blocks = -(-n // BLOCK)
        try:
            elias_fano.check(self._starts, n_blocks, self._n_bits)
        except ValueError as error:
            raise ValueError(f"text_starts: {error}") from None
        self._layout = np.array(elias_fano.layout(n_blocks, self._n_bits)[:3], dtype=np.uint64)
        sizes, self._values = _read_codes(codes)
        _check_rules(self._rules, sum(sizes[2]))
        if not self._rules.size:  # all texts are empty; a rule that none uses keeps the kernel in bounds
            self._rules = np.array([NO_PAIR << 16], dtype=np.uint32)
        self._sizes = sizes

    @property
    def longest(self) -> int:
        """An upper bound of the bytes of a text."""
        return self._n_bits * LONGEST

    @lazy
    def _codes(self) -> list[Any]:
        """Return the codes as the kernel takes them, those of numbers with their numbers."""
        n = sum(self._sizes[0])
        changes, sizes = self._values[:n], self._values[n:]
        # A code without words has a number, which no text uses.
        changes, sizes = (part if part.size else np.zeros(1, np.uint16) for part in (changes, sizes))
        found = [
            _code(sizes, values) for sizes, values in zip(self._sizes, (changes, sizes, None), strict=True)
        ]
        return [found[0], changes, found[1], sizes, found[2]]

    def take(self, numbers: NDArray[np.uint64]) -> NDArray[Any]:
        """Return texts by their numbers as an array of objects; a number out of range gives another text.

        It takes about a microsecond a text, and 10 ns for a text that a number before it gives too.
        """
        wanted = np.minimum(numbers, np.uint64(max(self.n, 1) - 1))
        distinct, inverse = np.empty_like(wanted), np.empty(wanted.size, dtype=np.int64)
        slots = np.full(1 << max(1, (2 * wanted.size - 1).bit_length()), -1, dtype=np.int64)
        distinct = distinct[: find_distinct(wanted, slots, distinct, inverse)]
        out = np.empty(distinct.size, dtype=object)
        out[:] = self._read(distinct)
        return out[inverse]

    def _read(self, numbers: NDArray[np.uint64]) -> list[Any]:
        buffer = np.empty(_ROOM, dtype=np.uint8)
        found: list[Any] = []
        ends = np.empty(numbers.size, dtype=np.int64)
        while len(found) < numbers.size:
            n = read_texts(
                numbers, len(found), self._bits, address_of(self._starts), self._layout, np.uint64(self.n),
                *self._codes, self._rules, buffer, ends,
            )  # fmt: skip
            if n:
                found += self._split(buffer[: ends[n - 1]], ends[:n])
            else:
                buffer = np.empty(2 * buffer.size, dtype=np.uint8)
        return found

    def _split(self, buffer: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[Any]:
        """Return the texts in a buffer."""
        raw = buffer.tobytes()
        if not self._is_str:
            return [raw[start:stop] for start, stop in pairwise([0, *ends.tolist()])]
        try:
            text = raw.decode()
        except UnicodeDecodeError:  # the bits of a file are damaged
            places = [0, *ends.tolist()]
            return [raw[start:stop].decode(errors="replace") for start, stop in pairwise(places)]
        if len(text) < len(raw):
            # Count characters: the bytes that continue none.
            ends = np.cumsum(np.append(0, (buffer & 0xC0) != 0x80))[ends]
        return [text[start:stop] for start, stop in pairwise([0, *ends.tolist()])]


def _code(sizes: list[int], values: NDArray[np.uint16] | None) -> Code:
    """Return the tables of a code with `sizes` words of each length, of numbers or (None) of symbols."""
    limits, offsets = np.full(64, 2**64 - 1, dtype=np.uint64), np.zeros(64, dtype=np.uint64)
    table = np.zeros(1 << TABLE_BITS, dtype=np.uint16)
    index, least = 0, next((n for n, size in enumerate(sizes) if size), 1)
    for n, (size, first) in enumerate(zip(sizes, first_codes(sizes), strict=True)):
        offsets[n] = (index - first) % 2**64
        if least <= n < len(sizes) - 1:
            limits[n] = ((first + size) << (64 - n)) - 1
        if values is None and n < len(sizes) - 1:
            begins = np.arange(table.size, dtype=np.uint64) << np.uint64(64 - TABLE_BITS)
            table += (n < least) | (begins > limits[n])
        elif values is not None and n <= TABLE_BITS:
            width = 1 << (TABLE_BITS - n)
            short = np.where(values[index : index + size] < NUMBERS, values[index : index + size] | n << 8, 0)
            table[first * width : (first + size) * width] = np.repeat(short, width)
        index += size
    return Code(table, limits, offsets, np.uint64(max(index, 1) - 1), np.uint64(least))


def _read_codes(codes: NDArray[np.uint16]) -> tuple[list[list[int]], NDArray[np.uint16]]:
    """Return the number of words of each length for each code, and the numbers of the words."""
    sizes, at = [], 0
    for _ in range(3):
        n = int(codes[at]) if at < codes.size else 0
        sizes.append(codes[at + 1 : at + 1 + n].tolist())
        at += n + 1
        if not 1 <= n <= _LIMIT + 1 or at > codes.size or sizes[-1][0]:
            raise ValueError("text_codes must have the number of words of each length for three codes")
        if sum(size << (n - length) for length, size in enumerate(sizes[-1])) > 1 << n:
            raise ValueError(f"text_codes must be those of prefix codes, got {sizes[-1]} words by length")
    values = codes[at:]
    if values.size != sum(sizes[0]) + sum(sizes[1]) or (values >= _NUMBER_WORDS).any():
        raise ValueError("text_codes must have a number for each word of two codes")
    return sizes, np.ascontiguousarray(values)


def _check_rules(rules: NDArray[np.uint32], n_words: int) -> None:
    """Raise ValueError unless every symbol stands for 1 to 256 bytes."""
    if not n_words <= rules.size < NO_PAIR:
        raise ValueError(f"text_rules must have {n_words} to {NO_PAIR - 1} rules, got {rules.size}")
    left, right = (rules & 0xFFFF).astype(np.int64), (rules >> 16).astype(np.int64)
    is_byte = right == NO_PAIR
    if (left >= np.where(is_byte, 256, rules.size)).any() or (right[~is_byte] >= rules.size).any():
        raise ValueError("text_rules must be bytes, or pairs of symbols")
    left, right = left[~is_byte], right[~is_byte]
    # The number of bytes rises in each step, and reaches the bound in few of them if symbols form a circle.
    lengths, before = np.ones(rules.size, dtype=np.int64), None
    while before is None or (lengths != before).any():
        before = lengths.copy()
        lengths[~is_byte] = before[left] + before[right]
        if lengths.max(initial=1) > LONGEST:
            raise ValueError(f"text_rules must have at most {LONGEST} bytes a symbol")
