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

from ...lsh.support.threads import get_num_threads
from ..kernels.key_order import count_shards, scatter_shards
from .dictionary import Ranks
from .shards import Records, order_records

__all__ = ["PARTS", "OrderedRecords", "RecordStore"]

Pair = tuple[NDArray[np.uint64], NDArray[np.uint64]]

#: Files of a store, by the first bits of the hash: shards, of which there are 2**k too, nest in them.
PARTS = 64
#: Records that are gathered before they are appended to the files: 4 MB.
_PENDING = 1 << 18


class RecordStore:
    """Records in the order they came, in memory; or in `PARTS` files of a folder of their own in `spill`.

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
        self._chunks: list[Pair] = []
        self._pending: list[Pair] = []
        self._n_pending = 0
        self._sizes = np.zeros(self.n_parts, dtype=np.int64)
        #: Of each time that records were written: how many in all then, and in each part.
        self._written: list[tuple[int, NDArray[np.int64]]] = []
        self._folder: Path | None = None
        self._remove: Callable[[], object] | None = None
        self._owner = os.getpid()

    # -- gathering ------------------------------------------------------------------------------------

    def append(self, hashes: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
        """Take in a batch. OSError that names the folder if it cannot be written to."""
        self._append(hashes, words)
        self._batch_ends.append(self.n_records)

    def _append(self, hashes: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
        self._check_owner()
        self._pending.append((hashes, words))
        self._n_pending += hashes.size
        self.n_records += hashes.size
        if self._n_pending >= _PENDING:
            self.flush()

    def absorb(self, other: RecordStore) -> None:
        """Take in all of another store's records, which keeps them."""
        before = self.n_records
        ends = [before + end for end in other._batch_ends]
        for hashes, words in other.blocks():
            self._append(hashes, words)
        # Files give their records in another order than they came in: then they are one batch.
        self._batch_ends.extend(ends if other.spill is None else [self.n_records])

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """If the block fails, what it appended is gone."""
        n_records, n_batches, n_chunks = self.n_records, len(self._batch_ends), len(self._chunks)
        pending, n_pending = list(self._pending), self._n_pending
        sizes, n_written = self._sizes.copy(), len(self._written)
        try:
            yield
        except BaseException:
            self.n_records, self._pending, self._n_pending = n_records, pending, n_pending
            del self._batch_ends[n_batches:], self._chunks[n_chunks:], self._written[n_written:]
            # What files have beyond these sizes is written over.
            self._sizes = sizes
            raise

    def flush(self) -> None:
        """Join the pending batches: as a chunk, or appended to the files."""
        if not self._pending:
            return
        hashes, words = (np.concatenate(columns) for columns in zip(*self._pending, strict=True))
        if self.spill is None:
            self._chunks.append((hashes, words))
        else:
            self._write(hashes, words)
        self._pending, self._n_pending = [], 0

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

    @contextmanager
    def naming_folder(self) -> Iterator[None]:
        """An OSError inside says that it was about the spill folder."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno, f"records cannot be kept in the spill folder: {error.strerror}", str(self.spill)
            ) from error

    def folder(self) -> Path:
        """This store's own folder in `spill`, which none but this user can enter."""
        self._check_owner()
        if self._folder is None:
            assert self.spill is not None
            self._folder = Path(tempfile.mkdtemp(prefix="mergesketch-", dir=self.spill))
            self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
        return self._folder

    def _check_owner(self) -> None:
        """Refuse files that a process has in common with the one it was forked from.

        Both would write at the ends that they know of, each over the other's records.
        """
        if self._folder is None:
            self._owner = os.getpid()
        elif self._owner != os.getpid():
            raise RuntimeError(
                f"records in {self._folder} belong to process {self._owner}, which has forked this one, and "
                "only that one goes on with them; make a builder in each process and merge them"
            )

    def _path(self, part: int) -> Path:
        return self.folder() / f"records-{part:02d}"

    def close(self) -> None:
        """Forget all records and remove the files."""
        if self._remove is not None:
            self._remove()
        spill = self.spill
        self.__dict__.clear()
        self.__init__(spill)  # type: ignore[misc]

    # -- reading --------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Pair]:
        """All records that are there now, in blocks of bounded size, those of a store in memory aside."""
        self.flush()
        if self.spill is None:
            yield from list(self._chunks)
            return
        for part, size in enumerate(self._sizes.tolist()):
            for start in range(0, size, _PENDING):
                yield self._read(part, start, min(size, start + _PENDING))

    def part(self, part: int) -> Pair:
        """The records of a part, in the order they came."""
        self.flush()
        if self.spill is not None:
            return self._read(part, 0, int(self._sizes[part]))
        if not self._chunks:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64)
        if len(self._chunks) > 1:
            self._chunks = [
                tuple(np.concatenate(columns) for columns in zip(*self._chunks, strict=True))  # type: ignore[list-item]
            ]
        return self._chunks[0]

    def _read(self, part: int, start: int, stop: int) -> Pair:
        if start == stop:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64)
        with self.naming_folder():
            records = np.fromfile(
                self._path(part), dtype=np.uint64, count=2 * (stop - start), offset=16 * start
            )
        if records.size != 2 * (stop - start):
            raise OSError(f"{self._path(part)}: expected {stop} records, got {start + records.size // 2}")
        hashes, words = records.reshape(-1, 2).T
        return np.ascontiguousarray(hashes), np.ascontiguousarray(words)

    def places(self, hash_: int) -> list[tuple[int, str]]:
        """Words of the records with a hash, in the order they came, and where each was."""
        part = hash_ * self.n_parts >> 64
        hashes, words = self.part(part)
        rows = np.flatnonzero(hashes == np.uint64(hash_)).tolist()
        return [(int(words[row]), self._place(part, row)) for row in rows]

    def _place(self, part: int, row: int) -> str:
        if self.spill is None:
            batch = bisect_right(self._batch_ends, row)
            return f"row {row - (self._batch_ends[batch - 1] if batch else 0)} of batch {batch}"
        at = bisect_right(self._written, row, key=lambda written: int(written[1][part]))
        first = self._written[at - 1][0] if at else 0
        batches = (bisect_right(self._batch_ends, i) for i in (first, self._written[at][0] - 1))
        first, last = batches
        return f"batch {first}" if first == last else f"batches {first} to {last}"


class OrderedRecords:
    """Distinct records in the order of their hashes, by parts: in memory, or in the files of a folder.

    Parameters
    ----------
    store : RecordStore
    ranks : Ranks, optional
        The ranks of texts, which replace the hashes of texts.
    folder : path, optional
    advance : callable
        Is told the number of records of each part that is ordered.

    Attributes
    ----------
    n_parts : int
    sizes : list of int
    """

    def __init__(
        self,
        store: RecordStore,
        ranks: Ranks | None,
        folder: Path | None,
        advance: Callable[[int], object],
    ) -> None:
        self.n_parts = store.n_parts
        self.sizes: list[int] = []
        self._folder = folder
        self._kept: list[Records] = []
        self._beyond = Records.empty()
        for part in range(store.n_parts):
            hashes, words = store.part(part)
            records = order_records(hashes, words)
            if ranks is not None:
                records = records._replace(values=ranks.find(records.values))
            self.sizes.append(records.hashes.size)
            advance(hashes.size)
            if folder is None:
                self._kept.append(records)
                continue
            with store.naming_folder(), (folder / f"ordered-{part:02d}").open("xb") as file:
                file.write(records.hashes.data)
                file.write(records.values.data)

    @property
    def n_keys(self) -> int:
        """Distinct hashes of the store."""
        return sum(self.sizes)

    def load(self, part: int) -> Records:
        """Return a part; no records if there is no such part."""
        if part >= self.n_parts:
            return Records.empty()
        if self._folder is None:
            return self._kept[part]
        path, size = self._folder / f"ordered-{part:02d}", self.sizes[part]
        return Records(*np.fromfile(path, dtype=np.uint64, count=2 * size).reshape(2, size))

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
    # A process forked from the owner's has a copy of the store, and not the right to its files.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
