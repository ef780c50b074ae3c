"""Changes of rows of an index that is spread over ranks: they are removed and replaced by their ids."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.support.checks import check_choice
from ...lsh.support.types import RowsLike
from ...sketches.neighbours.id_numbers import ids_within, refuse_ids_there
from ...sketches.neighbours.index import LSHIndex
from ...sketches.neighbours.row_changes import FoundRows, refuse_missing_ids
from ..ranks.comm import Communicator

__all__ = ["ChangesOverRanks"]


class ChangesOverRanks:
    """The part of `DistributedIndex` that removes and replaces rows."""

    local: LSHIndex
    comm: Communicator
    n_rows: int

    def _agree_on_family(self, family: HashFamily) -> HashFamily:
        raise NotImplementedError

    def _check_new_ids(self, ids: NDArray[np.integer]) -> None:
        """Refuse ids for new rows that rows on any rank have which were numbered by default."""
        index, comm = self.local, self.comm
        ranges = [some for every in comm.allgather(index.numbered_ranges()) for some in every]
        asked = comm.allgather(ids_within(ids, ranges))
        every = np.unique(np.concatenate(asked))
        with comm.agree():
            refuse_ids_there(index.ids_there(every))
        self._leave_to_others(every)

    def remove(self, ids: ArrayLike | None, *, missing: str = "raise") -> Self:
        """Remove rows by their ids, whatever rank has them.

        Parameters
        ----------
        ids : array_like of n integers, or None for no ids
            Distinct over all ranks. If rank 0 has all ids, the other ranks pass None.
        missing : {"raise", "ignore"}
            What to do with ids that no rank has, the same on every rank.

        Returns
        -------
        DistributedIndex
            The index itself.

        Raises
        ------
        DistributedError
            On every rank, if ids of any rank are refused; nothing is removed then. With one rank the
            exception itself, as `LSHIndex.remove` raises it.

        Notes
        -----
        `LSHIndex.remove` says what full buckets keep. Ids are gathered on every rank (8 bytes an id), and
        each rank searches its own buckets for them.
        """
        with self.comm.agree():
            check_choice("missing", missing, ("raise", "ignore"))
        self.comm.check_same("missing", missing)
        found, _ = self._find_rows(ids, None, missing == "raise")
        with self.comm.agree():
            gone = found.only(found.is_there)
            self.local.change_rows(gone)
            self._leave_to_others(gone.ids)
        self.n_rows = self.comm.sum(self.local.n_updates)
        return self

    def replace(self, ids: ArrayLike | None, X: RowsLike, *, missing: str = "raise") -> Self:
        """Replace the rows of some ids by others, whatever rank has them.

        Parameters
        ----------
        ids : array_like of n integers, or None for no ids
            Distinct over all ranks.
        X : n rows or None
            The new rows, as `update` takes them. They are then on the rank that passes them.
        missing : {"raise", "add"}
            What to do with ids that no rank has, the same on every rank. "add" adds their rows.

        Returns
        -------
        DistributedIndex
            The index itself.

        Raises
        ------
        DistributedError
            On every rank, if ids or rows of any rank are refused; nothing is changed then. With one rank the
            exception itself, as `LSHIndex.replace` raises it.
        """
        index, comm = self.local, self.comm
        with comm.agree():
            check_choice("missing", missing, ("raise", "add"))
            family = index.family if X is None else index.family.for_rows(X)
            codes = index.hash_rows(X)
            index.reserve_rows(len(codes))
        comm.check_same("missing", missing)
        if not index.family.is_fixed:
            family = self._agree_on_family(family)
        found, is_ours = self._find_rows(ids, len(codes), missing == "raise")
        with comm.agree():
            vars(index)["family"] = family
            index.change_rows(found.only(found.is_there & ~is_ours))
            index.change_rows(found.only(is_ours), codes)
            self._leave_to_others(found.ids[~is_ours])
        self.n_rows = comm.sum(index.n_updates)
        return self

    def _leave_to_others(self, ids: NDArray[np.integer]) -> None:
        """Let other ranks have ids that this rank may have chosen, and that are in its tables no longer."""
        if ids.size and int(ids.min()) < self.local.part_numbers()[0]:
            self.local.count_default_ids_as_numbered()

    def _find_rows(
        self, ids: ArrayLike | None, n: int | None, refuse_missing: bool
    ) -> tuple[FoundRows, NDArray[np.bool_]]:
        """Return where the ids of all ranks are in our tables, and which of them this rank has passed.

        `n` is the number of ids that this rank must have passed, or None for any number.
        """
        index, comm = self.local, self.comm
        with comm.agree():
            given = index.check_ids([] if ids is None else ids, n)
        every = comm.allgather(given)
        with comm.agree():
            found = index.find_rows(np.concatenate(every))
        is_there = np.logical_or.reduce(comm.allgather(found.is_there))
        with comm.agree():
            if refuse_missing:
                refuse_missing_ids(found.ids[~is_there])
        owners = np.repeat(np.arange(comm.size), [len(some) for some in every])
        return found, owners == comm.rank
