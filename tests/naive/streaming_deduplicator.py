"""Streaming de-duplication: keys of bands, and filters of bits or of the keys themselves."""

from __future__ import annotations

from naive.bloom_filter import bloom_places
from naive.words import mix13


def band_keys(signature: list[int], bands: int, rows: int, seed: int) -> list[int]:
    """Return the 64-bit key of each band of one signature."""
    keys = []
    for band in range(bands):
        word = seed ^ band << 32
        for value in signature[band * rows : (band + 1) * rows]:
            word = mix13(word ^ value)
        keys.append(word)
    return keys


def admit(
    documents: list[list[int]], bands: int, n_blocks: int, n_bits: int
) -> tuple[list[bool], list[set[tuple[int, int]]]]:
    """Return for each document, by its keys, whether it is new, and the (block, bit) pairs of each filter."""
    filters: list[set[tuple[int, int]]] = [set() for _ in range(bands)]
    is_new = []
    for keys in documents:
        places = [set(bloom_places(key, n_blocks, n_bits)) for key in keys]
        is_new.append(not any(p <= bits for p, bits in zip(places, filters, strict=True)))
        for p, bits in zip(places, filters, strict=True):
            bits |= p
    return is_new, filters


def admit_exactly(documents: list[list[int]], bands: int) -> list[bool]:
    """Return for each document whether no earlier one has the same key in the same band."""
    seen: list[set[int]] = [set() for _ in range(bands)]
    is_new = []
    for keys in documents:
        is_new.append(not any(key in known for key, known in zip(keys, seen, strict=True)))
        for key, known in zip(keys, seen, strict=True):
            known.add(key)
    return is_new
