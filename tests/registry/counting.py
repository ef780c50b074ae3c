"""Count-Min and Count-Sketch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from argument_cases import Case, key_count_cases
from batches import BAD_KEYS, SEEDS, join_lists, key_batches, large_keys
from entries import Entry, GpuEntry
from gpu_batches import gpu_keys
from hypothesis import strategies as st
from mergesketch import CountMinSketch, CountSketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS

_TABLE = st.tuples(st.integers(1, 4), st.integers(1, 9) | st.just(1000), SEEDS)


def _between_truth_and_plain(whole: Any, merged: Any, batches: Sequence[tuple]) -> None:
    plain = CountMinSketch(whole.n_rows, whole.n_buckets, seed=whole.seed)
    keys, counts = join_lists(batches)
    plain.update(keys, counts)
    distinct = list(dict.fromkeys(keys))
    truth = [sum(c for k, c in zip(keys, counts, strict=True) if k == key) for key in distinct]
    for sketch in (whole, merged):
        assert (sketch.query(distinct) >= truth).all()
        assert (sketch.state["counts"].array <= plain.state["counts"].array).all()
        assert sketch.total == plain.total
        assert sketch.n_updates == plain.n_updates


ENTRIES: dict[str, Entry] = {
    "CountMinSketch": Entry(
        CountMinSketch,
        _TABLE.map(lambda t: CountMinSketch(t[0], t[1], seed=t[2])),
        key_batches(0),
        join_lists,
        large_keys,
        [*BAD_KEYS, (["a"], [-1])],
        counters=("counts", "total", "n_updates"),
    ),
    "CountMinSketch, conservative": Entry(
        CountMinSketch,
        _TABLE.map(lambda t: CountMinSketch(t[0], t[1], conservative=True, seed=t[2])),
        key_batches(0),
        join_lists,
        large_keys,
        [*BAD_KEYS, (["a"], [-1])],
        linear=False,
        merge_is_inexact="an update raises counters by what they hold already, so parts sum to more",
        weaker_law=_between_truth_and_plain,
        counters=("counts", "total", "n_updates"),
    ),
    "CountSketch": Entry(
        CountSketch,
        _TABLE.map(lambda t: CountSketch(t[0], t[1], seed=t[2])),
        key_batches(-5),
        join_lists,
        large_keys,
        BAD_KEYS,
        counters=("counts", "total", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "CountMinSketch": GpuEntry(
        lambda: CountMinSketch(4, 100, seed=3),
        gpu_keys,
        (lambda s, b: s.query(b[0]), lambda s, b: s.lower_bound(b[0])),
    ),
    "CountSketch": GpuEntry(
        lambda: CountSketch(5, 100, seed=3),
        gpu_keys,
        (lambda s, b: s.query(b[0]), lambda s, b: s.upper_bound(b[0])),
    ),
}


def argument_cases() -> Iterator[Case]:
    yield from key_count_cases("CountMinSketch", lambda: CountMinSketch(3, 16))
    yield from key_count_cases("CountSketch", lambda: CountSketch(3, 16))


def stored_examples() -> dict[str, Stored]:
    return {
        "CountMinSketch": CountMinSketch(3, 50).update(SMALL_KEYS),
        "CountSketch": CountSketch(3, 50).update(SMALL_KEYS),
    }
