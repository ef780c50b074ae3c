"""Compress what is written, by the ending of the file's name or with a given codec."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, BinaryIO

from ...errors import DocumentError
from ...lsh.support.install import how_to_install
from .compression import split_suffix

__all__ = ["codec_writer", "compressing"]


def compressing(name: str) -> Callable[[BinaryIO], AbstractContextManager[Any]]:
    """Return a function that wraps a binary file, so that what is written is compressed as `name` says.

    Names that end with ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` (which needs zstandard or Python 3.14) are
    compressed; others are written as they are. Closing the wrapper ends the compressed data, and leaves the
    file itself open. Equal contents give equal bytes: no name and no time is stored.

    Raises
    ------
    DocumentError
        If a package is needed and missing.
    """
    return codec_writer(split_suffix(name)[1], name)


def codec_writer(codec: str | None, name: str) -> Callable[[BinaryIO], AbstractContextManager[Any]]:
    """Return the function that `compressing` returns, for a codec of `compression.CODECS` or None.

    The name is that of the file, for messages.
    """
    if codec == "zstd":
        return _zstd(name)
    return nullcontext if codec is None else _WRITERS[codec]


def _gzip(file: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6)


def _zstd(name: str) -> Callable[[BinaryIO], AbstractContextManager[Any]]:
    try:
        standard = importlib.import_module("compression.zstd")
    except ImportError:
        pass
    else:
        return lambda file: standard.ZstdFile(file, "wb")
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError as error:
        raise DocumentError(f"writing {name} needs zstandard: {how_to_install('zstd')}") from error
    return lambda file: zstandard.ZstdCompressor().stream_writer(file, closefd=False)


_WRITERS: dict[str, Callable[[BinaryIO], AbstractContextManager[Any]]] = {
    "gzip": _gzip,
    "bzip2": partial(bz2.BZ2File, mode="wb"),
    "xz": partial(lzma.LZMAFile, mode="wb"),
}
