"""What could not be read: how much of it, and the names of the first."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["N_NAMED", "Skip", "SkipList"]

#: Skipped documents that are named; all are counted.
N_NAMED = 100


class Skip(NamedTuple):
    """A document, or a whole file, that was skipped.

    Attributes
    ----------
    document : int
        Its id; -1 for what never became a chunk.
    name : str or None
        The name, where it is not that of the document.
    reason : str
    """

    document: int
    name: str | None
    reason: str


class SkipList:
    """Counts what is skipped and keeps the first `N_NAMED` by id, in whatever order they come."""

    def __init__(self) -> None:
        self.n = 0
        self._kept: list[Skip] = []

    def add(self, skip: Skip) -> None:
        self.n += 1
        self._kept.append(skip)
        if len(self._kept) > 2 * N_NAMED:
            self._kept = self.first()

    def first(self) -> list[Skip]:
        """The first skips by id, then by name."""
        return sorted(self._kept, key=lambda skip: (skip.document, skip.name or "", skip.reason))[:N_NAMED]
