"""Documents in a column of a caller's table, and the tables of what is kept and removed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.columns import describe
from ...lsh.inputs.table_columns import join_columns, take_rows
from ...lsh.inputs.tables import Table, looks_like_table, open_columns
from ..documents.batches import DocumentBatch
from ..documents.in_memory import numbered_batches
from ..ranks.comm import Communicator
from .places import Words
from .removals import removals
from .result import Deduplication

__all__ = ["DocumentsInTable", "add_tables", "open_documents"]


def open_documents(documents: Any, text: Any, id: Any, score: Any, keep: Any) -> Table | None:
    """Return a caller's table, or None if the documents are no table; the names of columns are checked."""
    if text is None:
        for argument, name in (("id", id), ("score", score)):
            if name is not None:
                raise TypeError(
                    f"{argument} names a column of a table, and text must name the one of the texts, "
                    f"got {argument}={name!r} and no text"
                )
        if looks_like_table(documents):
            names = open_columns(documents).list_names()
            raise TypeError(f"text must name the column of texts of {describe(documents)}, {names}; got none")
        return None
    table = open_columns(documents)
    table.check_name(text, "text")
    if id is not None:
        table.check_name(id, "id")
    is_best = isinstance(keep, str) and keep == "best"
    if score is not None:
        table.check_name(score, "score")
        if not is_best:
            raise ValueError(f'score needs keep="best", got score={score!r} and another keep')
    elif is_best:
        raise ValueError(
            f'keep "best" needs score, the name of a column of numbers, {table.list_names()}; got none'
        )
    return table


class DocumentsInTable:
    """One rank's share of the documents, in a column of a table.

    Parameters
    ----------
    table : Table
    text, score : hashable
        The names of the columns of the texts, and of the scores or None.
    comm : Communicator
    """

    def __init__(self, table: Table, text: Any, score: Any, comm: Communicator) -> None:
        with comm.agree():
            self._texts = table.texts(text)
            self._scores = None if score is None else table.numbers(score)
        #: The number of this rank's documents, and the id of the first of them.
        self.n_documents = table.n_rows
        self.first_id = comm.exclusive_sum(self.n_documents)

    def batches(self) -> Iterator[DocumentBatch]:
        """Yield the documents in the order of the rows."""
        return numbered_batches(self._texts, self.first_id, self._scores)


def add_tables(result: Deduplication, table: Table, id: Any, comm: Communicator) -> None:
    """Add the table, from which `cleaned` is made, and `removed` to a result; a collective call."""
    with comm.agree():
        removed = removals(result)
        rows = np.flatnonzero(~result.keep)
        ids: Any = removed.ids
        column = None if id is None else table.column(id)
        if column is not None:
            ids = take_rows(column, rows)
    kept = removed.kept if id is None else _fetch_ids(removed.kept, column, table.n_rows, comm)
    with comm.agree():
        similarity, is_copy = removed.similarity, removed.is_copy
        columns = {"id": ids, "kept": kept, "similarity": similarity, "is_copy": is_copy}
        result._table, result._removed = table, table.make(columns, rows)


def _fetch_ids(wanted: Words, column: Any, n_rows: int, comm: Communicator) -> Any:
    """Return the user's ids of documents of any rank; a collective call.

    Parameters
    ----------
    wanted : ndarray of uint64
        Running numbers of documents over the ranks.
    column : object
        The column of the ids of this rank's documents.
    n_rows : int
        Their number.
    comm : Communicator
    """
    first = comm.exclusive_sum(n_rows)
    firsts = np.array(comm.allgather(first), dtype=np.uint64)
    with comm.agree():
        asked, which = np.unique(wanted, return_inverse=True)
        if comm.size == 1:
            return take_rows(column, wanted.astype(np.int64))
        # A rank without documents has the first number of the next one.
        owners = np.searchsorted(firsts, asked, side="right") - 1
        asking = np.full(len(asked), comm.rank)
    asking, asked = comm.exchange((asking, asked), owners)
    with comm.agree():
        words, to = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
        for rank in np.unique(asking).tolist():
            rows = (asked[asking == rank] - np.uint64(first)).astype(np.int64)
            words.append(_as_words(take_rows(column, rows)))
            to.append(np.full(len(words[-1]), rank))
        answer, to_ranks = np.concatenate(words), np.concatenate(to)
        sender = np.full(len(answer), comm.rank)
    sender, answer = comm.exchange((sender, answer), to_ranks)
    with comm.agree():
        # The numbers rise with the ranks, so the pieces in the order of ranks are in the order of numbers.
        pieces = [_from_words(answer[sender == rank]) for rank in np.unique(sender).tolist()]
        if not pieces:
            return take_rows(column, which)
        return take_rows(join_columns(pieces), which)


def _as_words(column: Any) -> NDArray[np.uint64]:
    """Return a pickled column, filled up with zeros, as words that can be exchanged."""
    data = pickle.dumps(column, pickle.HIGHEST_PROTOCOL)
    return np.frombuffer(data + bytes(-len(data) % 8), dtype=np.uint64)


def _from_words(words: NDArray[np.uint64]) -> Any:
    # pickle ignores bytes behind the end.
    return pickle.loads(words.data)
