"""Write what `mergesketch dedup` has found: the groups, and the documents that are removed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..dedup.old_documents import is_old
from ..dedup.removals import Removals, replaced_documents
from ..dedup.result import Deduplication
from ..documents.source import DocumentSource
from ..ranks.comm import Communicator
from .output import write_lines
from .parquet_lists import write_parquet

__all__ = ["REMOVED", "Lists", "user_ids"]

#: The name of the list of removed documents in the folder of a cleaned corpus.
REMOVED = "removed.jsonl"
#: Documents whose names are looked up at a time.
_BLOCK = 1 << 14


def user_ids(source: DocumentSource, result: Deduplication, comm: Communicator) -> list[str | int | None]:
    """Return the user's own id of each member of the groups on rank 0; a collective call.

    Each rank reads those of the documents that it has read before.
    """
    members = comm.bcast(result.members)
    with comm.agree():
        mine = result.ids[np.isin(result.ids, members)]
        found = dict(zip(mine.tolist(), source.fields_of(mine), strict=True))
    gathered = comm.gather(found)
    if gathered is None:
        return []
    of_all = {document: own for part in gathered for document, own in part.items()}
    # Documents of earlier runs have no other id.
    return [of_all.get(document) for document in members.tolist()]


class Named(Protocol):
    """A source that knows the names of documents."""

    def name_of(self, ids: NDArray[np.uint64]) -> list[tuple[str, int | None]]: ...


class Lists:
    """The result with names in place of numbers, on rank 0.

    Parameters
    ----------
    source : DocumentSource, or another object that has the names of the documents
    result : Deduplication
    removed : Removals
        The removed documents of all ranks, in order.
    ids : list of (str, int or None), optional
        The user's own id of each member of `result`.
    """

    def __init__(
        self,
        source: Named,
        result: Deduplication,
        removed: Removals,
        ids: Sequence[str | int | None] | None = None,
    ) -> None:
        self._source = source
        self._result = result
        self.removed = removed
        self._ids = ids
        if ids is not None:
            self._order = np.argsort(result.members)

    # -- names ------------------------------------------------------------------------------------

    def names(self, documents: NDArray[np.uint64]) -> list[dict[str, Any]]:
        """Return the path, the line and the user's id of each document; all of them are in some group."""
        names: list[dict[str, Any]] = [
            {"path": path, "line": line} for path, line in self._source.name_of(documents)
        ]
        for row in np.flatnonzero(is_old(documents)).tolist():
            names[row]["old"] = True
        if self._ids is not None:
            members = self._result.members
            at = self._order[np.searchsorted(members, documents, sorter=self._order)]
            for name, place in zip(names, at.tolist(), strict=True):
                name["id"] = self._ids[place]
        return names

    # -- lists ------------------------------------------------------------------------------------

    def groups(self) -> Iterator[dict[str, Any]]:
        """Yield the groups by their first document, with their documents in the order of the input."""
        result = self._result
        for i, kept in enumerate(result.kept.tolist()):
            group = slice(result.offsets[i], result.offsets[i + 1])
            members, similarity = result.members[group], result.member_similarity[group]
            documents = self.names(members)
            for document, member, value in zip(documents, members.tolist(), similarity.tolist(), strict=True):
                document["keep"] = member == kept
                document["similarity"] = _rounded(value)
            yield {"group": i, "size": len(documents), "documents": documents}

    def removals(self) -> Iterator[dict[str, Any]]:
        """Yield the removed documents in the order of the input, each with the document that is kept.

        Documents of earlier runs that are not kept any more follow, in the order of their names.
        """
        yield from self._removals(self.removed)
        if self._result.compared is not None:
            yield from self._removals(replaced_documents(self._result.compared))

    def _removals(self, removed: Removals) -> Iterator[dict[str, Any]]:
        for start in range(0, len(removed.ids), _BLOCK):
            block = removed.take(slice(start, start + _BLOCK))
            rows = zip(
                self.names(block.ids),
                self.names(block.kept),
                block.similarity.tolist(),
                block.is_copy.tolist(),
                strict=True,
            )
            for name, kept, similarity, is_copy in rows:
                yield {
                    **name,
                    "kept": kept,
                    "similarity": _rounded(similarity),
                    "reason": "copy" if is_copy else "near",
                }

    def write_groups(self, path: str) -> None:
        """Write the groups, as Parquet if the name of the file says so, and otherwise as JSON lines."""
        if not path.endswith(".parquet"):
            write_lines(path, self.groups())
            return
        rows = (
            {"group": group["group"], **_printable(document)}
            for group in self.groups()
            for document in group["documents"]
        )
        columns = {"group": "int64", "path": "string", "line": "int64", **self._columns()}
        write_parquet(path, rows, {**columns, "keep": "bool", "similarity": "float32"})

    def write_removed(self, path: str) -> None:
        """Write the removed documents, in the same way."""
        if not path.endswith(".parquet"):
            write_lines(path, self.removals())
            return
        rows = (_flat(record) for record in self.removals())
        columns = {"path": "string", "line": "int64", **self._columns()}
        columns |= {"kept_path": "string", "kept_line": "int64", **self._columns("kept_")}
        write_parquet(path, rows, {**columns, "similarity": "float32", "reason": "string"})

    def _columns(self, prefix: str = "") -> dict[str, str]:
        """Return the columns that only some lists have, and their types."""
        columns = {} if self._result.compared is None else {f"{prefix}old": "bool"}
        if self._ids is None:
            return columns
        are_numbers = all(id is None or (isinstance(id, int) and -(2**63) <= id < 2**63) for id in self._ids)
        return {**columns, f"{prefix}id": "int64" if are_numbers else "string"}


def _rounded(similarity: float) -> float | None:
    """Return a similarity in the six digits that a float32 has, or None for NaN: it was not computed."""
    return None if math.isnan(similarity) else float(f"{similarity:.6g}")


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    kept = {f"kept_{name}": value for name, value in _printable(record["kept"]).items()}
    return {**_printable(record), **kept}


def _printable(name: dict[str, Any]) -> dict[str, Any]:
    r"""Return a document's name with a path in UTF-8; other bytes are written as in ``\xff``."""
    return {**name, "path": os.fsencode(name["path"]).decode("utf-8", "backslashreplace")}
