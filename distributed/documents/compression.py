"""Decompress files: the codecs, how their files begin, and one stream that reads all of them.

The first bytes of a file decide whether it is compressed, because names are often wrong. Only a name that
promises a codec is believed too: a file `x.gz` that is no gzip file is damaged, and not a text.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

from ...errors import DocumentError
from ...lsh.support.install import how_to_install

__all__ = [
    "CODECS",
    "Codec",
    "DamagedError",
    "Decompressed",
    "PieceReader",
    "Readable",
    "TrailingBytesError",
    "check_end",
    "codec_of",
    "open_compressed",
    "split_suffix",
    "suffix_of",
]

#: Bytes that are read from the compressed file at a time.
BLOCK = 1 << 16
#: Bytes that `Decompressed` gives at most at a time, unless a codec cannot be stopped.
PIECE = 1 << 20
#: A codec that cannot stop within its input gets few bytes at a time: 4 of them may stand for 128 KiB.
FEW = 1 << 10
#: The most memory of an xz decompressor. A small file may ask for a dictionary of 4 GiB.
XZ_MEMORY = 1 << 30


class DamagedError(Exception):
    """The content of a file is not what it must be."""


class TrailingBytesError(DamagedError):
    """Other bytes follow the end of the compressed data, all of which was read."""


class Readable(Protocol):
    """An opened file: `read` returns up to n further bytes, and none at the end."""

    def read(self, n: int, /) -> bytes: ...


class Codec(NamedTuple):
    """A way to compress files.

    Attributes
    ----------
    name : str
    suffix : str
        The end of the names of its files.
    magics : tuple of bytes
        A file of the codec begins with one of them.
    make : callable
        Returns a new decompressor, for one member of a file.
    feed : int
        Bytes that are given to a decompressor at a time.
    """

    name: str
    suffix: str
    magics: tuple[bytes, ...]
    make: Callable[[], Any]
    feed: int = BLOCK


@cache
def _fastest_zlib() -> Any:
    """Return the module of isal if it is installed, which is faster than zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


def _gzip() -> Any:
    return _fastest_zlib().decompressobj(wbits=31)


def _zstd() -> Any:
    try:
        from zstandard import ZstdDecompressor
    except ImportError:
        pass
    else:
        return ZstdDecompressor().decompressobj()
    try:
        from compression.zstd import ZstdDecompressor as Standard
    except ImportError as error:
        raise ImportError(f"Zstandard needs the package zstandard: {how_to_install('zstd')}") from error
    return Standard()


def _xz() -> Any:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


CODECS = (
    Codec("gzip", ".gz", (b"\x1f\x8b\x08",), _gzip),
    # Frames that begin with the later magics are to be skipped; parallel compressors write such frames.
    Codec(
        "zstd",
        ".zst",
        (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
        _zstd,
        feed=FEW,
    ),
    # After the size of the blocks, 48 bits of pi or of its square root begin the first or the last block.
    Codec(
        "bzip2",
        ".bz2",
        tuple(b"BZh%d" % i + block for i in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90")),
        bz2.BZ2Decompressor,
    ),
    Codec("xz", ".xz", (b"\xfd7zXZ\x00",), _xz),
)
_BY_SUFFIX = {codec.suffix: codec.name for codec in CODECS}
_BY_NAME = {codec.name: codec for codec in CODECS}
_MAGICS = tuple(magic for codec in CODECS for magic in codec.magics)
_LONGEST = max(map(len, _MAGICS))


def codec_of(head: bytes) -> str | None:
    """Return the name of the codec of a file that begins with `head`, or None."""
    if not head.startswith(_MAGICS):
        return None
    return next(codec.name for codec in CODECS if head.startswith(codec.magics))


def suffix_of(name: str) -> str:
    """Return the end of the names of a codec's files."""
    return _BY_NAME[name].suffix


def split_suffix(path: str) -> tuple[str, str | None]:
    """Return a path in lower case without the suffix of a codec, and the name of that codec or None.

    Examples
    --------
    >>> from mergesketch.distributed.documents.compression import split_suffix
    >>> split_suffix("C4/part.JSON.gz")
    ('c4/part.json', 'gzip')
    """
    path = path.lower()
    dot = path.rfind(".")
    name = _BY_SUFFIX.get(path[dot:])
    return (path, None) if name is None else (path[:dot], name)


class PieceReader(io.RawIOBase):
    """A stream of bytes of which a subclass defines `read` alone."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return b"".join(iter(partial(self.read, PIECE), b""))


class Decompressed(PieceReader):
    """The uncompressed bytes of a file that has one member of a codec, or several one after another.

    Zeros behind the last member are padding. Other bytes behind it are left out; see `check_end`. The bytes
    before a damaged place are given before the error, as
    far as the codec gives them.

    Parameters
    ----------
    stored : Readable
        The compressed file. It is not closed.
    name : str
        The name of a codec.

    Raises
    ------
    DamagedError
        By `read`, if the file is damaged or ends too early.
    ImportError
        If a package is missing.
    """

    def __init__(self, stored: Readable, name: str) -> None:
        self._stored = stored
        self.codec = name
        self._codec = _BY_NAME[name]
        self._decompressor = self._codec.make()
        # Compressed bytes that are read but not yet decompressed, and the other way round.
        self._input = memoryview(b"")
        self._output = memoryview(b"")
        self._n_members = 0
        self._in_member = False
        self._error: DamagedError | None = None
        #: True after the last member was read, if bytes follow it that are neither zeros nor a member.
        self.has_rest = False

    def read(self, n: int = -1) -> bytes:
        """Return up to n further bytes; fewer than n do not mean the end of the file."""
        if n < 0:
            return self.readall()
        if n == 0:
            return b""
        while not self._output:
            if self._error is not None:
                raise self._error
            try:
                if not self._in_member and not self._begin_member():
                    return b""
                self._output = memoryview(self._decompress(min(n, PIECE)))
            except DamagedError as error:
                # A further call raises it again.
                self._error = error
        piece, self._output = self._output[:n], self._output[n:]
        return bytes(piece)

    def _begin_member(self) -> bool:
        """Begin the next member; return False if there is none."""
        padding = b"\0" if self._n_members else b""
        head = bytes(self._input).lstrip(padding)
        while len(head) < _LONGEST and (more := self._stored.read(BLOCK)):
            head = (head + more).lstrip(padding)
        self._input = memoryview(head)
        if not head:
            return False
        if not head.startswith(self._codec.magics):
            if not self._n_members:
                raise DamagedError(f"no {self._codec.name} data")
            self._input, self.has_rest = memoryview(b""), True
            return False
        if self._n_members:
            self._decompressor = self._codec.make()
        self._in_member = True
        return True

    def _decompress(self, n: int) -> bytes:
        """Return further bytes of the present member, about n of them or none."""
        decompressor, feed = self._decompressor, self._codec.feed
        # The decompressors of bzip2 and xz keep input that they have not used; that of gzip gives it back.
        if not self._input and getattr(decompressor, "needs_input", True):
            self._input = memoryview(self._stored.read(BLOCK))
        is_end = not self._input
        piece, self._input = self._input[:feed], self._input[feed:]
        try:
            found: bytes = decompressor.decompress(piece, *([] if feed == FEW else [n]))
        except MemoryError:
            raise
        except Exception as error:
            # Each library has its own errors: zlib.error, IsalError, ZstdError, LZMAError and OSError.
            raise DamagedError(str(error)) from error
        if decompressor.eof:
            self._input = memoryview(decompressor.unused_data + bytes(self._input))
            self._in_member = False
            self._n_members += 1
        elif tail := getattr(decompressor, "unconsumed_tail", b""):
            self._input = memoryview(tail + bytes(self._input))
        elif is_end and not found and getattr(decompressor, "needs_input", True):
            raise DamagedError(f"the {self._codec.name} data ends before its end mark")
        return found


def check_end(opened: Readable) -> None:
    """Raise TrailingBytesError if a file that was read to its end has bytes behind its compressed data."""
    if isinstance(opened, Decompressed) and opened.has_rest:
        raise TrailingBytesError(f"other bytes follow the end of the {opened.codec} data, and are left out")


def open_compressed(path: str, stored: Readable, name: str) -> Decompressed:
    """Return the uncompressed bytes of an opened file; DocumentError if a package is missing."""
    try:
        return Decompressed(stored, name)
    except ImportError as error:
        raise DocumentError(f"cannot read {path}: {error}") from error
