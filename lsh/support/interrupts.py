"""Blocks that no signal leaves unfinished: the handlers of signals run after them."""

from __future__ import annotations

import os
import signal
import threading

# The functions of `signal` wrap these, to return enumerations, and take ten times as long.
from _signal import getsignal  # type: ignore[import-not-found, unused-ignore]
from _signal import signal as set_handler
from types import FrameType
from typing import Any, Self

__all__ = ["check_interrupt", "uninterrupted"]

#: Signals whose handlers may raise an exception between any two steps of the main thread: Ctrl-C, the signal
#: by which systems and batch systems end a job, and timers.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGALRM", "SIGTERM", "SIGINT") if hasattr(signal, name))

#: Signals of the main thread that wait to be handled, and their handlers.
_held_back: list[tuple[int, FrameType | None]] = []
_handlers: dict[int, Any] = {}
#: The thread that delays handlers, or did last: the main thread, which a fork in another thread replaces.
_delayed_by: int | None = None


def _hold_back(number: int, frame: FrameType | None) -> None:
    _held_back.append((number, frame))


class uninterrupted:
    """Delay the handlers of signals until a block has ended.

    Handlers run in the main thread only, so that a block in another thread has nothing to do. Blocks may
    nest.
    """

    __slots__ = ("_replaced",)

    def __enter__(self) -> Self:
        global _delayed_by
        self._replaced: list[tuple[int, Any]] = []
        if threading.current_thread() is threading.main_thread():
            _delayed_by = threading.get_ident()
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


def _after_fork_in_child() -> None:
    # Signals that wait have come to the parent, which handles them.
    _held_back.clear()
    if _delayed_by != threading.get_ident():
        # The thread whose block would put the handlers back is not here.
        _restore([(n, _handlers[n]) for n in _SIGNALS if getsignal(n) is _hold_back], 0)


os.register_at_fork(after_in_child=_after_fork_in_child)
