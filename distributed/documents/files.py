"""Open the files of documents that were found, and never wait for a file that has become a pipe."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from ...sketches.core.file_format import never_wait
from .skipped import FileError

__all__ = ["UNREADABLE", "InputFile", "check_listed", "open_listed"]

#: Errors that reading a plain or compressed file may raise.
UNREADABLE = (OSError, EOFError, zlib.error)


class InputFile(NamedTuple):
    """A file of documents.

    Attributes
    ----------
    path : str
    kind : {"text", "jsonl", "parquet", "lines", "table"}
        A text file is one document. JSON lines have one document a line, and Parquet one a row. Files of keys
        have other kinds: lines may be read from any of them on, and the records of a table only from the
        first one on, because quoted fields may have ends of lines.
    compressed : bool
        True for a file that gzip has compressed.
    size : int
        Bytes of the file when it was listed.
    """

    path: str
    kind: Literal["text", "jsonl", "parquet", "lines", "table"]
    compressed: bool
    size: int

    @contextmanager
    def open(self) -> Iterator[io.FileIO | gzip.GzipFile]:
        """Open the file to read its uncompressed bytes."""
        with open_listed(self.path) as stored, gzip.open(stored) if self.compressed else stored as file:
            yield file


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
