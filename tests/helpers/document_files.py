"""Write files of documents, read them by a source, and imitate ranks by threads."""

import gzip
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from mergesketch.distributed import Communicator
from mergesketch.distributed.documents.source import DocumentSource

__all__ = ["ThreadRank", "documents", "read", "write", "write_lines"]


def write(name, content) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def write_lines(name, records) -> str:
    text = "".join(json.dumps(record) + "\n" for record in records)
    return write(name, gzip.compress(text.encode()) if name.endswith(".gz") else text)


def documents(source) -> dict[int, bytes]:
    """Return every document of one rank by its id."""
    found = {}
    for batch in source.batches():
        assert (
            batch.ids.dtype == np.uint64 and batch.data.dtype == np.uint8 and batch.offsets.dtype == np.int64
        )
        assert batch.offsets[0] == 0 and batch.offsets[-1] == len(batch.data)
        assert batch.data.flags.writeable, "read-only arrays would compile every kernel once more"
        for i, document in enumerate(batch.ids.tolist()):
            assert document not in found
            found[document] = batch.data[batch.offsets[i] : batch.offsets[i + 1]].tobytes()
    assert list(found) == sorted(found)
    return found


def read(paths, **options):
    """Return texts with their names, and the summary."""
    source = DocumentSource(paths, **options)
    found = documents(source)
    summary = source.finish()
    assert summary.n_documents == len(found) == source.n_documents
    return list(zip(source.name_of(list(found)), found.values(), strict=True)), summary


class ThreadRank:
    """Imitate an mpi4py communicator as far as the source needs it; ranks are threads of this process."""

    def __init__(self, size):
        self.size, self.barrier, self.values = size, threading.Barrier(size, timeout=60), [None] * size
        self.local = threading.local()

    def Get_size(self):
        return self.size

    def Get_rank(self):
        return self.local.rank

    def _gather(self, value):
        self.values[self.local.rank] = value
        self.barrier.wait()
        values = list(self.values)
        self.barrier.wait()
        return values

    def Test(self):
        """Say that a non-blocking call is complete."""
        return True

    def Ibarrier(self):
        self._gather(None)
        return self

    def Ibcast(self, array, root):
        value = self._gather(array.copy())[root]
        if self.local.rank != root:
            array[...] = value
        return self

    Bcast = Ibcast

    def Igather(self, value, out, root):
        parts = self._gather(value.copy())
        if out is not None:
            out[...] = np.concatenate(parts)
        return self

    def Gatherv(self, value, out, root):
        self.Igather(value, None if out is None else out[0], root)

    def Iallgather(self, value, out):
        return self.Igather(value, out, None)

    def Allgatherv(self, value, out):
        self.Igather(value, out[0], None)

    def Iallreduce(self, _, array, op):
        parts = self._gather(array.copy())
        array[...] = np.max(parts, axis=0) if op == self.maximum else np.sum(parts, axis=0)
        return self

    Allreduce = Iallreduce

    def run(self, function):
        # Ranks have imported MPI before they have a communicator, and other tests may hide the module again.
        self.maximum = pytest.importorskip("mpi4py.MPI").MAX
        results = [None] * self.size

        def one(rank):
            self.local.rank = rank
            try:
                results[rank] = function(Communicator(self))
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a rank hangs"
        return results
