"""Read the files in a tar archive one after another, without writing any of them to the disk."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from .compression import DamagedError, Readable, codec_of, open_compressed, split_suffix
from .encodings import AUTO, Transcoded
from .files import UNREADABLE, InputFile, Kind, copy_to_temporary
from .formats import HEAD, Peekable, find_kind

__all__ = ["ArchiveEntry", "TarMember", "archive_entries", "member_of", "tar_members"]


class TarMember(NamedTuple):
    """A file in an archive, which can be opened once, before the next one.

    Attributes
    ----------
    path : str
        The name of the archive, an exclamation mark, and the name in the archive.
    kind, compression, size, reason
        As `InputFile` has them.
    opened : Peekable
        The uncompressed bytes, or the text in UTF-8.
    encoding
        As `InputFile` has it.
    """

    path: str
    kind: Kind
    compression: str | None
    size: int
    reason: str
    opened: Peekable
    encoding: str

    @property
    def compressed(self) -> bool:
        """True if the file is compressed by any codec."""
        return self.compression is not None

    @contextmanager
    def open(self) -> Iterator[io.RawIOBase]:
        """Open the file to read its uncompressed bytes."""
        yield self.opened

    @contextmanager
    def open_anywhere(self) -> Iterator[IO[bytes]]:
        """Open the file to read its uncompressed bytes in any order, in a temporary file without a name."""
        with copy_to_temporary(self.opened) as copy:
            yield copy


class _Header(tarfile.TarInfo):
    """A header that is damaged is an error. Without this, it would silently be the end of the archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # Zeros mark the end of an archive, which may also end without a mark.
            if isinstance(error, (tarfile.EOFHeaderError, tarfile.EmptyHeaderError)):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"a damaged header: {error}") from error


class _Content(io.RawIOBase):
    """The bytes of a member; errors of tarfile become DamagedErrors."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        try:
            return self._content.read(n)
        except tarfile.TarError as error:
            raise DamagedError(str(error)) from error


class ArchiveEntry(NamedTuple):
    """An entry of an archive: its header, its bytes as they are stored, and if it is a file to read."""

    info: tarfile.TarInfo
    content: io.RawIOBase | None
    is_member: bool


def archive_entries(file: InputFile) -> Iterator[ArchiveEntry]:
    """Yield all entries of an archive, in their order: files, folders, links and devices.

    The archive is read once from its beginning to its end, so the bytes of an entry must be read before the
    next one.

    Raises
    ------
    DamagedError, OSError
        If the archive is damaged or cannot be read.
    """
    with file.open() as opened:
        try:
            # The mode `r|` never seeks.
            with tarfile.open(fileobj=opened, mode="r|", tarinfo=_Header) as archive:
                while (info := archive.next()) is not None:
                    # The archive would keep the headers of all members.
                    archive.members = []  # type: ignore[attr-defined]
                    content = archive.extractfile(info) if info.isreg() else None
                    stored = None if content is None else _Content(content)
                    yield ArchiveEntry(info, stored, content is not None and not _is_hidden(info.name))
        except tarfile.TarError as error:
            raise DamagedError(str(error)) from error


def tar_members(file: InputFile, form: str = "auto") -> Iterator[TarMember]:
    """Yield the regular files in an archive, in their order, with their kinds.

    Folders, links and devices are left out, and so are names of which a part begins with a dot, as in
    folders.

    Parameters
    ----------
    file : InputFile
    form : str
        What the caller says about the format of the members; see `formats.FORMATS`.

    Raises
    ------
    DamagedError, OSError
        If the archive is damaged or cannot be read.
    """
    for entry in archive_entries(file):
        if entry.is_member:
            yield member_of(file, entry, form)


def member_of(file: InputFile, entry: ArchiveEntry, form: str = "auto") -> TarMember:
    """Return a regular file in an archive with its kind; the first of its bytes are read."""
    assert entry.content is not None
    name = f"{file.path}!{entry.info.name}"
    return _member(name, entry.info.size, entry.content, form, file.encoding or AUTO)


def _is_hidden(name: str) -> bool:
    return any(part[:1] == "." and part not in (".", "..") for part in name.split("/"))


def _member(path: str, size: int, content: Readable, form: str, encoding: str) -> TarMember:
    stem, promised = split_suffix(path)
    opened = Peekable(content)
    compression, reason = promised, ""
    try:
        compression = codec_of(opened.head(HEAD)) or promised
        if compression is not None:
            opened = Peekable(open_compressed(path, opened, compression))
        kind, reason, encoding = find_kind(stem, opened, form, encoding)
    except UNREADABLE as error:
        kind, reason, encoding = "unread", f"damaged: {error}", ""
    if kind == "tar":
        kind, reason = "unread", "an archive in an archive is not read"
    if encoding and kind != "unread":
        opened = Peekable(Transcoded(opened, encoding))
    return TarMember(path, kind, compression, size, reason, opened, encoding)
