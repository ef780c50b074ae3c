"""Measure memory and time of `deduplicate` on generated short documents, beside the prediction.

Run it under ``mpiexec -n 4``, with numbers of documents as arguments (by default 10**5 and 10**6; 10**7
takes a few minutes and 10 GB over four ranks). Documents have 40 words. One in twenty is the document before
it with one word exchanged. They are generated batch by batch and never kept. The figure is the growth of the
peak of the resident memory over that of a small run before, which has loaded and compiled everything.
"""

import argparse
import resource
import time
from pathlib import Path

import mergesketch
import numpy as np
from measure import RESULTS, show, write
from mergesketch.distributed import communicator, deduplicate, memory_per_rank
from mergesketch.distributed.documents.batches import DocumentBatch

WORDS, WORD_BYTES, BATCH = 40, 6, 60_000
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz012345", dtype=np.uint8)


class Generated:
    """A rank's share of n documents. Document i is the same for every number of ranks."""

    def __init__(self, n: int, rank: int, size: int) -> None:
        self.first, self.last = n * rank // size, n * (rank + 1) // size

    def batches(self):
        for start in range(self.first, self.last, BATCH):
            yield self._batch(np.arange(start, min(start + BATCH, self.last)))

    def _batch(self, ids: np.ndarray) -> DocumentBatch:
        # One in twenty is the document before it, with word number 7 exchanged.
        source = np.where(ids % 20 == 19, ids - 1, ids).astype(np.uint64)
        words = _mix(source[:, None] * np.uint64(WORDS) + np.arange(WORDS, dtype=np.uint64))
        words[:, 7] = _mix(ids.astype(np.uint64) * np.uint64(WORDS) + np.uint64(7))
        text = np.empty((len(ids), WORDS, WORD_BYTES), dtype=np.uint8)
        for k in range(WORD_BYTES - 1):
            text[:, :, k] = LETTERS[(words >> np.uint64(5 * k)) & np.uint64(31)]
        text[:, :, -1] = ord(" ")
        offsets = np.arange(len(ids) + 1) * (WORDS * WORD_BYTES)
        return DocumentBatch(ids.astype(np.uint64), text.reshape(-1), offsets)


def _mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--json", type=Path, default=RESULTS / "dedup_memory.json")
    options = parser.parse_args()
    comm = communicator()
    deduplicate(Generated(2000, comm.rank, comm.size), comm=comm)
    before = peak()
    rows = []
    for n in sorted(options.documents):
        comm.barrier()
        start = time.perf_counter()
        result = deduplicate(Generated(n, comm.rank, comm.size), comm=comm)
        took = max(comm.allgather(time.perf_counter() - start))
        measured = max(comm.allgather(peak() - before))
        batch_bytes = min(BATCH, -(-n // comm.size)) * WORDS * WORD_BYTES
        predicted = memory_per_rank(n, comm.size, batch_bytes=batch_bytes)
        rows.append(
            {
                "documents": n,
                "ranks": comm.size,
                "threads a rank": mergesketch.get_num_threads(),
                "seconds": took,
                "microseconds a document": 1e6 * took / n,
                "groups": result.n_groups,
                "predicted MB a rank": predicted / 1e6,
                "measured MB, largest rank": measured / 1e6,
                "measured / predicted": measured / predicted,
            }
        )
        if comm.rank == 0:
            print({name: round(s, 2) for name, s in result.seconds.items()}, flush=True)
    if comm.rank == 0:
        show("memory of a rank", rows)
        write(options.json, rows)


if __name__ == "__main__":
    main()
