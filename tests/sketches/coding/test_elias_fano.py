"""Test Elias-Fano sequences against lists, and with damaged words."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mergesketch.sketches.coding.elias_fano import check, encode, layout, take
from naive.elias_fano import elias_fano_values

wide = st.integers(0, 2**64 - 1)
sequences = (
    st.lists(wide | st.integers(0, 40), max_size=40)
    | st.lists(st.integers(0, 300), max_size=300)
    # Runs and gaps, of more values than a sample covers.
    | st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 200)), max_size=5).map(
        lambda runs: [start + i for start, size in runs for i in range(size)]
    )
).map(sorted)


@given(sequences, st.integers(0, 2**20))
@example([0] * 1000, 0)
@example([2**64 - 1] * 129, 0)
@example(list(range(257)), 0)
@example([0] * 128 + [2**63], 2**62)
@settings(deadline=None)
def test_values_come_back(values: list[int], room: int) -> None:
    array = np.array(values, dtype=np.uint64)
    largest = min((values[-1] if values else 0) + room, 2**64 - 1)
    words = encode(array, largest)
    check(words, array.size, largest)
    np.testing.assert_array_equal(take(words, array.size, largest, np.arange(array.size)), array)
    plan = layout(array.size, largest)
    naive, _ = elias_fano_values(words.tolist(), array.size, *plan[:3])
    assert naive == values
    n = max(array.size, 1)
    # Two bits and the logarithm of the mean distance, a sample's quarter of a bit, and the words' ends.
    assert words.size * 64 <= n * (2.25 + max(math.log2(max(largest, 1) / n), 0)) + 3 * 64


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 5000])
def test_around_the_samples(n: int) -> None:
    rng = np.random.default_rng(n)
    for largest in (0, n // 3, n, 50 * n, 2**40):
        values = np.sort(rng.integers(0, largest, n, dtype=np.uint64, endpoint=True))
        words = encode(values, largest)
        check(words, n, largest)
        where = rng.permutation(n)
        np.testing.assert_array_equal(take(words, n, largest, where), values[where])


@given(sequences.filter(bool), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_words_are_refused_or_stay_in_bounds(values: list[int], data: st.DataObject) -> None:
    n, largest = len(values), values[-1]
    words = encode(np.array(values, dtype=np.uint64))
    for _ in range(data.draw(st.integers(1, 3))):
        words[data.draw(st.integers(0, words.size - 1))] ^= np.uint64(1) << np.uint64(
            data.draw(st.integers(0, 63))
        )
    plan = layout(n, largest)
    naive, places = elias_fano_values(words.tolist(), n, *plan[:3])
    samples = words[plan.samples_at :].view(np.uint32)[: (n - 1) // 128].tolist()
    sound = len(places) == n and samples == places[128::128] and max(naive) <= largest
    try:
        check(words, n, largest)
    except ValueError as error:
        assert "damaged" in str(error)
        assert not sound
    else:
        # The kernel finds what a reader finds that cannot leave the words.
        assert sound
        assert take(words, n, largest, np.arange(n)).tolist() == naive


def test_read_only_words() -> None:
    values = np.arange(0, 3000, 3, dtype=np.uint64)
    words = np.frombuffer(encode(values).tobytes(), dtype=np.uint64)
    check(words, values.size, 2997)
    assert take(words, values.size, 2997, np.array([[0, 999], [1, 2]])).tolist() == [[0, 2997], [3, 6]]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"values\[2\] < values\[1\]"):
        encode(np.array([1, 5, 3, 9], dtype=np.uint64))
    with pytest.raises(ValueError, match=r"values\[2\] < values\[1\]"):
        encode(np.array([1, 2**63, 3], dtype=np.uint64))
    with pytest.raises(ValueError, match="at most largest=8, got 9"):
        encode(np.array([1, 9], dtype=np.uint64), 8)
    words = encode(np.array([1, 9], dtype=np.uint64))
    with pytest.raises(ValueError, match="indices must be from 0 to 1"):
        take(words, 2, 9, np.array([2]))
    with pytest.raises(ValueError, match="indices must be from 0 to 1"):
        take(words, 2, 9, np.array([-1]))
    wrong: Any
    for wrong in (words[:-1], words.view(np.int64), np.append(words, words)):
        with pytest.raises(ValueError, match="words must be"):
            check(wrong, 2, 9)
        with pytest.raises(ValueError, match="words must be"):
            take(wrong, 2, 9, np.array([0]))
    with pytest.raises(ValueError, match="n must be an integer from 0"):
        layout(-1, 5)
