"""The ids of an index: which it has chosen itself, and which were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.support.backend import to_host
from ..core.state import StateSpec

__all__ = ["ID_NUMBERS", "NO_ID", "IdNumbers", "ids_within", "listed_ids", "refuse_ids_there"]

#: A number above all ids, in place of a missing id.
NO_ID = 2**63 - 1
#: The most ids that a message lists.
_LISTED = 5
#: The arrays for numbering rows. The index has chosen the ids in [0, default_ids) itself, and some of those
#: from the first to the last numbered id, which follow given ones.
ID_NUMBERS = {
    "largest_id": StateSpec((1,), "int64", "max", fill=-1),
    "default_ids": StateSpec((1,), "int64", "max"),
    "smallest_given_id": StateSpec((1,), "int64", "min", fill=NO_ID),
    "first_numbered_id": StateSpec((1,), "int64", "min", fill=NO_ID),
    "last_numbered_id": StateSpec((1,), "int64", "max", fill=-1),
}


class IdNumbers:
    """Read and change the arrays of `ID_NUMBERS` in the state of an index."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> int:
        return int(self._arrays[name][0])

    def _set(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self._arrays[name][0] = number

    def ranges(self) -> list[tuple[int, int]]:
        """Return the first and last ids of ranges that contain all ids which the index has chosen itself."""
        chosen = ((0, self["default_ids"] - 1), (self["first_numbered_id"], self["last_numbered_id"]))
        return [(first, last) for first, last in chosen if first <= last]

    def note(self, ids: NDArray[Any], *, by_default: bool, is_numbered: bool) -> None:
        """Remember the ids of new rows, of which there is at least one."""
        least, largest = int(ids.min()), int(ids.max())
        self._set(largest_id=max(self["largest_id"], largest))
        if by_default:
            self._set(default_ids=self["default_ids"] + len(ids))
            return
        self._set(smallest_given_id=min(self["smallest_given_id"], least))
        if is_numbered:
            self._set(
                first_numbered_id=min(self["first_numbered_id"], least),
                last_numbered_id=max(self["last_numbered_id"], largest),
            )

    def count_all_as_default(self) -> None:
        """Mark all ids as chosen by default."""
        self._set(
            default_ids=self["largest_id"] + 1,
            smallest_given_id=NO_ID,
            first_numbered_id=NO_ID,
            last_numbered_id=-1,
        )

    def count_default_as_numbered(self) -> None:
        """Mark the ids that were chosen by default as those that follow given ones."""
        if n := self["default_ids"]:
            self._set(
                default_ids=0,
                smallest_given_id=0,
                first_numbered_id=0,
                last_numbered_id=max(n - 1, self["last_numbered_id"]),
            )

    @staticmethod
    def check_parts(name: str, parts: Sequence[tuple[int, ...]]) -> None:
        """Raise IncompatibleSketchError if parts have the same ids, which one of them has chosen by default.

        Parameters
        ----------
        name : str
            The class of the parts.
        parts : sequence of (int, int)
            The number of default ids and the smallest given id of each part.
        """
        # One part may have numbered its rows from 0 if the others contain no such ids.
        numbered = [(n, i) for i, (n, _) in enumerate(parts) if n]
        if not numbered:
            return
        n, i = max(numbered)
        if len(numbered) > 1:
            other = "others have done so too"
        else:
            least = min((first for j, (_, first) in enumerate(parts) if j != i), default=NO_ID)
            if least >= n:
                return
            other = f"id {least} was given to a row of another one"
        raise IncompatibleSketchError(
            f"{name} parts must have different ids, but one has numbered its rows from 0 to {n - 1} "
            f"by default, and {other}; build the parts with add(X, first_id=...), the number of rows before "
            "them, or with ids"
        )

    def check(self, largest_allowed: int) -> None:
        """Raise ValueError if no index can have these numbers."""
        largest, numbered, given = self["largest_id"], self["default_ids"], self["smallest_given_id"]
        if not -1 <= largest <= largest_allowed:
            raise ValueError(f"largest_id must lie from -1 to {largest_allowed}, got {largest}")
        if not 0 <= numbered <= largest + 1:
            raise ValueError(f"default_ids must lie from 0 to {largest + 1}, got {numbered}")
        if not (0 <= given <= largest or given == NO_ID):
            raise ValueError(f"smallest_given_id must lie from 0 to {largest}, got {given}")
        first, last = self["first_numbered_id"], self["last_numbered_id"]
        if not (0 <= first <= last <= largest or (first, last) == (NO_ID, -1)):
            raise ValueError(f"numbered ids must lie from 0 to {largest}, got {first} to {last}")


def listed_ids(ids: NDArray[Any]) -> str:
    """Return the first few of some ids as text, and how many others there are."""
    others = f" and {ids.size - _LISTED} more" if ids.size > _LISTED else ""
    return ", ".join(map(str, ids[:_LISTED].tolist())) + others


def ids_within(ids: NDArray[Any], ranges: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """Return those of some ids that lie in any of the ranges, in rising order and in main memory."""
    chosen = [to_host(ids[(ids >= first) & (ids <= last)]) for first, last in ranges]
    return np.unique(np.concatenate([to_host(ids[:0]), *chosen]))


def refuse_ids_there(ids: NDArray[Any]) -> None:
    """Raise ValueError if there are ids that an index has chosen for other rows."""
    if ids.size:
        raise ValueError(
            f"ids must not be those of rows that the index has numbered itself, got {listed_ids(ids)}; "
            "`replace` changes such rows"
        )
