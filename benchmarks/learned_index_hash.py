"""SimHash with trained hyperplanes, among the indexes that `learned_index` compares.

Where there are no labels, they are trained with the items themselves: the right items of an item are its 10
nearest other items, which are computed exactly. The seconds include that.
"""

import mergesketch
import numpy as np
from learned_index import (
    DIMENSIONS,
    N_BUCKETS,
    SEED,
    Fitted,
    K,
    Method,
    as_matrix,
    nearest,
    principal_axes,
    unit,
)
from scipy import sparse

__all__ = ["methods", "with_neighbours"]

#: Queries that are asked at a time where all items may come back, and items whose neighbours are searched.
BLOCK, ITEMS_AT_ONCE = 100, 1000
#: Rows that hyperplanes are trained with, where there are labels and where items are the rows.
LABELLED_ROWS, ITEM_ROWS = 20_000, 5_000
PROBES = [1, 2, 4, 8, 16, 32, 64]


def methods(data):
    """Yield the methods."""
    for n_tables in (4, 16):
        yield Method(
            "LearnedHash", f"{n_tables} x 8 bits", lambda d, n=n_tables: learned_hash(d, n, "tables")
        )
    yield Method("LearnedHash, loss of codes", "16 x 8 bits", lambda d: learned_hash(d, 16, "codes"))


def with_neighbours(items):
    """Return which items are the nearest ones of each item, but itself."""
    found = [
        nearest(items, items[first : first + ITEMS_AT_ONCE], K + 1)
        for first in range(0, len(items), ITEMS_AT_ONCE)
    ]
    Y = as_matrix(np.concatenate(found), len(items)).tolil()
    Y.setdiag(0)
    return Y.tocsr()


def learned_hash(data, n_tables, loss):
    """Return LSHIndex with trained hyperplanes through the mean of the items, as those that are random."""
    mean = data.items.mean(axis=0)
    items, queries, power = data.items - mean, data.queries - mean, N_BUCKETS.bit_length() - 1
    if data.X is None:
        X, Y, most = items, with_neighbours(data.items), ITEM_ROWS
    else:
        X = unit(data.X @ principal_axes(data.X, DIMENSIONS)) - mean
        Y, most = data.Y, LABELLED_ROWS
    chosen = np.random.default_rng(0).permutation(len(X))[:most]
    trained = mergesketch.LearnedHash(n_tables, power, loss=loss, n_rounds=6, seed=SEED)
    trained.fit(items, X[chosen], Y[chosen])
    loads = trained.loads(items)
    index = mergesketch.LSHIndex(trained.family, capacity=int(loads.max())).update(items)

    def candidates(n_probes):
        found = []
        for first in range(0, len(queries), BLOCK):
            ids = index.query(queries[first : first + BLOCK], len(items), n_probes=n_probes).ids
            found.append(as_matrix(ids, len(items)))
        return sparse.vstack(found, format="csr")

    return Fitted(loads, 4 * loads.sum(), PROBES, candidates)
