"""Cases of MinHash signatures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import CASES, Case, OnDevice, case, on_device, to_read, words
from mergesketch.lsh import MinHash


def csr_sets(rng: np.random.Generator) -> Iterator[tuple[OnDevice, OnDevice]]:
    """Yield sets of no, few and many tokens, with repetitions, in both dtypes."""
    for n in (0, 1, 23):
        offsets = np.concatenate([[0], np.cumsum(rng.choice([0, 1, 3, 31, 32, 33, 100, 700], n))])
        tokens = words(rng, int(offsets[-1]))
        tokens[1::2] = tokens[: tokens[1::2].size]
        yield to_read(tokens), to_read(offsets.astype(np.int64))
        yield to_read(tokens.astype(np.int32)), to_read(offsets.astype(np.int64))


SIGNATURE_WIDTHS = (1, 31, 64, 150)


def minhash_cases(rng: np.random.Generator, scheme: str) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        drawn = MinHash(m, scheme=scheme, seed=m).random_parameters
        key, walk_key, rank_key = drawn["keys"]
        how = {
            "permutations": (drawn["a"], drawn["b"]),
            "one-permutation": (drawn["multipliers"][0], walk_key, rank_key),
            "fast-similarity": (drawn["multipliers"], drawn["a"], drawn["b"]),
        }[scheme]
        for tokens, offsets in csr_sets(rng):
            out = np.full((offsets.array.size - 1, m), 7, np.uint32)
            yield tokens, offsets, key, *how, on_device(out)


CASES["minhash_permutations"] = lambda rng: minhash_cases(rng, "permutations")


CASES["minhash_one_permutation"] = lambda rng: minhash_cases(rng, "one-permutation")


CASES["minhash_fast_similarity"] = lambda rng: minhash_cases(rng, "fast-similarity")


@case("concatenate_codes")
def signatures_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for power in (1, 5):
        signatures = to_read(rng.integers(0, 2**32, (40, 3 * power), dtype=np.uint32))
        for n_buckets in (2, 2**32):
            yield signatures, words(rng, 3), np.uint64(n_buckets), on_device(np.zeros((40, 3), np.uint32))


@case("count_equal")
def signatures_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        A, B = (to_read(rng.integers(0, 2, (30, m), dtype=np.uint32)) for _ in "AB")
        yield A, B, 2, 30, on_device(np.zeros(30, np.uint32))


def bins(rng: np.random.Generator, n: int, m: int) -> np.ndarray:
    """Return rows of bins; in the first none are full, in the last all."""
    filled = rng.random((n, m)) < np.linspace(0.0, 1.0, n)[:, None]
    return np.where(filled, rng.integers(0, 2**31, (n, m)), 0xFFFFFFFF).astype(np.uint32)


@case("densify_signatures")
def bins_to_fill(rng: np.random.Generator) -> Iterator[Case]:
    for m in (*SIGNATURE_WIDTHS, 2000):
        minima = bins(rng, 12, m)
        yield on_device(minima), *words(rng, 2), 1, 12, on_device(np.zeros_like(minima))


@case("throw_tokens")
def tokens_to_throw(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        tokens = to_read(words(rng, 500))
        sets = rng.integers(0, 9, 500)
        yield tokens, to_read(sets), *words(rng, 2), 2, 7, 3, 490, on_device(bins(rng, 5, m))
        yield tokens, to_read(sets[:0]), *words(rng, 2), 0, 1, 0, 500, on_device(bins(rng, 1, m))


@case("compare_bins")
def bins_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for m in SIGNATURE_WIDTHS:
        minima = bins(rng, 10, m)
        minima[5:] = np.where(rng.random((5, m)) < 0.5, minima[:5], minima[5:])
        pairs = (to_read(rng.integers(0, 10, 40)) for _ in "lr")
        out = (on_device(np.zeros(40, dtype)) for dtype in (np.int64, np.int64, np.float64))
        yield on_device(minima), *pairs, 1, 40, *out
