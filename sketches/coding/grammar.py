"""Grammars of texts: symbols for bytes, and for pairs of symbols that occur often.

Pairs are replaced in rounds, many that do not overlap at a time. A pair becomes a symbol if it saves more
bits than its rule takes. The rounds are repeated on other texts.

Reference: N. J. Larsson and A. Moffat, "Off-line dictionary-based compression", Proceedings of the IEEE 88
(2000), where one pair is replaced at a time.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.grammar import (
    END,
    bits_saved,
    choose_pairs,
    count_pairs,
    fill_stream,
    mark_bytes,
    pair_table,
    replace_pairs,
)
from ..kernels.texts import LONGEST

__all__ = ["NO_PAIR", "Grammar", "Strings"]

#: The right part of the rule of a single byte, whose left part is the byte.
NO_PAIR = 0xFFFF
#: Bits that a pair must save: 32 of its rule, and some of the code.
_LEAST_SAVED = 40.0
#: A round takes the pairs that save at least this share of the bits that the best pair saves.
_ROUND_SHARE = 0.25
_MOST_ROUNDS = 256
#: Bytes that the rules are learned from, and bytes that are parsed at a time.
_SAMPLE = 1 << 22


class Strings(NamedTuple):
    """Byte strings, and how many bytes of each are left out because the text before has them.

    Attributes
    ----------
    data : ndarray of uint8
    ends : ndarray of shape (n + 1,), int64
        String i is ``data[ends[i] : ends[i + 1]]``.
    prefixes : ndarray of shape (n,), int64
    """

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]
    prefixes: NDArray[np.int64]

    def stream(self, start: int, stop: int, symbols: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return the symbols of the bytes of strings [start, stop), with END behind each string."""
        n = int(self.ends[stop] - self.ends[start] - self.prefixes[start:stop].sum()) + stop - start
        out = np.empty(n, dtype=np.uint16)
        fill_stream(*self, symbols, start, stop, out)
        return out

    def cuts(self, size: int) -> list[int]:
        """Return the bounds of parts of about `size` bytes each, 0 and n among them."""
        written = np.cumsum(np.diff(self.ends) - self.prefixes + 1)
        found = [0]
        while found[-1] < self.prefixes.size:
            before = int(written[found[-1] - 1]) if found[-1] else 0
            found.append(max(found[-1] + 1, int(np.searchsorted(written, before + size, side="right"))))
        return found


class Grammar:
    """The symbols of some strings.

    Parameters
    ----------
    strings : Strings
        The grammar can parse them, and learns its pairs from at most 4 MiB of them: from blocks of
        consecutive strings that are spread evenly.

    Attributes
    ----------
    rules : list of (left, right)
        The two symbols of each symbol, which are smaller ones; for a byte, the byte and NO_PAIR.
    """

    def __init__(self, strings: Strings) -> None:
        seen = np.zeros(256, dtype=np.bool_)
        mark_bytes(strings.data, seen)
        alphabet = np.flatnonzero(seen)
        self.rules: list[tuple[int, int]] = [(byte, NO_PAIR) for byte in alphabet.tolist()]
        self._symbols = np.zeros(256, dtype=np.uint16)
        self._symbols[alphabet] = np.arange(alphabet.size)
        #: For each round the shift and the arrays of its hash table.
        self._rounds: list[tuple[Any, ...]] = []
        self._learn(self._sample(strings))

    def _sample(self, strings: Strings) -> NDArray[np.uint16]:
        cuts = strings.cuts(_SAMPLE // 64)
        step = max(1, -(-(len(cuts) - 1) // 64))
        parts = [strings.stream(cuts[i], cuts[i + 1], self._symbols) for i in range(0, len(cuts) - 1, step)]
        return np.concatenate([np.empty(0, np.uint16), *(part[: _SAMPLE // 64] for part in parts)])

    def _learn(self, stream: NDArray[np.uint16]) -> None:
        lengths = np.ones(len(self.rules), dtype=np.int64)
        for _ in range(_MOST_ROUNDS):
            chosen = _best_pairs(stream, lengths)
            if not chosen.size:
                break
            left, right = chosen >> 16, chosen & 0xFFFF
            shift, size = _table_size(chosen.size)
            keys, symbols = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
            pair_table(chosen, len(self.rules), shift, keys, symbols)
            self._rounds.append((shift, keys, symbols))
            self.rules += zip(left.tolist(), right.tolist(), strict=True)
            lengths = np.concatenate([lengths, lengths[left] + lengths[right]])
            stream = stream[: replace_pairs(stream, stream.size, shift, keys, symbols)]

    def parse(self, strings: Strings) -> NDArray[np.uint16]:
        """Return the symbols of all strings, with END behind each string."""
        parts = [np.empty(0, dtype=np.uint16)]
        cuts = strings.cuts(_SAMPLE)
        for start, stop in pairwise(cuts):
            stream = strings.stream(start, stop, self._symbols)
            n = stream.size
            for table in self._rounds:
                n = replace_pairs(stream, n, *table)
            parts.append(stream[:n].copy())
        return np.concatenate(parts)


def _table_size(n: int) -> tuple[np.uint64, int]:
    """Return the shift of hashes and the slots of a table that n pairs fill by half at most."""
    bits = max(4, (2 * n - 1).bit_length())
    return np.uint64(64 - bits), 1 << bits


def _best_pairs(stream: NDArray[np.uint16], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of a round, the best first."""
    n_symbols = lengths.size
    shift, size = _table_size(min(stream.size, n_symbols**2) + 1)
    pairs, counts = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    singles = np.zeros(n_symbols, dtype=np.int64)
    count_pairs(stream, shift, pairs, counts, singles)
    repeated = counts > 1
    pairs, counts = pairs[repeated], counts[repeated]
    saved = np.empty(pairs.size)
    bits_saved(pairs, counts, singles, singles.sum(), saved)
    good = saved >= max(_LEAST_SAVED, _ROUND_SHARE * saved.max(initial=0.0))
    pairs, saved = pairs[good], saved[good]
    order = np.lexsort((pairs, -saved))
    is_left, is_right = np.zeros((2, n_symbols), dtype=np.bool_)
    out = np.empty(pairs.size, dtype=np.int64)
    n = choose_pairs(pairs[order], lengths, LONGEST, END - n_symbols, is_left, is_right, out)
    return out[:n]
