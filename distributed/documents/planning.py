"""List files on rank 0, cut them into chunks, and share the chunks among ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from ..ranks.comm import Communicator
from .chunks import ChunkPlan, assign, plan_chunks
from .files import InputFile
from .formats import detect
from .listing import STANDARD_INPUT, Listing, list_files
from .skipped import FileError
from .values import check_some_file_has

__all__ = ["detect_on_ranks", "list_allowed", "plan_fields", "share_of"]


def list_allowed(
    paths: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    standard_input: InputFile | None,
    leave_out: Sequence[str],
    *,
    strict: bool,
) -> Listing:
    """Return the files as `list_files` does; with `strict`, DocumentError if some had to be left out."""
    listing = list_files(paths, include, exclude, standard_input=standard_input, leave_out=leave_out)
    if strict and listing.refused:
        name, reason = listing.refused[0]
        raise DocumentError(f"{name}: {reason} (strict)")
    return listing


def detect_on_ranks(
    comm: Communicator, files: Sequence[InputFile], form: str, encoding: str
) -> list[InputFile]:
    """Return the files with the kinds of their contents; each rank looks at its share of them."""
    found = list(files)
    mine = [
        i
        for i, file in enumerate(files)
        # Only rank 0 can open the standard input.
        if (i % comm.size if file.path != STANDARD_INPUT or not file.place else 0) == comm.rank
    ]
    changed = comm.local(
        lambda: [(i, new) for i in mine if (new := detect(files[i], form, encoding)) != files[i]]
    )
    for i, file in chain.from_iterable(comm.allgather(changed)):
        found[i] = file
    return found


def plan_fields(
    files: Sequence[InputFile],
    text_field: str,
    further: Mapping[str, str | None],
    chunk_bytes: int,
    *,
    strict: bool,
) -> tuple[ChunkPlan, list[tuple[str, str]]]:
    """Return the chunks of files, and the files that have none with the reasons.

    Parameters
    ----------
    files : sequence of InputFile
    text_field : str
    further : mapping of str to str or None
        The names of further fields by arguments. Some file must have each of them.
    chunk_bytes : int
    strict : bool
        If True, a file without chunks is an error.
    """
    for argument, field in further.items():
        if field is not None:
            check_some_file_has(files, field, argument)
    errors: list[FileError] | None = None if strict else []
    plan = plan_chunks(files, text_field, chunk_bytes, refused=errors)
    return plan, [(error.path, error.reason) for error in errors or ()]


def share_of(comm: Communicator, plan: ChunkPlan) -> NDArray[np.int64]:
    """Return the chunks of this rank; rank 0 has those of the standard input."""
    rank = assign(plan.cost, comm.size)
    own = [i for i, file in enumerate(plan.files) if file.place]
    rank[np.isin(plan.file, own)] = 0
    return np.flatnonzero(rank == comm.rank)
