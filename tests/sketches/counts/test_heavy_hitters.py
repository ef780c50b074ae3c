"""Test HeavyHitters: the order changes nothing that is found; frequent keys against exact counts."""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import operator
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import mergesketch
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch, HeavyHitters
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import hash_keys
from mergesketch.sketches.counts import heavy_hitters
from naive.heavy_hitters import merge_names, note_batch


def zipf_stream(seed: int, n: int = 60_000) -> np.ndarray:
    return np.random.default_rng(seed).zipf(1.3, n).astype(np.int64) % 1_000_000


def test_the_life_of_heavy_hitters(tmp_path: Any) -> None:
    sketch = HeavyHitters.for_error(0.1, relative_error=0.001, confidence=0.999, seed=7)
    assert sketch.top() == []
    assert sketch.query(["tea"]).tolist() == [0]
    monday = sketch.empty_like().update(["tea"] * 60 + ["cake"] * 30 + [f"dish {i}" for i in range(40)])
    assert monday.top() == [("tea", 60), ("cake", 30)]
    tuesday = sketch.empty_like().update(["Brötchen", "dish 3"], counts=[50, 1])
    week = monday | tuesday
    assert week.top() == [("tea", 60), ("Brötchen", 50), ("cake", 30)]
    assert week.top(1) == [("tea", 60)]
    assert week.total == 181
    assert week.n_updates == 132
    assert week.query(["dish 3", "dish 4", "nothing"]).tolist() == [2, 1, 0]
    assert week.upper_bound(["tea"])[0] == 60
    assert 55 <= week.lower_bound(["tea"])[0] <= 60
    week.save(tmp_path / "week.sketch")
    again = mergesketch.load(tmp_path / "week.sketch")
    assert again == week
    assert again.update(["jam"] * 100).top(2) == [("jam", 100), ("tea", 60)]


# -- keys come back as they were given ------------------------------------------------------------


def test_keys_come_back_in_their_type() -> None:
    import pyarrow as pa

    def top(keys: Any) -> list[Any]:
        return [key for key, _ in HeavyHitters(0.01).update(keys).top()]

    assert top(["a", "a", "日本語"]) == ["a", "日本語"]
    assert top(["", "", "x"]) == ["", "x"]
    assert top(pa.array(["a", "a", "b"])) == ["a", "b"]
    assert top(pa.array([b"a", b"a", b"\xff"])) == [b"a", b"\xff"]
    assert top([b"a\0b", b"a\0b", b""]) == [b"a\0b", b""]
    assert top(np.array([b"abc", b"abc", b"d"])) == [b"abc", b"d"]
    assert top([3, 3, -5]) == [3, -5]
    assert top([2**64 - 1]) == [2**64 - 1]
    for dtype in (np.int8, np.int64):
        assert top(np.array([-1, -1, 7], dtype=dtype)) == [-1, 7]
    assert top(np.array([200, 200, 7], dtype=np.uint8)) == [200, 7]
    assert top(np.array([2**63, 2**63, 7], dtype=np.uint64)) == [2**63, 7]
    assert top(range(3, 4)) == [3]
    assert top((3, 3)) == [3]
    for dtype in ("U5", object, np.dtypes.StringDType()):
        assert top(np.array(["é", "é", "b"], dtype=dtype)) == ["é", "b"]
    assert top(np.array([5, 5, -6], dtype=object)) == [5, -6]
    assert top(pa.array([5, 5, -6])) == [5, -6]
    assert top(pa.array([2**63, 2**63, 6], pa.uint64())) == [2**63, 6]
    assert top(pa.chunked_array([["x", "a"], [], ["a"]])) == ["a", "x"]
    assert top(pa.array(["a", "a", "b"]).dictionary_encode()) == ["a", "b"]
    assert top(pa.array(["skipped", "é", "é", "b"]).slice(1)) == ["é", "b"]
    for nothing in (
        [],
        (),
        range(0),
        np.array([], dtype=np.int8),
        pa.array([], pa.string()),
        pa.array([], pa.int8()),
    ):
        assert top(nothing) == []
    for key in top(np.array([200, 7])) + top(["a"]) + top([b"a"]):
        assert type(key) in (int, str, bytes)


def test_long_keys_are_counted_by_their_hash_and_have_a_shortened_name() -> None:
    import pyarrow as pa

    def shortened(key: str | bytes, prefix: str) -> str:
        raw = key.encode() if isinstance(key, str) else key
        return f"{prefix}…{xxhash.xxh3_64_intdigest(raw):016x}"

    whole = ["x" * 10, "é" * 5]
    assert {key for key, _ in HeavyHitters(0.01, max_key_bytes=10).update(whole).top()} == set(whole)
    for keys, prefix in (
        (["x" * 11], "x" * 10),
        (["é" * 6], "é" * 5),
        (["éx" * 4], "éxéxéx"),  # the next character is cut
        (["short", "x" * 11, "x" * 11, "short", "x" * 11], "x" * 10),
        (np.array(["x" * 11]), "x" * 10),
        (pa.array(["日本語" * 30]), "日本語"),
    ):
        sketch = HeavyHitters(0.01, max_key_bytes=10).update(keys)
        top = dict(sketch.top())
        for key, count in Counter(np.asarray(keys, object).tolist()).items():
            name = key if len(key.encode()) <= 10 else shortened(key, prefix)
            assert top[name] == count == sketch.query(key)
        assert HeavyHitters.from_bytes(sketch.to_bytes()) == sketch
        assert (sketch | sketch.empty_like().update(keys)).total == 2 * sketch.total
    for raw in ([b"x" * 11], np.array([b"x" * 11]), pa.array([b"x" * 11])):
        sketch = HeavyHitters(0.01, max_key_bytes=10).update(raw)
        assert sketch.top() == [(shortened(b"x" * 11, "x" * 10).encode(), 1)]
    # Keys that begin alike are different keys.
    urls = [f"https://example.org/{'a' * 80}/{i}" for i in range(5) for _ in range(i + 1)]
    sketch = HeavyHitters(0.01).update(urls)
    assert sketch.top() == [(shortened(url, url[:64]), n) for url, n in Counter(urls).most_common()]
    merged = HeavyHitters(0.01).update(urls[:7]) | HeavyHitters(0.01).update(urls[7:])
    assert merged.top() == sketch.top() and merged.query(urls[-1]) == 5


def test_the_longest_keys_of_a_record_of_the_most_bytes() -> None:
    """A length of 65,535 marks a key that was shortened, so whole keys are shorter."""
    sketch = HeavyHitters(0.4, max_key_bytes=65535).update(["x" * 65534])
    assert sketch.top() == [("x" * 65534, 1)]
    sketch = HeavyHitters(0.4, max_key_bytes=65535).update(["x" * 65535])
    assert sketch.top()[0][0].startswith("x" * 65535 + "…")
    assert HeavyHitters.from_bytes(sketch.to_bytes()) == sketch


def test_a_string_and_its_bytes_are_one_key() -> None:
    a, b = HeavyHitters(0.1).update(["tea"] * 2), HeavyHitters(0.1).update([b"tea"] * 3)
    assert (a | b).top() == (b | a).top() == [("tea", 5)]


#: Keys of one kind in several forms, and the form that is returned whatever the order.
FORMS = {
    "text": (
        [["tea", "é"], [b"tea", b"\xff"], np.array(["tea"]), np.array([b"x"])],
        {"tea", "é", b"\xff", "x"},
    ),
    "bytes": ([[b"tea"], np.array([b"\xff\0a"], "V3"), np.array([b"x"])], {b"tea", b"\xff\0a", b"x"}),
    "integers": (
        [[-1, 5], np.array([2**64 - 1, 2**63], np.uint64), np.array([5], np.int8)],
        {-1, 5, -(2**63)},
    ),
    "large": ([[2**63], np.array([2**64 - 1], np.uint64), np.array([5], np.int8)], {2**63, 2**64 - 1, 5}),
}


@pytest.mark.parametrize(
    ("data", "offsets", "expected"),
    [
        (b"ok\xff", [0, 2, 3], ["ok", b"\xff"]),
        ("é".encode(), [0, 1, 2], [b"\xc3", b"\xa9"]),
        ("xéx".encode(), [1, 3], ["é"]),
        ("é".encode(), [0, 0, 2, 2], ["", "é", ""]),
        (b"\xff", [1, 1], [""]),
    ],
)
def test_strings_that_are_not_utf8_come_back_as_bytes(
    data: bytes, offsets: list[int], expected: list[str | bytes], tmp_path: Path
) -> None:
    """Arrow arrays may hold such strings. A file of the sketch could not be read."""
    pa = pytest.importorskip("pyarrow")
    buffers = [None, pa.py_buffer(np.array(offsets, np.int32)), pa.py_buffer(data)]
    strings = pa.Array.from_buffers(pa.utf8(), len(offsets) - 1, buffers)
    sketch = HeavyHitters.for_error(0.01, 0.001).update(strings)
    assert dict(sketch.top()) == Counter(expected)
    sketch.save(tmp_path / "strings")
    assert mergesketch.load(tmp_path / "strings") == sketch
    assert sketch.query(strings).tolist() == [Counter(expected)[key] for key in expected]


@pytest.mark.parametrize("case", FORMS)
def test_keys_come_back_alike_in_any_order(case: str) -> None:
    batches, expected = FORMS[case]
    merged = set()
    for order in itertools.permutations(batches):
        one, parts = HeavyHitters(0.01), [HeavyHitters(0.01).update(batch) for batch in order]
        for batch in order:
            one.update(batch)
        assert functools.reduce(operator.or_, parts) == one
        assert {key for key, _ in one.top()} == expected
        merged.add(tuple(one.top()))
    assert len(merged) == 1


def test_integers_and_strings_do_not_come_together() -> None:
    """An integer and its eight bytes are one key; the order would decide which of them is returned."""
    integers, texts = HeavyHitters(0.1).update([1]), HeavyHitters(0.1).update(["a"])
    for sketch, other, keys, message in (
        (integers, texts, [b"a"], "keys must be integers as before, got strings or bytes"),
        (texts, integers, np.array([1]), "keys must be strings or bytes as before, got integers"),
    ):
        before = sketch.to_bytes()
        for ask in (sketch.update, sketch.query, sketch.lower_bound):
            with pytest.raises(TypeError, match=message):
                ask(keys)
        with pytest.raises(IncompatibleSketchError, match=r"hold (integers|strings or bytes) in one and"):
            sketch.merge(other)
        with pytest.raises(IncompatibleSketchError, match="hold integers in one and strings"):
            HeavyHitters(0.1).merge(integers, texts)
        assert sketch.to_bytes() == before
        assert sketch.update([]).query([]).size == 0


# -- the guarantees -------------------------------------------------------------------------------

_COUNTS = st.sampled_from([0, 1, 1, 1, 2, 7, 60, 61, 10**6])
#: Batches of (key, count): many light keys, a few heavy ones, of which several are just above the share.
STREAMS = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 18) | st.integers(0, 400), st.sampled_from([0, 1, 1, 1, 2, 7, 60, 61, 10**6])
        ),
        max_size=60,
    ),
    min_size=1,
    max_size=6,
)


def update(sketch: HeavyHitters, batch: list[tuple[int, int]]) -> HeavyHitters:
    return sketch.update([key for key, _ in batch], [count for _, count in batch])


def truth_of(batches: list[list[tuple[int, int]]]) -> Counter[int]:
    truth: Counter[int] = Counter()
    for batch in batches:
        for key, count in batch:
            truth[key] += count
    return truth


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    batches=STREAMS,
    frequency=st.sampled_from([0.03, 0.1, 0.3, 0.6]),
    n_rows=st.integers(1, 3),
    n_buckets=st.integers(1, 40),
    seed=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_every_frequent_key_is_found(
    batches: list[list[tuple[int, int]]],
    frequency: float,
    n_rows: int,
    n_buckets: int,
    seed: int,
    data: st.DataObject,
) -> None:
    """Bad estimates of the table, any order of merges, and more keys than places do not matter."""
    empty = HeavyHitters(frequency, n_rows=n_rows, n_buckets=n_buckets, max_key_bytes=8, seed=seed)
    parts = [update(empty.empty_like(), batch) for batch in batches]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i] | parts[i + 1]]
    truth = truth_of(batches)
    one_pass = update(empty.empty_like(), [pair for batch in batches for pair in batch])
    batch_by_batch = empty.empty_like()
    for batch in batches:
        update(batch_by_batch, batch)
    for sketch in (parts[0], one_pass, batch_by_batch):
        np.testing.assert_array_equal(one_pass.state["counts"].array, sketch.state["counts"].array)
        reported = sketch.top()
        found = dict(reported)
        for key, count in truth.items():
            if count > empty.frequency * truth.total():
                assert found[key] >= count
        assert [count for _, count in reported] == sorted((c for _, c in reported), reverse=True)
        assert all(count > empty.frequency * truth.total() for _, count in reported)
        assert all(count == sketch.query([key])[0] for key, count in reported)
        assert len(reported) <= empty.n_candidates


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    batches=STREAMS,
    frequency=st.sampled_from([0.1, 0.3, 0.6]),
    n_buckets=st.integers(1, 40) | st.just(4000),
    seed=st.integers(0, 2**64 - 1),
    cut=st.integers(0, 6),
    most_filled=st.sampled_from([1, 5, 256]),
)
def test_names_are_a_summary_of_misra_and_gries(
    batches: list[list[tuple[int, int]]],
    frequency: float,
    n_buckets: int,
    seed: int,
    cut: int,
    most_filled: int,
) -> None:
    keys = sorted({key for batch in batches for key, _ in batch})
    hashes = dict(zip(keys, hash_keys(keys, seed).tolist(), strict=True)) if keys else {}
    empty = HeavyHitters(frequency, n_rows=2, n_buckets=n_buckets, max_key_bytes=8, seed=seed)
    places = empty.n_candidates, min(empty.n_candidates, most_filled)

    def facts(table: CountMinSketch) -> tuple[dict[int, int], int, tuple[int, int], dict[int, int]]:
        estimates = dict(zip(keys, table.query(keys).tolist(), strict=True)) if keys else {}
        return estimates, math.floor(0.5 * frequency * table.total), places, hashes

    def one_by_one(batches: list[list[tuple[int, int]]]) -> tuple[dict[int, int], HeavyHitters]:
        kept: dict[int, int] = {}
        sketch, table = empty.empty_like(), CountMinSketch(2, n_buckets, seed=seed)
        for batch in batches:
            update(sketch, batch)
            update(table, batch)
            kept = note_batch(kept, truth_of([batch]), *facts(table))
        return kept, sketch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heavy_hitters, "_MOST_FILLED", most_filled)
        (one, here), (other, there) = one_by_one(batches[:cut]), one_by_one(batches[cut:])
        assert names(here) == one and names(there) == other
        table = CountMinSketch(2, n_buckets, seed=seed)
        for batch in batches:
            update(table, batch)
        assert names(here | there) == names(there | here) == merge_names([one, other], *facts(table))


def names(sketch: HeavyHitters) -> dict[int, int]:
    """Return the names that a sketch of integers keeps, and their counts."""
    counts = sketch.state["candidate_counts"].array
    raw = np.ascontiguousarray(sketch.state["candidate_keys"].array[:, :8]).view("<u8")[:, 0]
    return {int(key): int(count) for key, count in zip(raw, counts, strict=True) if count}


@pytest.mark.parametrize("seed", range(3))
def test_crowds_of_light_keys_push_no_frequent_one_out(seed: int) -> None:
    """Some 400 light keys share all counters with heavy ones, twice as many as there are places."""
    heavy, light = np.arange(99), np.arange(1000, 2_001_000)
    weights = np.full(99, 2_200_001)
    first = HeavyHitters(0.01, seed=seed).update(heavy, counts=weights).update(light)
    last = HeavyHitters(0.01, seed=seed).update(light).update(heavy, counts=weights)
    merged = HeavyHitters(0.01, seed=seed).update(light[::2]).update(heavy[:50], counts=weights[:50])
    merged |= HeavyHitters(0.01, seed=seed).update(heavy[50:], counts=weights[50:]).update(light[1::2])
    for sketch in (first, last, merged):
        assert {key for key, _ in sketch.top()} >= set(range(99))
        assert len(sketch.top()) <= sketch.n_candidates == 200


def test_results_do_not_depend_on_order_batches_or_merges() -> None:
    keys = zipf_stream(0)
    whole = HeavyHitters(0.002).update(keys)
    assert len(whole.top()) > 20
    rng = np.random.default_rng(1)
    for _ in range(5):
        parts = [HeavyHitters(0.002) for _ in range(4)]
        for batch in np.array_split(rng.permutation(keys), 23):
            parts[rng.integers(4)].update(batch)
        rng.shuffle(parts)
        merged = functools.reduce(operator.or_, parts)
        assert merged == whole
        assert merged.top() == whole.top()
    # Sorted by rising and falling frequency too, the worst orders for summaries that forget.
    counts = Counter(keys.tolist())
    rising = np.array(sorted(keys.tolist(), key=lambda key: (counts[key], key)))
    for order in (rising, rising[::-1]):
        split = HeavyHitters(0.002)
        for batch in np.array_split(order, 50):
            split.update(batch)
        assert split == whole


@pytest.mark.parametrize("seed", range(5))
def test_answers_against_exact_counts(seed: int) -> None:
    keys = zipf_stream(seed)
    truth = Counter(keys.tolist())
    sketch = HeavyHitters(0.001, seed=seed).update(keys)
    found = dict(sketch.top())
    frequent = {key for key, count in truth.items() if count > 0.001 * keys.size}
    assert frequent <= found.keys()
    assert all(count >= truth[key] for key, count in found.items())
    # A key under half the share is reported with probability at most exp(-5).
    wrong = [key for key in found if truth[key] < 0.0005 * keys.size]
    assert len(wrong) <= np.exp(-5) * len(truth)
    errors = np.array([count - truth[key] for key, count in found.items()])
    assert (errors >= 0.0005 * keys.size).mean() <= np.exp(-5)
    exact = sorted(truth.items(), key=lambda item: -item[1])[:10]
    assert [key for key, _ in sketch.top(10)] == [key for key, _ in exact]


def test_the_table_is_a_count_min_table() -> None:
    keys = zipf_stream(1, 5000)
    sketch = HeavyHitters(0.05, n_rows=3, n_buckets=70, seed=9).update(keys)
    table = CountMinSketch(3, 70, seed=9).update(keys)
    np.testing.assert_array_equal(sketch.state["counts"].array, table.state["counts"].array)
    np.testing.assert_array_equal(sketch.lower_bound(keys, 0.9), table.lower_bound(keys, 0.9))


def test_more_candidates_than_room() -> None:
    """A table far too small makes every key look frequent, so the keys' own counts decide."""
    keys = np.concatenate([np.arange(100), np.full(60, 7), np.full(60, 8)])
    for n_buckets in (1, 3):
        sketch = HeavyHitters(0.25, n_rows=1, n_buckets=n_buckets, max_key_bytes=8).update(keys)
        assert sketch.n_candidates == 8
        other = HeavyHitters(0.25, n_rows=1, n_buckets=n_buckets, max_key_bytes=8)
        for part in np.array_split(keys[::-1], 3):
            other = other | other.empty_like().update(part)
        for found in (sketch, other):
            assert {key for key, _ in found.top()} >= {7, 8}
    # With so many keys none is frequent, and none takes a place.
    even = HeavyHitters(0.01, n_rows=1, n_buckets=3, max_key_bytes=8, seed=1).update(np.arange(1000))
    assert even.top() == []


def test_the_most_frequent_keys_need_no_guess_of_their_frequency() -> None:
    words = [f"word {i}" for i in range(400) for _ in range(1 + (i < 20) * (40 - i))]
    expected = [(f"word {i}", 41 - i) for i in range(20)]
    shuffled = np.random.default_rng(0).permutation(words)
    for batches in ([words], [words[::-1]], np.array_split(shuffled, 7)):
        # No key has a share of a half.
        sketch = HeavyHitters(0.5, n_buckets=5000, max_key_bytes=16)
        assert sketch.top() == sketch.top(10) == []
        for batch in batches:
            sketch.update(batch)
        assert sketch.top() == [] and sketch.n_candidates == 4
        assert [count for _, count in sketch.top(2)] == sorted((n for _, n in sketch.top(2)), reverse=True)
        default, parts = HeavyHitters(), [HeavyHitters().update(batch) for batch in batches]
        for batch in batches:
            default.update(batch)
        for found in (default, functools.reduce(operator.or_, parts)):
            assert found.top(20) == expected and found.top(3) == expected[:3]
            assert len(found.top(10**6)) == 400
            assert found.top(0) == []
            assert HeavyHitters.from_bytes(found.to_bytes()).top(50) == found.top(50)
    # Of keys that are not frequent, 256 are kept, or as many as there are places.
    even = [f"word {i}" for i in range(5000)]
    assert len(HeavyHitters().update(even).top(10**6)) == 256
    assert len(HeavyHitters(0.05).update(even).top(10**6)) == 40
    assert len(HeavyHitters().update(["a", "b"]).top(10)) == 2


def test_a_frequent_key_is_first_among_those_that_fill_the_places() -> None:
    """Crowds of keys before and after it do not change what is guaranteed."""
    crowd, frequent = np.arange(200_000), np.full(3000, 10**6)
    for batches in ([crowd, frequent], [frequent, crowd], [np.concatenate([crowd, frequent, crowd[::-1]])]):
        sketch = HeavyHitters(0.005)
        for batch in batches:
            sketch.update(batch)
        assert sketch.top(1)[0][0] == 10**6 and sketch.top()[0][1] >= 3000
        assert len(sketch.top(256)) == 256


def test_tuples_come_back() -> None:
    noon = datetime.datetime(2026, 11, 30, 12)
    keys = [("/", 200, noon), ("/", 404, noon), ("/", 200, noon), ("é", -1, noon)]
    sketch = HeavyHitters(0.01).update(keys)
    assert sketch.top(1) == [(("/", 200, noon), 2)] and dict(sketch.top()) == Counter(keys)
    assert sketch.query(keys).tolist() == [2, 1, 2, 1]
    assert HeavyHitters.from_bytes(sketch.to_bytes()) == sketch
    other = HeavyHitters(0.01).update(
        np.array([(b"/", 404, noon)], [("a", "S4"), ("b", "u2"), ("c", "M8[s]")])
    )
    assert (sketch | other).top() == (other | sketch).top()
    assert dict((sketch | other).top())[("/", 404, noon)] == 2
    # The first parts of a key that is too long are whole, and their number stays.
    long = [("GET", "x" * 100, 5), ("GET", "x" * 100, 6)]
    names = [key for key, _ in HeavyHitters(0.01, max_key_bytes=20).update(long).top()]
    assert len(set(names)) == 2
    for method, path, last in names:
        assert method == "GET" and path.startswith("x" * 13 + "…") and last == path[13:]
    for wide in ([(1,) * 9], pa_table(9)):
        with pytest.raises(ValueError, match=r"keys must be tuples of at most 8 parts, .* got 9"):
            HeavyHitters(0.01).update(wide)


def pa_table(n_columns: int) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.table({str(i): [1, 2] for i in range(n_columns)})


def test_dates_come_back() -> None:
    day = datetime.date(2026, 11, 30)
    noon = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
    berlin = noon.astimezone(ZoneInfo("Europe/Berlin"))
    far = np.array(["20000-01-01"], "M8[D]")
    assert HeavyHitters(0.1).update([day, day]).top() == [(day, 2)]
    assert HeavyHitters(0.1).update([noon, berlin]).top() == [(noon, 2)]
    assert HeavyHitters(0.1).update(far).top() == [(far[0], 1)]
    # A record of 8 bytes has no place for a date.
    [(name, _)] = HeavyHitters(0.1, max_key_bytes=8).update([day]).top()
    assert name == f"…{hash_keys(day):016x}"


def test_weights_count_as_repetitions() -> None:
    keys = zipf_stream(2, 20_000)
    distinct, counts = np.unique(keys, return_counts=True)
    by_weight = HeavyHitters(0.01).update(distinct, counts)
    one_by_one = HeavyHitters(0.01).update(keys)
    assert by_weight.top() == one_by_one.top()
    assert by_weight.total == one_by_one.total


# -- arguments ------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    for bad in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="frequency must be a number in"):
            HeavyHitters(bad)
    with pytest.raises(ValueError, match="frequency must be at least 1e-07"):
        HeavyHitters(1e-9)
    with pytest.raises(TypeError, match="frequency must be a number"):
        HeavyHitters("often")
    for bad in (7, 65536):
        with pytest.raises(ValueError, match="max_key_bytes must be an integer from 8 to 65535"):
            HeavyHitters(0.1, max_key_bytes=bad)
    with pytest.raises(ValueError, match="relative_error must be a number in"):
        HeavyHitters.for_error(0.1, relative_error=0.06)
    with pytest.raises(ValueError, match="relative_error must be above 0"):
        HeavyHitters.for_error(0.1, relative_error=0.0)
    with pytest.raises(ValueError, match="k must be an integer of at least 0, got -1"):
        HeavyHitters(0.1).top(-1)
    with pytest.raises(TypeError, match="cannot subtract"):
        HeavyHitters(0.1).subtract(HeavyHitters(0.1))


def test_keys_just_above_the_frequency_are_reported_whatever_the_total() -> None:
    """A product of floats beyond 2**53 may be rounded up, above the count of such a key."""
    rng = np.random.default_rng(0)
    rounded_up = 0
    for _ in range(60):
        frequency, total = rng.uniform(0.01, 0.5), int(rng.integers(2**60, 2**62))
        count = math.floor(Fraction(frequency) * total) + 1
        rounded_up += math.floor(frequency * total) >= count
        # The last counts alone bring the key above.
        sketch = HeavyHitters(frequency).update([1], counts=[count - 1])
        sketch.update([2, 1], counts=[total - count, 1])
        assert dict(sketch.top())[1] == count and sketch.total == total
        assert 1 not in dict(HeavyHitters(frequency).update([1, 2], [count - 1, total - count + 1]).top())
    assert rounded_up > 10


def test_for_error_sizes_the_table() -> None:
    sketch = HeavyHitters.for_error(0.01)
    assert (sketch.n_rows, sketch.n_buckets) == (5, 544)
    assert HeavyHitters(0.01).n_buckets == 544
    assert HeavyHitters.for_error(0.01, relative_error=0.0001, confidence=0.999).n_buckets == 27183


def test_kinds_that_meet_only_in_a_reduction_are_refused() -> None:
    """Over ranks the bits of the kinds of keys are joined first, and the names after them."""
    sketch, other = HeavyHitters(0.1).update([1]), HeavyHitters(0.1).update(["a"])
    arrays = {name: state.array for name, state in other.state.items()}
    sketch._arrays["key_forms"] |= arrays["key_forms"]
    with pytest.raises(IncompatibleSketchError, match="hold integers in one and strings or bytes in another"):
        sketch._reduce_custom("candidates", {}, arrays)
