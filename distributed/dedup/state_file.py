"""Write the documents of all ranks into one file."""

from __future__ import annotations

import math
from contextlib import ExitStack
from itertools import pairwise
from os import PathLike
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...sketches.core.atomic import atomic_write
from ...sketches.core.file_format import data_checksum, header_bytes, header_of_file, map_arrays
from ...sketches.sets.document_signatures import DocumentSignatures
from ..ranks.comm import Communicator, communicator

__all__ = ["save_documents"]

#: The length of a checksum, which is written when all arrays are there.
_NO_CHECKSUM = "0" * 16
#: The arrays with an entry for each document.
_OF_DOCUMENTS = ("records", "keys", "sizes", "scores", "signatures")


class _Piece(NamedTuple):
    """A rank's entries of an array, the place of the first of them, and the number of all ranks' entries."""

    values: NDArray[Any]
    first: int
    total: int


def save_documents(state: DocumentSignatures, path: str | PathLike[str], comm: Any = None) -> None:
    """Write the parts of all ranks into one file, atomically; a collective call.

    The file is the same, byte for byte, for any number of ranks.

    Parameters
    ----------
    state : DocumentSignatures
        This rank's part: `Deduplication.state`. The documents of a rank follow those of the ranks before in
        the order of names.
    path : path
        Rank 0 writes it.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process.

    Raises
    ------
    TypeError
        If `state` is not a DocumentSignatures.
    ValueError
        If the documents of the ranks are not in the order of names. DistributedError on the other ranks.
    OSError
        On rank 0, if the file cannot be written. The old file stays. DistributedError on the other ranks.

    Examples
    --------
    >>> from mergesketch import DocumentSignatures
    >>> from mergesketch.distributed import deduplicate, save_documents
    >>> result = deduplicate(["what immortal hand or eye"], against=DocumentSignatures(), name="monday")
    >>> save_documents(result.state, "corpus.state")
    >>> DocumentSignatures.load("corpus.state") == result.state
    True
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(state, DocumentSignatures):
            raise TypeError(f"state must be a DocumentSignatures, got {type(state).__name__}")
    if comm.size == 1:
        state.save(path)
        return
    pieces = _pieces(state, comm)
    cls, config = type(state).__name__, state.config()
    shapes = {
        name: (piece.values.dtype.newbyteorder("<"), (piece.total, *piece.values.shape[1:]))
        for name, piece in pieces.items()
    }
    with ExitStack() as stack:
        header, places = header_bytes(cls, config, shapes, _NO_CHECKSUM)
        file: BinaryIO | None = None
        with comm.agree():
            if comm.rank == 0:
                temporary = stack.enter_context(atomic_write(path))
                file = stack.enter_context(temporary.open("r+b"))
                file.write(header)
                # What no rank writes is 0.
                file.truncate(max(places[name] + _nbytes(*shapes[name]) for name in places))
        for name, place in places.items():
            _gather_into(file, place, pieces[name], comm)
        with comm.agree():
            if file is not None:
                file.flush()
                file.seek(0)
                arrays, fetch = header_of_file(file).arrays, map_arrays(file)
                checksum = data_checksum({name: fetch(*entry) for name, entry in arrays.items()})
                file.seek(0)
                file.write(header_bytes(cls, config, shapes, checksum)[0])
                # This renames the file.
                stack.close()


def _nbytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


def _gather_into(file: BinaryIO | None, place: int, piece: _Piece, comm: Communicator) -> None:
    """Write the pieces of all ranks into rank 0's file, in rounds of bounded size."""

    def write(positions: NDArray[np.int64], values: NDArray[Any]) -> None:
        if file is None:
            return
        values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        row_bytes = _nbytes(values.dtype, values.shape[1:])
        starts = np.flatnonzero(np.diff(positions, prepend=-2) != 1)
        for start, stop in pairwise([*starts.tolist(), len(positions)]):
            file.seek(place + int(positions[start]) * row_bytes)
            file.write(values[start:stop].reshape(-1).view(np.uint8).data)

    positions = np.arange(piece.first, piece.first + len(piece.values))
    comm.exchange((positions, piece.values), np.zeros(len(positions), dtype=np.int64), write)


def _pieces(state: DocumentSignatures, comm: Communicator) -> dict[str, _Piece]:
    """Return this rank's entries of each array of the whole state; a collective call."""
    rows, arrays = state.rows(), state.arrays
    n = len(state)
    ends = [(rows.paths[int(rows.path_of[i])], int(rows.records[i])) for i in ((0, n - 1) if n else ())]
    every = comm.allgather((ends, n, len(rows.paths), len(arrays["paths"]), len(rows.paths[0]) if n else 0))
    n_documents, n_paths, n_bytes = 0, 0, 0
    before, own = None, (0, 0, 0, False)
    for rank, (its, documents, paths, path_bytes, first_bytes) in enumerate(every):
        continued = bool(its and before and its[0][0] == before[0])
        if its and before and its[0] <= before:
            raise ValueError(
                f"the documents of rank {rank} must follow those of the ranks before in the order of names; "
                "merge them instead"
            )
        if rank == comm.rank:
            own = n_documents, n_paths, n_bytes, continued
        before = its[1] if its else before
        n_documents += documents
        n_paths += paths - continued
        n_bytes += path_bytes - first_bytes * continued
    first_document, first_path, first_byte, continued = own
    # The first path may be the last one of the rank before.
    skipped = int(continued)
    offsets, first_documents = arrays["path_offsets"], arrays["first_documents"]
    start = int(offsets[skipped]) if n else 0
    starts_of_paths = first_documents[skipped:-1] + first_document
    if comm.rank == comm.size - 1:
        starts_of_paths = np.append(starts_of_paths, n_documents)
    pieces = {
        "paths": _Piece(arrays["paths"][start:], first_byte, n_bytes),
        # The first entry of the array is 0.
        "path_offsets": _Piece(offsets[1 + skipped :] - start + first_byte, first_path + 1, n_paths + 1),
        "first_documents": _Piece(starts_of_paths, first_path, n_paths + 1),
    }
    for name in _OF_DOCUMENTS:
        pieces[name] = _Piece(arrays[name], first_document, n_documents)
    return pieces
