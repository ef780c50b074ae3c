"""Copy a file of documents without some of its records.

A record that stays is copied byte for byte, whether it could be understood or not, and a file that loses no
record is copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .files import InputFile
from .jsonl import BLOCK
from .names import Member
from .record_copy import copy_content, reading
from .tar_copy import copy_archive

__all__ = ["copy_without"]


def copy_without(
    file: InputFile, records: list[int], path: Path, *, members: Sequence[Member] = (), form: str = "auto"
) -> bool:
    """Write the file to `path` without some records, and return True unless its end is lost.

    Parameters
    ----------
    file : InputFile
        A file of records, or any file that loses no record.
    records : list of int
        The records to leave out, counted from 0, in rising order.
    path : Path
        The file to write. It is overwritten.
    members : sequence of Member
        The files in an archive, as `DocumentSource.members_of` has them.
    form : str
        The format of the members; see `formats.FORMATS`.

    Returns
    -------
    bool
        False if the file is damaged, and only the records before the damage were written.

    Raises
    ------
    DocumentError
        If the file cannot be read, or does not have the records any more; or a package is missing.
    OSError
        If the copy cannot be written.
    """
    with path.open("wb") as target:
        if records and file.kind == "tar":
            return copy_archive(file, records, members, form, target)
        if records:
            return copy_content(file, records, target)
        for block in reading(file.path, _stored_blocks(file)):
            target.write(block)
        return True


def _stored_blocks(file: InputFile) -> Iterator[bytes]:
    with file.open_stored() as stored:
        while block := stored.read(BLOCK):
            yield block
