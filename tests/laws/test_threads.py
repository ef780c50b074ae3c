"""Test one object in many threads: nothing is lost, and a query finds the state before or after a batch."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from entries import take
from hypothesis import HealthCheck, Phase, given, settings
from mergesketch import (
    BloomFilter,
    CountMinSketch,
    HeavyHitters,
    LSHIndex,
    ScalableBloomFilter,
    StaticFunctionBuilder,
)
from mergesketch.sketches.core import guard, reading
from mergesketch.sketches.core.merging import StoredMergeable
from mergesketch.sketches.core.stored import stored_classes
from mergesketch.sketches.race.release import Release
from paths import environment
from registry import ENTRIES, FAMILIES
from toy_family import ToyFamily

#: Seconds after which threads are taken to wait for each other for ever.
FOR_EVER = 30.0
ONCE = settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def hasty_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def run(*tasks: Callable[[], Any]) -> list[Any]:
    """Run each task in a thread of its own; return the results, or raise the first exception."""
    results: list[Any] = [None] * len(tasks)
    errors: list[BaseException] = []

    def work(i: int) -> None:
        try:
            results[i] = tasks[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(tasks))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + FOR_EVER
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    return results


def few_batches(entry: Any, sketch: Any, n: int) -> list[tuple]:
    """Return parts of a large batch that a sketch takes."""
    batch = entry.large(np.random.default_rng(3), sketch)
    size = 1 if issubclass(entry.cls, Release) else 60
    n = min(n, 5) if size == 1 else n
    return [tuple(column[i * size : (i + 1) * size] for column in batch) for i in range(n)]


def _arrays_of(sketch: Any) -> tuple[bytes, ...]:
    found = []
    for name in sorted(sketch._state.specs):
        found.append(sketch._arrays[name].tobytes())
        time.sleep(0)  # another thread runs, and would change the arrays that are not read yet
    return tuple(found)


#: A query that reads everything, slowly.
everything = reading.reading(_arrays_of)


def drawn_sketch(entry: Any) -> Any:
    drawn = []

    @ONCE
    @given(entry.sketches)
    def draw(sketch: Any) -> None:
        drawn.append(sketch)

    draw()
    return drawn[0]


@pytest.mark.parametrize("name", ENTRIES)
def test_a_query_finds_the_state_before_or_after_a_batch(name: str) -> None:
    entry = ENTRIES[name]
    sketch = drawn_sketch(entry)
    batches = few_batches(entry, sketch, 25)
    states, plain = [everything(sketch.copy())], sketch.copy()
    for batch in batches:
        take(plain, *batch)
        states.append(everything(plain))
    one, ended = sketch.copy(), threading.Event()

    def write() -> None:
        for batch in batches:
            take(one, *batch)
            time.sleep(0)
        ended.set()

    def ask() -> list[tuple[bytes, ...]]:
        found = [everything(one)]
        while not ended.is_set():
            found.append(everything(one))
        return [*found, everything(one)]

    _, *answers = run(write, ask, ask)
    for found in answers:
        places = [states.index(state) for state in found]
        assert places == sorted(places)
        assert places[-1] == states.index(states[-1])


@pytest.mark.parametrize("name", ENTRIES)
def test_threads_that_update_ask_and_save_one_sketch(name: str) -> None:
    entry = ENTRIES[name]
    sketch = drawn_sketch(entry)
    batches = few_batches(entry, sketch, 24)
    one, whole, left = sketch.copy(), sketch.copy(), len(batches)
    for batch in batches:
        take(whole, *batch)
    states = []

    def write(part: int) -> None:
        nonlocal left
        for batch in batches[part::4]:
            take(one, *batch)
            left -= 1

    def save() -> None:
        while left > 0:
            states.append(one.to_bytes())
            assert repr(one)

    def ask() -> None:
        while left > 0:
            everything(one)

    run(*(lambda part=part: write(part) for part in range(4)), save, ask, ask, lambda: one.copy() == one)
    if entry.merge_is_inexact is None:
        assert one == whole
    assert one.n_updates == whole.n_updates
    sizes = [type(one).from_bytes(state).n_updates for state in states]
    assert sizes == sorted(sizes)


def asking(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class and its bases outside of `core` define."""
    for base in cls.__mro__:
        home = vars(base).get("_defined_in", base.__module__)
        if not home.startswith("mergesketch.sketches.") or ".core." in home:
            continue
        for name, member in vars(base).items():
            if not name.startswith("_") or name in reading._ASKING:
                yield f"{base.__name__}.{name}", member


def test_every_query_of_every_class_that_changes_is_protected() -> None:
    own = {name for cls in StoredMergeable.__mro__[:-1] for name in vars(cls)}
    own |= set(vars(mergesketch.MergeableSketch))
    #: These read the family and their arguments, and no state.
    without_state = {"CollisionEstimates.kernel_estimate", "CollisionEstimates.distance_estimate"}
    protected = 0
    for cls in stored_classes().values():
        if not issubclass(cls, StoredMergeable):
            continue
        for name, member in asking(cls):
            short = name.partition(".")[2]
            if short in own or short in reading._CHANGING or name in without_state:
                continue
            function = member.fget if isinstance(member, property) else member
            if inspect.isfunction(function):
                assert function.__code__ is reading.reading(len).__code__, f"{name} is not protected"
                protected += 1
    assert protected > 100


# -- what waits, and what does not ----------------------------------------------------------------


def test_queries_of_one_object_run_at_the_same_time() -> None:
    sketch, together = CountMinSketch(3, 64).update([1, 2]), threading.Barrier(4, timeout=FOR_EVER)
    ask = reading.reading(lambda asked: together.wait() >= 0 and asked.query(1))
    assert run(*[lambda: ask(sketch)] * 4) == [1] * 4


def test_an_update_waits_for_queries_and_reads_its_batch_beside_them() -> None:
    read, go_on, begun = threading.Event(), threading.Event(), threading.Event()

    class Noting(CountMinSketch):
        _internal = True

        def _read(self, *arguments: Any) -> Any:
            batch = super()._read(*arguments)
            read.set()
            return batch

    sketch = Noting(3, 64).update([1])
    read.clear()

    def slow(asked: Any) -> tuple[int, int]:
        begun.set()
        assert read.wait(FOR_EVER), "the batch was not read beside the query"
        time.sleep(0.05)
        first = asked.n_updates
        assert go_on.wait(FOR_EVER)
        return first, asked.n_updates

    ask = reading.reading(slow)
    found: list[Any] = []
    asker = threading.Thread(target=lambda: found.append(ask(sketch)), daemon=True)
    asker.start()
    assert begun.wait(FOR_EVER)
    writer = threading.Thread(target=sketch.update, args=([2],), daemon=True)
    writer.start()
    assert read.wait(FOR_EVER)
    time.sleep(0.1)
    assert writer.is_alive()
    go_on.set()
    writer.join(FOR_EVER)
    asker.join(FOR_EVER)
    assert found == [(1, 1)] and sketch.n_updates == 2


def test_two_objects_that_are_compared_and_merged_in_both_orders() -> None:
    one, other = (BloomFilter(capacity=5000, seed=3) for _ in range(2))

    def grow(sketch: Any, first: int) -> None:
        for i in range(first, first + 60):
            sketch.update(np.arange(10 * i, 10 * i + 10))

    def stays(ours: Any, other: Any) -> bool:
        before = _arrays_of(ours), _arrays_of(other)
        time.sleep(0)
        return before == (_arrays_of(ours), _arrays_of(other))

    steady = reading.reading(stays)

    def compare(ours: Any, theirs: Any) -> None:
        for _ in range(60):
            assert np.isfinite(ours.jaccard(theirs)) and np.isfinite(
                ours.intersection_cardinality(other=theirs)
            )
            assert steady(ours, theirs) and steady(ours, other=theirs)

    def merge(ours: Any, theirs: Any) -> None:
        for _ in range(15):
            ours.merge(theirs)

    run(
        lambda: grow(one, 0), lambda: grow(other, 60),
        lambda: compare(one, other), lambda: compare(other, one),
        lambda: merge(one, other), lambda: merge(other, one),
    )  # fmt: skip
    whole = BloomFilter(capacity=5000, seed=3).update(np.arange(1200))
    assert (one | other).contains(np.arange(1200)).all()
    assert (one | other).cardinality() == whole.cardinality()


def test_a_query_that_needs_the_lock_begins_again() -> None:
    sketch, other = (CountMinSketch(3, 64).update([i]) for i in range(2))
    held, met = threading.Event(), threading.Event()

    def total(asked: Any, other: Any) -> int:
        try:
            return (asked | other).n_updates
        except guard.Busy:
            met.set()
            raise

    ask = reading.reading(total)

    def hold() -> None:
        with other._lock, sketch._lock:
            held.set()
            assert met.wait(FOR_EVER), "no query has met the lock"

    def ask_while_held(asked: Any, other: Any) -> int:
        assert held.wait(FOR_EVER)
        return ask(asked, other)

    results = run(hold, lambda: ask_while_held(sketch, other), lambda: ask_while_held(other, sketch))
    assert results[1:] == [2, 2]
    assert not guard.queries_of


def test_an_update_that_asks_its_own_object() -> None:
    class Asking(CountMinSketch):
        _internal = True

        def _add(self, batch: Any) -> None:
            before = self.query(1)
            super()._add(batch)
            assert self.query(1) == before + 1
            assert repr(self)

    sketch = Asking(3, 64)
    run(*[lambda: [sketch.update([1]) for _ in range(20)]] * 4)
    assert sketch.query(1) == 80


def test_a_query_that_changes_its_own_object() -> None:
    sketch = CountMinSketch(3, 64)
    ask = reading.reading(lambda asked: asked.update([1]).query(1) > 0)
    assert all(run(*[lambda: [ask(sketch) for _ in range(20)]] * 4)[0])
    assert sketch.query(1) == 80


def test_kernels_and_the_number_of_threads_change_together() -> None:
    keys = np.arange(200_000) % 1000
    sketch, threads = HeavyHitters(0.01), mergesketch.get_num_threads()
    family = ToyFamily(3, 8, 20)
    index, rows = LSHIndex(family, capacity=400), np.random.default_rng(0).integers(0, 20, (4000, 3))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for n in (1, 2, 3, 8):
                mergesketch.set_num_threads(n)
                time.sleep(0.001)

    def work() -> None:
        for i in range(5):
            sketch.update(keys)
            index.update(rows[800 * i : 800 * i + 800])
            assert sketch.query(5) % 200 == 0
            assert len(index.query(rows[:50], k=3).ids) == 50

    try:
        changer = threading.Thread(target=change, daemon=True)
        changer.start()
        run(work, work)
    finally:
        stop.set()
        changer.join(FOR_EVER)
        mergesketch.set_num_threads(threads)
    assert sketch == HeavyHitters(0.01).update(np.tile(keys, 10))
    assert index.n_updates == 8000


@pytest.mark.parametrize("name", FAMILIES)
def test_threads_that_share_a_new_family(name: str) -> None:
    entry = FAMILIES[name]
    rows = entry.rows(np.random.default_rng(1), 50)
    expected = entry.make(n_hashes=4, seed=2).hash(rows)
    family = entry.make(n_hashes=4, seed=2)
    for found in run(*[lambda: family.hash(rows)] * 8):
        np.testing.assert_array_equal(found, expected)


def test_a_builder_that_builds_while_threads_add_batches() -> None:
    builder = StaticFunctionBuilder()

    def add(part: int) -> None:
        for start in range(1000 * part, 1000 * part + 1000, 100):
            keys = np.arange(start, start + 100)
            builder.update(keys, keys % 7)

    def build() -> list[int]:
        return [builder.build().n_keys for _ in range(8)]

    add(0)
    *_, sizes = run(lambda: add(1), lambda: add(2), lambda: add(3), build)
    assert sizes == sorted(sizes) and all(size % 100 == 0 for size in sizes)
    whole = StaticFunctionBuilder().update(np.arange(4000), np.arange(4000) % 7)
    assert builder.build() == whole.build()


def test_a_filter_that_grows_in_many_threads() -> None:
    grown = ScalableBloomFilter(error_rate=0.01, initial_capacity=50)
    parts = np.arange(4000).reshape(8, 10, 50)

    def add(part: int) -> None:
        for keys in parts[part]:
            grown.update(keys)
            assert grown.contains(keys).all()
            assert ScalableBloomFilter.from_bytes(grown.to_bytes()).contains(keys).all()

    run(*(lambda part=part: add(part) for part in range(8)))
    assert grown.n_updates == 4000 and grown.contains(np.arange(4000)).all()


# -- signals and forks ----------------------------------------------------------------------------


def test_an_interrupted_query_leaves_nothing_behind() -> None:
    sketch = CountMinSketch(3, 64).update([1])
    folder = str(Path(reading.__file__).parent)
    sketch.query(1)

    def interrupted(place: int) -> int:
        """Interrupt a query at a place where Python handles signals: after a call, or in a new frame."""
        places = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            nonlocal places
            if event in ("call", "c_return") and frame.f_code.co_filename.startswith(folder):
                places += 1
                if places == place:
                    signal.raise_signal(signal.SIGINT)

        sys.setprofile(profile)
        try:
            sketch.query(1)
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        return places

    n = interrupted(0)
    assert n > 5
    for place in range(1, n + 1):
        interrupted(place)
        before = sketch.n_updates
        run(lambda: sketch.update([1]))
        assert sketch.n_updates == before + 1
        assert sketch.query(1) == before + 1


def test_a_change_whose_end_was_not_noted_closes_nothing() -> None:
    # A signal may raise its exception at the first step of the code that notes the end.
    sketch = CountMinSketch(3, 64).update([1])
    for thread in (threading.get_ident(), -1):
        sketch._guard.changed_by = sketch._guard.closed_by = thread
        assert run(lambda: sketch.query(1)) == [1]
        sketch._guard.changed_by = sketch._guard.closed_by = thread
        sketch.copy().merge(sketch)
        run(lambda: sketch.update([2]), lambda: sketch.query(1))
        sketch._guard.changed_by = sketch._guard.closed_by = thread
        sketch.update([2])
        assert sketch._guard.closed_by is sketch._guard.changed_by is None
        sketch._guard.changed_by = sketch._guard.closed_by = thread
        assert sketch.query(1) == 1
        assert run(lambda: sketch.query(1)) == [1]


FORKED = """
import os, threading
from mergesketch import CountMinSketch
from mergesketch.sketches.core.reading import reading

sketch = CountMinSketch(3, 64).update([1])
begun, end = threading.Event(), threading.Event()

def slow(asked):
    begun.set()
    end.wait()
    return asked.query(1)

ask = reading(slow)
threads = [threading.Thread(target=ask, args=(sketch,)) for _ in range(3)]
for thread in threads:
    thread.start()
begun.wait()

def fork(asked):
    child = os.fork()
    if child == 0:
        # The queries of the other threads are not here, and the own one is.
        os._exit(0 if sketch.update([1]).query(1) == 2 else 1)
    return os.waitpid(child, 0)[1]

assert fork(sketch) == 0
assert reading(fork)(sketch) == 0
end.set()
for thread in threads:
    thread.join()
assert sketch.update([1]).query(1) == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_in_a_query() -> None:
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
