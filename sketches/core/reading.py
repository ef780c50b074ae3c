"""Queries beside updates: a query finds the state before a batch or after it, and never a part of one.

Queries of one object run at the same time. An update reads and hashes its batch beside them, waits until
the queries that have begun have ended, and adds the batch while no query begins. `guard` has the lock.

A query that is marked as a reader never waits, so that the thread that waits for it does not wait for ever.
Where a query would have to wait, for a lock or for another object, it gives up with `Busy`, takes the locks
that it needs in the order in which all threads take them, and begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isgeneratorfunction
from threading import get_ident
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from ...lsh.support.threads import is_worker
from .guard import Busy, Guard, Guarded, locked, queries_of

__all__ = ["protect_queries", "reading"]

P = ParamSpec("P")
R = TypeVar("R")

#: Special methods that ask. `in` is not among them, for it tests one key in less time than protection takes.
#: Bits of a Bloom filter are only ever set, so the answer for one key is that before the batch or after it. A
#: class for which that is not true decorates its `__contains__` with `reading`.
_ASKING = frozenset({"__getitem__", "__len__"})
#: Public methods that change an object, beside those that all sketches have. They take its lock.
_CHANGING = frozenset(
    {
        "add",
        "add_codes",
        "admit",
        "admit_keys",
        "advance",
        "causal",
        "change_rows",
        "count_default_ids_as_numbered",
        "count_ids_as_default",
        "fit",
        "fit_neighbors",
        "initialize",
        "insert",
        "note_ids",
        "ordered_ids",
        "partial_fit",
        "remove",
        "replace",
        "reserve_rows",
        "scatter_add",
        "update",
        "update_bags",
        "update_product",
    }
)


def reading(method: Callable[P, R]) -> Callable[P, R]:
    """Return a query, or the function of a property, that finds the state between two changes."""

    @wraps(method)
    def query(*args: P.args, **kwargs: P.kwargs) -> R:
        asked: Any = args[0]
        me = get_ident()
        if me in queries_of:
            return _within_query(asked, me, method, args, kwargs)
        guard = asked._guard
        if guard.closed_by == me and guard.is_changed_by(me):
            # An update asks its own object.
            return method(*args, **kwargs)
        readers, busy = guard.readers, None
        try:
            try:
                queries_of[me] = readers[me] = None
                if guard.closed_by is None:
                    if len(args) == 1 and not kwargs:
                        return method(*args, **kwargs)
                    return _marking_other(me, method, args, kwargs)
            finally:
                # A signal may raise an exception after any call, so the marks are removed without one.
                if me in readers:
                    del readers[me]
                if me in queries_of:
                    del queries_of[me]
                if guard.closed_by is not None:
                    guard.reader_left()
        except BaseException as error:
            _unmark(guard, me)
            if not isinstance(error, Busy):
                raise
            busy = error.guarded
        return _begin_again(asked, busy, me, method, args, kwargs)

    return query


def _unmark(guard: Guard, me: int) -> None:
    """Remove the marks of a thread whose query has ended."""
    guard.readers.pop(me, None)
    queries_of.pop(me, None)
    guard.reader_left()


def _marking_other(me: int, method: Any, args: Any, kwargs: Any) -> Any:
    """Call a query, marking the object that it compares with, if there is one."""
    other = args[1] if len(args) > 1 else kwargs.get("other")
    if isinstance(other, Guarded):
        return _within_query(other, me, method, args, kwargs)
    return method(*args, **kwargs)


def _within_query(read: Guarded, me: int, method: Any, args: Any, kwargs: Any) -> Any:
    """Call a query of a thread that is in a query already, marking another object that it reads."""
    guard = read._guard
    if me in guard.readers:
        return method(*args, **kwargs)
    try:
        guard.readers[me] = None
        if guard.closed_by is None or guard.closed_by == me:
            return method(*args, **kwargs)
    finally:
        if me in guard.readers:
            del guard.readers[me]
        guard.reader_left()
    raise Busy(read)


def _begin_again(asked: Guarded, busy: Guarded | None, me: int, method: Any, args: Any, kwargs: Any) -> Any:
    """Call a query that found its object closed, or that gave up because `busy` was."""
    guard, needed = asked._guard, list[Guarded]()
    if busy is None and is_worker():
        # The thread that this one works for reads the object, or changes it.
        return method(*args, **kwargs)
    while True:
        if busy is not None:
            if is_worker():
                raise Busy(busy)
            needed = [asked, busy, *needed]
        elif not needed:
            guard.wait_until_open(me, type(asked).__name__)
        with locked(*needed):
            busy = None
            try:
                queries_of[me] = guard.readers[me] = None
                if needed or guard.closed_by is None:
                    return _marking_other(me, method, args, kwargs)
            except Busy as error:
                busy = error.guarded
            finally:
                _unmark(guard, me)


def _is_of_this_folder(cls: type) -> bool:
    # Public classes are shown under another name.
    home = vars(cls).get("_defined_in", cls.__module__)
    return isinstance(home, str) and home.startswith(f"{__package__}.")


def protect_queries(cls: type[Guarded]) -> None:
    """Replace the public queries and properties of a class by those that find the state between two changes.

    Names that the classes of this folder define are theirs: they take the lock, or read a single number.
    """
    if _is_of_this_folder(cls):
        return
    own = {name for base in cls.__mro__ if _is_of_this_folder(base) for name in vars(base)}
    for name, member in list(vars(cls).items()):
        if name in own or name in _CHANGING or (name.startswith("_") and name not in _ASKING):
            continue
        if isinstance(member, FunctionType) and not isgeneratorfunction(member):
            setattr(cls, name, reading(member))
        elif type(member) is property and member.fget is not None and member.fset is None:
            setattr(cls, name, property(reading(member.fget), doc=member.__doc__))
