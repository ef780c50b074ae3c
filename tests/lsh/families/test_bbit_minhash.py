"""Test BBitMinHash: packed codes against plain ones, and the similarities that they estimate."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, Race
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import BBitMinHash, MinHash
from mergesketch.lsh.kernels.bbit_minhash import count_equal_fields, pack_fields

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
        # Densified values depend on each other; at this size the variance is less than four times as large.
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


@pytest.mark.parametrize("power", [1, 3])
def test_packed_codes_are_the_codes_whatever_the_blocks_and_threads(power: int) -> None:
    """There are more sets than fit a block, and rows that do not fill their words."""
    rng = np.random.default_rng(5)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 30, 3000))])
    sets = rng.integers(0, 500, int(offsets[-1])), offsets
    family = BBitMinHash(100, 4, power=power, seed=6)
    expected = np.zeros((3000, family.n_words), np.uint64)
    for v, codes in enumerate(family.hash(sets).astype(np.uint64).T):
        expected[:, v // 16] |= codes << np.uint64(v % 16 * 4)
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            packed = family.packed(sets)
            np.testing.assert_array_equal(packed, expected)
            estimates = family.estimate_packed(packed, packed[::-1])
            np.testing.assert_array_equal(estimates, estimates[::-1])
    finally:
        mergesketch.set_num_threads(before)
    assert family.packed([]).shape == (0, family.n_words)


def test_packing_holds_few_codes_at_once() -> None:
    family = BBitMinHash(256, 1)
    sets = np.zeros(20_000, np.uint64), np.arange(20_001)
    size = family.packed(sets).nbytes
    tracemalloc.start()
    try:
        family.packed(sets)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All codes would have 32 times the size; a thread uses half a megabyte, and there are some offsets.
    assert peak < size + 4_000_000 < 32 * size / 2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["permutations", "fast-similarity", "one-permutation"])
@pytest.mark.parametrize("bits", [1, 4])
def test_errors_are_those_of_theory(bits: int, scheme: str) -> None:
    """Sets are much longer than signatures; no scheme has larger errors than independent hashes."""
    n_seeds, m, union = 300, 192, 1200
    for common in (0, 120, 600, 1080):
        J, left = common / union, (union - common) // 2
        tokens = np.random.default_rng([bits, common]).integers(0, 2**63, union)
        sets = [tokens[: common + left], np.delete(tokens, np.s_[common : common + left])]
        estimates = np.empty(n_seeds)
        for seed in range(n_seeds):
            family = BBitMinHash(m, bits, scheme=scheme, seed=seed)
            packed = family.packed(sets)
            estimates[seed] = family.estimate_packed(packed[:1], packed[1:])[0]
        P = J + (1 - J) / 2**bits
        std = math.sqrt(P * (1 - P) / m) / (1 - 2.0**-bits)
        assert abs(estimates.mean() - J) <= 6 * std / math.sqrt(n_seeds)
        # A sample's standard deviation errs by 1 / sqrt(2 n) of itself.
        assert estimates.std(ddof=1) <= std * (1 + 6 / math.sqrt(2 * n_seeds))
        if scheme == "permutations":
            assert estimates.std(ddof=1) >= std * (1 - 6 / math.sqrt(2 * n_seeds))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["permutations", "fast-similarity", "one-permutation"])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bits_are_uniform_for_long_sets_too(bits: int, scheme: str) -> None:
    """Minima of many tokens are small numbers, and the bits must not show it."""
    n, p = 40_000, 2.0**-bits
    codes = BBitMinHash(n, bits, scheme=scheme, seed=3).hash([np.arange(20 * n)])[0]
    counts = np.bincount(codes, minlength=1 << bits)
    assert np.abs(counts - n * p).max() <= 6 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("scheme", ["permutations", "fast-similarity", "one-permutation"])
def test_empty_sets_are_alike_and_meet_others_by_chance_only(scheme: str) -> None:
    family = BBitMinHash(20_000, 2, scheme=scheme, seed=8)
    packed = family.packed([[], [], np.arange(50)])
    alike, unlike = family.estimate_packed(packed[[0, 0]], packed[1:])
    assert alike == 1.0
    assert abs(unlike) <= 6 * math.sqrt(0.25 / 0.75 / 20_000)


def test_an_index_takes_the_chance_of_few_bits_off() -> None:
    rng = np.random.default_rng(6)
    base = rng.integers(0, 2**40, 60)
    sets = [np.concatenate([base[:n], rng.integers(0, 2**40, 60 - n)]) for n in range(0, 61, 3)]
    family = BBitMinHash(3000, 2, power=2, scheme="permutations", seed=7)
    index = LSHIndex(family, capacity=len(sets)).add(sets)
    ids, counts = index.query([base], k=len(sets))
    kernel = family.kernel([base], sets)[0, ids[0]]
    assert sorted(ids[0]) == list(range(len(sets)))
    same = kernel + (1 - kernel) / 4
    error = np.sqrt(same * (1 - same) / 3000) / (1 - 1 / 4)
    assert (np.abs(index.kernel_estimate(counts)[0] - kernel) <= 6 * error + 1e-12).all()


def test_a_race_takes_the_chance_of_few_bits_off() -> None:
    rng = np.random.default_rng(2)
    sets = [rng.choice(40, 10, replace=False) for _ in range(200)]
    family = BBitMinHash(2000, 2, scheme="permutations", seed=4)
    sums, std = Race(family).update(sets).query(sets[:40], return_std=True)
    exact = family.kernel(sets[:40], sets).sum(axis=1)
    assert (np.abs(sums - exact) < 6 * std).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="bits must be one of 1, 2, 4, 8, 16, got 3"):
        BBitMinHash(8, 3)
    for bad in (0, 32):
        with pytest.raises(ValueError, match=f"bits must be an integer from 1 to 16, got {bad}"):
            BBitMinHash(8, bad)
    wrong: Any
    for wrong in (True, 2.0, "2"):
        with pytest.raises(TypeError, match="bits must be an integer"):
            BBitMinHash(8, wrong)
    four: Any = np.int64(4)
    assert BBitMinHash(8, four) == BBitMinHash(8, 4)
    family = BBitMinHash(128, 2)
    assert family.n_words == 4
    packed = family.packed([[1, 2, 3]])
    with pytest.raises(TypeError, match="A must be packed codes of dtype uint64, got dtype int64"):
        family.estimate_packed(packed.astype(np.int64), packed)
    with pytest.raises(ValueError, match=r"B must have shape \(n, 4\), got \(1, 3\)"):
        family.estimate_packed(packed, packed[:, :3])
    with pytest.raises(ValueError, match=r"B must have the shape of A, \(1, 4\), got \(0, 4\)"):
        family.estimate_packed(packed, packed[:0])
    with pytest.raises(TypeError, match=r"sets\[0\] must"):
        family.packed([[0.5]])


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"seed": 2}, "seed: 1 here, 2 there"),
        ({"n_hashes": 32, "bits": 4}, "n_hashes: 64 here, 32 there"),
        ({"power": 2, "scheme": "fast-similarity"}, "power: 1 here, 2 there"),
        ({"expected_set_size": 1000}, "scheme: 'permutations' here, 'fast-similarity' there"),
    ],
)
def test_packed_codes_of_other_settings_are_refused_where_their_family_is_told(
    other: dict[str, Any], difference: str
) -> None:
    settings_ = {"n_hashes": 64, "bits": 2, "seed": 1, "expected_set_size": 20}
    here, there = BBitMinHash(**settings_), BBitMinHash(**{**settings_, **other})
    ours, theirs = here.packed([np.arange(50)]), there.packed([np.arange(50)])
    with pytest.raises(IncompatibleSketchError, match=f"packed codes differ in {difference}"):
        here.estimate_packed(ours, theirs, family=there)
    assert here.estimate_packed(ours, ours, family=BBitMinHash(**settings_)).tolist() == [1.0]
    plain: Any = MinHash(64, seed=1)
    with pytest.raises(
        IncompatibleSketchError, match="differ in family: 'BBitMinHash' here, 'MinHash' there"
    ):
        here.estimate_packed(ours, ours, family=plain)
    with pytest.raises(TypeError, match="family must be a hash family, got dict"):
        here.estimate_packed(ours, ours, family=plain.config())
