"""Changes of an object that no other thread sees half done, and that no interrupt leaves half done."""

from __future__ import annotations

import os
import signal
import threading

# What `signal` wraps for the sake of its enumerations, at ten times the cost.
from _signal import getsignal  # type: ignore[import-not-found, unused-ignore]
from _signal import signal as set_handler
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Self

__all__ = ["Guarded", "changing", "check_interrupt", "locked", "uninterrupted"]

#: Signals whose handlers raise what they please between any two steps of the main thread: Ctrl-C, what a
#: system's or a batch system's end of a job comes by, and timers.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGALRM", "SIGTERM", "SIGINT") if hasattr(signal, name))

#: What came meanwhile, and whom it is for; of the main thread alone.
_held_back: list[tuple[int, FrameType | None]] = []
_handlers: dict[int, Any] = {}


def _hold_back(number: int, frame: FrameType | None) -> None:
    _held_back.append((number, frame))


class uninterrupted:
    """Hold back what the handlers of signals would raise until the block has ended.

    Handlers run in the main thread alone, so that in others there is nothing to do. Blocks may nest.
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
    # A handler that is in place again may raise before the next one is.
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
    """Give way to signals that are held back: where a long change can still be undone."""
    if _held_back and threading.current_thread() is threading.main_thread():
        _deliver()


class Guarded:
    """An object with a lock of its own, which copies, pickles and forked processes do not share."""

    @property
    def _lock(self) -> Any:
        """Held while the state changes, and while it is read as a whole."""
        guard = self.__dict__.get("_guard") or self.__dict__.setdefault("_guard", _new_lock())
        process, lock = guard
        if process != os.getpid():
            # Whichever thread of the parent held it when this process was forked is not here.
            me = threading.get_ident()
            if self.__dict__.get("_changed_by", me) != me:
                raise RuntimeError(
                    f"the {type(self).__name__} was being changed by another thread when this process was "
                    "forked, and may hold half of that"
                )
            self.__dict__["_guard"] = _, lock = _new_lock()
        return lock


@contextmanager
def changing(changed: Guarded) -> Iterator[None]:
    """Say, while the lock is held, that the state changes: a process forked meanwhile has half of that."""
    before = changed.__dict__.get("_changed_by")
    changed.__dict__["_changed_by"] = threading.get_ident()
    try:
        yield
    finally:
        if before is None:
            changed.__dict__.pop("_changed_by", None)
        else:
            changed.__dict__["_changed_by"] = before


def _new_lock() -> tuple[int, Any]:
    return os.getpid(), threading.RLock()


def locked(*objects: Guarded) -> ExitStack:
    """Hold the locks of several objects: taken in one order, so that no two threads wait for each other."""
    stack = ExitStack()
    for other in sorted({id(o): o for o in objects}.values(), key=id):
        stack.enter_context(other._lock)
    return stack
