"""One column of a static map: the ribbons for its values, and how a value is written in them.

A value that more than half of the keys have is removed by a *filter*: a fixed ribbon with r-bit fingerprints
of the other keys only. All other keys pass it, and so does one in 2**r of the keys with the value; one bit of
the code tells these two apart. A filter takes r bits for each of the other keys, where a prefix code would
take at least one bit for every key. Further filters remove further values, until no value is frequent enough.
The values that remain have words of a prefix code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int
from ..coding.codebook import Codebook
from ..coding.codebook_choice import Others
from ..coding.prefix_code import code_lengths
from ..coding.value_counts import Counted
from ..kernels.codes import Encoder
from ..kernels.static import fill_fingerprints, passes_filter
from .ribbon import Ribbon, Shard, Solved, lay_out, solve, stored_arrays

__all__ = ["CHECK_PURPOSE", "MAX_FILTERS", "Column", "check_column_config", "ribbons_of", "solve_filter"]

#: The purpose of the key check's fingerprints. The purpose of a filter's fingerprints is its number.
CHECK_PURPOSE = 1 << 20
#: Largest number of filters of a column; each leaves less than half of the keys.
MAX_FILTERS = 8
#: A filter must reduce the size of the column to this share, or it is not worth a look-up.
_GAIN = 0.99
#: Bits that a ribbon takes in each shard beside its equations: its sizes, and slots that stay empty.
_RIBBON_BITS = 600
#: The first bits of all words have a ribbon of their own if all words have at least this number of bits.
_FEWEST_PREFIX_BITS = 2


class Column(NamedTuple):
    """The code of a column: its filters, and the prefix code of all other values.

    Attributes
    ----------
    filters : tuple of (bits, value)
    prefix_bits : int
        Number of first bits that every word has and that lie in a fixed ribbon: one row solves all of them.
    codebook : Codebook
        The code of the values that no filter removes.
    """

    filters: tuple[tuple[int, int], ...]
    prefix_bits: int
    codebook: Codebook

    @classmethod
    def build(cls, counted: Counted, n_shards: int) -> Column:
        """Return the smallest column found for the counted values of keys in `n_shards` shards."""
        values, counts, others = counted
        n_others = others.n if others else 0
        filters: list[tuple[int, int]] = []
        while len(filters) < MAX_FILTERS and values.size > 1:
            best = int(np.argmax(counts))
            rest = np.delete(counts, best)
            n_best, n_rest = int(counts[best]), int(rest.sum()) + n_others
            bits = _filter_bits(n_best, n_rest)
            if not bits:
                break
            exact = n_rest + max(1, n_best >> bits)
            cost = bits * n_rest + exact + _code_bits(rest, others) + _RIBBON_BITS * n_shards
            if cost >= _GAIN * _code_bits(counts, others):
                break
            filters.append((bits, int(values[best])))
            values, counts = np.delete(values, best), rest
        book = Codebook.build(values, counts, others=others)
        prefix = book.min_length if not filters and book.min_length >= _FEWEST_PREFIX_BITS else 0
        return cls(tuple(filters), prefix, book)

    @property
    def max_length(self) -> int:
        """Length of the longest word in the variable ribbon: a bit for each filter, and bits of the code."""
        return len(self.filters) + self.codebook.max_length - self.prefix_bits

    def ribbons(self) -> list[Ribbon]:
        """Return the shape of each ribbon, in the order that the kernel `look_up` expects."""
        found = [Ribbon(bits) for bits, _ in self.filters]
        if self.prefix_bits:
            found.append(Ribbon(self.prefix_bits))
        if self.max_length:
            found.append(Ribbon(1, self.max_length))
        if self.codebook.header.raw_bits:
            found.append(Ribbon(self.codebook.header.raw_bits))
        return found

    def solve(self, shard: Shard, values: NDArray[np.uint64], encoder: Encoder) -> list[Solved]:
        """Return the column's ribbons for the keys of a shard and their values."""
        solved: list[Solved] = []
        words, lengths = np.empty(values.size, dtype=np.uint64), np.empty(values.size, dtype=np.uint8)
        rest = np.arange(values.size)
        for number, (bits, value) in enumerate(self.filters):
            has_value = values == np.uint64(value)
            owners, rest, values = rest[has_value], rest[~has_value], values[~has_value]
            ribbon = solve_filter(shard.take(rest), number, bits)
            solved.append(ribbon)
            # The word has a one for each filter before, and a zero if this filter passes the key by chance.
            by_chance = _passes(ribbon, shard.take(owners), number, bits)
            lengths[owners] = by_chance + np.uint8(number)
            words[owners] = np.uint64((1 << number) - 1) << by_chance.astype(np.uint64)
        coded, raw_bits = self.codebook.encode(values, encoder), self.codebook.header.raw_bits
        kept = coded.lengths - np.uint8(self.prefix_bits)
        shifts = kept.astype(np.uint64)
        if self.prefix_bits:
            solved.append(solve(shard, coded.codes >> shifts, width=self.prefix_bits))
        if self.max_length:
            # The word of a key that passes all filters has a one for each filter, then the bits of its code.
            n_filters, one = len(self.filters), np.uint64(1)
            words[rest] = (np.uint64((1 << n_filters) - 1) << shifts) | (
                coded.codes & ((one << shifts) - one)
            )
            lengths[rest] = kept + np.uint8(n_filters)
            coded_shard, some = shard, lengths > 0
            if not some.all():
                coded_shard, words, lengths = shard.take(some), words[some], lengths[some]
            solved.append(solve(coded_shard, words, lengths, max_length=self.max_length))
        if raw_bits:
            escaped = coded.escaped
            solved.append(solve(shard.take(rest[escaped]), coded.raw[escaped], width=raw_bits))
        return solved

    # -- storage --------------------------------------------------------------------------------------

    def config(self, codebook: int) -> dict[str, Any]:
        """Return the column in JSON-able form, with the number of its codebook."""
        return {
            "codebook": codebook,
            "filters": [[bits, value] for bits, value in self.filters],
            "prefix_bits": self.prefix_bits,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], codebooks: list[Codebook]) -> Column:
        """Return the column of a configuration; raise ValueError if it does not fit the codebooks."""
        number, filters, prefix = config["codebook"], config["filters"], config["prefix_bits"]
        if number >= len(codebooks):
            raise ValueError(f"codebook must be in [0, {len(codebooks)}), got {number}")
        book = codebooks[number]
        most = 0 if filters else book.min_length
        if prefix > most:
            raise ValueError(f"prefix_bits must be in [0, {most}], got {prefix}")
        return cls(tuple((bits, value) for bits, value in filters), prefix, book)


def check_column_config(config: Any) -> None:
    """Raise ValueError if `Column.config` cannot have returned `config`; the codebooks are not checked."""
    if not isinstance(config, dict) or set(config) != {"codebook", "filters", "prefix_bits"}:
        raise ValueError(f"a column must have codebook, filters and prefix_bits, got {config!r}")
    for name in ("codebook", "prefix_bits"):
        check_int(name, config[name], 0)
    filters = config["filters"]
    if not isinstance(filters, list) or len(filters) > MAX_FILTERS:
        raise ValueError(f"filters must be a list of at most {MAX_FILTERS}, got {filters!r}")
    for pair in filters:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"a filter must be [bits, value], got {pair!r}")
        check_int("bits", pair[0], 1, 64)
        check_int("value", pair[1], 0, (1 << 64) - 1)


def ribbons_of(key_check_bits: int, columns: list[Column]) -> list[Ribbon]:
    """Return the shape of each ribbon of a map: the key check first, then the columns."""
    check = [Ribbon(key_check_bits)] if key_check_bits else []
    return check + [ribbon for column in columns for ribbon in column.ribbons()]


def solve_filter(shard: Shard, purpose: int, bits: int) -> Solved:
    """Return the fixed ribbon with the fingerprints of the keys of a shard."""
    words = np.empty(shard.keys.size, dtype=np.uint64)
    fill_fingerprints(shard.keys, purpose, bits, words)
    return solve(shard, words, width=bits)


def _passes(ribbon: Solved, shard: Shard, purpose: int, bits: int) -> NDArray[np.bool_]:
    """Return the mask of the keys that pass a filter of the same shard."""
    shape = [Ribbon(bits)]
    arrays = stored_arrays([ribbon], 1, shape)
    plan, _, _ = lay_out(arrays["sizes"], shape)
    out = np.empty(shard.keys.size, dtype=np.bool_)
    passes_filter(
        shard.keys, shard.places, arrays["thresholds"], arrays["solution"], plan, purpose, bits, out
    )
    return out


def _filter_bits(n_owners: int, n_others: int) -> int:
    """Return the bits of the smallest filter with its exact bits; 0 if exact bits alone are smaller."""
    costs = [n_owners + n_others] + [r * n_others + n_others + n_owners / 2**r for r in range(1, 33)]
    return int(np.argmin(costs))


def _code_bits(counts: NDArray[np.int64], others: Others | None) -> int:
    """Return the bits of all words in a prefix code with one escape for all others."""
    raw_bits = 0
    if others is not None:
        counts = np.append(counts, others.n)
        raw_bits = others.n * (others.high - others.low).bit_length()
    return int(counts @ code_lengths(counts, 32).astype(np.int64)) + raw_bits
