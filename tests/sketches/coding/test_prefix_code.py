"""Test optimal length-limited prefix codes against an exhaustive search, and canonical words."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.sketches.coding.prefix_code import code_lengths, first_codes
from naive.prefix_code import canonical_words, least_code_cost


def fibonacci(n: int) -> list[int]:
    counts = [1, 1]
    while len(counts) < n:
        counts.append(counts[-1] + counts[-2])
    return counts[:n]


def kraft(lengths: np.ndarray) -> int:
    """Return the Kraft sum, times 2**32."""
    return sum(2 ** (32 - length) for length in lengths.tolist())


@given(
    st.lists(st.integers(1, 5) | st.integers(1, 10**6) | st.integers(0, 40).map(lambda k: 2**k), max_size=11),
    st.integers(0, 6),
)
@example(fibonacci(11), 4)
@example([1] * 8, 3)
@example([7], 0)
@settings(deadline=None)
def test_no_code_within_the_limit_takes_less(counts: list[int], spare: int) -> None:
    limit = max(len(counts) - 1, 0).bit_length() + spare
    lengths = code_lengths(np.array(counts, dtype=np.int64), limit)
    assert lengths.dtype == np.uint8 and lengths.shape == (len(counts),)
    assert sum(c * int(b) for c, b in zip(counts, lengths, strict=True)) == least_code_cost(counts, limit)
    if counts:
        assert lengths.max() <= limit
        assert kraft(lengths) == 2**32


@pytest.mark.parametrize("limit", [7, 8, 20, 24, 32])
def test_fibonacci_counts_keep_within_the_limit(limit: int) -> None:
    counts = np.array(fibonacci(80))
    lengths = code_lengths(counts, limit)
    assert lengths.max() == limit
    assert kraft(lengths) == 2**32
    # Rarer symbols have longer words.
    assert (np.diff(lengths.astype(int)) <= 0).all()


def test_fibonacci_counts_without_need_of_the_limit() -> None:
    # Huffman's code of Fibonacci's numbers is a comb.
    assert code_lengths(np.array(fibonacci(25)), 24).tolist() == [24, *range(24, 0, -1)]


def test_a_limit_costs_more_only_where_it_binds() -> None:
    rng = np.random.default_rng(3)
    counts = rng.zipf(1.2, 20_000).clip(max=10**9)
    costs = [int(counts @ code_lengths(counts, limit).astype(np.int64)) for limit in (15, 16, 18, 20, 24, 32)]
    assert costs == sorted(costs, reverse=True)
    # Huffman's code is within one bit a key of the entropy, and here far nearer.
    p = counts / counts.sum()
    entropy = -(p * np.log2(p)).sum() * counts.sum()
    assert entropy <= costs[-1] <= 1.01 * entropy
    assert costs[-2] == pytest.approx(costs[-1], rel=1e-3)


@given(st.permutations(range(12)), st.lists(st.integers(1, 9), min_size=12, max_size=12))
@settings(deadline=None)
def test_order_of_symbols_does_not_change_the_lengths_of_unlike_counts(
    order: list[int], counts: list[int]
) -> None:
    lengths = code_lengths(np.array(counts), 5)
    permuted = code_lengths(np.array(counts)[order], 5)
    for count in set(counts):
        where = np.array(counts) == count
        assert sorted(lengths[where]) == sorted(permuted[where[order]])


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(6, 9))
@settings(max_examples=50, deadline=None)
def test_canonical_words(counts: list[int], limit: int) -> None:
    lengths = code_lengths(np.array(counts, dtype=np.int64), limit)
    following = first_codes(np.bincount(lengths).tolist() or [0])
    words = []
    for n in lengths.tolist():
        words.append(f"{following[n]:0{n}b}" if n else "")
        following[n] += 1
    assert words == canonical_words(lengths.tolist())
    for word in words:
        assert sum(other.startswith(word) for other in words) == 1


@pytest.mark.parametrize(
    "counts, limit, wanted",
    [
        ([1, 0], 24, "counts must be at least 1"),
        ([1, -3], 24, "counts must be at least 1"),
        ([1] * 5, 2, r"at most 2\*\*limit = 4"),
        ([2**56, 2**56, 2**50], 24, r"sum to at most 2\*\*57"),
        ([2**62, 2**62, 2**62], 24, r"sum to at most 2\*\*57"),
        ([[1]], 24, "one dimension"),
        ([0.5], 24, "counts must be integers"),
        ([1], 33, "limit must be an integer from 0 to 32"),
    ],
)
def test_bad_counts(counts: list, limit: int, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        code_lengths(np.array(counts), limit)
