"""Test the pool of threads: results are the same whatever happens around it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mergesketch
import numpy as np
import pytest
from mergesketch import CountMinSketch, CountSketch, Race
from mergesketch.lsh.support import threads
from mergesketch.lsh.support.threads import map_blocks, run_tasks
from toy_family import ToyFamily

KEYS = np.random.default_rng(0).integers(0, 1000, 200_000)


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(4)
    yield
    mergesketch.set_num_threads(before)


# -- mapping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100, 12_345])
@pytest.mark.parametrize("block", [1, 8, 1000, 10**9])
def test_blocks_cover_the_range_once_in_order(n: int, block: int) -> None:
    ranges = map_blocks(lambda start, stop: (start, stop), n, block)
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(n))
    assert len(ranges) <= 16
    assert all(stop - start >= min(n, block) for start, stop in ranges)


def test_results_come_in_order() -> None:
    def late_first(i: int) -> int:
        time.sleep(0.02 * (i == 0))
        return i * i

    assert run_tasks(late_first, 20) == [i * i for i in range(20)]
    assert run_tasks(late_first, 0) == []


def test_tasks_run_on_several_threads_at_once() -> None:
    # Each of four tasks waits for the other three.
    barrier = threading.Barrier(4)
    run_tasks(lambda i: barrier.wait(timeout=20), 4)


def test_calls_nest() -> None:
    """A task that maps blocks itself runs them inline; a pool that waits for itself would hang."""

    def outer(i: int) -> int:
        return sum(map_blocks(lambda start, stop: (i + 1) * (stop - start), 1000, 1))

    assert run_tasks(outer, 40) == [1000 * (i + 1) for i in range(40)]


def test_the_first_exception_comes_out_after_all_tasks_ended() -> None:
    running = []

    def task(i: int) -> None:
        running.append(i)
        time.sleep(0.05 if i == 1 else 0.0)
        if i in (2, 3):
            raise KeyError(i)
        running.remove(i)

    with pytest.raises(KeyError):
        run_tasks(task, 100)
    assert set(running) <= {2, 3}, "a task was still at work"
    assert run_tasks(abs, 5) == [0, 1, 2, 3, 4]


# -- several Python threads -----------------------------------------------------------------------


def eight_at_once(function: Any) -> list[Any]:
    barrier = threading.Barrier(8)

    def start(i: int) -> Any:
        barrier.wait(timeout=20)
        return function(i)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(start, range(8)))


def test_eight_threads_query_one_sketch() -> None:
    sketch = CountSketch(5, 500).update(KEYS)
    expected = sketch.query(KEYS)
    for result in eight_at_once(lambda i: sketch.query(KEYS)):
        np.testing.assert_array_equal(result, expected)
    rows = np.random.default_rng(0).integers(0, 4, (5000, 6))
    race = Race(ToyFamily(6, 40)).update(rows)
    sums = race.query(rows)
    for result in eight_at_once(lambda i: race.query(rows)):
        np.testing.assert_array_equal(result, sums)


def test_eight_threads_update_a_sketch_each() -> None:
    expected = [CountMinSketch(4, 300, seed=i).update(KEYS) for i in range(8)]
    assert eight_at_once(lambda i: CountMinSketch(4, 300, seed=i).update(KEYS)) == expected


def test_the_number_of_threads_changes_while_others_work() -> None:
    expected = CountMinSketch(4, 300).update(KEYS)
    stop, often = threading.Event(), threading.Event()

    def change() -> None:
        for n in itertools.count():
            mergesketch.set_num_threads(1 + n % 5)
            if n > 10:
                often.set()
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        try:
            rounds = 0
            while rounds < 2 or not (often.is_set() or changed.done()):
                rounds += 1
                for sketch in eight_at_once(lambda i: CountMinSketch(4, 300).update(KEYS)):
                    assert sketch == expected
        finally:
            stop.set()
        changed.result()
        assert often.is_set()


def test_pools_that_were_replaced_end_their_threads() -> None:
    for n in range(2, 40):
        mergesketch.set_num_threads(n % 4 + 2)
        run_tasks(abs, 8)
    deadline = time.monotonic() + 20
    while sum(t.name.startswith("mergesketch") for t in threading.enumerate()) > 5:
        assert time.monotonic() < deadline, "threads of old pools live on"
        time.sleep(0.01)


# -- processes ------------------------------------------------------------------------------------


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = (
        "MERGESKETCH_NUM_THREADS",
        "MPI_LOCALNRANKS",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "SLURM_NTASKS_PER_NODE",
    )
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_fork_after_use() -> None:
    """After any number of forks, a child works on threads of its own."""
    code = """
import os, sys, threading
import numpy as np
import mergesketch
mergesketch.set_num_threads(4)
keys = np.arange(200_000) % 1000
expected = mergesketch.CountMinSketch(4, 300).update(keys)

def work(generation):
    assert mergesketch.get_num_threads() == 4
    assert mergesketch.CountMinSketch(4, 300).update(keys) == expected
    assert any(t.name.startswith("mergesketch") for t in threading.enumerate())
    if generation < 2:
        child = os.fork()
        if child == 0:
            work(generation + 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

work(0)
child = os.fork()
if child == 0:
    assert mergesketch.CountMinSketch(4, 300).update(keys) == expected
    sys.exit(0)  # through the interpreter's own end, which joins threads
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert mergesketch.CountMinSketch(4, 300).update(keys) == expected
print("done")
"""
    ran = run_python(code)
    assert ran.stdout == "done\n", ran.stderr


def test_a_fork_while_signals_are_delayed() -> None:
    """The child handles signals as before, and not those of the parent, whichever thread forks."""
    code = """
import os, signal, threading
from mergesketch.lsh.support.interrupts import uninterrupted

heard = []
def note(number, frame):
    heard.append((os.getpid(), number))

numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM]
for number in numbers:
    signal.signal(number, note)

def fork(is_delayed):
    child = os.fork()
    if child:
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return
    code = 0 if all((signal.getsignal(n) is note) == (not is_delayed) for n in numbers) else 1
    for number in numbers:
        signal.raise_signal(number)
    if is_delayed and heard:
        code = 2
    if not is_delayed:
        finish(code)
    codes.append(code)

def finish(code):
    if heard != [(os.getpid(), number) for number in numbers]:
        code = code or 3
    with uninterrupted():
        pass
    os._exit(code or 4 * (len(heard) != 3))

parent, codes = os.getpid(), []
with uninterrupted():
    signal.raise_signal(signal.SIGTERM)
    thread = threading.Thread(target=fork, args=[False])
    thread.start()
    thread.join()
    # The block goes on in the child of its own thread, and ends there.
    fork(True)
if os.getpid() != parent:
    finish(codes[-1])
assert heard == [(parent, signal.SIGTERM)], heard
assert all(signal.getsignal(number) is note for number in numbers)
print(codes)
"""
    ran = run_python(code)
    assert ran.stdout == "[0, 0]\n", (ran.stdout, ran.stderr)


@pytest.mark.slow
def test_a_fork_while_other_threads_work() -> None:
    code = """
import faulthandler, os, threading
import numpy as np
import mergesketch
mergesketch.set_num_threads(4)
keys = np.arange(20_000) % 1000
expected = mergesketch.CountMinSketch(4, 300).update(keys)
stop = threading.Event()

def work():
    while not stop.is_set():
        assert mergesketch.CountMinSketch(4, 300).update(keys) == expected

workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
codes = []
for _ in range(40):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        os._exit(0 if mergesketch.CountMinSketch(4, 300).update(keys) == expected else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if codes[-1]:
        break
stop.set()
for worker in workers:
    worker.join()
assert not any(codes), codes
print("done")
"""
    ran = run_python(code)
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.slow
def test_multiprocessing_by_fork() -> None:
    code = """
import multiprocessing
import numpy as np
import mergesketch
mergesketch.set_num_threads(4)
keys = np.arange(200_000) % 1000

def work(i):
    return mergesketch.CountMinSketch(4, 300).update(keys)

if __name__ == "__main__":
    expected = work(0)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert all(sketch == expected for sketch in pool.map(work, range(6)))
    print("done")
"""
    ran = run_python(code)
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.slow
def test_an_interrupt_waits_for_running_tasks() -> None:
    """After Ctrl-C no thread still writes into arrays that the caller has got back."""
    code = """
import os, signal, threading, time
import mergesketch
from mergesketch.lsh.support.threads import run_tasks
mergesketch.set_num_threads(2)
running, begun = [], threading.Event()

def task(i):
    running.append(i)
    begun.set()
    time.sleep(0.3)
    running.remove(i)

def interrupt():
    begun.wait()
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
threading.Thread(target=interrupt).start()
try:
    run_tasks(task, 1000)
except KeyboardInterrupt:
    print("running:", running)
"""
    assert run_python(code).stdout == "running: []\n"


@pytest.mark.slow
def test_an_interrupt_keeps_no_lock_of_a_task() -> None:
    """`concurrent.futures.wait` takes the locks of all tasks; with one of them kept, no task would end."""
    code = """
import os, signal, time
from concurrent.futures import _base
import mergesketch
from mergesketch.lsh.support.threads import run_tasks
mergesketch.set_num_threads(2)
running = []

class Interrupted(_base._AcquireFutures):
    def __exit__(self, *error):
        os.kill(os.getpid(), signal.SIGINT)
        super().__exit__(*error)

def task(i):
    running.append(i)
    time.sleep(0.01)
    running.remove(i)

signal.signal(signal.SIGINT, signal.default_int_handler)
_base._AcquireFutures = Interrupted
try:
    run_tasks(task, 20)
except KeyboardInterrupt:
    print("running:", running)
"""
    assert run_python(code).stdout == "running: []\n"


# -- how many -------------------------------------------------------------------------------------

SHOW = "import mergesketch; print(mergesketch.get_num_threads())"
CORES = len(os.sched_getaffinity(0))
RANK_VARIABLES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE")


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("MERGESKETCH_NUM_THREADS", *RANK_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_environment_variable(no_variables: pytest.MonkeyPatch) -> None:
    assert threads._default_num_threads() == CORES
    no_variables.setenv("MERGESKETCH_NUM_THREADS", "3")
    assert threads._default_num_threads() == 3
    no_variables.setenv("MPI_LOCALNRANKS", "2")
    assert threads._default_num_threads() == 3
    for bad in ("0", "-1", "many", "", "1.5"):
        no_variables.setenv("MERGESKETCH_NUM_THREADS", bad)
        with pytest.raises(ValueError, match="MERGESKETCH_NUM_THREADS must be an integer of at least 1"):
            threads._default_num_threads()


@pytest.mark.slow
def test_the_environment_of_a_process() -> None:
    assert run_python(SHOW).stdout == f"{CORES}\n"
    assert run_python(SHOW, MERGESKETCH_NUM_THREADS="3").stdout == "3\n"
    assert run_python(SHOW, MPI_LOCALNRANKS=str(CORES)).stdout == "1\n"
    assert "MERGESKETCH_NUM_THREADS must be" in run_python(SHOW, MERGESKETCH_NUM_THREADS="many").stderr


@pytest.mark.parametrize("name", RANK_VARIABLES)
def test_ranks_share_the_cores_of_their_node(name: str, no_variables: pytest.MonkeyPatch) -> None:
    for ranks in (1, 2, CORES, 10 * CORES):
        no_variables.setenv(name, str(ranks))
        assert threads._default_num_threads() == max(1, CORES // ranks)
    for nonsense in ("0", "", "4(x2)"):
        no_variables.setenv(name, nonsense)
        assert threads._default_num_threads() == CORES


def test_fewer_cores_by_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n" + SHOW
    assert run_python(code).stdout == "1\n"


def test_set_num_threads_refuses() -> None:
    for bad in (0, -1, 1.5, "2", None, True):
        with pytest.raises(ValueError, match="n must be an integer from 1 to 65536, got"):
            mergesketch.set_num_threads(bad)
    assert mergesketch.get_num_threads() == 4


def test_one_thread_starts_no_pool() -> None:
    mergesketch.set_num_threads(1)
    CountMinSketch(4, 300).update(KEYS)
    assert threads._state.executor is None
