"""BBitMinHash: packed codes against plain ones, and the similarities that they give back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import Race
from mergesketch.lsh import BBitMinHash, MinHash
from mergesketch.lsh.bbit_kernels import count_equal_fields, pack_fields

BITS = [1, 2, 4, 8, 16]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(1, 150), st.sampled_from(BITS), st.integers(0, 2**32))
def test_fields_are_packed_and_compared_one_by_one(n: int, n_hashes: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (n, n_hashes), dtype=np.uint32)
    others = np.where(
        rng.random(codes.shape) < 0.5, codes, rng.integers(0, 1 << bits, codes.shape, dtype=np.uint32)
    )
    words = -(-n_hashes * bits // 64)
    packed, other = (np.empty((n, words), np.uint64) for _ in range(2))
    pack_fields(codes, bits, 0, n, packed)
    pack_fields(others, bits, 0, n, other)
    for i in range(n):
        number = sum(int(code) << (v * bits) for v, code in enumerate(codes[i]))
        assert sum(int(word) << (64 * w) for w, word in enumerate(packed[i])) == number
    equal = np.empty(n, np.int64)
    count_equal_fields(packed, other, bits, n_hashes, 0, n, equal)
    np.testing.assert_array_equal(equal, (codes == others).sum(axis=1))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("scheme", ["permutations", "fast-similarity", "one-permutation"])
def test_similarities_come_back(bits: int, scheme: str) -> None:
    union, seeds, n_hashes = 120, 40, 256
    for common in (0, 40, 90, 120):
        J = common / union
        left = (union - common) // 2
        estimates = []
        for seed in range(seeds):
            tokens = np.random.default_rng([seed, common]).integers(0, 2**63, union)
            family = BBitMinHash(n_hashes, bits, scheme=scheme, seed=seed)
            packed = family.packed(
                [tokens[: common + left], np.delete(tokens, np.s_[common : common + left])]
            )
            estimates.append(family.estimate_packed(packed[:1], packed[1:])[0])
        P = J + (1 - J) / 2**bits
        error = math.sqrt(P * (1 - P) / n_hashes) / (1 - 2.0**-bits)
        # Densified values depend on each other: at this size by less than four times the variance.
        slack = 2.0 if scheme == "one-permutation" else 1.0
        assert abs(np.mean(estimates) - J) <= 6 * slack * error / math.sqrt(seeds) + 1e-12


def test_codes_are_those_of_minhash_with_as_many_buckets() -> None:
    rng = np.random.default_rng(1)
    sets = [rng.integers(0, 1000, n) for n in (0, 1, 30, 300)]
    family = BBitMinHash(50, 4, power=2, seed=3)
    plain = MinHash(50, power=2, n_buckets=16, seed=3)
    np.testing.assert_array_equal(family.hash(sets), plain.hash(sets))
    np.testing.assert_array_equal(family.signatures(sets), plain.signatures(sets))
    assert family.chance_collision == 1 / 16
    assert family != plain
    np.testing.assert_array_equal(family.packed(sets), family.packed(sets[:2] + sets[2:]))


def test_a_race_takes_the_chance_of_few_bits_off() -> None:
    rng = np.random.default_rng(2)
    sets = [rng.choice(40, 10, replace=False) for _ in range(200)]
    family = BBitMinHash(2000, 2, scheme="permutations", seed=4)
    sums, std = Race(family).update(sets).query(sets[:40], return_std=True)
    exact = family.kernel(sets[:40], sets).sum(axis=1)
    assert (np.abs(sums - exact) < 6 * std).all()


def test_bad_arguments() -> None:
    for bad in (0, 3, 32):
        with pytest.raises(ValueError, match="bits must be one of 1, 2, 4, 8, 16"):
            BBitMinHash(8, bad)
    family = BBitMinHash(128, 2)
    assert family.n_words == 4
    packed = family.packed([[1, 2, 3]])
    with pytest.raises(TypeError, match="A must be packed codes of dtype uint64, got dtype int64"):
        family.estimate_packed(packed.astype(np.int64), packed)
    with pytest.raises(ValueError, match=r"B must have shape \(n, 4\), got \(1, 3\)"):
        family.estimate_packed(packed, packed[:, :3])
    with pytest.raises(ValueError, match=r"B must have the shape of A, \(1, 4\), got \(0, 4\)"):
        family.estimate_packed(packed, packed[:0])
    with pytest.raises(TypeError, match="X"):
        family.packed([[0.5]])
