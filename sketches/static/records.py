"""Records of keys' hashes and values' words: gathered in memory or in files, then ordered part by part."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import cut_range, get_num_threads
from ..kernels.key_order import count_shards, scatter_shards
from .dictionary import Numbering
from .shards import Records, order_records

__all__ = ["PARTS", "OrderedRecords", "RecordStore"]

#: Files of a store. Each has the hashes with the same first bits: every shard lies in one file, or every file
#: in one shard.
PARTS = 64
#: Records that are gathered before they are appended to the files; 4 MB.
_PENDING = 1 << 18


class RecordStore:
    """Records in the order of their batches: in memory, or in `PARTS` files of an own folder in `spill`.

    Attributes
    ----------
    n_records : int
    n_parts : int
        1 in memory, else `PARTS`. Part p has the hashes in [p, p + 1) / n_parts of their range.
    """

    def __init__(self, spill: Path | None = None) -> None:
        self.spill = spill
        self.n_parts = 1 if spill is None else PARTS
        self.n_records = 0
        self._batch_ends = array("q")
        self._chunks: list[Records] = []
        self._pending: list[Records] = []
        self._n_pending = 0
        self._sizes = np.zeros(self.n_parts, dtype=np.int64)
        #: For each write to the files, the number of records after it: in all, and in each part.
        self._written: list[tuple[int, NDArray[np.int64]]] = []
        self._folder: Path | None = None
        self._remove: Callable[[], object] | None = None
        self._owner = 0

    # -- gathering ------------------------------------------------------------------------------------

    def append(self, hashes: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
        """Add a batch; raise OSError, which names the folder, if it cannot be written to."""
        self._append(Records(hashes, words))
        self._batch_ends.append(self.n_records)

    def _append(self, records: Records) -> None:
        self._check_owner()
        self._pending.append(records)
        self._n_pending += records.hashes.size
        self.n_records += records.hashes.size
        if self._n_pending >= _PENDING:
            self.flush()

    def absorb(self, other: RecordStore) -> None:
        """Add all records of another store, which keeps them."""
        ends = [self.n_records + end for end in other._batch_ends]
        for records in other.blocks():
            self._append(records)
        # Files do not keep the order of the batches: their records count as one batch.
        self._batch_ends.extend(ends if other.spill is None else [self.n_records])

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Remove all that the block has added if it fails."""
        n_records, n_batches, n_chunks = self.n_records, len(self._batch_ends), len(self._chunks)
        pending, n_pending = list(self._pending), self._n_pending
        sizes, n_written = self._sizes.copy(), len(self._written)
        try:
            yield
        except BaseException:
            self.n_records, self._pending, self._n_pending = n_records, pending, n_pending
            del self._batch_ends[n_batches:], self._chunks[n_chunks:], self._written[n_written:]
            # Later writes overwrite what the files have beyond these sizes.
            self._sizes = sizes
            raise

    def flush(self) -> None:
        """Join the pending batches to a chunk in memory, or append them to the files."""
        if not self._pending:
            return
        records = Records.joined(self._pending)
        if self.spill is None:
            self._chunks.append(records)
        else:
            self._write(*records)
        self._pending, self._n_pending = [], 0

    # -- reading --------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Records]:
        """Yield all present records: in blocks of bounded size from files, in chunks from memory."""
        self.flush()
        if self.spill is None:
            yield from list(self._chunks)
            return
        for part, size in enumerate(self._sizes.tolist()):
            for start, stop in cut_range(0, size, _PENDING):
                yield self._read(part, start, stop)

    def part(self, part: int) -> Records:
        """Return the records of a part, in the order of their batches."""
        self.flush()
        if self.spill is not None:
            return self._read(part, 0, int(self._sizes[part]))
        if len(self._chunks) != 1:
            self._chunks = [Records.joined(self._chunks)]
        return self._chunks[0]

    def places(self, hash_: int) -> list[tuple[int, str]]:
        """Return the word and the place of every record with a hash, in the order of their batches."""
        part = hash_ * self.n_parts >> 64
        hashes, words = self.part(part)
        rows = np.flatnonzero(hashes == np.uint64(hash_)).tolist()
        return [(int(words[row]), self._place(part, row)) for row in rows]

    def _place(self, part: int, row: int) -> str:
        if self.spill is None:
            batch = bisect_right(self._batch_ends, row)
            return f"row {row - (self._batch_ends[batch - 1] if batch else 0)} of batch {batch}"
        write = bisect_right(self._written, row, key=lambda written: int(written[1][part]))
        start = self._written[write - 1][0] if write else 0
        first, last = (bisect_right(self._batch_ends, i) for i in (start, self._written[write][0] - 1))
        return f"batch {first}" if first == last else f"batches {first} to {last}"

    # -- files ----------------------------------------------------------------------------------------

    def _write(self, hashes: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
        counts = np.zeros(PARTS, dtype=np.int64)
        count_shards(hashes, 0, hashes.size, counts)
        ends = np.cumsum(counts)
        by_part = np.empty_like(hashes), np.empty_like(words)
        scatter_shards(hashes, words, 0, hashes.size, ends - counts, *by_part)
        records = np.stack(by_part, axis=1)
        with self.naming_folder():
            for part, (start, stop) in enumerate(pairwise([0, *ends.tolist()])):
                if start < stop:
                    with open(self._path(part), "r+b", opener=_open_own) as file:
                        file.seek(16 * int(self._sizes[part]))
                        file.write(records[start:stop].data)
        self._sizes = self._sizes + counts
        self._written.append((self.n_records, self._sizes))

    def _read(self, part: int, start: int, stop: int) -> Records:
        if start == stop:
            return Records.joined([])
        with self.naming_folder():
            words = np.fromfile(
                self._path(part), dtype=np.uint64, count=2 * (stop - start), offset=16 * start
            )
        if words.size != 2 * (stop - start):
            raise OSError(f"{self._path(part)}: expected {stop} records, got {start + words.size // 2}")
        return Records(*np.ascontiguousarray(words.reshape(-1, 2).T))

    @contextmanager
    def naming_folder(self) -> Iterator[None]:
        """Name the spill folder in an OSError of the block."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno, f"records cannot be kept in the spill folder: {error.strerror}", str(self.spill)
            ) from error

    @contextmanager
    def scratch_folder(self) -> Iterator[Path | None]:
        """Make a folder beside the records, and remove it after the block; None for records in memory."""
        if self.spill is None:
            yield None
            return
        with self.naming_folder():
            folder = Path(tempfile.mkdtemp(prefix="build-", dir=self.folder()))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self) -> Path:
        """Return the folder of this store in `spill`, which no other user can enter."""
        self._check_owner()
        if self._folder is None:
            assert self.spill is not None
            self._folder = Path(tempfile.mkdtemp(prefix="mergesketch-", dir=self.spill))
            self._owner = os.getpid()
            self._remove = weakref.finalize(self, _remove, self._folder, self._owner)
        return self._folder

    def _path(self, part: int) -> Path:
        return self.folder() / f"records-{part:02d}"

    def _check_owner(self) -> None:
        """Refuse files of the process that has forked this one: each would overwrite the other's records."""
        if self._folder is not None and self._owner != os.getpid():
            raise RuntimeError(
                f"records in {self._folder} belong to process {self._owner}, which has forked this one, and "
                "only that one goes on with them; make a builder in each process and merge them"
            )

    def close(self) -> None:
        """Remove the files."""
        if self._remove is not None:
            self._remove()


class OrderedRecords:
    """Distinct records in the order of their hashes, by parts: in memory, or in the files of a folder.

    Parameters
    ----------
    store : RecordStore
    numbering : Numbering, optional
        The numbers of texts, which replace the hashes of texts.
    folder : path, optional
    advance : callable
        Takes the number of records of each part that has been ordered.

    Attributes
    ----------
    n_parts : int
    sizes : list of int
    """

    def __init__(
        self,
        store: RecordStore,
        numbering: Numbering | None,
        folder: Path | None,
        advance: Callable[[int], object],
    ) -> None:
        self.n_parts = store.n_parts
        self.sizes: list[int] = []
        self._folder = folder
        self._kept: list[Records] = []
        self._beyond = Records.joined([])
        for part in range(store.n_parts):
            hashes, words = store.part(part)
            records = order_records(hashes, words)
            if numbering is not None:
                records = records._replace(values=numbering.find(records.values))
            self.sizes.append(records.hashes.size)
            advance(hashes.size)
            if folder is None:
                self._kept.append(records)
                continue
            with store.naming_folder(), self._path(folder, part).open("xb") as file:
                for column in records:
                    file.write(column.data)

    @staticmethod
    def _path(folder: Path, part: int) -> Path:
        return folder / f"ordered-{part:02d}"

    @property
    def n_keys(self) -> int:
        """Number of distinct hashes in the store."""
        return sum(self.sizes)

    def load(self, part: int) -> Records:
        """Return a part; no records if there is no such part."""
        if part >= self.n_parts:
            return Records.joined([])
        if self._folder is None:
            return self._kept[part]
        return Records(*np.fromfile(self._path(self._folder, part), dtype=np.uint64).reshape(2, -1))

    def add_beyond(self, records: Records) -> None:
        """Add distinct records, in any order, whose hashes are larger than all others."""
        order = np.argsort(records.hashes)
        self._beyond = Records(records.hashes[order], records.values[order])

    def between(self, start: int, stop: int) -> Records:
        """Return the records whose hashes lie in [start, stop)."""
        width = (1 << 64) // self.n_parts
        parts = [self.load(part) for part in range(start // width, -(-stop // width))]
        return Records.joined([part.between(start, stop) for part in [*parts, self._beyond]])

    def groups(self, shards: range, n_shards: int) -> Iterator[tuple[range, Records]]:
        """Yield shards and their records; about one shard a thread at a time, if there are several parts."""
        n_groups = 1
        while n_groups < self.n_parts and 2 * n_groups * get_num_threads() <= n_shards:
            n_groups *= 2
        width, size = (1 << 64) // n_shards, n_shards // n_groups
        for first in range(0, n_shards, size):
            some = range(max(shards.start, first), min(shards.stop, first + size))
            if some:
                yield some, self.between(some.start * width, some.stop * width)


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _remove(folder: Path, owner: int) -> None:
    # A forked process has a copy of the store, but its files belong to the process that made them.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
