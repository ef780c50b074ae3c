"""Sketches of rows remember the names of their columns, so that swapped columns are refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from ...errors import IncompatibleSketchError
from ...lsh.inputs.frames import column_names
from .device import OnDevice
from .file_format import parse_json

__all__ = ["NamedColumns", "shared_names"]

#: The arguments of updates and queries that are rows.
_ROWS = frozenset(["X", "Q", "rows"])
#: Names in messages.
_NAMES_SHOWN = 5
#: The most characters of names that a file has, as JSON.
_LONGEST = 1 << 19

Names = tuple[str, ...]


class NamedColumns(OnDevice):
    """A stored object that remembers the column names of the first data frame that it took in.

    Later frames must have these columns in the same order, in updates and in queries. Arrays, and frames
    whose columns have no names, are taken as before. The names are no part of the configuration or the state:
    two sketches that differ in nothing else are equal.
    """

    _internal = True

    #: The names of the columns, after a frame with names.
    _columns: Names | None = None

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The names of the columns of rows; None before a data frame with names was added.

        Later frames must have columns of these names in this order. Arrays have no names and are accepted.
        Copies, pickles and files keep the names, and sketches whose names differ do not merge.
        """
        return self._columns

    def _claim_device(self, name: str, array: Any) -> None:
        if name in _ROWS and self._columns is not None:
            _check_names(name, column_names(array), self._columns)
        super()._claim_device(name, array)

    def _remember_columns(self, arguments: Mapping[str, Any]) -> None:
        """Remember the names of the columns of a batch that was added, unless there are names already."""
        if self._columns is None and "X" in arguments:
            names = column_names(arguments["X"])
            if names is not None:
                self._columns = names

    def _columns_with(self, others: Iterable[Self]) -> Names | None:
        """Return the names that sketches share, or None; IncompatibleSketchError if two of them differ."""
        return shared_names(type(self).__name__, [self._columns, *(other._columns for other in others)])

    def _notes(self) -> dict[str, str]:
        text = json.dumps(self._columns)
        # Many long names might not fit beside the configuration. Without them the file still loads.
        return {} if self._columns is None or len(text) > _LONGEST else {"columns": text}

    def _take_notes(self, notes: Mapping[str, str]) -> None:
        if "columns" in notes:
            names = parse_json(notes["columns"])
            if not isinstance(names, list) or not names or not all(type(name) is str for name in names):
                raise ValueError("its names of columns are no list of strings")
            self._columns = tuple(names)

    def _remembered(self) -> dict[str, Any] | None:
        """Return the attributes that a pickle has beside the configuration and the state."""
        return None if self._columns is None else {"_columns": self._columns}


def shared_names(kind: str, every: Iterable[Names | None]) -> Names | None:
    """Return the names that all sketches of a kind have which have any, and None if none has.

    Raises
    ------
    IncompatibleSketchError
        If two of them differ.
    """
    shared: Names | None = None
    for names in every:
        if shared is not None and names is not None and names != shared:
            raise IncompatibleSketchError(
                f"{kind} sketches differ in the columns of their rows: {_difference(names, shared)}"
            )
        shared = names if shared is None else shared
    return shared


def _check_names(argument: str, given: Names | None, seen: Names) -> None:
    """Refuse rows whose columns have other names than those before, or the same in another order."""
    if given is not None and given != seen:
        raise ValueError(
            f"{argument} must have the columns of the rows before, in their order: {_difference(given, seen)}"
        )


def _difference(given: Names, seen: Names) -> str:
    """Return in words how the names of columns differ from those that were seen before."""
    absent, added = Counter(seen) - Counter(given), Counter(given) - Counter(seen)
    if absent or added:
        faults = {"missing": absent, "unexpected": added}
        return ", ".join(f"{_listed([*names.elements()])} {what}" for what, names in faults.items() if names)
    moved = [(new, old) for new, old in zip(given, seen, strict=True) if new != old]
    return f"got {_listed([new for new, _ in moved])} where {_listed([old for _, old in moved])} were"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(map(repr, names[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")
