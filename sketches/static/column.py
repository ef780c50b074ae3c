"""One column of a static function: which ribbons answer for its values, and how a value is written in them.

A value that more than half of the keys have is taken out by a *filter*, a fixed ribbon of r bits that only
the other keys are in: they pass it, of the keys with the value one in 2**r does. One bit of the code then
tells those apart. It takes r bits for each of the others in place of one bit for every key, which is what
a prefix code would take at least. What is left is treated alike, until no value is frequent enough; then
the prefix code's words follow.
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
from .ribbon import Shard, Solved, lay_out, pack_thresholds, padding, solve

__all__ = ["CHECK_PURPOSE", "MAX_FILTERS", "Column", "check_told", "solve_filter"]

#: The key check's fingerprints differ from all filters'.
CHECK_PURPOSE = 1 << 20
#: Filters of a column: each leaves less than half of the keys.
MAX_FILTERS = 8
#: A filter is worth a look-up if it saves so much of the column.
_GAIN = 0.99
#: Bits that a ribbon costs in each shard beside its equations: its sizes, and slots left over.
_RIBBON_BITS = 600
#: Shorter words' first bits all share one ribbon of so many columns.
_FEWEST_PREFIX_BITS = 2


class Column(NamedTuple):
    """How the values of a column are written.

    Attributes
    ----------
    filters : tuple of (bits, value)
    prefix_bits : int
        First bits of the words that every word has, kept in a ribbon of their own: one row solves all.
    codebook : Codebook
        Of the values that no filter took out.
    """

    filters: tuple[tuple[int, int], ...]
    prefix_bits: int
    codebook: Codebook

    @classmethod
    def build(cls, counted: Counted, n_shards: int) -> Column:
        """The cheapest found for the values of keys in so many shards."""
        values, counts, more = counted
        n_more = more.n if more else 0
        filters: list[tuple[int, int]] = []
        while len(filters) < MAX_FILTERS and values.size > 1:
            best = int(np.argmax(counts))
            bits = _filter_bits(int(counts[best]), int(counts.sum() - counts[best]) + n_more)
            if not bits:
                break
            others = np.delete(counts, best)
            n_others = int(others.sum()) + n_more
            exact = n_others + max(1, int(counts[best]) >> bits)
            cost = bits * n_others + exact + _code_bits(others, more) + _RIBBON_BITS * n_shards
            if cost >= _GAIN * _code_bits(counts, more):
                break
            filters.append((bits, int(values[best])))
            values, counts = np.delete(values, best), others
        book = Codebook.build(values, counts, others=more)
        prefix = book.min_length if not filters and book.min_length >= _FEWEST_PREFIX_BITS else 0
        return cls(tuple(filters), prefix, book)

    def ribbons(self) -> list[tuple[int, int]]:
        """Width and longest word of each ribbon, in the order that `lsh.static_kernels.look_up` reads."""
        found = [(bits, 1) for bits, _ in self.filters]
        if self.prefix_bits:
            found.append((self.prefix_bits, 1))
        longest = len(self.filters) + self.codebook.max_length - self.prefix_bits
        if longest:
            found.append((1, longest))
        if self.codebook.raw_bits:
            found.append((self.codebook.raw_bits, 1))
        return found

    def solve(self, shard: Shard, values: NDArray[np.uint64], encoder: Encoder) -> list[Solved]:
        """The column's ribbons for the keys of a shard and their values."""
        solved: list[Solved] = []
        chained: list[tuple[Shard, NDArray[np.uint64], NDArray[np.uint8]]] = []
        for number, (bits, value) in enumerate(self.filters):
            has = values == np.uint64(value)
            rest, owners = shard.take(~has), shard.take(has)
            ribbon = solve_filter(rest, number, bits)
            solved.append(ribbon)
            # A one for each filter before; and a zero, if this one passes the key by chance.
            by_chance = _passes(ribbon, owners, number, bits).astype(np.uint8)
            word = np.uint64((1 << number) - 1) << by_chance.astype(np.uint64)
            chained.append((owners, word, by_chance + np.uint8(number)))
            shard, values = rest, values[~has]
        coded = self.codebook.encode(values, encoder)
        codes, lengths = coded.codes, coded.lengths
        n_filters = len(self.filters)
        if self.prefix_bits:
            prefix = codes >> (lengths - np.uint8(self.prefix_bits)).astype(np.uint64)
            solved.append(solve(shard, prefix, width=self.prefix_bits))
        longest = n_filters + self.codebook.max_length - self.prefix_bits
        if longest:
            lengths = lengths - np.uint8(self.prefix_bits)
            kept = codes & ((np.uint64(1) << lengths.astype(np.uint64)) - np.uint64(1))
            ones = np.uint64((1 << n_filters) - 1)
            words = (ones << lengths.astype(np.uint64)) | kept
            lengths = lengths + np.uint8(n_filters)
            solved.append(_solve_words([*chained, (shard, words, lengths)], longest))
        if self.codebook.raw_bits:
            escaped = coded.escaped
            solved.append(solve(shard.take(escaped), coded.raw[escaped], width=self.codebook.raw_bits))
        return solved

    # -- storage --------------------------------------------------------------------------------------

    def config(self, codebook: int) -> dict[str, Any]:
        """JSON-able; `codebook` is the number under which the codebook is kept."""
        return {
            "codebook": codebook,
            "filters": [[bits, value] for bits, value in self.filters],
            "prefix_bits": self.prefix_bits,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], codebooks: list[Codebook]) -> Column:
        """Raises ValueError for what no column says of itself."""
        number, filters, prefix = config["codebook"], config["filters"], config["prefix_bits"]
        if number >= len(codebooks):
            raise ValueError(f"codebook must be in [0, {len(codebooks)}), got {number}")
        book = codebooks[number]
        most = 0 if filters else book.min_length
        if prefix > most:
            raise ValueError(f"prefix_bits must be in [0, {most}], got {prefix}")
        return cls(tuple((bits, value) for bits, value in filters), prefix, book)


def check_told(config: Any) -> None:
    """Raise ValueError for what is no `Column.config`, as far as it can be told without the codebooks."""
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


def solve_filter(shard: Shard, purpose: int, bits: int) -> Solved:
    """The fixed ribbon in which the keys of `shard` have their fingerprints."""
    words = np.empty(shard.keys.size, dtype=np.uint64)
    fill_fingerprints(shard.keys, purpose, bits, words)
    return solve(shard, words, width=bits)


def _passes(ribbon: Solved, shard: Shard, purpose: int, bits: int) -> NDArray[np.bool_]:
    """Which keys of `shard` a filter of the same shard passes."""
    plan, _, _ = lay_out(np.array([[ribbon.sizes]], dtype=np.uint32), [(bits, 1)])
    solution = np.concatenate([ribbon.words, np.zeros(padding([(bits, 1)]), dtype=np.uint64)])
    out = np.empty(shard.keys.size, dtype=np.bool_)
    thresholds = pack_thresholds(ribbon.thresholds)
    passes_filter(shard.keys, shard.places, thresholds, solution, plan, purpose, bits, out)
    return out


def _solve_words(parts: list[tuple[Shard, NDArray[np.uint64], NDArray[np.uint8]]], longest: int) -> Solved:
    """The variable ribbon of all parts' words; those of no bits ask nothing."""
    if len(parts) == 1:
        shard, words, lengths = parts[0]
    else:
        shard = Shard(
            *(np.concatenate(arrays) for arrays in zip(*(part for part, _, _ in parts), strict=True))
        )
        words = np.concatenate([words for _, words, _ in parts])
        lengths = np.concatenate([lengths for _, _, lengths in parts])
        order = np.argsort(shard.places, kind="stable")
        shard, words, lengths = shard.take(order), words[order], lengths[order]
    some = lengths > 0
    if not some.all():
        shard, words, lengths = shard.take(some), words[some], lengths[some]
    return solve(shard, words, lengths, max_length=longest)


def _filter_bits(owners: int, others: int) -> int:
    """Bits of the filter that takes least in all, with the exact bit behind it; 0 if none does."""
    costs = [owners + others] + [r * others + others + owners / 2**r for r in range(1, 33)]
    return int(np.argmin(costs))


def _code_bits(counts: NDArray[np.int64], more: Others | None) -> int:
    if more is None:
        return int(counts @ code_lengths(counts, 32).astype(np.int64))
    counts = np.append(counts, more.n)
    return (
        int(counts @ code_lengths(counts, 32).astype(np.int64)) + more.n * (more.high - more.low).bit_length()
    )
