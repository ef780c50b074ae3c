"""b-bit MinHash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argument_cases import OFFSETS, TOKENS, Case
from entries import Family
from mergesketch.lsh import BBitMinHash, HashFamily, MinHash
from row_data import JACCARD, set_pairs, token_sets
from stored_data import SMALL_SETS

FAMILIES: dict[str, Family] = {
    "BBitMinHash": Family(
        lambda n_hashes, seed: BBitMinHash(n_hashes, 2, seed=seed), token_sets, JACCARD, set_pairs
    ),
}


GPU_SET_FAMILIES: dict[str, MinHash] = {"b bits": BBitMinHash(20, bits=2, seed=1)}


SET_FAMILIES: dict[str, BBitMinHash] = {
    "b bits": BBitMinHash(8, bits=2),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "b-bit": (BBitMinHash(3, bits=4), SMALL_SETS),
}


def argument_cases() -> Iterator[Case]:
    family = SET_FAMILIES["b bits"]
    yield Case("BBitMinHash.packed", family.packed, {"sets": (TOKENS, OFFSETS)}, "sets", ("sets",))

    def packed() -> dict[str, Any]:
        words = family.packed((TOKENS, OFFSETS))
        return {"A": words, "B": words[::-1].copy()}

    yield Case("BBitMinHash.estimate_packed", family.estimate_packed, packed)
