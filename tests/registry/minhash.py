"""MinHash."""

from __future__ import annotations

from typing import Any

from entries import Family
from mergesketch.lsh import HashFamily, MinHash
from row_data import JACCARD, set_pairs, token_sets
from stored_data import SMALL_SETS

FAMILIES: dict[str, Family] = {
    "MinHash": Family(lambda n_hashes, seed: MinHash(n_hashes, seed=seed), token_sets, JACCARD, set_pairs),
    "MinHash, one permutation": Family(
        lambda n_hashes, seed: MinHash(n_hashes, power=2, n_buckets=64, scheme="one-permutation", seed=seed),
        token_sets,
        JACCARD,
        set_pairs,
    ),
    "MinHash, fast similarity": Family(
        lambda n_hashes, seed: MinHash(n_hashes, n_buckets=100, scheme="fast-similarity", seed=seed),
        token_sets,
        JACCARD,
        set_pairs,
    ),
}


GPU_SET_FAMILIES: dict[str, MinHash] = {
    scheme: MinHash(20, power=2, n_buckets=100, scheme=scheme, seed=1)
    for scheme in ("permutations", "one-permutation", "fast-similarity")
}


SET_FAMILIES: dict[str, MinHash] = {
    "permutations": MinHash(8, power=2, scheme="permutations"),
    "one permutation": MinHash(8, n_buckets=64, scheme="one-permutation"),
    "values": MinHash(8, scheme="fast-similarity"),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "minhash": (MinHash(3, power=2, n_buckets=16, seed=1), SMALL_SETS),
}
