"""Bloom filters that grow."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import KEYS, Case
from later import Later
from mergesketch import ScalableBloomFilter
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS


def argument_cases() -> Iterator[Case]:
    keys = {"keys": KEYS}
    yield Case(
        "ScalableBloomFilter.update",
        lambda keys: ScalableBloomFilter(0.1, initial_capacity=2).update(keys),
        keys,
    )
    full = Later(lambda: ScalableBloomFilter(0.1, initial_capacity=2).update(KEYS[:4]))
    yield Case("ScalableBloomFilter.contains", full.contains, keys, "keys")


def stored_examples() -> dict[str, Stored]:
    grown = ScalableBloomFilter(0.1, initial_capacity=5).update(SMALL_WORDS)
    more = ScalableBloomFilter(0.1, initial_capacity=5).update([f"other {word}" for word in SMALL_WORDS])
    return {
        "ScalableBloomFilter": grown,
        "ScalableBloomFilter, merged": grown | more,
        "ScalableBloomFilter, empty": ScalableBloomFilter(0.1, initial_capacity=5),
    }
