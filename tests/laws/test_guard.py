"""Test that a batch is in or not in, after any failure, after Ctrl-C, and while others use the sketch."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from entries import take
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mergesketch import DensitySketch, HeavyHitters, LSHIndex, Race
from mergesketch.lsh.support import interrupts
from mergesketch.lsh.support.interrupts import check_interrupt, uninterrupted
from mergesketch.sketches.core import hashed_rows
from mergesketch.sketches.density import cell_counts
from mergesketch.sketches.race.release import Release
from mergesketch.sketches.regression import storm
from paths import environment
from registry import ENTRIES
from toy_family import ToyFamily

#: The folder whose code changes states; most lines are run elsewhere, where rows are read and hashed.
PACKAGE = str(Path(mergesketch.__file__).parent / "sketches")
#: NumPy's functions that allocate memory.
TAKES_MEMORY = [
    "append",
    "arange",
    "argsort",
    "array",
    "ascontiguousarray",
    "concatenate",
    "cumsum",
    "empty",
    "empty_like",
    "flatnonzero",
    "full",
    "isin",
    "ldexp",
    "lexsort",
    "ones",
    "repeat",
    "searchsorted",
    "sort",
    "stack",
    "unique",
    "where",
    "zeros",
    "zeros_like",
]
FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks small, so that batches of 600 rows have several."""
    monkeypatch.setattr(hashed_rows, "_BLOCK_CODES", 1)
    monkeypatch.setattr(storm, "_BLOCK_CODES", {"cpu": 1, "gpu": 1})
    monkeypatch.setattr(cell_counts, "_BLOCK", {"cpu": 600, "gpu": 600})


def batches_of(entry: Any, sketch: Any, *sizes: int) -> list[tuple]:
    """Yield parts of a large batch, one after another."""
    batch = entry.large(np.random.default_rng(3), sketch)
    ends = np.cumsum(sizes).tolist()
    return [
        tuple(column[end - size : end] for column in batch) for end, size in zip(ends, sizes, strict=True)
    ]


@contextmanager
def out_of_memory(call: int) -> Iterator[list[int]]:
    """Make NumPy's call of that number fail; yield a counter of the calls."""
    made = [0]

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def take_memory(*args: Any, **kwargs: Any) -> Any:
            made[0] += 1
            if made[0] == call:
                raise MemoryError("injected")
            return function(*args, **kwargs)

        return take_memory

    with pytest.MonkeyPatch.context() as patch:
        for name in TAKES_MEMORY:
            patch.setattr(np, name, failing(getattr(np, name)))
        yield made


@contextmanager
def ctrl_c(place: int) -> Iterator[list[int]]:
    """Interrupt the library at the line of that number; yield a counter of the lines."""
    lines = [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        if event == "call" and not frame.f_code.co_filename.startswith((PACKAGE, interrupts.__file__)):
            return None
        if event == "line":
            lines[0] += 1
            if lines[0] == place:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


def changes_of(entry: Any, sketch: Any) -> list[tuple[Any, Callable[[Any], Any]]]:
    """Yield sketches and changes of them: a first batch, small and large further ones, a merge."""
    n = 3 if issubclass(entry.cls, Release) else 600
    first, second, third = batches_of(entry, sketch, *((2, 1, 2) if n == 3 else (40, 30, n)))
    filled, other = take(sketch.copy(), *first), take(sketch.copy(), *third)
    return [
        (sketch, lambda s: take(s, *first)),
        (sketch, lambda s: take(s, *third)),
        (filled, lambda s: take(s, *second)),
        (filled, lambda s: take(s, *third)),
        (filled, lambda s: s.merge(other, other.copy())),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.usefixtures("small_blocks")
def test_without_memory_nothing_is_changed(name: str) -> None:
    entry = ENTRIES[name]

    @FEW
    @given(entry.sketches)
    def check(sketch: Any) -> None:
        for before, change in changes_of(entry, sketch):
            change(before.copy())  # compiles, and draws random parameters
            tried = before.copy()
            with out_of_memory(0) as made:
                change(tried)
            rng = np.random.default_rng(made[0])
            for call in sorted({1, made[0], *rng.integers(1, made[0] + 1, 25).tolist()} if made[0] else ()):
                tried = before.copy()
                with out_of_memory(call), pytest.raises(MemoryError, match="injected"):
                    change(tried)
                assert tried == before.copy()  # comparing allocates the arrays of a sketch that has none yet
                assert tried.n_updates == before.n_updates

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_batch_is_in_or_it_is_not(name: str) -> None:
    entry = ENTRIES[name]
    handler = signal.getsignal(signal.SIGINT)

    @settings(FEW, max_examples=1)
    @given(entry.sketches)
    def check(sketch: Any) -> None:
        for before, change in changes_of(entry, sketch):
            after = change(before.copy())
            tried = before.copy()
            with ctrl_c(0) as lines:
                change(tried)
            rng = np.random.default_rng(lines[0])
            for place in sorted({1, lines[0], *rng.integers(1, lines[0] + 1, 10).tolist()}):
                tried = before.copy()
                with pytest.raises(KeyboardInterrupt), ctrl_c(place):
                    change(tried)
                assert tried in (before.copy(), after)
                assert signal.getsignal(signal.SIGINT) is handler
                # The sketch is not locked, and not in a state in which calls are refused.
                assert take(tried.empty_like(), *batches_of(entry, sketch, 1)[0]).merge(tried) is not None

    check()


def test_handlers_of_signals_wait_for_the_end() -> None:
    heard = []
    before = [signal.signal(number, lambda *_: heard.append("term")) for number in (signal.SIGTERM,)]
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
            assert heard == []
            # A handler that does not raise does not stop a change that could be undone.
            with pytest.raises(KeyboardInterrupt):
                check_interrupt()
            assert heard == ["term"]
            signal.raise_signal(signal.SIGTERM)
            check_interrupt()
            assert heard == ["term"] * 2
            signal.raise_signal(signal.SIGINT)
        assert interrupts._held_back == []
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # An error of the block is not lost.
        with pytest.raises(KeyboardInterrupt) as caught, uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("of the block")
        assert isinstance(caught.value.__context__, ValueError)
    finally:
        signal.signal(signal.SIGTERM, before[0])


@contextmanager
def hasty_threads() -> Iterator[ThreadPoolExecutor]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            yield pool
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if not entry.merge_is_inexact])
def test_threads_that_update_one_sketch_lose_nothing(name: str) -> None:
    entry = ENTRIES[name]

    @FEW
    @given(entry.sketches, st.booleans())
    def check(sketch: Any, merged: bool) -> None:
        small = issubclass(entry.cls, Release)
        batches = batches_of(entry, sketch, *([1] * 5 if small else [100] * 40))
        one = sketch.empty_like()
        with hasty_threads() as pool:
            if merged:
                list(pool.map(lambda batch: one.merge(take(sketch.empty_like(), *batch)), batches))
            else:
                list(pool.map(lambda batch: take(one, *batch), batches))
        assert one == take(sketch.empty_like(), *entry.join(batches))

    check()


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (lambda: LSHIndex(ToyFamily(2, 6, 9), capacity=50), lambda rng: (rng.integers(0, 9, (900, 2)),)),
        (lambda: HeavyHitters(0.01), lambda rng: (rng.integers(0, 30, 5000),)),
        (
            lambda: DensitySketch(2, [0.5, 0.5], n_rows=5, n_buckets=8192),
            lambda rng: (np.round(rng.normal(size=(900, 2)), 1),),
        ),
        (lambda: Race(ToyFamily(2, 6, 9)), lambda rng: (rng.integers(0, 9, (900, 2)),)),
    ],
)
def test_threads_and_one_sketch_that_began_empty(make: Any, batch: Any) -> None:
    batches = [batch(np.random.default_rng(seed)) for seed in range(24)]
    one, whole = make(), make()
    with hasty_threads() as pool:
        list(pool.map(lambda rows: one.update(*rows), batches))
    for rows in batches:
        whole.update(*rows)
    assert one.n_updates == whole.n_updates
    if isinstance(one, LSHIndex):  # the order of the threads decides which rows get which ids
        ids = one.query(np.argwhere(np.ones((9, 9), int)), k=3000).ids
        assert one.state["largest_id"].array[0] == one.n_updates - 1 >= ids.max()
        return
    assert one == whole


@pytest.mark.parametrize("first", range(3))
def test_threads_that_only_save_and_ask(tmp_path: Path, first: int) -> None:
    X = np.random.default_rng(first).integers(0, 20, (20_000, 3))
    index = LSHIndex(ToyFamily(3, 8, 20), capacity=400).add(X)
    expected = index.copy().to_bytes()
    answers = index.copy().query(X[:50], k=9)
    found = [
        lambda: index.to_bytes() == expected,
        lambda: pickle.loads(pickle.dumps(index)).to_bytes() == expected,
        lambda: index == LSHIndex.from_bytes(expected),
        lambda: all((a == b).all() for a, b in zip(index.query(X[:50], k=9), answers, strict=True)),
        lambda: index.copy().to_bytes() == expected,
        lambda: (index.save(path := tmp_path / str(threading.get_ident())), path.read_bytes() == expected)[1],
    ]
    with hasty_threads() as pool:
        assert all(pool.map(lambda i: found[i % 6](), range(first, 24 + first)))


FORKED = """
import os, threading
import numpy as np
from mergesketch import Race
from toy_family import ToyFamily

class Slow(ToyFamily):
    def hash(self, X):
        started.set()
        assert forked.wait(60)
        return super().hash(X)

def in_child(use, right):
    child = os.fork()
    if child == 0:
        os._exit(0 if right(use) else 1)
    assert os.waitpid(child, 0)[1] == 0, use

def refused(use):
    try:
        use()
    except RuntimeError as error:
        return "being changed by another thread when this process was forked" in str(error)
    return False

started, forked = threading.Event(), threading.Event()
sketch, rows = Race(Slow(1, 3)), np.zeros((9, 1))
thread = threading.Thread(target=sketch.update, args=(rows,))
thread.start()
started.wait()
# No thread will finish that in the child, so it is refused, and does not wait for ever.
in_child(lambda: sketch.update(rows), refused)
in_child(lambda: sketch.to_bytes(), refused)
forked.set()
thread.join()
in_child(lambda: sketch.copy().update(rows) and sketch.update(rows).n_updates, lambda use: use() == 18)
assert sketch.n_updates == 9
# The thread that forks may hold the lock itself.
with sketch._lock:
    in_child(lambda: sketch.update(rows).n_updates, lambda use: use() == 18)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_locks_of_its_own() -> None:
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr


def test_copies_share_no_lock() -> None:
    sketch = Race(ToyFamily(1, 3)).update([[0]])
    for other in (sketch.copy(), pickle.loads(pickle.dumps(sketch)), sketch.empty_like(), sketch | sketch):
        with sketch._lock:
            thread = threading.Thread(target=other.update, args=([[1]],))
            thread.start()
            thread.join(20)
            assert not thread.is_alive()
