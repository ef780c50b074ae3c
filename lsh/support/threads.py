"""Threads: serial kernels that release the GIL, mapped over blocks of rows by one pool.

Numba's own ``parallel=True`` is not used: its OpenMP layer kills a process that forks afterwards and
its workqueue layer aborts when two Python threads call it. A pool of Python threads over ``nogil``
kernels does neither, and compiles each kernel once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["get_num_threads", "map_blocks", "run_tasks", "set_num_threads"]

#: More would not be threads that a system has.
_MAX_THREADS = 1 << 16

T = TypeVar("T")


def _ranks_on_node() -> int:
    """Ranks that an MPI launcher started on this node, read from its environment; 1 without one."""
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
    """The pool of this process; a forked child starts with a fresh one, for threads do not survive."""

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
    # Forked by a worker of the parent's pool, the child's only thread is none of its own.
    _local.__dict__.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def get_num_threads() -> int:
    """Threads that a batch is spread over.

    Unless `set_num_threads` was called: the environment variable ``MERGESKETCH_NUM_THREADS``, or the
    cores that this process may use divided by the MPI ranks on its node.

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
    """Set the number of threads that a batch is spread over, in this process.

    Parameters
    ----------
    n : int
        From 1 to 65536. Results never depend on it.

    Raises
    ------
    ValueError
        If `n` is no such integer.

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


def _pool() -> ThreadPoolExecutor:
    with _state.lock:
        if _state.executor is None:
            _state.executor = ThreadPoolExecutor(get_num_threads(), "mergesketch", initializer=_mark_worker)
        return _state.executor


def run_tasks(function: Callable[[int], T], n_tasks: int) -> list[T]:
    """Call ``function(0), ..., function(n_tasks - 1)`` on the pool; results in that order.

    Runs inline with one task, one thread, or when called from a worker of the pool (which would
    otherwise wait for itself). The first exception is raised after every task has ended.
    """
    if n_tasks <= 1 or get_num_threads() == 1 or getattr(_local, "is_worker", False):
        return [function(i) for i in range(n_tasks)]
    futures: list[Future[T]] = []
    try:
        while len(futures) < n_tasks:
            pool = _pool()
            try:
                futures.append(pool.submit(function, len(futures)))
            except RuntimeError:
                # Another thread may have changed the number of threads and shut this pool down.
                if pool is _state.executor:
                    raise
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        # Also when interrupted: no task may still write into the caller's arrays once it returned.
        for future in futures:
            future.cancel()
        wait(futures)
    return [future.result() for future in futures if not future.cancelled()]


def map_blocks(function: Callable[[int, int], T], n: int, block: int) -> list[T]:
    """Call ``function(start, stop)`` over consecutive ranges that cover ``range(n)``.

    Parameters
    ----------
    function : callable
        Does the rows in [start, stop); a kernel that releases the GIL.
    n : int
        Rows in all. With 0 nothing is called.
    block : int
        The least rows worth a thread's while. A batch of at most `block` rows runs inline; larger
        ones are cut into up to four ranges a thread, each at least `block` rows long, so that an
        uneven batch still keeps every thread busy.

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
