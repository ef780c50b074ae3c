"""SparseCodeIndex among the indexes that `learned_index` compares.

Where there are no labels, the network is trained with the items themselves, and the 10 nearest other items of
each.
"""

import mergesketch
import numpy as np
from learned_index import N_BUCKETS, SEED, Fitted, Method
from learned_index_hash import with_neighbours
from scipy import sparse

__all__ = ["methods"]

#: Probed buckets of each chunk, and in how many chunks an item must be in these.
PROBES_AND_CHUNKS = [
    [2, 4], [4, 4], [8, 4], [8, 3], [16, 4], [32, 6], [32, 5], [64, 8], [64, 6], [128, 10],
]  # fmt: skip


def methods(data):
    """Yield the method."""
    yield Method("SparseCodeIndex", f"16 x {N_BUCKETS} buckets", sparse_codes)


def sparse_codes(data):
    X, Y = (data.items, with_neighbours(data.items)) if data.X is None else (data.X, data.Y)
    index = mergesketch.SparseCodeIndex(X.shape[1], 16, N_BUCKETS, n_hidden=128, seed=SEED)
    index.fit(X, Y)

    def candidates(effort):
        n_probes, min_chunks = effort
        ids, offsets = index.candidates(data.Q, n_probes=n_probes, min_chunks=min_chunks)
        return sparse.csr_matrix((np.ones(len(ids), np.float32), ids, offsets), data.truth.shape)

    return Fitted(index.loads, index.nbytes + 6 * 16 * len(index), PROBES_AND_CHUNKS, candidates)
