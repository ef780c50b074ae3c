"""Test Bloom filters: their bits against slow ones, their errors and estimates against theory."""

from __future__ import annotations

import math
import pickle
import warnings
from typing import Any

import mergesketch
import numpy as np
import pytest
from forged_files import header_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import BloomFilter
from mergesketch.errors import IncompatibleSketchError, SaturationWarning, SketchFormatError
from mergesketch.lsh.hashing.keys import hash_keys
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.kernels import bloom
from mergesketch.sketches.sets import bloom_blocks, bloom_theory, key_groups
from naive import bloom_filter as naive

SIZES = st.tuples(st.integers(1, 40) | st.just(2**20 + 7), st.integers(1, 63), st.integers(0, 2**64 - 1))


def numbers(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.fixture
def threads() -> Any:
    before = mergesketch.get_num_threads()
    yield mergesketch.set_num_threads
    mergesketch.set_num_threads(before)


# -- a life story ---------------------------------------------------------------------------------


def test_the_life_of_a_filter(tmp_path: Any) -> None:
    seen = BloomFilter(1000, 0.01, seed=7)
    assert (seen.n_blocks, seen.n_hashes) == (20, 5)
    assert seen.contains(["tea"]).tolist() == [False]
    assert seen.cardinality() == 0.0
    assert seen.error_rate() == 0.0
    monday = seen.empty_like().update(["tea", "cake", "tea"])
    tuesday = seen.empty_like().update(["tea", "milk"])
    week = monday | tuesday
    assert week.contains(["tea", "cake", "milk", "jam"]).tolist() == [True, True, True, False]
    assert "tea" in week and b"tea" in week and "jam" not in week
    assert week.n_updates == 5
    assert week.cardinality() == pytest.approx(3, abs=0.2)
    assert monday.union_cardinality(tuesday) == week.cardinality()
    assert monday.intersection_cardinality(tuesday) == pytest.approx(1, abs=0.3)
    assert monday.jaccard(tuesday) == pytest.approx(1 / 3, abs=0.1)
    both = monday & tuesday
    assert both.contains(["tea", "cake", "milk"]).tolist() == [True, False, False]
    assert both.n_updates == 2
    week.save(tmp_path / "week.sketch")
    assert mergesketch.load(tmp_path / "week.sketch") == week
    assert "milk" in BloomFilter.load(tmp_path / "week.sketch", mmap=True)


# -- against the slow filter ----------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(size=SIZES, keys=st.lists(st.integers(-5, 50) | st.integers(-(2**63), 2**64 - 1), max_size=25))
def test_bits_equal_the_slow_ones(size: tuple[int, int, int], keys: list[int]) -> None:
    n_blocks, n_hashes, seed = size
    hashes = hash_keys(keys, seed).tolist()
    places = [place for h in hashes for place in naive.bloom_places(h, n_blocks, n_hashes)]
    found = BloomFilter(n_blocks=n_blocks, n_hashes=n_hashes, seed=seed).update(keys)
    blocks = found.state["blocks"].array
    if n_blocks <= 40:
        assert blocks.tolist() == naive.bloom_blocks(places, n_blocks)
    assert int(np.bitwise_count(blocks).sum()) == len(set(places))
    asked = [*keys, *range(100, 150)]
    expected = [
        set(naive.bloom_places(h, n_blocks, n_hashes)) <= set(places) for h in hash_keys(asked, seed).tolist()
    ]
    assert found.contains(asked).tolist() == expected
    assert [key in found for key in asked[-3:]] == expected[-3:]


@pytest.mark.slow
@pytest.mark.parametrize("n_blocks", [1, 2, 3, 1000, key_groups.LARGE + 5])
def test_threads_and_ordering_change_nothing(n_blocks: int, threads: Any, monkeypatch: Any) -> None:
    """Blocks of a thread, keys ordered by block, and one key after another make the same filter."""
    keys = numbers(0, 150_001)
    keys[70_000:90_000] = 7
    asked = np.concatenate([keys[::3], numbers(1, 100_000)])
    threads(1)
    plain = BloomFilter(n_blocks=n_blocks, n_hashes=9, seed=3)
    half = keys.size // 2
    plain.update(keys[:half]).update(hash_like(keys[half:]))
    truth = plain.contains(asked)
    assert truth[: keys[::3].size].all()
    for n_threads, ordered, readers in ((4, False, 8), (3, False, 2), (1, True, 8), (4, True, 8)):
        threads(n_threads)
        monkeypatch.setattr(bloom_blocks, "_MAX_READERS", readers)
        monkeypatch.setattr(key_groups, "_MAX_TOGETHER", 1 << 16)
        monkeypatch.setattr(bloom_blocks, "is_worth_grouping", lambda *_, ordered=ordered: ordered)
        assert plain.empty_like().update(keys) == plain
        assert plain.empty_like().update(hash_like(keys)) == plain
        np.testing.assert_array_equal(plain.contains(asked), truth)
        np.testing.assert_array_equal(plain.contains(hash_like(asked)), truth)


def hash_like(keys: np.ndarray) -> np.ndarray:
    """Return the same keys in a form that is hashed before it is added."""
    return np.frombuffer(keys.astype("<u8").tobytes(), dtype="S8") if (keys >> 56).all() else keys


def test_large_batches_are_ordered(monkeypatch: Any) -> None:
    assert not key_groups.is_worth_grouping(key_groups.LARGE, key_groups.LARGE)
    assert key_groups.is_worth_grouping(key_groups.LARGE, 2 * key_groups.LARGE)
    assert not key_groups.is_worth_grouping(key_groups.LARGE - 1, 2**40)
    assert key_groups.is_worth_grouping(2**30, 2**23)


def test_keys_of_every_kind() -> None:
    pa = pytest.importorskip("pyarrow")
    numbers_in: list[Any] = [np.array([1, 2, 300], dtype) for dtype in ("<i2", ">i4", "u8", "i8")]
    numbers_in += [[1, 2, 300], (1, 2, 300), range(1, 301), pa.array([1, 2, 300])]
    filters = [BloomFilter(1000).update(keys) for keys in numbers_in]
    assert all(f.contains([1, 2, 300]).all() for f in filters)
    assert all(f == filters[0] for f in filters if f.n_updates == 3)
    strided = np.arange(20, dtype=np.int32)[::3]
    assert BloomFilter(1000).update(strided) == BloomFilter(1000).update(strided.tolist())
    assert np.int16(300) in filters[0] and 301 not in filters[0]
    low = BloomFilter(1000).update([-1, 2**64 - 2, -(2**63)])
    assert -1 in low and 2**64 - 1 in low and -2 in low and np.int64(-1) in low and 2**63 in low
    words = ["tea", "straße", "日本"]
    texts = [words, [w.encode() for w in words], np.array(words), pa.array(words), pa.chunked_array([words])]
    texts.append(np.array([w.encode() for w in words]))
    assert len({BloomFilter(10).update(keys).to_bytes() for keys in texts}) == 1
    known = BloomFilter(10).update(texts[0])
    for word in words:
        assert word in known and word.encode() in known and np.str_(word) in known
    assert BloomFilter(10).contains([]).shape == (0,)
    frozen = np.arange(5)
    frozen.flags.writeable = False
    assert BloomFilter(10).update(frozen).contains(frozen).all()


# -- the error ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hashes", [1, 2, 7, 30])
def test_a_blocks_error_is_the_exact_one(n_hashes: int, monkeypatch: Any) -> None:
    errors = np.empty(5)
    bloom.bloom_errors(n_hashes, errors)
    exact = [float(naive.bloom_error(n, n_hashes, 512)) for n in range(5)]
    np.testing.assert_allclose(errors, exact, rtol=1e-12)


def test_the_error_of_a_filter_averages_over_the_loads_of_blocks() -> None:
    block = bloom_theory._block_errors(3)
    for n_keys, n_blocks in ((0, 4), (5, 1), (90, 4), (400, 3)):
        chances = [
            math.comb(n_keys, n) * (1 / n_blocks) ** n * (1 - 1 / n_blocks) ** (n_keys - n)
            for n in range(n_keys + 1)
        ]
        expected = sum(c * block[n] for n, c in enumerate(chances))
        assert BloomFilter(n_blocks=n_blocks, n_hashes=3).expected_error_rate(n_keys) == pytest.approx(
            expected
        )


@pytest.mark.parametrize("n_hashes", [1, 5, 63])
def test_a_block_is_full_where_the_table_of_its_errors_ends(n_hashes: int) -> None:
    errors = bloom_theory._block_errors(n_hashes)
    assert errors[0] == 0.0
    assert (np.diff(errors) >= -1e-15).all()
    assert errors[-1] > 1 - 1e-10
    assert BloomFilter(n_blocks=2, n_hashes=n_hashes).expected_error_rate(10**9) == pytest.approx(1)


@pytest.mark.parametrize("wanted", [0.5, 0.1, 0.01, 1e-3, 1e-5, 1e-9, 1e-14])
@pytest.mark.parametrize("capacity", [1, 7, 100, 1000, 54_321, 10**6, 10**8])
def test_a_filter_is_the_smallest_that_keeps_the_rate(capacity: int, wanted: float) -> None:
    if wanted < 2 * capacity / 2**64:
        with pytest.raises(ValueError, match="keys of 64-bit hashes"):
            BloomFilter(capacity, wanted)
        return
    sized = BloomFilter(capacity, wanted)
    assert sized.expected_error_rate(capacity) <= wanted
    if capacity >= 10_000:
        # The rate is slightly below the stated one, because a filter has whole blocks.
        assert sized.expected_error_rate(capacity) > 0.97 * wanted
    if capacity == 1000:
        assert sized.expected_error_rate(capacity) > 0.85 * wanted
    for n_hashes in range(1, 64):
        if sized.n_blocks > 1:
            smaller = BloomFilter(n_blocks=sized.n_blocks - 1, n_hashes=n_hashes)
            assert smaller.expected_error_rate(capacity) > wanted
    for n_hashes in range(max(1, sized.n_hashes - 3), sized.n_hashes):
        if capacity > 100:
            other = BloomFilter(n_blocks=sized.n_blocks, n_hashes=n_hashes)
            assert other.expected_error_rate(capacity) > wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capacity", "wanted", "n_filters"),
    [
        (1000, 0.01, 200),
        (1000, 0.1, 200),
        (10_000, 0.01, 20),
        (100_000, 0.5, 2),
        (100_000, 1e-3, 5),
        (10**6, 0.01, 1),
    ],
)
def test_absent_keys_pass_as_often_as_stated(capacity: int, wanted: float, n_filters: int) -> None:
    """Rates lie within 6 standard errors: of the answers, and of the filters' rates around their mean."""
    asked = numbers(10**6, 400_000)
    rates, passed = [], []
    for seed in range(n_filters):
        held = BloomFilter(capacity, wanted, seed=seed).update(numbers(seed, capacity))
        assert held.contains(numbers(seed, capacity)).all()
        rates.append(held.error_rate())
        passed.append(held.contains(asked).mean())
        assert abs(passed[-1] - rates[-1]) < 6 * math.sqrt(rates[-1] / asked.size)
    expected = held.expected_error_rate(capacity)
    # A filter's rate is the mean of its blocks' rates, which differ by less than (n_hashes t)**2 / load
    # of their squared mean, t being the share of bits set that a key more makes.
    load = capacity / held.n_blocks
    spread = expected * math.sqrt(math.expm1(2 * held.n_hashes**2 / load) / held.n_blocks)
    assert abs(np.mean(rates) - expected) < 6 * spread / math.sqrt(n_filters)
    assert abs(np.mean(passed) - expected) < 6 * (
        spread / math.sqrt(n_filters) + math.sqrt(expected / asked.size / n_filters)
    )
    if capacity >= 10_000:
        assert abs(np.mean(passed) / wanted - 1) < 0.1


@pytest.mark.parametrize("n_keys", [200, 1000, 3000])
@pytest.mark.parametrize("n_hashes", [2, 7, 8, 16, 29])
def test_the_error_is_as_expected_at_any_fill(n_hashes: int, n_keys: int) -> None:
    """It is so too where a key's bits come from several words."""
    rates = [
        BloomFilter(n_blocks=50, n_hashes=n_hashes, seed=seed).update(numbers(seed, n_keys)).error_rate()
        for seed in range(150)
    ]
    expected = BloomFilter(n_blocks=50, n_hashes=n_hashes).expected_error_rate(n_keys)
    assert abs(np.mean(rates) - expected) < 6 * np.std(rates) / math.sqrt(len(rates))


def test_keys_that_are_alike_pass_no_more_often() -> None:
    """Counting numbers, multiples of powers of two and short strings are added and asked for."""
    n = 200_000
    for keys, asked in (
        (np.arange(n), np.arange(n, 3 * n)),
        (np.arange(n) << 40, np.arange(n, 3 * n) << 40),
        ([f"key-{i}" for i in range(n)], [f"key-{i}" for i in range(n, 2 * n)]),
    ):
        held = BloomFilter(n, 0.01).update(keys)
        rate = held.contains(asked).mean()
        assert abs(rate - held.error_rate()) < 6 * math.sqrt(0.01 / len(asked))
        assert held.error_rate() == pytest.approx(0.01, rel=0.02)


# -- estimates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_blocks", "n_hashes", "n_keys"), [(1, 4, 60), (20, 5, 1000), (400, 7, 9000), (30, 2, 5000)]
)
def test_cardinality_errs_as_stated(n_blocks: int, n_hashes: int, n_keys: int) -> None:
    n_filters = 400
    estimates = np.array(
        [
            BloomFilter(n_blocks=n_blocks, n_hashes=n_hashes, seed=s).update(numbers(s, n_keys)).cardinality()
            for s in range(n_filters)
        ]
    )
    error = bloom_theory.cardinality_error(n_keys, n_blocks, n_hashes)
    # The estimate is convex in the unset bits, so it is above n by about variance / 2 of their logarithm.
    bias = (error / n_keys) ** 2 * n_keys * n_keys * n_hashes / (512 * n_blocks) / 2
    assert abs(estimates.mean() - n_keys - bias) < 6 * error / math.sqrt(n_filters) + 0.5 * bias
    assert abs(estimates.std() / error - 1) < 6 / math.sqrt(2 * n_filters)
    m, t = 512 * n_blocks, n_hashes * n_keys / (512 * n_blocks)
    # The documentation states this; in a single block loads do not differ.
    stated = m * (math.exp(t) - t - 1) / n_hashes**2 + (m * t**2 / 1024 if n_blocks > 1 else 0.0)
    assert math.sqrt(stated) == pytest.approx(error, rel=0.02)


def test_overlaps_err_no_more_than_their_parts() -> None:
    keys = numbers(5, 60_000)
    empty = BloomFilter(60_000, 0.01)
    for low, high in ((0, 40_000), (20_000, 40_000), (39_000, 40_000), (40_000, 40_000)):
        a, b = empty.empty_like().update(keys[:high]), empty.empty_like().update(keys[low:])
        before = a.to_bytes(), b.to_bytes()
        errors = sum(
            bloom_theory.cardinality_error(n, empty.n_blocks, empty.n_hashes)
            for n in (high, keys.size - low, keys.size)
        )
        truth = high - low
        assert abs(a.intersection_cardinality(b) - truth) < 6 * errors
        assert a.intersection_cardinality(b) == b.intersection_cardinality(a)
        assert a.union_cardinality(b) == (a | b).cardinality()
        assert abs(a.jaccard(b) - truth / keys.size) < 6 * 2 * errors / keys.size
        common = a & b
        assert common == b & a == a.intersection(b)
        assert common.contains(keys[low:high]).all()
        asked = numbers(6, 20_000)
        np.testing.assert_array_equal(common.contains(asked), a.contains(asked) & b.contains(asked))
        assert (a.to_bytes(), b.to_bytes()) == before
    assert a.jaccard(a) == 1.0
    assert empty.jaccard(empty) == 0.0
    assert empty.intersection_cardinality(a) == 0.0


def test_overlaps_are_right_on_average_where_nothing_is_shared() -> None:
    """Counting numbers stand beside the next ones, some repeated; half of the estimates are below 0."""
    n, found, ratios = 400, [], []
    for seed in range(400):
        empty = BloomFilter(n_blocks=8, n_hashes=6, seed=seed)
        a = empty.copy().update(np.arange(n)).update(np.arange(30))
        b = empty.copy().update(np.arange(n, 2 * n))
        found.append(a.intersection_cardinality(b))
        ratios.append(a.jaccard(b))
    # Estimates are convex in the unset bits: those of n keys are above n by half the relative variance of
    # the unset bits, times 512 n_blocks / n_hashes / 512 n_blocks keys.
    bias = [bloom_theory.cardinality_error(keys, 8, 6) ** 2 * 6 / (512 * 8) / 2 for keys in (n, n, 2 * n)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - (bias[0] + bias[1] - bias[2])) < 6 * error
    assert 0.3 < np.mean(np.array(found) < 0) < 0.7
    assert abs(np.mean(ratios) * 2 * n - np.mean(found)) < 6 * error
    # The mean if estimates were cut at 0.
    assert np.maximum(found, 0).mean() > 6 * error


def test_rates_count_keys_of_equal_hashes() -> None:
    held = BloomFilter(n_blocks=1000, n_hashes=63).update(np.arange(5))
    assert held.error_rate() == pytest.approx(5 * 2.0**-64, rel=0.01)
    assert held.expected_error_rate(5) == pytest.approx(5 * 2.0**-64, rel=0.01)
    assert BloomFilter(n_blocks=1000, n_hashes=63).error_rate() == 0.0


def test_repeated_keys_count_once() -> None:
    once, often = BloomFilter(100).update([1, 2]), BloomFilter(100).update([1, 2, 1, 1])
    assert once.cardinality() == often.cardinality()
    assert (once.n_updates, often.n_updates) == (2, 4)


def test_a_full_filter_says_so() -> None:
    full = BloomFilter(n_blocks=2, n_hashes=3).update(np.arange(100_000))
    assert full.error_rate() == 1.0
    with pytest.warns(SaturationWarning, match="the filter is full: .* its number of keys is a lower bound"):
        assert math.isfinite(full.cardinality()) and full.cardinality() > 1000
    with pytest.warns(SaturationWarning, match="the filter is full"):
        assert math.isfinite(full.union_cardinality(full))
    for method in ("jaccard", "intersection_cardinality"):
        with pytest.warns(SaturationWarning, match="too full to estimate .*: 0 of 1,024 bits are unset"):
            assert math.isnan(getattr(full, method)(full))
    one_bit = BloomFilter(n_blocks=1, n_hashes=1).update([1])
    assert one_bit.cardinality() == pytest.approx(1.0)


def test_disjoint_sets_in_full_filters_are_not_said_to_be_equal() -> None:
    a, b = (BloomFilter(n_blocks=20, n_hashes=5).update(np.arange(100_000) + i) for i in (0, 10**6))
    with pytest.warns(SaturationWarning, match="which is NaN: 0 of 10,240 bits are unset in their union"):
        assert math.isnan(a.jaccard(b))


@pytest.mark.slow
@pytest.mark.parametrize(("n_blocks", "n_hashes"), [(1, 4), (20, 5), (300, 7), (8, 1)])
def test_overlaps_err_as_stated_until_they_are_nan(n_blocks: int, n_hashes: int) -> None:
    """Unions of disjoint, half equal and equal sets have from a tenth of all bits to more than all set."""
    unset = [0.9, 0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-6, 1e-9]
    counted, m = [0, 0], 512 * n_blocks
    for left in unset:
        either = round(-math.log(left) * m / n_hashes)
        for shared in (0, either // 3, either):
            size = (either + shared) // 2
            for seed in range(20):
                empty = BloomFilter(n_blocks=n_blocks, n_hashes=n_hashes, seed=seed)
                a = empty.copy().update(np.arange(size))
                b = empty.copy().update(np.arange(size - shared, 2 * size - shared))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SaturationWarning)
                    found, ratio = a.intersection_cardinality(b), a.jaccard(b)
                assert math.isnan(found) == math.isnan(ratio)
                counted[math.isnan(found)] += 1
                if math.isnan(found):
                    assert left * m < 60
                    continue
                assert left * m > 1
                error = sum(
                    bloom_theory.cardinality_error(n, n_blocks, n_hashes) for n in (size, size, either)
                )
                assert abs(found - shared) < 6 * error + 1
                assert abs(ratio - shared / either) < 12 * error / either + 0.01
    assert min(counted) > 60


# -- the capacity ---------------------------------------------------------------------------------


def quiet(*filters: BloomFilter) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for held in filters:
            held.update([])


def test_a_filter_keeps_its_capacity(tmp_path: Any) -> None:
    made = BloomFilter(1000, 0.01, seed=3)
    sized = BloomFilter(n_blocks=made.n_blocks, n_hashes=made.n_hashes, seed=3)
    assert (made.capacity, sized.capacity) == (1000, None)
    assert BloomFilter.for_error(1000).capacity == made.empty_like().capacity == 1000
    for held in (made, made.copy().update([1, 2])):
        held.save(tmp_path / "held")
        twins = [BloomFilter.load(tmp_path / "held"), BloomFilter.load(tmp_path / "held", mmap=True)]
        twins += [pickle.loads(pickle.dumps(held)), held.copy(), BloomFilter.from_bytes(held.to_bytes())]
        for twin in twins:
            assert twin.capacity == 1000 and twin == held
            assert "for capacity=1_000" in repr(twin)
            assert twin.empty_like().capacity == 1000
    # The sizes decide whether filters are equal and merge.
    assert made == sized and made.to_bytes() != sized.to_bytes()
    assert [(made | sized).capacity, (sized | made).capacity, (made & sized).capacity] == [1000] * 3
    assert (sized | sized).capacity is None and BloomFilter.from_bytes(sized.to_bytes()).capacity is None


def test_files_without_a_capacity_load() -> None:
    held = BloomFilter(1000).update([1, 2])
    header = header_of(held.to_bytes())
    assert "capacity" in header
    config, arrays = held.config(), {k: v for k, v in held._arrays.items() if k != "capacity"}
    old = b"".join(bytes(piece) for piece in pieces_of_file("BloomFilter", config, arrays))
    loaded = BloomFilter.from_bytes(old)
    assert loaded == held and loaded.capacity is None
    for wrong in (-1, 2**40 + 1):
        forged = {**held._arrays, "capacity": np.array([wrong])}
        data = b"".join(bytes(piece) for piece in pieces_of_file("BloomFilter", config, forged))
        with pytest.raises(SketchFormatError, match="capacity must be from 0"):
            BloomFilter.from_bytes(data)


def test_a_filter_past_its_capacity_warns_once() -> None:
    held = BloomFilter(1000, 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            held.update(np.arange(1000))  # repeated keys take no room
    message = (
        r"the BloomFilter has about (1,9|2,0)\d\d distinct keys, more than its capacity of 1,000: it now "
        r"passes an absent key with probability 0\.(09|1)\d*, above the 0\.0095 at its capacity; give it a "
        "larger capacity"
    )
    with pytest.warns(SaturationWarning, match=message) as caught:
        held.update(np.arange(2000))
    assert [warning.filename for warning in caught] == [__file__]
    assert held.n_updates == 7000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held.update(np.arange(3000))
        held.merge(BloomFilter(1000, 0.01).update(np.arange(500)))
    with pytest.warns(SaturationWarning, match="has about (2,9|3,0)"):
        BloomFilter.from_bytes(held.to_bytes()).update([10**9])
    with warnings.catch_warnings(), pytest.raises(SaturationWarning):
        warnings.simplefilter("error", SaturationWarning)
        held.copy().update([1])
    with pytest.warns(SaturationWarning, match="has at least 1"):
        BloomFilter(1000).update(np.arange(100_000))


def test_keys_one_at_a_time_and_merges_warn_past_the_capacity(monkeypatch: Any) -> None:
    looks = []
    fills = BloomFilter._fills
    monkeypatch.setattr(BloomFilter, "_fills", lambda *args: looks.append(1) or fills(*args))
    held = BloomFilter(400, 0.01)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for key in range(600):
            held.update([key])
            if caught:
                break
    assert "more than its capacity of 400" in str(caught[0].message)
    # The bits are counted a few times only, and the warning is late by a quarter of the capacity at most.
    assert 400 < key <= 400 + 2 * 100 + 1
    assert len(looks) <= 4
    for n_updates in range(1000):
        BloomFilter(400, 0.01).update([n_updates % 7])
    assert len(looks) <= 4
    parts = [BloomFilter(400).update(np.arange(300) + start) for start in (0, 300)]
    with pytest.warns(SaturationWarning, match=r"has about 6\d\d distinct keys"):
        parts[0].merge(parts[1])
    sized = BloomFilter(n_blocks=parts[1].n_blocks, n_hashes=parts[1].n_hashes).update(np.arange(600))
    quiet(sized)
    with pytest.warns(SaturationWarning, match="more than its capacity of 400"):
        sized.merge(parts[1])


@pytest.mark.parametrize("capacity", [1, 5, 70, 1000, 20_000])
def test_filters_of_their_capacity_do_not_warn(capacity: int) -> None:
    """Over 100 seeds: the estimate must exceed the capacity by 6 standard errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(100 if capacity < 20_000 else 20):
            keys = numbers(seed, capacity)
            BloomFilter(capacity, 0.1, seed=seed).update(keys).update(keys[:2])


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "needs capacity"),
        ({"error_rate": 0.1}, TypeError, "needs capacity"),
        ({"capacity": 0}, ValueError, "capacity must be an integer from 1 to"),
        ({"capacity": 10.0}, TypeError, "capacity"),
        ({"capacity": True}, TypeError, "capacity"),
        ({"capacity": 10, "error_rate": 0.0}, ValueError, r"error_rate must be a number in \(0, 1\)"),
        ({"capacity": 10, "error_rate": 1.0}, ValueError, "error_rate"),
        ({"capacity": 10, "error_rate": math.nan}, ValueError, "error_rate"),
        ({"capacity": 10, "error_rate": "1%"}, TypeError, "error_rate"),
        ({"capacity": 10, "error_rate": 1e-16}, ValueError, "error_rate must be at least 1e-15"),
        ({"capacity": 10**9, "error_rate": 1e-11}, ValueError, "1,000,000,000 keys of 64-bit hashes"),
        ({"capacity": 2**40, "error_rate": 1e-6}, ValueError, "blocks of 64 bytes, more than"),
        ({"capacity": 10, "seed": -1}, ValueError, "seed"),
        ({"n_blocks": 10}, TypeError, "both n_blocks and n_hashes"),
        ({"n_hashes": 10}, TypeError, "both n_blocks and n_hashes"),
        ({"capacity": 10, "n_blocks": 10, "n_hashes": 3}, TypeError, "capacity and error_rate, or both"),
        ({"error_rate": 0.1, "n_blocks": 10, "n_hashes": 3}, TypeError, "capacity and error_rate, or both"),
        ({"n_blocks": 0, "n_hashes": 3}, ValueError, "n_blocks must be an integer from 1"),
        ({"n_blocks": 3, "n_hashes": 64}, ValueError, "n_hashes must be an integer from 1 to 63"),
        ({"n_blocks": 3, "n_hashes": 0}, ValueError, "n_hashes"),
        ({"n_blocks": 2.0, "n_hashes": 3}, TypeError, "n_blocks"),
    ],
)
def test_bad_sizes_are_refused(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        BloomFilter(**arguments)


def test_a_large_filter_takes_no_memory_until_it_is_used() -> None:
    assert BloomFilter(2**34).nbytes > 2**34


def test_bad_keys_and_partners_are_refused() -> None:
    held = BloomFilter(100, seed=1).update([1, 2, 3])
    before = held.to_bytes()
    bad: Any
    for bad in ([1, "a"], [1.5], np.array([1.0]), [True], None, 3.5, True, np.zeros((2, 2), int), [2**64]):
        for method in (held.update, held.contains):
            with pytest.raises((TypeError, ValueError), match="keys"):
                method(bad)
    for bad in (1.5, None, True, [1], 2**64, -(2**63) - 1, "\ud800"):
        with pytest.raises((TypeError, ValueError), match="keys"):
            bad in held  # noqa: B015
    for other in (BloomFilter(100), BloomFilter(200, seed=1), mergesketch.CountSketch(1, 8)):
        for combine in ("merge", "intersection", "jaccard", "union_cardinality", "intersection_cardinality"):
            with pytest.raises(IncompatibleSketchError):
                getattr(held, combine)(other)
    not_a_filter: Any = 3
    with pytest.raises(TypeError, match="unsupported operand"):
        held & not_a_filter
    for bad in (-1, 1.5):
        with pytest.raises((TypeError, ValueError), match="n_keys"):
            held.expected_error_rate(bad)
    assert held.to_bytes() == before
