"""Add up over all ranks what they have read and skipped."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

import numpy as np

from ..ranks.comm import Communicator
from .chunks import RECORD_BITS, ChunkPlan
from .names import DocumentNames
from .reading import ReadingPass
from .skipped import Skip, first_skips

__all__ = ["CHANGED", "ReadSummary", "summarise"]

CHANGED = "changed while it was read"


class ReadSummary(NamedTuple):
    """Totals over all ranks of what a source has read and skipped.

    Attributes
    ----------
    n_documents : int
    n_skipped : int
    skipped : list of (str, str)
        The name and the reason of each of the first skips, in the order of documents; at most 100.
    bytes_read : int
        Bytes of the files. A compressed file counts as stored, and a Parquet file counts with the decoded
        texts of its column.
    """

    n_documents: int
    n_skipped: int
    skipped: list[tuple[str, str]]
    bytes_read: int


def summarise(
    comm: Communicator, plan: ChunkPlan, names: DocumentNames, found: ReadingPass, changed: set[int]
) -> ReadSummary:
    """Complete the names by what all ranks have read, and return the totals; a collective call.

    Parameters
    ----------
    comm : Communicator
    plan : ChunkPlan
    names : DocumentNames
    found : ReadingPass
        What this rank has read.
    changed : set of int
        The places of files in the plan that this rank found changed.
    """
    n_lines = found.n_lines.copy()
    comm.allreduce(n_lines, "sum")
    members = {}
    for some in comm.allgather(found.members):
        members.update(some)
    names.complete(n_lines, members)
    changed = set(chain.from_iterable(comm.allgather(sorted(changed))))
    first_chunks = np.searchsorted(plan.file, np.array(sorted(changed), dtype=np.int64))
    named = [
        Skip(chunk << RECORD_BITS, plan.files[plan.file[chunk]].path, CHANGED)
        for chunk in first_chunks.tolist()
    ]
    skips = first_skips([*chain(*comm.allgather(found.skips.first())), *named])
    return ReadSummary(
        n_documents=comm.sum(found.n_documents),
        n_skipped=comm.sum(found.skips.n) + len(changed),
        skipped=[(skip.name or names.for_message(skip.document), skip.reason) for skip in skips],
        bytes_read=comm.sum(found.bytes_read),
    )
