"""Measure a day of new documents against the signatures of old ones, beside one run over all.

Documents are those of `dedup_memory.py`: 40 words, one in twenty is the document before it with one word
exchanged. The old ones are signed and saved once. Each day is a part of documents that follow; half of its
documents are old ones again, under other names. Run it on one rank or under ``mpiexec -n N``.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import mergesketch
import numpy as np
from dedup_memory import Generated
from measure import RESULTS, show, write
from mergesketch import DocumentSignatures
from mergesketch.distributed import communicator, deduplicate, save_documents
from mergesketch.distributed.documents.batches import DocumentBatch


class Day(Generated):
    """New documents from number `first` on, of which every second one is an old document again."""

    def __init__(self, first: int, n: int, rank: int, size: int) -> None:
        super().__init__(n, rank, size)
        self._day = first

    def _batch(self, ids: np.ndarray) -> DocumentBatch:
        texts = super()._batch(np.where(ids % 2 == 0, ids, self._day + ids))
        return texts._replace(ids=ids.astype(np.uint64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=int, default=1_000_000)
    parser.add_argument("days", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path, default=RESULTS / "dedup_state.json")
    options = parser.parse_args()
    comm = communicator()
    empty = DocumentSignatures()
    deduplicate(Generated(2000, comm.rank, comm.size), against=empty, name="warm", comm=comm)
    with tempfile.TemporaryDirectory() as folder:
        path = comm.bcast(os.path.join(folder, "corpus.state"))
        rows = [
            _measure(
                "all documents", Generated(options.old, comm.rank, comm.size), empty, "day 0", path, comm
            )
        ]
        for n in options.days:
            day = Day(options.old, n, comm.rank, comm.size)
            rows.append(_measure("a day against them", day, path, f"day {n}", path + ".new", comm))
    if comm.rank == 0:
        show("new documents against old ones", rows)
        write(options.json, rows)


def _measure(what, source, against, name, path, comm):
    comm.barrier()
    start = time.perf_counter()
    result = deduplicate(source, against=against, name=name, comm=comm)
    found = time.perf_counter()
    save_documents(result.state, path, comm)
    saved = time.perf_counter()
    comm.barrier()
    documents = comm.sum(len(result.state))
    if comm.rank == 0:
        print({stage: round(taken, 2) for stage, taken in result.seconds.items()}, flush=True)
    return {
        "what": what,
        "new documents": comm.sum(len(result.ids)),
        "old documents": result.compared.n_old,
        "ranks": comm.size,
        "threads a rank": mergesketch.get_num_threads(),
        "seconds": found - start,
        "seconds to sign the new ones": result.seconds["signing"],
        "seconds to save": saved - found,
        "bytes a document on disk": os.path.getsize(path) / documents,
        "removed of the new": int(comm.sum(int((~result.keep).sum()))),
    }


if __name__ == "__main__":
    main()
