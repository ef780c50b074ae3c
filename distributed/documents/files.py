"""Open the files of documents that were found, and never wait for a file that has become a pipe."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, NamedTuple

from ...sketches.core.file_format import never_wait
from .compression import DamagedError, Readable, check_end, open_compressed, suffix_of
from .encodings import Transcoded
from .skipped import FileError

__all__ = ["UNREADABLE", "InputFile", "Kind", "check_listed", "copy_to_temporary", "open_listed"]

#: Errors that reading a plain or compressed file may raise.
UNREADABLE = (OSError, DamagedError)
#: The kinds of content; see `InputFile`.
Kind = Literal["text", "jsonl", "json", "csv", "tsv", "parquet", "arrow", "tar", "unread", "lines", "table"]


class InputFile(NamedTuple):
    """A file of documents.

    Attributes
    ----------
    path : str
        The name of the file, which is ``-`` for standard input.
    kind : str
        The content: a ``text`` is one document; ``jsonl``, ``json`` (one array), ``csv``, ``tsv``,
        ``parquet`` and ``arrow`` have one document a record; ``tar`` has files of all kinds; ``unread`` is
        not read, for the reason given. Files of keys have other kinds: ``lines`` may be read from any of them
        on, and the records of a ``table`` only from the first one on, because quoted fields may have ends of
        lines.
    compression : str or None
        The name of a codec of `compression`: ``gzip``, ``zstd``, ``bzip2`` or ``xz``.
    size : int
        Bytes of the file when it was listed.
    reason : str
        The reason why an ``unread`` file is not read.
    place : str
        The path to open, if that is not `path`.
    encoding : str
        The encoding of texts that are decoded when they are read, in the words of Python; empty for UTF-8. Of
        an archive, what the caller says about its files.
    """

    path: str
    kind: Kind
    compression: str | None
    size: int
    reason: str = ""
    place: str = ""
    encoding: str = ""

    @property
    def compressed(self) -> bool:
        """True if the file is compressed by any codec."""
        return self.compression is not None

    @property
    def sequential(self) -> bool:
        """True if the content can be read from its beginning only: it is decompressed or decoded."""
        return self.compressed or self.encoding != ""

    @property
    def suffix(self) -> str:
        """The end of the name of a file with this content."""
        kind = ".txt" if self.kind == "text" else f".{self.kind}"
        return kind if self.compression is None else kind + suffix_of(self.compression)

    def open_stored(self) -> io.FileIO:
        """Open the file to read its bytes as they are stored."""
        return open_listed(self.place or self.path)

    @contextmanager
    def open(self) -> Iterator[io.RawIOBase]:
        """Open the file to read its uncompressed bytes, or its texts in UTF-8."""
        with self.open_stored() as stored:
            opened: io.RawIOBase = stored
            if self.compression is not None:
                opened = open_compressed(self.path, stored, self.compression)
            yield Transcoded(opened, self.encoding) if self.encoding and self.kind != "tar" else opened

    @contextmanager
    def open_anywhere(self) -> Iterator[IO[bytes]]:
        """Open the file to read its uncompressed bytes in any order.

        A compressed file is copied into a temporary file without a name.
        """
        with self.open() as opened:
            if self.compression is None:
                with io.BufferedReader(opened) as buffered:
                    yield buffered
            else:
                with copy_to_temporary(opened) as copy:
                    yield copy
                check_end(opened)


def copy_to_temporary(opened: Readable) -> IO[bytes]:
    """Return a copy of the rest of an opened file, in a temporary file that has no name."""
    copy: IO[Any] = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        while piece := opened.read(1 << 20):
            copy.write(piece)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def open_listed(path: str) -> io.FileIO:
    """Open a file that was listed, to read it; raise OSError if it is no regular file any more."""
    file = io.FileIO(path, opener=never_wait)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


def check_listed(path: str) -> None:
    """Raise FileError unless a file that was listed can still be opened and is a regular file."""
    try:
        open_listed(path).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot read {path}: {reason}", path, reason) from error
