"""Changes of an object that no other thread sees unfinished, and that no signal leaves unfinished."""

from __future__ import annotations

import os
import signal
import threading

# The functions of `signal` wrap these, to return enumerations, and take ten times as long.
from _signal import getsignal  # type: ignore[import-not-found, unused-ignore]
from _signal import signal as set_handler
from contextlib import ExitStack
from types import FrameType
from typing import Any, Self

from ...lsh.support.lazy import lazy

__all__ = ["Guarded", "changing", "check_interrupt", "locked", "uninterrupted"]

#: Signals whose handlers may raise an exception between any two steps of the main thread: Ctrl-C, the signal
#: by which systems and batch systems end a job, and timers.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGALRM", "SIGTERM", "SIGINT") if hasattr(signal, name))

#: Signals of the main thread that wait to be handled, and their handlers.
_held_back: list[tuple[int, FrameType | None]] = []
_handlers: dict[int, Any] = {}


def _hold_back(number: int, frame: FrameType | None) -> None:
    _held_back.append((number, frame))


class uninterrupted:
    """Delay the handlers of signals until a block has ended.

    Handlers run in the main thread only, so that a block in another thread has nothing to do. Blocks may
    nest.
    """

    __slots__ = ("_replaced",)

    def __enter__(self) -> Self:
        self._replaced: list[tuple[int, Any]] = []
        if threading.current_thread() is threading.main_thread():
            try:
                for number in _SIGNALS:
                    handler = getsignal(number)
                    if callable(handler) and handler is not _hold_back:
                        self._replaced.append((number, handler))
                        _handlers[number] = handler
                        set_handler(number, _hold_back)
            except BaseException:
                _restore(self._replaced, 0)
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._replaced:
            _restore(self._replaced, 0)
            _deliver()


def _restore(handlers: list[tuple[int, Any]], i: int) -> None:
    # A handler that is restored may raise at once, before the next one is restored.
    if i < len(handlers):
        try:
            set_handler(*handlers[i])
        finally:
            _restore(handlers, i + 1)


def _deliver() -> None:
    if _held_back:
        number, frame = _held_back.pop(0)
        try:
            _handlers[number](number, frame)
        finally:
            _deliver()


def check_interrupt() -> None:
    """Run delayed handlers now; for places in a long change where the change can still be undone."""
    if _held_back and threading.current_thread() is threading.main_thread():
        _deliver()


class Guard:
    """The lock of an object, the process that made it, and the thread that is changing the object."""

    __slots__ = ("changed_by", "lock", "process")

    def __init__(self) -> None:
        self.process, self.lock = os.getpid(), threading.RLock()
        self.changed_by: int | None = None

    def lock_of_process(self, name: str) -> threading.RLock:
        """Return the lock; RuntimeError in a process that was forked while another thread changed `name`."""
        if self.process != os.getpid():
            # The thread of the parent that held the lock when this process was forked is not here.
            if self.changed_by not in (None, threading.get_ident()):
                raise RuntimeError(
                    f"the {name} was being changed by another thread when this process was "
                    "forked, and may hold half of that"
                )
            self.lock, self.process = threading.RLock(), os.getpid()
        return self.lock


class Guarded:
    """An object with a lock of its own, which copies, pickles and forked processes do not share."""

    @lazy
    def _guard(self) -> Guard:
        return Guard()

    @property
    def _lock(self) -> threading.RLock:
        """The lock that a thread takes to change the state, or to read all of it."""
        return self._guard.lock_of_process(type(self).__name__)


class changing:
    """Mark an object, whose lock the thread has, as changing, for processes that are forked meanwhile."""

    __slots__ = ("_before", "_guard")

    def __init__(self, changed: Guarded) -> None:
        self._guard = changed._guard
        self._before = self._guard.changed_by

    def __enter__(self) -> None:
        self._guard.changed_by = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._guard.changed_by = self._before


def locked(*objects: Guarded) -> ExitStack:
    """Take the locks of several objects, in one order, so that no two threads wait for each other."""
    stack = ExitStack()
    for other in sorted({id(o): o for o in objects}.values(), key=id):
        stack.enter_context(other._lock)
    return stack
