"""Record the documents that could not be read: their number, and the names of the first ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...errors import DocumentError

__all__ = ["NO_DOCUMENT", "N_NAMED", "FileError", "Skip", "SkipList", "first_skips"]

#: The number of skipped documents that are named. All of them are counted.
N_NAMED = 100
#: The id of a file that was refused before its documents got ids.
NO_DOCUMENT = -1


class FileError(DocumentError):
    """One file cannot be read as asked, while others can.

    Attributes
    ----------
    path : str
    reason : str
        What is wrong, without the name of the file.
    """

    def __init__(self, message: str, path: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.path, self.reason = path, reason


class Skip(NamedTuple):
    """A document, or a whole file, that was skipped.

    Attributes
    ----------
    document : int
        Its id, or `NO_DOCUMENT`.
    name : str or None
        Its name if that is not the document's own.
    reason : str
    """

    document: int
    name: str | None
    reason: str


def first_skips(skips: Iterable[Skip]) -> list[Skip]:
    """Return the first `N_NAMED` skips, ordered by id and then by name."""
    return sorted(skips, key=lambda skip: (skip.document, skip.name or "", skip.reason))[:N_NAMED]


class SkipList:
    """Counts skips in any order, and keeps the first `N_NAMED` of them by id."""

    def __init__(self) -> None:
        self.n = 0
        self._kept: list[Skip] = []

    def add(self, skip: Skip) -> None:
        self.n += 1
        self._kept.append(skip)
        if len(self._kept) > 2 * N_NAMED:
            self._kept = self.first()

    def first(self) -> list[Skip]:
        """Return the first skips by id."""
        return first_skips(self._kept)
