"""Threads: one pool maps serial kernels, which release the GIL, over blocks of rows.

`docs/developers/decisions/threads.md` explains why Numba's ``parallel=True`` is not used.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeVar

from .interrupts import uninterrupted

__all__ = ["cut_range", "get_num_threads", "is_worker", "map_blocks", "run_tasks", "set_num_threads"]

#: Largest number of threads that can be set.
_MAX_THREADS = 1 << 16

T = TypeVar("T")


def cut_range(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Return the bounds of parts of [start, stop) of `size` numbers each; the last one may have fewer."""
    return ((first, min(first + size, stop)) for first in range(start, stop, size))


def _ranks_on_node() -> int:
    """Return how many ranks an MPI launcher started on this node; 1 without a launcher."""
    for name in ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return 1


def _default_num_threads() -> int:
    value = os.environ.get("MERGESKETCH_NUM_THREADS")
    if value is not None:
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"MERGESKETCH_NUM_THREADS must be an integer of at least 1, got {value!r}")
        return int(value)
    return max(1, len(os.sched_getaffinity(0)) // _ranks_on_node())


class _State:
    """The pool of this process. A forked child starts a new one, because threads do not survive a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.num_threads: int | None = None
        self.executor: ThreadPoolExecutor | None = None


_state = _State()
_local = threading.local()


def _after_fork_in_child() -> None:
    global _state
    parents, _state = _state, _State()
    _state.num_threads = parents.num_threads
    # If a worker of the parent's pool forked, its mark must not stay on the child's only thread.
    _local.__dict__.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def get_num_threads() -> int:
    """Return the number of threads that work on a batch.

    It is the number that `set_num_threads` set, or else that of the environment variable
    ``MERGESKETCH_NUM_THREADS``, or else the number of cores that this process may use, divided by the number
    of MPI ranks on its node.

    Returns
    -------
    int

    Examples
    --------
    >>> import mergesketch
    >>> mergesketch.get_num_threads() >= 1
    True
    """
    if _state.num_threads is None:
        _state.num_threads = _default_num_threads()
    return _state.num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that work on a batch, in this process.

    Parameters
    ----------
    n : int
        From 1 to 65536. Results never depend on it.

    Raises
    ------
    ValueError
        If `n` is not such an integer.

    Examples
    --------
    >>> import mergesketch
    >>> mergesketch.set_num_threads(2)
    >>> mergesketch.get_num_threads()
    2
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MAX_THREADS:
        raise ValueError(f"n must be an integer from 1 to {_MAX_THREADS}, got {n!r}")
    with _state.lock:
        executor, _state.executor = _state.executor, None
        _state.num_threads = n
    if executor is not None:
        executor.shutdown(wait=False)


def _mark_worker() -> None:
    _local.is_worker = True


def is_worker() -> bool:
    """Tell whether the calling thread is one of the pool, and works for another one that waits for it."""
    return getattr(_local, "is_worker", False)


def _pool() -> ThreadPoolExecutor:
    with _state.lock:
        if _state.executor is None:
            _state.executor = ThreadPoolExecutor(get_num_threads(), "mergesketch", initializer=_mark_worker)
        return _state.executor


def run_tasks(function: Callable[[int], T], n_tasks: int) -> list[T]:
    """Call ``function(0), ..., function(n_tasks - 1)`` on the pool and return the results in that order.

    The tasks run in the calling thread where there is one task or one thread, or where a worker of the pool
    calls, which would otherwise wait for itself. The first exception is raised after every task has ended.
    """
    if n_tasks <= 1 or get_num_threads() == 1 or is_worker():
        return [function(i) for i in range(n_tasks)]
    futures: list[Future[T]] = []
    ended: list[None] = []
    # A plain lock: waiting for it is one step, which an interrupt leaves as if it had not begun.
    finished = threading.Lock()
    finished.acquire()

    def note_end(future: Future[T]) -> None:
        ended.append(None)
        if len(ended) == n_tasks or (not future.cancelled() and future.exception() is not None):
            with suppress(RuntimeError):  # A task that failed has released it.
                finished.release()

    try:
        # An interrupt between the start of a thread and the step that notes it would leave a thread at work,
        # and the end of the program would wait for it. One inside `wait` could keep the locks of futures.
        with uninterrupted():
            while len(futures) < n_tasks:
                pool = _pool()
                try:
                    futures.append(pool.submit(function, len(futures)))
                except RuntimeError:
                    # Another thread may have changed the number of threads and shut this pool down.
                    if pool is _state.executor:
                        raise
                else:
                    futures[-1].add_done_callback(note_end)
        finished.acquire()
    finally:
        # After an interrupt too, no task may write to the caller's arrays once this function has returned.
        with uninterrupted():
            for future in futures:
                future.cancel()
            wait(futures)
    return [future.result() for future in futures if not future.cancelled()]


def map_blocks(function: Callable[[int, int], T], n: int, block: int) -> list[T]:
    """Call ``function(start, stop)`` for consecutive ranges that cover ``range(n)``.

    Parameters
    ----------
    function : callable
        Works on the rows [start, stop): a kernel that releases the GIL.
    n : int
        Number of rows. With 0 the function is not called.
    block : int
        The least number of rows that are worth a thread of their own. A batch of at most `block` rows runs in
        the calling thread. A larger one is cut into up to four ranges for each thread, each of at least
        `block` rows, so that all threads stay busy where some ranges take longer than others.

    Returns
    -------
    list
        The results, in the order of the ranges.
    """
    if n <= 0:
        return []
    pieces = min(max(1, n // max(1, block)), 4 * get_num_threads())
    if pieces == 1 or get_num_threads() == 1:
        return [function(0, n)]
    bounds = [n * i // pieces for i in range(pieces + 1)]
    return run_tasks(lambda i: function(bounds[i], bounds[i + 1]), pieces)
