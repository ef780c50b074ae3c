"""Contexts: classes of keys with codes of their own, for values that depend on what is known of a key.

Each key has a context: a number that the caller passes, or one that is computed from the key. Contexts whose
values are distributed alike form a class, and each class is a column: it has its own filters, code and
ribbons, for the keys of the class alone. So the values take about their conditional entropy, given the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, read_keys
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ..coding import elias_fano

__all__ = ["ARRAYS", "Contexts", "Rule", "choose_classes"]

#: The arrays of contexts and their dtypes.
ARRAYS = {"contexts": "uint64", "context_classes": "uint8"}
#: Largest number of distinct contexts, and of classes.
_MOST_CONTEXTS, _MOST_CLASSES = 1 << 16, 64
#: Distinct values that classes are compared by; the rarer ones count as one.
_MOST_VALUES = 1 << 10
#: Estimated bits of a class beside its values: in the file's header, in each shard, and a distinct value.
_CLASS_BITS, _SHARD_BITS, _VALUE_BITS = 8 * 500, 1200, 12
#: Bits that opening a class takes at first: few, as classes that do not pay are merged afterwards.
_FIRST_OPENING = 100
_PASSES = 2


class Rule(NamedTuple):
    """The rule by which the context of a key is found.

    Attributes
    ----------
    name : str
        "given" (by the caller), "length" (in bytes) or "prefix" (the first bytes).
    n_bytes : int
        The bytes of a prefix, 0 for others.
    """

    name: str
    n_bytes: int = 0

    @classmethod
    def of(cls, context: Any) -> Rule:
        """Return the rule of an argument `context` at construction; ValueError if there is no such rule."""
        if isinstance(context, str):
            if context != "length":
                raise ValueError(f'context must be an array, "length" or ("prefix", n), got {context!r}')
            return cls("length")
        if isinstance(context, tuple) and context[:1] == ("prefix",):
            if len(context) != 2:
                raise ValueError(f'context must be ("prefix", n), got {context!r}')
            return cls("prefix", check_int("context[1]", context[1], 1, 8))
        return cls("given")

    @classmethod
    def from_config(cls, config: Any) -> Rule:
        """Return the rule of a configuration; raise ValueError if it has none."""
        if not isinstance(config, Mapping) or set(config) != {*cls._fields, "largest"}:
            raise ValueError(f"context must have a name, n_bytes and largest, got {config!r}")
        name, n_bytes = config["name"], check_int("n_bytes", config["n_bytes"], 0, 8)
        if name not in ("given", "length", "prefix") or (name == "prefix") != (n_bytes > 0):
            raise ValueError(f"context must be given, length or prefix, got {name!r} of {n_bytes} bytes")
        return cls(name, n_bytes)

    def ids(self, keys: Keys, context: Any) -> NDArray[np.uint64]:
        """Return the context of each key; `context` is what the caller passed."""
        if self.name == "given":
            return _given(context, len(keys))
        if keys.words is not None:
            raise TypeError(f'keys must be strings for context="{self.name}", got integers: pass an array')
        parts = [np.empty(0, dtype=np.uint64)]
        for data, offsets in keys.buffers():
            lengths = np.diff(offsets)
            if self.name == "length":
                parts.append(lengths.astype(np.uint64))
                continue
            found = np.zeros(lengths.size, dtype=np.uint64)
            for i in range(self.n_bytes):
                has_byte = lengths > i
                found <<= np.uint64(8)
                found[has_byte] |= data[offsets[:-1][has_byte] + i].astype(np.uint64)
            parts.append(found)
        return np.concatenate(parts)


def _given(context: Any, n: int) -> NDArray[np.uint64]:
    """Read the contexts that a caller passed: an integer for each key, or for the only key."""
    if context is None:
        raise ValueError("context must be an integer for each key, as at construction, got None")
    refuse_gpu("contexts", context)
    read = read_keys(context, "context")
    if read.kind == "bytes":
        raise TypeError("context must be integers, got strings or bytes")
    if len(read) != n:
        raise ValueError(f"context must have one integer for each of {n} keys, got {len(read)}")
    return np.empty(0, dtype=np.uint64) if read.words is None else read.words


class Contexts(NamedTuple):
    """The contexts of a map in ascending order, and the class of each."""

    values: NDArray[np.uint64]
    classes: NDArray[np.uint8]

    @property
    def largest(self) -> int:
        """The largest context, which is needed to read the arrays."""
        return int(self.values.max(initial=0))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store: an Elias-Fano sequence, and the classes."""
        return {"contexts": elias_fano.encode(self.values, self.largest), "context_classes": self.classes}

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], largest: Any, n_classes: int) -> Contexts:
        """Return the contexts of arrays; raise ValueError if they do not have `n_classes` classes."""
        words, classes = (np.require(arrays[name], requirements=["C", "A"]) for name in ARRAYS)
        if classes.size > _MOST_CONTEXTS:
            raise ValueError(f"there must be at most {_MOST_CONTEXTS} contexts, got {classes.size}")
        largest = check_int("largest", largest, 0, 2**64 - 1)
        try:
            elias_fano.check(words, classes.size, largest)
        except ValueError as error:
            raise ValueError(f"contexts: {error}") from None
        values = elias_fano.take(words, classes.size, largest, np.arange(classes.size))
        if (values[1:] <= values[:-1]).any():
            raise ValueError("contexts must ascend")
        if int(classes.max(initial=0)) >= n_classes:
            raise ValueError(f"context_classes must be in [0, {n_classes}), got {classes.max()}")
        return cls(values, classes)

    def classes_of(self, ids: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Return the class of each context; any class for one that no key had at construction."""
        if not self.values.size:
            return np.zeros(ids.size, dtype=np.uint8)
        return self.classes[np.minimum(np.searchsorted(self.values, ids), self.values.size - 1)]


def choose_classes(ids: NDArray[np.uint64], words: NDArray[np.uint64], n_shards: int) -> Contexts:
    """Put contexts into classes for which values, codes and classes are estimated to take the fewest bits.

    Each context, the most frequent first, joins the class where its values take the fewest bits, or becomes
    a class if that takes fewer. Classes are then merged, as long as that saves bits, and in the end contexts
    move to better classes.

    Parameters
    ----------
    ids, words : ndarrays of shape (n,), uint64
        The context and the value of each key.
    n_shards : int

    Raises
    ------
    ValueError
        If there are more than 65,536 contexts.
    """
    values, rows = np.unique(ids, return_inverse=True)
    if values.size > _MOST_CONTEXTS:
        raise ValueError(f"context must have at most {_MOST_CONTEXTS} distinct values, got {values.size}")
    columns = _columns(words)
    width = int(columns.max(initial=0)) + 1
    pairs, counts = np.unique(rows * width + columns, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(values.size + 1) * width)
    table = _Table(pairs % width, counts, starts, width, n_shards)
    table.assign(opening=_FIRST_OPENING)
    table.merge()
    for _ in range(_PASSES):
        table.assign(opening=_CLASS_BITS)
    # Number the classes that are left in the order of their first contexts.
    used, first = np.unique(table.chosen, return_index=True)
    number = np.zeros(_MOST_CLASSES, dtype=np.uint8)
    number[used[np.argsort(first)]] = np.arange(used.size)
    return Contexts(values, number[table.chosen])


class _Table:
    """The counts of values in each context and each class, and estimates of bits.

    Attributes
    ----------
    chosen : ndarray
        The class of each context, -1 for none.
    """

    def __init__(
        self,
        columns: NDArray[np.int64],
        counts: NDArray[np.int64],
        starts: NDArray[np.int64],
        width: int,
        n_shards: int,
    ) -> None:
        self._columns, self._counts, self._starts = columns, counts, starts.tolist()
        self._totals = [int(counts[i:j].sum()) for i, j in pairwise(self._starts)]
        self._ribbons = _SHARD_BITS * n_shards
        self.chosen = np.full(len(self._totals), -1)
        self._classes = np.zeros((_MOST_CLASSES, width), dtype=np.int64)
        self._sums, self._distinct = np.zeros((2, _MOST_CLASSES), dtype=np.int64)

    def assign(self, opening: int) -> None:
        """Give every context, the most frequent first, the class to which it adds the fewest bits."""
        classes, sums, distinct = self._classes, self._sums, self._distinct
        for context in np.argsort(-np.array(self._totals), kind="stable").tolist():
            part = slice(self._starts[context], self._starts[context + 1])
            where, some, total = self._columns[part], self._counts[part], self._totals[context]
            before = self.chosen[context]
            if before >= 0:
                classes[before, where] -= some
                sums[before] -= total
                distinct[before] -= (classes[before, where] == 0).sum()
            there = classes[:, where]
            new = (there == 0).sum(axis=1)
            added = _power(sums + total) - _power(sums) - (_power(there + some) - _power(there)).sum(axis=1)
            added += _VALUE_BITS * new + opening * (sums == 0)
            # A class of one value has no ribbons.
            added += self._ribbons * ((distinct <= 1) & (distinct + new > 1))
            best = int(np.argmin(added))
            classes[best, where] += some
            sums[best] += total
            distinct[best] += new[best]
            self.chosen[context] = best

    def merge(self) -> None:
        """Merge the two classes whose merging saves the most bits, as long as it saves any."""
        classes, sums, distinct = self._classes, self._sums, self._distinct
        n = _MOST_CLASSES
        saved = np.full((n, n), -1, dtype=np.int64)
        changed: Iterable[int] = range(n)
        while True:
            costs = self._costs(classes)
            for i in changed:
                others = (
                    np.flatnonzero((sums > 0) & (np.arange(n) != i)) if sums[i] else np.empty(0, np.int64)
                )
                saved[i], saved[:, i] = -1, -1
                saved[i, others] = costs[i] + costs[others] - self._costs(classes[others] + classes[i])
                saved[others, i] = saved[i, others]
            one, other = divmod(int(np.argmax(saved)), n)
            if saved[one, other] <= 0:
                return
            classes[one] += classes[other]
            classes[other] = 0
            sums[one] += sums[other]
            sums[other] = 0
            distinct[one], distinct[other] = (classes[one] > 0).sum(), 0
            self.chosen[self.chosen == other] = one
            changed = (one, other)

    def _costs(self, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bits of classes, from their counts of values."""
        distinct = (classes > 0).sum(axis=1)
        bits = _power(classes.sum(axis=1)) - _power(classes).sum(axis=1)
        return bits + _VALUE_BITS * distinct + _CLASS_BITS + self._ribbons * (distinct > 1)


def _columns(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return a number for each word, below `_MOST_VALUES`: that of the rarest is shared."""
    _, inverse, counts = np.unique(words, return_inverse=True, return_counts=True)
    place = np.empty(counts.size, dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(counts.size)
    return np.minimum(place, _MOST_VALUES - 1)[inverse]


def _power(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each count times its logarithm to the base 2, rounded.

    The logarithm is linear between powers of two, so that all processors find the same classes.
    """
    mantissas, exponents = np.frexp(counts.astype(np.float64))
    return np.rint(counts * (exponents - 2.0 + 2.0 * mantissas)).astype(np.int64)
