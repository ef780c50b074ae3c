"""Read documents from files: each rank streams its share, and a document's id is the same for all ranks.

What counts as a document
-------------------------
- a text file as a whole (a byte order mark at its beginning is not part of it);
- a line of a ``.jsonl`` or ``.ndjson`` file: the string under `text_field`. A blank line is no document;
- a row of a ``.parquet`` file: the text in the column `text_field` (this needs pyarrow);
- the same inside ``.gz``, for text and JSON lines.

What is skipped, counted and named
----------------------------------
Files that cannot be read or are no regular files, text that is not UTF-8, lines without a string under the
field, rows that are null, and any document longer than 1 GiB. With ``strict=True`` each of these is an
error. A path that does not exist, a folder without files, a field that the first records of a file lack, and
a damaged Parquet file are always errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DocumentError
from ...lsh.support.checks import check_int
from ...lsh.support.progress import progress_bar
from ..ranks.comm import communicator
from .batches import DocumentBatch
from .chunks import RECORD_BITS, UNKNOWN_RECORD, ChunkPlan, assign, plan_chunks
from .files import InputFile
from .listing import json_lines_by_other_names, list_files
from .reading import ReadingPass
from .skipped import NO_DOCUMENT, Skip, first_skips

__all__ = ["DocumentSource", "ReadSummary"]

_RECORD_MASK = (1 << RECORD_BITS) - 1
NOT_UTF8 = "not UTF-8"


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


class DocumentSource:
    """Read documents from files, each rank its share.

    Rank 0 lists the files and cuts them into chunks: a text file, a range of bytes of JSON lines, or a row
    group. The list of chunks does not depend on the number of ranks, and every chunk is read by one rank.
    The id of a document is the place of its chunk in that list times 2**36, plus its place in the chunk. So
    ids are the same for any number of ranks, and rise in the order of paths, files and lines.

    Parameters
    ----------
    paths : path or sequence of paths
        Files and folders. Folders are walked to the bottom in the order of names. Names that begin with a
        dot and links to folders are left out. A file that is reached twice counts once.
    text_field : str
        The field of JSON lines, or the column of Parquet files, that has the text.
    strict : bool
        If True, a document that cannot be read is an error; otherwise it is skipped and named.
    comm : mpi4py communicator, Communicator or None
        See `communicator`.
    include, exclude : sequences of str
        Shell patterns that choose among the files found in folders. They are compared with the names, or,
        if they have a slash, with the paths below the folder given. `exclude` also leaves out folders.
    chunk_bytes : int
        Length of the ranges into which uncompressed JSON lines are cut. The ids depend on it.
    batch_bytes : int
        Bytes of text in a batch. A single longer document is a batch of its own.
    progress : bool
        If True, a progress bar of rank 0's share is shown on stderr, if that is a terminal.

    Attributes
    ----------
    files : list of str
        The paths of all files, in the order of the ids of their documents.
    json_lines_as_text : list of str
        Files named ``.json`` whose beginning looks like JSON lines, among the first 100 files with this
        name. Each of them is read as one document, because the name decides what a file contains.

    Raises
    ------
    DocumentError
        If a path does not exist, a folder has no file of documents, the first records of a file lack the
        field, a Parquet file is damaged, or pyarrow is missing.
    DistributedError
        On every rank, in place of that error when there are several ranks; or if ranks pass different
        arguments.

    Notes
    -----
    A rank has about two batches and a few blocks of 1 MiB in memory at a time, besides the list of files.
    Chunks are assigned to ranks by size, the largest first, each to the rank with the least so far.

    Examples
    --------
    >>> from pathlib import Path
    >>> for name, text in [("a.txt", "one"), ("b.txt", "two"), ("c.jsonl", '{"text": "three"}')]:
    ...     _ = Path(name).write_text(text)
    >>> source = DocumentSource(["a.txt", "b.txt", "c.jsonl"])
    >>> for batch in source.batches():
    ...     print(bytes(batch.data), batch.offsets)
    b'onetwothree' [ 0  3  6 11]
    >>> source.finish().n_documents
    3
    >>> source.name_of(batch.ids)
    [('a.txt', None), ('b.txt', None), ('c.jsonl', 1)]
    """

    def __init__(
        self,
        paths: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        text_field: str = "text",
        strict: bool = False,
        comm: Any = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        chunk_bytes: int = 16 << 20,
        batch_bytes: int = 16 << 20,
        progress: bool = False,
    ) -> None:
        given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
        if not given or not all(isinstance(path, (str, PathLike)) for path in given):
            raise ValueError(f"paths must be one or more paths, got {paths!r}")
        self.paths = [os.fsdecode(path) for path in given]
        if not isinstance(text_field, str):
            raise TypeError(f"text_field must be a string, got {text_field!r}")
        self.text_field = text_field
        self.strict = bool(strict)
        self.chunk_bytes = check_int("chunk_bytes", chunk_bytes, 1)
        self.batch_bytes = check_int("batch_bytes", batch_bytes, 1)
        self._progress = progress
        self._comm = communicator(comm)
        include, exclude = list(include), list(exclude)
        settings = (self.paths, text_field, self.strict, include, exclude, self.chunk_bytes)
        self._comm.check_same("the documents to read", settings)
        self._plan, self._refused, self.json_lines_as_text = self._list_files(include, exclude)
        owner = assign(self._plan.cost, self._comm.size)
        self._mine: NDArray[np.int64] = np.flatnonzero(owner == self._comm.rank)
        self._first_record = self._plan.first_record
        self._pass = self._new_pass()
        #: The numbers of documents and skips of the first complete pass.
        self._found: tuple[int, int] | None = None

    def _new_pass(self) -> ReadingPass:
        refuse = self._refuse if self.strict else None
        new = ReadingPass(self._plan, self._mine, self.text_field, self.batch_bytes, refuse)
        if self._comm.rank == 0:
            for name, reason in self._refused:
                new.skip(NO_DOCUMENT, name, reason)
        return new

    def _refuse(self, skip: Skip) -> None:
        name = skip.name or self._local_name(skip.document)
        raise DocumentError(f"{name}: {skip.reason} (strict)")

    def _list_files(
        self, include: Sequence[str], exclude: Sequence[str]
    ) -> tuple[ChunkPlan, list[tuple[str, str]], list[str]]:
        """Return the chunks, the refused files and the JSON lines named ``.json``, as rank 0 finds them.

        Other ranks may see another state of a network's files.
        """
        found: tuple[ChunkPlan, list[tuple[str, str]], list[str]] | None = None
        with self._comm.agree():
            if self._comm.rank == 0:
                listing = list_files(self.paths, include, exclude)
                if self.strict and listing.refused:
                    name, reason = listing.refused[0]
                    raise DocumentError(f"{name}: {reason} (strict)")
                plan = plan_chunks(listing.files, self.text_field, self.chunk_bytes)
                found = plan, listing.refused, json_lines_by_other_names(listing.files)
        found = self._comm.bcast(found)
        assert found is not None
        return found

    @property
    def files(self) -> list[str]:
        """The paths of all files, in the order of the ids of their documents."""
        return [file.path for file in self._plan.files]

    @property
    def input_files(self) -> list[InputFile]:
        """All files, with their kinds and sizes, in the same order."""
        return self._plan.files

    @property
    def shows_progress(self) -> bool:
        """True if work on the files is to be shown as it goes on."""
        return self._progress

    # -- reading ----------------------------------------------------------------------------------

    def batches(self) -> Iterator[DocumentBatch]:
        """Yield this rank's documents, a batch of bounded size at a time, in the order of ids.

        This is not a collective call: ranks work at their own pace and may have different numbers of
        batches. After a complete pass, a further call yields the same batches, and nothing is counted or
        reported twice.

        Yields
        ------
        DocumentBatch

        Raises
        ------
        DocumentError
            On this rank alone, if a Parquet file is damaged, a later pass does not find the documents of
            the first one or, with `strict`, a document cannot be read.
        """
        if self._found is None:
            self._pass = self._new_pass()
            yield from self._read("reading")
            self._found = self._pass.found()
            return
        first, self._pass = self._pass, self._new_pass()
        try:
            yield from self._read("reading again")
            if self._pass.found() != self._found:
                raise DocumentError("the files have changed since they were first read")
        finally:
            self._pass = first

    def _read(self, what: str) -> Iterator[DocumentBatch]:
        total = int(self._plan.cost[self._mine].sum())
        shown = self._progress and self._comm.rank == 0
        with progress_bar(what, total, shown) as advance:
            yield from self._pass.batches(advance)

    @property
    def n_documents(self) -> int:
        """Number of usable documents that this rank has given out so far."""
        return self._pass.n_documents

    @property
    def n_skipped(self) -> int:
        """Number of documents that this rank has skipped so far."""
        return self._pass.skips.n

    @property
    def bytes_read(self) -> int:
        """Number of bytes that this rank has read so far."""
        return self._pass.bytes_read

    # -- what could not be read -------------------------------------------------------------------

    def report_skipped(self, ids: ArrayLike, reason: str = NOT_UTF8) -> None:
        """Count documents of this rank as skipped, because they turned out to be unusable.

        Parameters
        ----------
        ids : array_like of uint64
            Ids of documents that `batches` has given out.
        reason : str

        Raises
        ------
        DocumentError
            With `strict`.
        """
        for document in np.asarray(ids, dtype=np.uint64).tolist():
            self._pass.take_back(document, reason)

    def finish(self) -> ReadSummary:
        """Return the totals of all ranks; a collective call, after every rank has finished `batches`.

        Afterwards `name_of` knows the line number of every document.

        Returns
        -------
        ReadSummary
        """
        n_lines = self._pass.n_lines.copy()
        self._comm.allreduce(n_lines, "sum")
        self._first_record = _first_records(self._plan, n_lines)
        skips = first_skips(chain.from_iterable(self._comm.allgather(self._pass.skips.first())))
        return ReadSummary(
            n_documents=self._comm.sum(self.n_documents),
            n_skipped=self._comm.sum(self.n_skipped),
            skipped=[(skip.name or self._local_name(skip.document), skip.reason) for skip in skips],
            bytes_read=self._comm.sum(self.bytes_read),
        )

    # -- names ------------------------------------------------------------------------------------

    def name_of(self, ids: ArrayLike) -> list[tuple[str, int | None]]:
        """Return the path of each document, and its line or row in the file, counted from 1.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)
            Ids of documents of any rank, after `finish` was called.

        Returns
        -------
        list of (str, int or None)
            The line is None for a document that is a whole file.

        Raises
        ------
        ValueError
            If an id is not one of this source's.
        """
        files, records = self.places_of(ids)
        plan = self._plan.files
        return [
            (plan[i].path, None if plan[i].kind == "text" else record + 1)
            for i, record in zip(files.tolist(), records.tolist(), strict=True)
        ]

    def places_of(self, ids: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the file of each document, as its place in `files`, and its line or row, counted from 0.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)
            Ids of documents of any rank, after `finish` was called.

        Returns
        -------
        files, records : ndarrays of int64, shape (n,)
            The record of a document that is a whole file is 0.

        Raises
        ------
        ValueError
            If an id is not one of this source's.
        """
        ids = np.asarray(ids, dtype=np.uint64)
        chunks = (ids >> np.uint64(RECORD_BITS)).astype(np.int64)
        if len(chunks) and int(chunks.max()) >= len(self._plan):
            raise ValueError("ids must be ids of this source's documents")
        records = (ids & np.uint64(_RECORD_MASK)).astype(np.int64) + self._first_record[chunks]
        return self._plan.file[chunks], records

    def texts_of(self, ids: ArrayLike) -> list[bytes]:
        """Return the texts of some documents, which may be those of any rank, after `finish` was called.

        This is no collective call. The pieces of files that the documents lie in are read again, each one as
        a whole, so ask for a few documents at a time.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)

        Returns
        -------
        list of bytes
            The texts in UTF-8, unless a document is damaged.

        Raises
        ------
        ValueError
            If an id is not one of this source's.
        DocumentError
            If a document cannot be read any more.
        """
        ids = np.asarray(ids, dtype=np.uint64)
        self.places_of(ids)
        chunks = np.unique(ids >> np.uint64(RECORD_BITS)).astype(np.int64)
        again = ReadingPass(self._plan, chunks, self.text_field, self.batch_bytes, None)
        texts: dict[int, bytes] = {}
        for batch in again.batches(lambda _: None):
            for row in np.flatnonzero(np.isin(batch.ids, ids)).tolist():
                text = batch.data[batch.offsets[row] : batch.offsets[row + 1]]
                texts[int(batch.ids[row])] = text.tobytes()
        missing = [document for document in ids.tolist() if document not in texts]
        if missing:
            raise DocumentError(f"{self._local_name(missing[0])} cannot be read again: the file has changed")
        return [texts[document] for document in ids.tolist()]

    def _local_name(self, document: int) -> str:
        """Return a name for messages, with the line if that is known."""
        chunk = document >> RECORD_BITS
        ((path, record),) = self.name_of([document])
        if record is None:
            return path
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
