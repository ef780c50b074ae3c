"""Read documents from files: each rank streams its share, and a document's id is the same for all ranks.

What counts as a document
-------------------------
- a text file as a whole (a byte order mark at its beginning is not part of it);
- a line of a ``.jsonl`` or ``.ndjson`` file, or of a ``.json`` file that has JSON lines: the string under
  `text_field`. A blank line is no document;
- an element of a ``.json`` file that is one array of objects: the string under `text_field`. Any other
  ``.json`` file is a text;
- a record of a ``.csv`` or ``.tsv`` file: the text in the column `text_field`. The first record names the
  columns and is record 1. A blank line is no document;
- a row of a Parquet, Arrow or Feather file: the text in the column `text_field` (this needs pyarrow);
- in a tar archive, the same in each of its files. They are named ``archive.tar!file``;
- the same in the standard input, whose path is ``-``.

All of these may be compressed by gzip, Zstandard (this needs the package zstandard), bzip2 or xz. Compressed
files, Parquet, Arrow and tar archives are recognised by their content, whatever their names are. The name
decides between kinds of text; `format` says one for all files. `text_field` may be a path to a nested field,
such as ``meta.body``. A field that has this name itself comes first.

What is skipped, counted and named
----------------------------------
Files that cannot be read or are no regular files, files of other formats (PDF, pictures, zip archives and
binary data), files whose first records lack the field or whose column has another type, lines without a
string under the field, rows that are null, the rest of a file or of a row group behind a damaged place, bytes
behind the end of compressed data, and any document longer than 1 GiB. With ``strict=True`` each of these is
an error, and so is a text with bytes that its encoding does not have. Without it, such texts are read, and
their bad bytes separate words. A path that does not exist, a folder without files, and files of which none
can be read are always errors.

Results that this package has written are left out of what is read, and named. A file that changes between two
readings is named and counted too: see `DocumentSource.report_changed`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DocumentError
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.progress import progress_bar
from ...lsh.support.public import publish
from ..ranks.comm import communicator
from .batches import DocumentBatch
from .chunks import RECORD_BITS
from .encodings import AUTO, check_encoding
from .files import InputFile
from .formats import FORMATS
from .jsonl import NOT_UTF8
from .listing import STANDARD_INPUT
from .names import DocumentNames, Member, split_ids
from .own_files import OWN_REASONS
from .planning import detect_on_ranks, list_allowed, plan_fields, share_of
from .reading import ReadingPass
from .skipped import NO_DOCUMENT, Skip
from .standard_input import StandardInput
from .summary import CHANGED, ReadSummary, summarise
from .values import ids_of

__all__ = ["DocumentSource"]


class DocumentSource:
    """Read documents from files, each rank its share.

    Rank 0 lists the files and cuts them into chunks: a range of bytes of JSON lines, a row group of Parquet,
    or another file as a whole. The list of chunks does not depend on the number of ranks, and every chunk is
    read by one rank. The id of a document is the place of its chunk in that list times 2**36, plus its place
    in the chunk. So ids are the same for any number of ranks, and rise in the order of paths, files and
    lines.

    Parameters
    ----------
    paths : path or sequence of paths
        Files and folders. Folders are walked to the bottom in the order of names. Names that begin with a
        dot and links to folders are left out. A file that is reached twice, also through a hard link, counts
        once. ``-`` is the standard input of rank 0, which is kept in a temporary file and read by rank 0.
    text_field : str
        The field of JSON objects, or the column of tables, that has the text; with dots, it may be the path
        to a nested field.
    format : {"auto", "text", "jsonl", "json", "csv", "tsv", "parquet", "arrow"}
        The kind of content of all files. With "auto", their contents and names decide. Compressed files and
        tar archives are recognised in any case.
    encoding : str
        The encoding of texts: the name of a codec of Python, such as "latin-1", "cp1252", "shift_jis" or
        "utf-16". With "auto", texts are in UTF-8, or in UTF-16 or UTF-32 if they begin with a byte order mark
        of these. Texts in Parquet and Arrow are always in UTF-8. JSON lines that are decoded are not cut.
    id_field : str or None
        The field or column that has the user's own id of a document; see `fields_of`.
    score_field : str or None
        The field or column that has a number for each document; see `DocumentBatch.scores`. In CSV, it is
        written as a text. Dates and times in Parquet and Arrow are numbers of seconds.
    strict : bool
        If True, a document that cannot be read is an error; otherwise it is skipped and named. A text with
        bytes that its encoding does not have is an error too; otherwise it is read with its bad bytes.
    comm : mpi4py communicator, Communicator or None
        See `communicator`.
    include, exclude : str or sequences of str
        Shell patterns that choose among the files found in folders. They are compared with the names, or,
        if they have a slash, with the paths below the folder given. `exclude` also leaves out folders.
    leave_out : path or sequence of paths
        Files that are left out of folders, for example because the program writes to them.
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
    input_bytes : int
        Bytes of the standard input, on rank 0 if it was asked for; otherwise 0.

    Raises
    ------
    DocumentError
        If a path does not exist, a folder has no file of documents, no file can be read (each lacks the
        field or is damaged), or a package is missing.
    DistributedError
        On every rank, in place of that error when there are several ranks; or if ranks pass different
        arguments.

    Notes
    -----
    A rank has about two batches and a few blocks of 1 MiB in memory at a time, besides the list of files. Of
    an Arrow file it has a record batch of the column, and of a JSON array the longest element.
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
        format: str = "auto",
        encoding: str = AUTO,
        id_field: str | None = None,
        score_field: str | None = None,
        strict: bool = False,
        comm: Any = None,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        leave_out: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
        chunk_bytes: int = 16 << 20,
        batch_bytes: int = 16 << 20,
        progress: bool = False,
    ) -> None:
        self._comm = communicator(comm)
        with self._comm.agree():
            self.paths = _read_paths("paths", paths)
            if not self.paths:
                raise ValueError(f"paths must be one or more strings or paths, got {paths!r}")
            if not isinstance(text_field, str):
                raise TypeError(f"text_field must be a string, got {text_field!r}")
            for name, field in (("id_field", id_field), ("score_field", score_field)):
                if field is not None and not isinstance(field, str):
                    raise TypeError(f"{name} must be a string or None, got {field!r}")
            self.text_field, self.id_field, self.score_field = text_field, id_field, score_field
            check_choice("format", format, FORMATS)
            self.format = format
            self.encoding = check_encoding(encoding)
            self.strict = bool(strict)
            self.chunk_bytes = check_int("chunk_bytes", chunk_bytes, 1)
            self.batch_bytes = check_int("batch_bytes", batch_bytes, 1)
            self._progress = progress
            included, excluded = _read_paths("include", include), _read_paths("exclude", exclude)
            left_out = _read_paths("leave_out", leave_out)
        fields = (text_field, id_field, score_field)
        settings = (
            self.paths,
            format,
            self.encoding,
            fields,
            self.strict,
            included,
            excluded,
            self.chunk_bytes,
        )
        self._comm.check_same("the documents to read", settings)
        self._input: StandardInput | None = None
        with self._comm.agree():
            if self._comm.rank == 0 and STANDARD_INPUT in self.paths:
                self._input = StandardInput()
        opened = None if self._input is None else self._input.file
        # Other ranks may see another state of a network's files.
        listing = self._comm.call_on_first(
            partial(list_allowed, self.paths, included, excluded, opened, left_out, strict=self.strict)
        )
        files = detect_on_ranks(self._comm, listing.files, format, self.encoding)
        own = [(file.path, file.reason) for file in files if file.reason in OWN_REASONS]
        rest = [file for file in files if file.reason not in OWN_REASONS]
        further = {"id_field": id_field, "score_field": score_field}
        self._plan, refused = self._comm.call_on_first(
            partial(plan_fields, rest, text_field, further, self.chunk_bytes, strict=self.strict)
        )
        self._refused = [*listing.refused, *own, *refused]
        #: The places of files in the plan that this rank found changed.
        self._changed: set[int] = set()
        self._names = DocumentNames(self._plan)
        self._mine = share_of(self._comm, self._plan)
        #: The numbers of documents and skips of the first complete pass.
        self._found: tuple[int, int] | None = None
        self._pass = self._new_pass()

    @property
    def input_bytes(self) -> int:
        """Bytes of the standard input, on rank 0 if it was asked for; otherwise 0."""
        return 0 if self._input is None else self._input.file.size

    def _new_pass(self, wanted: NDArray[np.uint64] | None = None) -> ReadingPass:
        new = ReadingPass(
            self._plan,
            self._mine,
            self.text_field,
            self.score_field if wanted is None else None,
            self.format,
            self.batch_bytes,
            self._refuse if self.strict else None,
            wanted,
        )
        if self._found is None:
            self._names.members = new.members
        if self._comm.rank == 0:
            for name, reason in self._refused:
                # With `strict`, only results of this package are left: they are no documents.
                new.skips.add(Skip(NO_DOCUMENT, name, reason))
        return new

    def _refuse(self, skip: Skip) -> None:
        name = skip.name or self._names.for_message(skip.document)
        reason = skip.reason
        if reason == NOT_UTF8:
            file = self._plan.files[int(self._plan.file[skip.document >> RECORD_BITS])]
            reason = f"not {file.encoding or 'UTF-8'}"
        raise DocumentError(f"{name}: {reason} (strict)")

    # -- what is read -----------------------------------------------------------------------------

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
            On this rank alone, if a later pass does not find the documents of the first one or, with
            `strict`, a document cannot be read.
        """
        if self._found is None:
            self._pass = self._new_pass()
            yield from self._read("reading")
            self._found = self._pass.found()
            return
        found = yield from self._read_again()
        if found != self._found:
            raise DocumentError("the files have changed since they were first read")

    def read_again(self, ids: ArrayLike | None = None) -> Iterator[DocumentBatch]:
        """Yield this rank's documents once more, after a complete pass of `batches`.

        Documents whose files have changed may have another text or be missing, and further documents may
        appear. Nothing is counted or reported twice. A caller that finds a document missing or changed calls
        `report_changed`.

        Parameters
        ----------
        ids : array_like of uint64, or None
            The documents that are needed; all of them by default. Files and pieces of files without them are
            not read again, and further documents may be missing. Batches have no scores then.

        Yields
        ------
        DocumentBatch

        Raises
        ------
        DocumentError
            With `strict`, if a document cannot be read any more.
        """
        yield from self._read_again(None if ids is None else np.unique(np.asarray(ids, dtype=np.uint64)))

    def _read_again(
        self, wanted: NDArray[np.uint64] | None = None
    ) -> Generator[DocumentBatch, None, tuple[int, int]]:
        """Yield the documents once more, and return the numbers of documents and skips."""
        first, self._pass = self._pass, self._new_pass(wanted)
        try:
            yield from self._read("reading again")
            return self._pass.found()
        finally:
            self._pass = first

    def _read(self, what: str) -> Iterator[DocumentBatch]:
        shown = self._progress and self._comm.rank == 0
        with progress_bar(what, self._pass.cost, shown) as advance:
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

    def report_bad_bytes(self, ids: ArrayLike) -> None:
        """Refuse documents of this rank that turned out to have bytes that are not UTF-8, if `strict` is set.

        Parameters
        ----------
        ids : array_like of uint64
            Ids of documents that `batches` has given out.

        Raises
        ------
        DocumentError
            With `strict`, if there is one.
        """
        for document in np.asarray(ids, dtype=np.uint64)[:1].tolist():
            self._pass.refuse(document, NOT_UTF8)

    def report_changed(self, ids: ArrayLike) -> None:
        """Name the files of documents that a second reading did not find as they were.

        `finish` counts each file once among the skipped. Its documents stay counted as read.

        Parameters
        ----------
        ids : array_like of uint64
            Ids of documents that `batches` has given out on this rank.

        Raises
        ------
        DocumentError
            With `strict`.
        """
        chunks, _ = split_ids(ids, self._plan)
        files = np.unique(self._plan.file[np.unique(chunks)]).tolist()
        if self.strict and files:
            raise DocumentError(f"{self._plan.files[files[0]].path}: {CHANGED} (strict)")
        self._changed.update(files)

    def finish(self) -> ReadSummary:
        """Return the totals of all ranks; a collective call, after every rank has finished `batches`.

        Afterwards `name_of` knows the line number of every document.

        Returns
        -------
        ReadSummary
        """
        return summarise(self._comm, self._plan, self._names, self._pass, self._changed)

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
        return self._names.of(ids)

    def places_of(self, ids: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the file of each document, as its place in `files`, and its record, counted from 0.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)
            Ids of documents of any rank, after `finish` was called.

        Returns
        -------
        files, records : ndarrays of int64, shape (n,)
            The record of a document that is a whole file is 0. The records of all members of an archive are
            numbered through; see `members_of`.

        Raises
        ------
        ValueError
            If an id is not one of this source's.
        """
        return self._names.places(ids)

    def members_of(self, file: int) -> Sequence[Member]:
        """Return the files in an archive, after `finish` was called.

        Parameters
        ----------
        file : int
            The place of the archive in `files`.

        Returns
        -------
        sequence of (int, str, bool)
            The first record of each file, which are numbered through; its name; and True if it is a text.
        """
        (chunk,) = np.flatnonzero(self._plan.file == file).tolist()
        return self._names.members.get(chunk, ())

    def texts_of(self, ids: ArrayLike) -> list[bytes]:
        """Return the texts of some documents, which may be those of any rank, after `finish` was called.

        This is no collective call. The pieces of files that the documents lie in are read again, each one as
        a whole, so ask for a few documents at a time. Only rank 0 can ask for those of the standard input.

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
        chunks = np.unique(split_ids(ids, self._plan)[0])
        again = ReadingPass(
            self._plan, chunks, self.text_field, None, self.format, self.batch_bytes, None, np.unique(ids)
        )
        texts: dict[int, bytes] = {}
        for batch in again.batches(lambda _: None):
            for row in np.flatnonzero(np.isin(batch.ids, ids)).tolist():
                text = batch.data[batch.offsets[row] : batch.offsets[row + 1]]
                texts[int(batch.ids[row])] = text.tobytes()
        missing = [document for document in ids.tolist() if document not in texts]
        if missing:
            name = self._names.for_message(missing[0])
            raise DocumentError(f"{name} cannot be read again: the file has changed")
        return [texts[document] for document in ids.tolist()]

    def fields_of(self, ids: ArrayLike) -> list[str | int | None]:
        """Return the user's own ids of documents: their values under `id_field`.

        The files of these documents are read again, each up to the last of them. This is not a collective
        call: one rank may ask for documents of all ranks. Only rank 0 can ask for those of the standard
        input.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)
            Ids of documents of any rank.

        Returns
        -------
        list of str, int or None
            The path for a document that is a whole file. None where the value is missing, or neither a string
            nor an integer.

        Raises
        ------
        ValueError
            If there is no `id_field`, or an id is not one of this source's.
        DocumentError
            If a file cannot be read any more.

        Examples
        --------
        >>> from pathlib import Path
        >>> _ = Path("pages.jsonl").write_text('{"text": "one", "url": "a/1"}')
        >>> source = DocumentSource("pages.jsonl", id_field="url")
        >>> (batch,) = source.batches()
        >>> source.fields_of(batch.ids)
        ['a/1']
        """
        if self.id_field is None:
            raise ValueError("fields_of needs a source with an id_field, got None")
        return ids_of(self._plan, ids, self.text_field, self.id_field, self.format)


def _read_paths(name: str, given: Any) -> list[str]:
    """Return one path or several, or patterns of these, as a list, or raise if there is something else."""
    # The elements of a string would be its characters.
    several = (
        [given] if isinstance(given, (str, PathLike)) or not isinstance(given, Iterable) else list(given)
    )
    if not all(isinstance(path, (str, PathLike)) for path in several):
        raise ValueError(f"{name} must be one or more strings or paths, got {given!r}")
    return [os.fsdecode(path) for path in several]


publish("mergesketch.distributed", __all__, globals())
