"""Test MinHashSketch: streamed sets against signatures of whole ones, and estimates against the truth."""

from __future__ import annotations

import math
from typing import Any

import mergesketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, MinHashSketch
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import MinHash, hash_keys
from naive import minhash_sketch as naive


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(-5, 30) | st.integers(0, 2**63 - 1), max_size=12), min_size=1, max_size=5),
    st.integers(1, 40),
    st.integers(0, 2**64 - 1),
    st.randoms(use_true_random=False),
)
def test_streamed_signatures_are_those_of_whole_sets(
    sets: list[list[int]], n_hashes: int, seed: int, random
) -> None:
    tokens = [(token, number) for number, row in enumerate(sets) for token in row]
    random.shuffle(tokens)
    sketch = MinHashSketch(len(sets), n_hashes, seed=seed)
    for part in (tokens[::2], tokens[1::2]):
        sketch.update(np.array([t for t, _ in part], np.int64), np.array([s for _, s in part], np.int64))
    whole = MinHash(n_hashes, scheme="one-permutation", seed=seed)
    expected = whole.signatures([np.array(row, np.int64) for row in sets])
    np.testing.assert_array_equal(sketch.signatures(), expected)
    assert sketch.family == whole
    for i in range(len(sets)):
        for j in range(len(sets)):
            bins = naive.shared_bins(sketch.state["minima"].array.tolist(), i, j)
            assert sketch.jaccard(i, j)[0] == (bins[0] / bins[1] if bins[1] else 1.0)


def test_estimates_are_near_the_truth() -> None:
    """Over 60 seeds the bias is below six standard errors, and errors are as large as the theory says."""
    n_hashes, sizes = 256, (10, 200, 3000, 100_000)
    found = {size: [] for size in sizes}
    for seed in range(60):
        sketch = MinHashSketch(len(sizes), n_hashes, seed=seed)
        for number, size in enumerate(sizes):
            sketch.update(np.arange(size), sets=number)
        for number, size in enumerate(sizes):
            found[size].append(sketch.cardinality()[number] / size)
    for size, ratios in found.items():
        full = n_hashes * -math.expm1(-size / n_hashes)
        # Few tokens fill nearly as many bins as there are tokens: the error is below that of Poisson counts.
        spread = 1 / math.sqrt(full)
        assert np.std(ratios) < 1.6 * spread
        assert abs(np.mean(ratios) - 1) < 6 * spread / math.sqrt(60) + 1.0 / n_hashes


@pytest.mark.parametrize(("common", "only"), [(90, 10), (50, 500), (3000, 1000), (0, 400)])
def test_similarity_and_overlaps(common: int, only: int) -> None:
    n_hashes, seeds = 256, 80
    union = common + 2 * only
    J = common / union
    jaccard, shared, contained = [], [], []
    for seed in range(seeds):
        sketch = MinHashSketch(2, n_hashes, seed=seed)
        sketch.update(np.arange(common + only), sets=0)
        sketch.update(np.arange(only, 2 * only + common), sets=1)
        jaccard.append(sketch.jaccard([0], [1])[0])
        shared.append(sketch.intersection(0, 1)[0])
        contained.append(sketch.containment(0, 1)[0])
    full = n_hashes * -math.expm1(-union / n_hashes)
    error = math.sqrt(J * (1 - J) / full)
    assert abs(np.mean(jaccard) - J) < 6 * error / math.sqrt(seeds) + 1e-9
    assert np.std(jaccard) < 1.5 * error + 1e-9
    if common:
        relative = math.hypot(error / J, 1 / math.sqrt(full))
        assert abs(np.mean(shared) / common - 1) < 6 * relative / math.sqrt(seeds) + 2 / n_hashes
        share = common / (common + only)
        assert abs(np.mean(contained) - share) < 6 * 2 * relative * share / math.sqrt(seeds) + 2 / n_hashes
    else:
        assert shared == [0.0] * seeds


def test_containment_of_subsets_is_right_on_average() -> None:
    """A subset is wholly contained, so estimates lie on both sides of 1."""
    found = []
    for seed in range(400):
        sketch = MinHashSketch(2, 64, seed=seed).update(np.arange(3000), sets=0)
        found.append(sketch.update(np.repeat(np.arange(2000), 2), sets=1).containment([1], [0])[0])
    # The parts of the ratio err by 1 / sqrt(64) relatively, so its mean errs by about that squared.
    assert abs(np.mean(found) - 1) < 6 * np.std(found) / math.sqrt(len(found)) + 1 / 64
    assert 0.3 < np.mean(np.array(found) > 1) < 0.7


WANTED: dict[str, Any] = {
    "n_hashes": 16, "power": 4, "n_buckets": 4096, "scheme": "one-permutation", "seed": 7,
}  # fmt: skip


def test_signatures_of_another_family_are_refused() -> None:
    sketch = MinHashSketch(2, 64, seed=7).update(np.arange(300), sets=0).update(np.arange(300), sets=1)
    family = MinHash(**WANTED)
    family.codes(sketch.signatures(), family=sketch.family)
    assert family.estimate_jaccard(
        sketch.signatures(), family.signatures([np.arange(300)] * 2), family=sketch.family
    ).tolist() == [1.0, 1.0]
    for other, difference in (
        (MinHash(16, power=4, scheme="one-permutation", seed=8), "seed: 8 here, 7 there"),
        (MinHash(16, power=4, seed=7), "scheme: 'permutations' here, 'one-permutation' there"),
        (MinHash(16, power=2, scheme="one-permutation", seed=7), r"n_hashes \* power: 32 here, 64 there"),
    ):
        with pytest.raises(IncompatibleSketchError, match=f"signatures differ in {difference}"):
            other.codes(sketch.signatures(), family=sketch.family)
    index = LSHIndex(family, capacity=4).add([np.arange(300)])
    codes = family.codes(sketch.signatures(), family=sketch.family)
    assert index.query_codes(codes, 1, family=MinHash(**WANTED)).ids.tolist() == [[0], [0]]
    with pytest.raises(IncompatibleSketchError, match="codes differ in seed: 7 here, 8 there"):
        index.query_codes(codes, 1, family=MinHash(**{**WANTED, "seed": 8}))
    with pytest.raises(IncompatibleSketchError, match="codes differ in n_hashes: 16 here, 64 there"):
        index.query_codes(codes, 1, family=sketch.family)
    with pytest.raises(TypeError, match="family must be a MinHash, got int"):
        family.codes(sketch.signatures(), family=7)  # type: ignore[arg-type]


def test_tokens_of_every_kind() -> None:
    words = ["tea", "cake", "straße", "日本", "tea"]
    expected = MinHashSketch(seed=3).update(hash_keys(words))
    for tokens in (words, np.array(words), pa.array(words), [w.encode() for w in words]):
        assert MinHashSketch(seed=3).update(tokens).state["minima"].array.tolist() == (
            expected.state["minima"].array.tolist()
        )
    numbers = MinHashSketch(seed=3).update([1, 2, -1])
    for tokens in (
        np.array([1, 2, -1]),
        np.array([1, 2, 2**64 - 1], np.uint64),
        np.array([1, 2, -1], np.int8),
    ):
        assert MinHashSketch(seed=3).update(tokens) == numbers
    assert MinHashSketch(seed=3).update([]) == MinHashSketch(seed=3)


@pytest.mark.parametrize("container", ["list", "NumPy integers", "objects", "arrow", "chunks", "pandas"])
def test_integers_of_any_container_are_the_same_tokens(container: str) -> None:
    numbers = [1, 2, -3, 500]
    if container in ("arrow", "chunks"):
        pa = pytest.importorskip("pyarrow")
        parts = [pa.array(numbers[:3]), pa.array(numbers[3:])]
        tokens = pa.chunked_array(parts) if container == "chunks" else pa.array(numbers)
    elif container == "pandas":
        tokens = pytest.importorskip("pandas").Series(numbers)
    else:
        tokens = {
            "list": numbers,
            "NumPy integers": [np.int64(n) for n in numbers],
            "objects": np.array(numbers, dtype=object),
        }[container]
    assert MinHashSketch(seed=1).update(tokens) == MinHashSketch(seed=1).update(np.array(numbers))


@pytest.mark.parametrize(
    "tokens", [[1, "a"], [1.5], [True], np.zeros((2, 2), int), 7.5, True, 2**64, [2**64], [-(2**63) - 1]]
)
def test_bad_tokens_are_named(tokens: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^tokens"):
        MinHashSketch().update(tokens)


def test_empty_sets() -> None:
    sketch = MinHashSketch(3, 16).update([5, 6], sets=1)
    assert sketch.jaccard([0, 0, 1], [2, 1, 1]).tolist() == [1.0, 0.0, 1.0]
    assert sketch.cardinality()[[0, 2]].tolist() == [0.0, 0.0]
    assert np.isnan(sketch.containment(0, 1)[0])
    assert (sketch.signatures()[[0, 2]] == 0xFFFFFFFF).all()


def test_streamed_sets_in_an_index() -> None:
    """Streamed signatures find the sets that an index was built from whole."""
    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 10**6, 300) for _ in range(50)]
    family = MinHash(16, power=4, n_buckets=1 << 12, scheme="one-permutation", seed=7)
    index = LSHIndex(family, capacity=16).add(sets)
    sketch = MinHashSketch(50, 64, seed=7)
    for part in range(3):
        for number, row in enumerate(sets):
            sketch.update(row[part::3], sets=number)
    codes = family.codes(sketch.signatures())
    np.testing.assert_array_equal(codes, family.hash(sets))
    np.testing.assert_array_equal(index.query_codes(codes, 1).ids[:, 0], np.arange(50))
    plain = MinHash(64, scheme="one-permutation", seed=7)
    np.testing.assert_array_equal(plain.codes(plain.signatures(sets)), plain.hash(sets))
    with pytest.raises(ValueError, match=r"signatures must have shape \(n, 64\)"):
        family.codes(sketch.signatures()[:, :5])
    with pytest.raises(TypeError, match="signatures must be signatures of dtype uint32"):
        family.codes(sketch.signatures().astype(np.int64))


@pytest.mark.parametrize("n_sets", [1, 20_000])
def test_threads_share_small_tables_and_split_large_ones(n_sets: int) -> None:
    rng = np.random.default_rng(1)
    tokens, numbers = rng.integers(0, 2**63, 400_000), rng.integers(0, n_sets, 400_000)
    sketches, before = [], mergesketch.get_num_threads()
    try:
        for n in (1, 4):
            mergesketch.set_num_threads(n)
            sketches.append(MinHashSketch(n_sets, 64, seed=2).update(tokens, numbers))
    finally:
        mergesketch.set_num_threads(before)
    assert sketches[0] == sketches[1]
    assert sketches[0].state["minima"].array.min() < 0xFFFFFFFF


def test_bad_arguments() -> None:
    for name, arguments in (("n_sets", {"n_sets": 0}), ("n_hashes", {"n_hashes": 0}), ("seed", {"seed": -1})):
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            MinHashSketch(**arguments)
    sketch = MinHashSketch(4, 8).update([1, 2, 3], sets=[0, 1, 2])
    before = sketch.copy()
    for tokens, sets, error, match in (
        ([1, 2], None, ValueError, "sets must be given, for there are 4 sets"),
        ([1, 2], [0], ValueError, r"sets must be an integer or of shape \(2,\), got shape \(1,\)"),
        ([1, 2], [0, 4], ValueError, "sets must lie from 0 to 3, got 0 to 4"),
        ([1, 2], [0.0, 1.0], TypeError, "sets must hold integers, got dtype float64"),
        ([1, 2], 4, ValueError, "sets must be an integer from 0 to 3"),
        ([[1, 2]], 0, TypeError, "tokens"),
        (np.zeros((2, 2), int), 0, ValueError, r"tokens must be 1-D, got shape \(2, 2\)"),
        ([2**64], 0, ValueError, r"tokens must be integers from -2\*\*63"),
        ([1, "a"], 0, TypeError, "tokens"),
        ([1.5], 0, TypeError, "tokens"),
    ):
        with pytest.raises(error, match=match):
            sketch.update(tokens, sets)
        assert sketch == before
    with pytest.raises(ValueError, match="left and right must be 1-D and of one length"):
        sketch.jaccard([0, 1], [0])
    with pytest.raises(ValueError, match="right must lie from 0 to 3, got 9 to 9"):
        sketch.jaccard(0, 9)
    with pytest.raises(TypeError, match="left must hold integers"):
        sketch.jaccard("a", 0)
