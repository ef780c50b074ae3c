"""Copy a tar archive without some of the records of its members."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO

import numpy as np

from ...errors import DocumentError
from .compressing import codec_writer
from .compression import DamagedError
from .files import InputFile
from .jsonl import BLOCK
from .names import Member
from .record_copy import copy_content, reading
from .tar import ArchiveEntry, archive_entries, member_of

__all__ = ["copy_archive"]

#: Bytes of a member above which it goes through a temporary file on the disk.
_IN_MEMORY = 16 << 20


def copy_archive(
    file: InputFile, removed: list[int], members: Sequence[Member], form: str, target: BinaryIO
) -> bool:
    """Copy an archive without the records whose numbers are listed, which are numbered through all members.

    A text that is removed is absent from the copy, and so are hard links to it. All other entries keep their
    order and headers. A member of records that loses some of them goes through a temporary file, because its
    size stands before it.

    Parameters
    ----------
    file : InputFile
    removed : list of int
        In rising order.
    members : sequence of Member
        The files in the archive that were read, in order.
    form : str
        The format of the members; see `formats.FORMATS`.
    target : binary file

    Returns
    -------
    bool
        False if the archive or a member that loses records is damaged, and only what lies before the damage
        was copied.

    Raises
    ------
    DocumentError
        If the archive cannot be read, or does not have the records any more; or a package is missing.
    OSError
        If the copy cannot be written.
    """
    cuts = np.searchsorted(removed, [member.first for member in members]).tolist()
    parts = [removed[a:b] for a, b in zip(cuts, [*cuts[1:], len(removed)], strict=True)]
    gone: set[str] = set()
    number, is_complete = 0, True
    with (
        codec_writer(file.compression, file.path)(target) as opened,
        tarfile.open(fileobj=opened, mode="w|", format=tarfile.PAX_FORMAT) as copy,
    ):
        entries = reading(file.path, archive_entries(file))
        while True:
            try:
                entry = next(entries, None)
                if entry is None:
                    break
                if entry.is_member:
                    member, records = _expected(file, entry, members, number), parts[number]
                    number += 1
                    if records and member.is_text:
                        gone.add(entry.info.name)
                    elif records:
                        first = member.first
                        records = [record - first for record in records]
                        is_complete &= _copy_member(file, entry, records, form, copy)
                    else:
                        _copy_entry(file, entry, copy)
                elif not (entry.info.islnk() and entry.info.linkname in gone):
                    _copy_entry(file, entry, copy)
            except DamagedError:
                is_complete = False
                break
    if any(parts[number:]):
        raise DocumentError(f"{file.path} has not all of its members any more: it has changed")
    return is_complete


def _expected(file: InputFile, entry: ArchiveEntry, members: Sequence[Member], number: int) -> Member:
    if number >= len(members) or members[number].path != f"{file.path}!{entry.info.name}":
        raise DocumentError(f"{file.path} has other members than before: it has changed")
    return members[number]


def _copy_entry(file: InputFile, entry: ArchiveEntry, copy: tarfile.TarFile) -> None:
    """Copy an entry as it is, after all of it was read, because its header stands before a damage in it."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as content:
        if entry.content is not None:
            for block in reading(file.path, _blocks(entry.content)):
                content.write(block)
            content.seek(0)
        _add(entry, content, copy)


def _blocks(content: io.RawIOBase) -> Iterator[bytes]:
    while block := content.read(BLOCK):
        yield block


def _add(entry: ArchiveEntry, content: IO[bytes], copy: tarfile.TarFile) -> None:
    info = entry.info
    if info.issparse():
        # The content has its holes as zeros now.
        info.type = tarfile.REGTYPE
        headers = info.pax_headers.items()
        info.pax_headers = {name: value for name, value in headers if not name.startswith("GNU.sparse.")}
    copy.addfile(info, content if entry.content is not None else None)
    # The archive would keep the headers of all members.
    copy.members = []  # type: ignore[attr-defined]


def _copy_member(
    file: InputFile, entry: ArchiveEntry, records: list[int], form: str, copy: tarfile.TarFile
) -> bool:
    """Copy a member without some of its records."""
    with tempfile.TemporaryFile() as content:
        is_complete = copy_content(member_of(file, entry, form), records, content)
        entry.info.size = content.tell()
        content.seek(0)
        _add(entry, content, copy)
    return is_complete
