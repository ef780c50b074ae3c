"""Changes of an object that no other thread sees unfinished, and that no signal leaves unfinished."""

from __future__ import annotations

import os
import threading
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from operator import methodcaller
from typing import Any

from ...lsh.support.interrupts import check_interrupt, uninterrupted
from ...lsh.support.lazy import lazy

__all__ = [
    "Busy",
    "Guard",
    "Guarded",
    "changing",
    "check_interrupt",
    "locked",
    "queries_of",
    "uninterrupted",
]

#: Tells whether the calling thread has a lock, as `threading.Condition` asks it.
_is_owned = methodcaller("_is_owned")

#: Seconds between two looks at what a thread waits for; it is woken earlier.
_WAIT = 0.05
#: Seconds between two looks of a query at the change that it waits for.
_POLL = 0.0002


class Busy(BaseException):
    """A query would have to wait for an object while it reads another one; `reading` catches it."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded


#: The threads that are in a query, by their identifiers. Items of a dict are set and removed in one step.
queries_of: dict[int, None] = {}


class Guard:
    """The lock of an object, and who changes and who reads the object.

    Attributes
    ----------
    lock : RLock
        A thread has it to change the object, or to read all of it.
    process : int
        The process of the lock.
    changed_by : int or None
        The thread that is changing the object. Forked processes look at it.
    closed_by : int or None
        The thread that changes what queries read. Queries of other threads do not begin meanwhile.
    readers : dict of int to None
        The threads whose queries read the object. A thread that closes the object waits for the others.
    """

    __slots__ = ("_left", "changed_by", "closed_by", "lock", "process", "readers")

    def __init__(self) -> None:
        self.readers: dict[int, None] = {}
        self._start(None)

    def _start(self, me: int | None) -> None:
        """Begin in this process, where of all readers only this thread may be, which forked in a query."""
        self.process, self.lock = os.getpid(), threading.RLock()
        self.changed_by: int | None = None
        self.closed_by: int | None = None
        # It is released when a reader leaves. Unlike `threading.Event` it may be used by a finaliser that
        # interrupts its own use.
        self._left = threading.Lock()
        self._left.acquire()
        self.readers = {thread: None for thread in self.readers if thread == me}

    def lock_of_process(self, name: str) -> threading.RLock:
        """Return the lock; RuntimeError in a process that was forked while another thread changed `name`."""
        me = threading.get_ident()
        if self.process != os.getpid():
            # The thread of the parent that held the lock when this process was forked is not here.
            if self.changed_by not in (None, me):
                raise RuntimeError(
                    f"the {name} was being changed by another thread when this process was "
                    "forked, and may hold half of that"
                )
            self._start(me)
        elif self.changed_by == me and not _is_owned(self.lock):
            # A signal arrived between the end of a change and the step that would have noted it.
            self.changed_by = self.closed_by = None
        return self.lock

    def is_changed_by(self, me: int) -> bool:
        """Tell whether this thread changes what queries read, and has the lock."""
        return self.closed_by == me and _is_owned(self.lock)

    # -- readers ----------------------------------------------------------------------------------

    def wait_for_readers(self, me: int) -> None:
        """Wait until no other thread reads the object, which is closed."""
        while len(self.readers) > (me in self.readers):
            check_interrupt()
            self._left.acquire(timeout=_WAIT)

    def reader_left(self) -> None:
        """Wake the thread that waits for readers."""
        # Another reader may have woken it at the same time.
        with suppress(RuntimeError):
            self._left.release()

    def wait_until_open(self, me: int, name: str) -> None:
        """Wait until no other thread changes what queries read."""
        self.lock_of_process(name)
        start = time.monotonic()
        while self.closed_by not in (None, me):
            time.sleep(_POLL)
            if time.monotonic() - start > _WAIT and self.lock.acquire(blocking=False):
                # No thread changes the object, but one did not note its end, because of a signal.
                self.closed_by = None
                self.lock.release()


class _Trying:
    """The lock of an object in a query of another one, or of the same one: taken only without waiting.

    A thread that closes an object waits for its readers. So a reader must not wait for any lock.
    """

    __slots__ = ("_guarded", "_lock")

    def __init__(self, guarded: Guarded, lock: threading.RLock) -> None:
        self._guarded, self._lock = guarded, lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise Busy(self._guarded)

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Guarded:
    """An object with a lock of its own, which copies, pickles and forked processes do not share."""

    @lazy
    def _guard(self) -> Guard:
        return Guard()

    @property
    def _lock(self) -> AbstractContextManager[Any]:
        """The lock that a thread takes to change the state, or to read all of it."""
        lock = self._guard.lock_of_process(type(self).__name__)
        return _Trying(self, lock) if threading.get_ident() in queries_of else lock


class changing:
    """Mark an object, whose lock the thread has, as changing, for queries and for forked processes.

    Queries of other threads have ended when the block begins, and wait until it has ended. With
    `beside_queries` they do not: the block does not change yet what queries read.
    """

    __slots__ = ("_before", "_beside_queries", "_closed_before", "_guard")

    def __init__(self, changed: Guarded, *, beside_queries: bool = False) -> None:
        self._guard, self._beside_queries = changed._guard, beside_queries

    def __enter__(self) -> None:
        guard, me = self._guard, threading.get_ident()
        # The thread has the lock, so a mark of another thread is one that a signal has left.
        self._before = me if guard.changed_by == me else None
        self._closed_before = me if guard.closed_by == me else None
        guard.changed_by = me
        if not self._beside_queries and self._closed_before != me:
            guard.closed_by = me
            if guard.readers:
                try:
                    guard.wait_for_readers(me)
                except BaseException:
                    self.__exit__()
                    raise

    def __exit__(self, *error: object) -> None:
        guard = self._guard
        guard.closed_by, guard.changed_by = self._closed_before, self._before


def locked(*objects: Guarded) -> ExitStack:
    """Take the locks of several objects, in one order, so that no two threads wait for each other."""
    stack = ExitStack()
    for other in sorted({id(o): o for o in objects}.values(), key=id):
        stack.enter_context(other._lock)
    return stack


def _after_fork_in_child() -> None:
    # The other threads are not here.
    me = threading.get_ident()
    for thread in set(queries_of) - {me}:
        del queries_of[thread]


os.register_at_fork(after_in_child=_after_fork_in_child)
