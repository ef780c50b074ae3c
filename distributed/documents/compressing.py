"""Compress files with the codecs that are read, such that equal contents have equal bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ...errors import DocumentError
from ...lsh.support.install import how_to_install

__all__ = ["compressing"]

#: The levels that the commands gzip and xz use if nobody asks for another.
_GZIP_LEVEL, _XZ_LEVEL = 6, 6


@contextmanager
def compressing(target: IO[bytes], name: str | None) -> Iterator[IO[Any]]:
    """Return a file whose bytes are compressed into `target`, which stays open.

    Parameters
    ----------
    target : binary file
    name : str or None
        The name of a codec of `compression.CODECS`, or None for `target` itself.

    Raises
    ------
    DocumentError
        If a package is missing.
    """
    if name is None:
        yield target
        return
    with _opened(target, name) as opened:
        yield opened


def _opened(target: IO[bytes], name: str) -> Any:
    if name == "gzip":
        # Without a name and a time in it, the file has the same bytes whenever and by whomever it is written.
        return gzip.GzipFile("", "wb", _GZIP_LEVEL, target, mtime=0)
    if name == "bzip2":
        return bz2.BZ2File(target, "wb")
    if name == "xz":
        return lzma.LZMAFile(target, "wb", preset=_XZ_LEVEL)
    try:
        from zstandard import ZstdCompressor
    except ImportError:
        pass
    else:
        return ZstdCompressor().stream_writer(target, closefd=False)
    try:
        from compression.zstd import ZstdFile
    except ImportError as error:
        message = f"writing files of Zstandard needs the package zstandard: {how_to_install('zstd')}"
        raise DocumentError(message) from error
    return ZstdFile(target, "wb")
