"""Name documents: the path of the file, and the line or row in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .chunks import RECORD_BITS, UNKNOWN_RECORD, ChunkPlan

__all__ = ["DocumentNames", "Member", "split_ids"]

_RECORD_MASK = (1 << RECORD_BITS) - 1


class Member(NamedTuple):
    """A file in an archive: the place of its first record in the archive, its name, and if it is a text."""

    first: int
    path: str
    is_text: bool


def split_ids(ids: ArrayLike, plan: ChunkPlan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the chunk of each document, and its place in the chunk; ValueError if there is no such chunk."""
    ids = np.asarray(ids, dtype=np.uint64)
    chunks = (ids >> np.uint64(RECORD_BITS)).astype(np.int64)
    if len(chunks) and int(chunks.max()) >= len(plan):
        raise ValueError("ids must be ids of this source's documents")
    return chunks, (ids & np.uint64(_RECORD_MASK)).astype(np.int64)


class DocumentNames:
    """The names of the documents of a plan, as far as they are known.

    Attributes
    ----------
    members : mapping of int to list of Member
        The files of each chunk that is an archive.
    """

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan = plan
        self._first_record = plan.first_record
        self.members: Mapping[int, Sequence[Member]] = {}

    def complete(self, n_lines: NDArray[np.int64], members: Mapping[int, Sequence[Member]]) -> None:
        """Take the number of lines in every chunk and the members of every archive."""
        self._first_record = _first_records(self._plan, n_lines)
        self.members = members

    def of(self, ids: ArrayLike) -> list[tuple[str, int | None]]:
        """Return the path of each document, and its line or row counted from 1; None for a whole file."""
        chunks, records = split_ids(ids, self._plan)
        numbers = records + self._first_record[chunks] + 1
        rows = zip(chunks.tolist(), records.tolist(), numbers.tolist(), strict=True)
        return [self._name(chunk, record, number) for chunk, record, number in rows]

    def places(self, ids: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the place of each document's file in the plan, and its record in the file, from 0."""
        chunks, records = split_ids(ids, self._plan)
        return self._plan.file[chunks], records + self._first_record[chunks]

    def _name(self, chunk: int, record: int, number: int) -> tuple[str, int | None]:
        file = self._plan.files[int(self._plan.file[chunk])]
        if file.kind == "tar":
            members = self.members.get(chunk, ())
            place = bisect_right(members, record, key=lambda member: member.first) - 1
            if place < 0:
                return file.path, None
            first, path, is_text = members[place]
            return path, None if is_text else record - first + 1
        return file.path, None if file.kind in ("text", "unread") else number

    def for_message(self, document: int) -> str:
        """Return a name for messages, with the line if that is known."""
        ((path, record),) = self.of([document])
        if record is None:
            return path
        chunk = document >> RECORD_BITS
        if self._first_record[chunk] == UNKNOWN_RECORD:
            start, stop = int(self._plan.start[chunk]), int(self._plan.stop[chunk])
            return f"{path}, a line between bytes {start} and {stop}"
        return f"{path}:{record}"


def _first_records(plan: ChunkPlan, n_lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the line of the file at which each chunk begins, given the number of lines in every chunk."""
    before = np.cumsum(n_lines) - n_lines
    starts = np.flatnonzero(np.diff(plan.file, prepend=-1))
    lengths = np.diff(starts, append=len(plan))
    counted = before - np.repeat(before[starts], lengths)
    return np.where(plan.first_record == UNKNOWN_RECORD, counted, plan.first_record)
