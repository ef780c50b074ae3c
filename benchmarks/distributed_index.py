"""Measure a distributed index at SLASH's settings, with exact aggregation and with the paper's sketches.

Run it by ``mpiexec -n 4 python ...``. Settings: sets of 47 features, 4 hashes x 16 tables, 2**18 buckets,
256 ids a bucket, batches of 10,000 queries, and the 128 nearest rows. The rows are noisy copies of 140
centres, so that a query finds hundreds of ids a table. Recall is the share of answers whose true count, over
all rows, is at least that of the true 128th answer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import parse, show, write
from mergesketch.distributed import Communicator, DistributedIndex, communicator
from mergesketch.lsh import MinHash
from numpy.typing import NDArray

ROWS_PER_RANK, N_FEATURES, N_CENTRES, NOISE = 50_000, 47, 140, 0.04
N_QUERIES, K, N_CHECKED, REPEATS = 10_000, 128, 200, 5

Sets = tuple[NDArray[np.uint64], NDArray[np.int64]]


def main() -> None:
    options = parse(__doc__ or "", "distributed_index")
    comm = communicator()
    X, Q = sets(comm.rank, ROWS_PER_RANK), sets(1000 + comm.rank, N_QUERIES // comm.size)
    family = MinHash(16, power=4, n_buckets=1 << 18)
    index = DistributedIndex(family, capacity=256, comm=comm)
    index.add(X)
    truth = true_counts(family, X, Q, comm)
    rows = []
    for aggregation in ("exact", "sketch"):
        answer = index.query(Q, K, aggregation=aggregation)
        before = comm.bytes_sent
        index.query(Q, K, aggregation=aggregation)
        n_bytes = comm.sum(index.comm.bytes_sent - before)
        times = [timed(lambda a=aggregation: index.query(Q, K, aggregation=a), comm) for _ in range(REPEATS)]
        rows.append(
            {
                "aggregation": aggregation,
                "ranks": comm.size,
                "rows": index.n_rows,
                "ms a query": 1e3 * statistics.median(times) / N_QUERIES,
                "least ms": 1e3 * min(times) / N_QUERIES,
                "bytes sent a query": n_bytes / N_QUERIES,
                "recall": recall(answer.ids[:N_CHECKED], truth, comm),
            }
        )
    if comm.rank == 0:
        show(f"{N_QUERIES} queries for the {K} nearest, {comm.size} ranks", rows)
        print(f"share of insertions that full buckets have dropped, on rank 0: {index.local.overflow:.3f}")
        write(options.json, rows)


def sets(seed: int, n: int) -> Sets:
    """Return noisy copies of the centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 1 << 62, (N_CENTRES, N_FEATURES), dtype=np.uint64)
    tokens = centres[rng.integers(0, N_CENTRES, n)]
    noisy = rng.random(tokens.shape) < NOISE
    tokens[noisy] = rng.integers(0, 1 << 62, int(noisy.sum()), dtype=np.uint64)
    return tokens.reshape(-1), np.arange(n + 1, dtype=np.int64) * N_FEATURES


def timed(function: Callable[[], Any], comm: Communicator) -> float:
    """Return the seconds until the slowest rank has finished."""
    comm.barrier()
    start = time.perf_counter()
    function()
    return max(comm.allgather(time.perf_counter() - start))


def true_counts(family: MinHash, X: Sets, Q: Sets, comm: Communicator) -> NDArray[np.int8]:
    """Return the number of tables in which each row of all ranks collides with this rank's first queries."""
    codes = comm.allgather_rows(family.hash(X))
    asked = family.hash_query(Q)[:N_CHECKED]
    counts = np.zeros((len(asked), len(codes)), np.int8)
    for table in range(family.n_hashes):
        counts += asked[:, table, None] == codes[None, :, table]
    return counts


def recall(ids: NDArray[np.int64], truth: NDArray[np.int8], comm: Communicator) -> float:
    """Return the recall over the checked queries of all ranks."""
    least = np.partition(truth, -K, axis=1)[:, -K]
    right = np.take_along_axis(truth, np.maximum(ids, 0), axis=1) >= np.maximum(least, 1)[:, None]
    return float(np.mean(comm.allgather(float((right & (ids >= 0)).mean()))))


if __name__ == "__main__":
    main()
