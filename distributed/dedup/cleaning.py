"""Write a cleaned corpus: the files that were read, without the documents that are removed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from ...lsh.support.progress import progress_bar
from ...lsh.support.public import publish
from ...sketches.core.atomic import atomic_write
from ..documents.chunks import assign
from ..documents.copying import copy_without
from ..documents.files import InputFile
from ..documents.source import DocumentSource
from ..ranks.comm import communicator
from .clean_manifest import MANIFEST, Entry, Manifest, check_settings, read_manifest, write_manifest
from .clean_names import check_apart, names_below
from .removals import Removals, removals
from .result import Deduplication

__all__ = ["CleanedCorpus", "CleanedFiles"]


class CleanedFiles(NamedTuple):
    """Totals over all ranks of what was written.

    Attributes
    ----------
    n_written, n_resumed : int
        Files that were written, and files that an earlier run with the same result had written.
    n_absent : int
        Files that were removed as a whole.
    n_bytes : int
        Bytes of all files of the cleaned corpus.
    incomplete : list of str
        Damaged files of which only the records before the damage were written.
    missing : list of str
        Files that were not written, because they cannot be opened or have a format that is not read.
    """

    n_written: int
    n_resumed: int
    n_absent: int
    n_bytes: int
    incomplete: list[str]
    missing: list[str]


class CleanedCorpus:
    r"""Write the files of a source into another folder, without the documents that `deduplicate` removes.

    Creating an object is a collective call. It checks the folder and writes nothing. Create it before the
    source is read: then a folder that cannot be used is refused before the work, and an input that changes
    during the work is noticed.

    Parameters
    ----------
    folder : path
        A folder that does not exist, is empty, or was written in this way before.
    source : DocumentSource
        The documents. Its files are never changed.
    settings : mapping of str to JSON values, optional
        The settings on which the choice of documents depends. A folder that was written with other settings
        is refused. Without them, only the files that differ are written again.
    lists : sequence of str
        Names of further files that the caller will write into the folder.
    comm : mpi4py communicator, Communicator or None
        See `communicator`.

    Attributes
    ----------
    folder : str

    Raises
    ------
    DocumentError
        If the folder is, contains or lies in an input; has files and is not a cleaned corpus; was written
        with other settings; or has a file that is in the way.
    PermissionError
        If the folder cannot be written.
    DistributedError
        On every rank, in place of these errors when there are several ranks.

    Notes
    -----
    A file that was found in a folder keeps its path below this folder, and other files keep the last part of
    their names; see the guide "De-duplicate a corpus". Records that stay keep their bytes, also if they could
    not be understood. Each file is renamed when it is complete. A manifest in the folder says what was
    written from which input, so that a second run writes only what is missing or has changed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mergesketch.distributed import CleanedCorpus, DocumentSource, deduplicate
    >>> Path("raw").mkdir()
    >>> _ = Path("raw/a.jsonl").write_text('{"text": "to be or not to be"}\n' * 2)
    >>> _ = Path("raw/b.txt").write_text("To be, or not to be!")
    >>> source = DocumentSource("raw")
    >>> corpus = CleanedCorpus("cleaned", source)
    >>> corpus.write(deduplicate(source)).n_written
    1
    >>> Path("cleaned/a.jsonl").read_text(), Path("cleaned/b.txt").exists()
    ('{"text": "to be or not to be"}\n', False)
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        source: DocumentSource,
        *,
        settings: Mapping[str, Any] | None = None,
        lists: Sequence[str] = (),
        comm: Any = None,
    ) -> None:
        if not isinstance(folder, (str, PathLike)):
            raise TypeError(f"folder must be a path, got {type(folder).__name__}")
        if not isinstance(source, DocumentSource):
            raise TypeError(f"source must be a DocumentSource, got {type(source).__name__}")
        self.folder = os.fsdecode(folder)
        self._source = source
        self._settings = dict(settings or {})
        self._comm = comm = communicator(comm)
        self._files = source.input_files
        self._versions: list[tuple[int, int] | None] = []
        # The standard input has no name.
        given = {file.path: f"stdin{file.suffix}" for file in self._files if file.place}
        paths = [given.get(path, path) for path in source.paths]
        names = [given.get(path, path) for path in source.files]
        self._names = names_below(paths, names, [MANIFEST, *lists])
        with comm.agree():
            if comm.rank == 0:
                self._check()
                self._versions = [_readable_version(file) for file in self._files]

    def _check(self) -> Manifest:
        """Check the folder, and return its old manifest, which is empty for a new folder."""
        check_apart(self.folder, self._source.paths, [file.path for file in self._files if not file.place])
        _check_writable(self.folder)
        old = read_manifest(self.folder)
        if old is not None:
            check_settings(self.folder, old.settings, self._settings)
        old = old or Manifest(self._settings, {})
        checked: set[str] = set()
        for name in {**dict.fromkeys(self._names), **old.files}:
            self._check_place(name, old.files.get(name), checked)
        return old

    def _check_place(self, name: str, entry: Entry | None, checked: set[str]) -> None:
        """Raise DocumentError if there is something at a name that this command has not written."""
        below, _, _ = name.rpartition("/")
        place = os.path.join(self.folder, name)
        if os.path.isabs(name) or ".." in name.split("/"):
            raise DocumentError(f"{os.path.join(self.folder, MANIFEST)} is damaged: it lists {name!r}")
        if below not in checked:
            checked.add(below)
            folder = os.path.join(self.folder, below)
            real = os.path.realpath(folder)
            if real != os.path.join(os.path.realpath(self.folder), below).rstrip("/"):
                raise DocumentError(f"cannot write {place}: a part of the path is a link to {real}")
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise DocumentError(f"cannot write {place}: a part of the path is not a folder") from None
        if entry is None or entry.absent or not stat.S_ISREG(status.st_mode):
            raise DocumentError(f"cannot write {place}: it exists, and this command has not written it")
        if entry.written is not None and entry.written != (status.st_size, status.st_mtime_ns):
            raise DocumentError(f"cannot write {place}: it was changed after this command had written it")

    # -- writing ----------------------------------------------------------------------------------

    def write(self, result: Deduplication | Removals) -> CleanedFiles:
        """Write the files; a collective call, after the source was read and `DocumentSource.finish` called.

        Each rank writes some of the files, each one as a whole.

        Parameters
        ----------
        result : Deduplication
            The result for the source.

        Returns
        -------
        CleanedFiles
            The totals over all ranks: ``n_written`` and ``n_resumed`` files, those that an earlier run had
            written; ``n_absent`` texts that were removed; ``n_bytes`` of all files; and the names of files
            that are ``incomplete`` because they are damaged, or ``missing`` because they cannot be read.

        Raises
        ------
        TypeError
            If `result` is something else.
        DocumentError
            If an input has changed since the object was created.
        OSError
            If a file cannot be written. The files that are finished stay, and a second run resumes.
        """
        if not isinstance(result, (Deduplication, Removals)):
            raise TypeError(f"result must be a Deduplication, got {type(result).__name__}")
        removed = removals(result) if isinstance(result, Deduplication) else result
        comm = self._comm
        file, records = self._source.places_of(removed.ids)
        owner = assign(self._costs(), comm.size)
        # Only rank 0 can open the standard input.
        owner[[bool(file.place) for file in self._files]] = 0
        file, records = comm.exchange((file, records), owner[file])
        with comm.agree():
            order = np.lexsort((records, file))
            file, records = file[order], records[order]
            starts = np.searchsorted(file, np.arange(len(self._files) + 1))
            mine = np.flatnonzero(owner == comm.rank).tolist()
            of_file = {i: records[starts[i] : starts[i + 1]] for i in mine}
            digests = {i: _digest(rows) for i, rows in of_file.items() if len(rows)}
        gathered = comm.gather(digests)
        entries: dict[int, Entry] = {}
        due: set[int] = set()
        with comm.agree():
            if gathered is not None:
                entries = self._entries({i: d for part in gathered for i, d in part.items()})
                due = self._prepare(entries)
        due, self._versions = comm.bcast((due, self._versions))
        incomplete = []
        with comm.agree():
            costs = self._costs()
            mine = [i for i in mine if i in due]
            with progress_bar("cleaning", int(costs[mine].sum()), self._shows_progress()) as advance:
                for i in mine:
                    if not self._write_file(i, of_file[i].tolist()):
                        incomplete.append(self._files[i].path)
                    advance(int(costs[i]))
            if mine:
                os.sync()
        lost = [name for part in comm.allgather(incomplete) for name in part]
        return comm.call_on_first(self._finish, entries, len(due), sorted(lost))

    def _costs(self) -> NDArray[np.int64]:
        return np.array([file.size + (1 << 14) for file in self._files], dtype=np.int64)

    def _shows_progress(self) -> bool:
        return self._source.shows_progress and self._comm.rank == 0

    def _entries(self, digests: dict[int, str]) -> dict[int, Entry]:
        entries = {}
        for i, (file, version) in enumerate(zip(self._files, self._versions, strict=True)):
            if version is not None:
                is_absent = i in digests and file.kind == "text"
                entries[i] = Entry(file.path, *version, digests.get(i, ""), is_absent)
            elif i in digests:
                raise DocumentError(f"{file.path} could not be opened at first; run the command again")
        return entries

    def _prepare(self, entries: dict[int, Entry]) -> set[int]:
        """Delete the files of an earlier run that are not right any more, and return the files to write."""
        old = self._check()
        os.makedirs(self.folder, exist_ok=True)
        new = {self._names[i]: entry for i, entry in entries.items()}
        for name, entry in old.files.items():
            place = os.path.join(self.folder, name)
            if not entry.is_same(new.get(name)) and os.path.lexists(place):
                os.unlink(place)
        write_manifest(self.folder, Manifest(self._settings, new))
        return {i for i, entry in entries.items() if not entry.absent and not self._is_finished(i, entry)}

    def _is_finished(self, i: int, entry: Entry) -> bool:
        """Return True if the file is there. A crash of the machine may have cut a whole copy short."""
        try:
            size = os.stat(self._place(i)).st_size
            return bool(entry.removed) or size == entry.size
        except FileNotFoundError:
            return False

    def _place(self, i: int) -> str:
        return os.path.join(self.folder, self._names[i])

    def _write_file(self, i: int, records: list[int]) -> bool:
        file, place = self._files[i], self._place(i)
        form = self._source.format
        members = self._source.members_of(i) if records and file.kind == "tar" else ()
        # A corpus may have millions of files that are one document each. They are made durable at the end.
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with atomic_write(place, durable=bool(records)) as temporary:
                is_complete = copy_without(file, records, temporary, members=members, form=form)
                if _readable_version(file) != self._versions[i]:
                    raise DocumentError(f"{file.path} has changed since it was read; run the command again")
        except OSError as error:
            raise OSError(f"cannot write {place}: {error.strerror or error}") from error
        return is_complete

    def _finish(self, entries: dict[int, Entry], n_due: int, incomplete: list[str]) -> CleanedFiles:
        """Note what was written in the manifest, and return the totals."""
        written = {}
        for i, entry in entries.items():
            version = None if entry.absent else _version(self._place(i))
            written[self._names[i]] = entry._replace(written=version)
        write_manifest(self.folder, Manifest(self._settings, written))
        n_absent = sum(entry.absent for entry in entries.values())
        return CleanedFiles(
            n_written=n_due,
            n_resumed=len(entries) - n_due - n_absent,
            n_absent=n_absent,
            n_bytes=sum(entry.written[0] for entry in written.values() if entry.written),
            incomplete=incomplete,
            missing=[file.path for i, file in enumerate(self._files) if i not in entries],
        )


def _readable_version(file: InputFile) -> tuple[int, int] | None:
    """Return the version of a file, or None if it cannot be opened or is not read."""
    if file.kind == "unread":
        return None
    try:
        with file.open_stored() as opened:
            status = os.fstat(opened.fileno())
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _version(path: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last change, in nanoseconds."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _digest(records: NDArray[np.int64]) -> str:
    return blake2b(records.astype("<i8").tobytes(), digest_size=16).hexdigest()


def _check_writable(folder: str) -> None:
    """Raise PermissionError unless the folder, or the first folder above it that exists, can be written."""
    place = os.path.realpath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if os.path.isdir(place) and not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"cannot write the cleaned corpus to {folder}: no permission to write into {place}"
        )


publish("mergesketch.distributed", ["CleanedCorpus"], globals())
