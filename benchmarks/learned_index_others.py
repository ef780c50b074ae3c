"""Indexes to compare learned ones with: random SimHash, k-means, faiss's inverted file, frequent labels."""

import mergesketch
import numpy as np
from learned_index import N_BUCKETS, SEED, Fitted, Method, as_matrix, of_lists
from mergesketch.lsh import SignedRandomProjection
from scipy import sparse

__all__ = ["methods"]

#: Queries that are asked at a time where all items may come back, and rounds of k-means.
BLOCK, ROUNDS = 100, 15
EFFORTS = [1, 2, 4, 8, 16, 32, 64, 128]


def methods(data):
    """Yield the methods."""
    for n_tables in (1, 4, 16):
        yield Method("random SimHash", f"{n_tables} x 8 bits", lambda d, n=n_tables: simhash(d, n))
    for n_partitions, least in ((1, 1), (4, 1), (4, 2), (4, 3)):
        settings = f"{n_partitions} x {N_BUCKETS} centres" + (
            f", in {least} or more" if n_partitions > 1 else ""
        )
        yield Method("k-means", settings, lambda d, n=n_partitions, t=least: k_means(d, n, t))
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: left out")
    else:
        yield Method("faiss IVF", f"{N_BUCKETS} lists", lambda d: faiss_ivf(d, faiss))
    if data.Y is not None:
        yield Method("most frequent labels", "the same for all queries", frequent_labels)


def simhash(data, n_tables):
    """Return LSHIndex with random hyperplanes through the mean of the items, so that loads differ less."""
    power = N_BUCKETS.bit_length() - 1
    mean = data.items.mean(axis=0)
    items, queries = data.items - mean, data.queries - mean
    family = SignedRandomProjection(items.shape[1], n_tables, power=power, seed=SEED)
    codes = family.hash(items)
    loads = np.stack([np.bincount(codes[:, i], minlength=N_BUCKETS) for i in range(n_tables)])
    index = mergesketch.LSHIndex(family, capacity=int(loads.max())).update(items)

    def candidates(n_probes):
        found = []
        for first in range(0, len(queries), BLOCK):
            ids = index.query(queries[first : first + BLOCK], len(items), n_probes=n_probes).ids
            found.append(as_matrix(ids, len(items)))
        return sparse.vstack(found, format="csr")

    # An id takes 4 bytes; the spare slots of the fullest bucket's size are not counted.
    return Fitted(loads, 4 * loads.sum(), EFFORTS, candidates)


def k_means(data, n_partitions, least):
    """Return partitions by k-means from different starts: a query probes the lists of its nearest centres.

    Candidates are in the probed lists of at least `least` partitions.
    """
    centres = [spherical_k_means(data.items, N_BUCKETS, SEED + i) for i in range(n_partitions)]
    places = np.stack([(data.items @ c.T).argmax(axis=1) for c in centres])
    loads = np.stack([np.bincount(p, minlength=N_BUCKETS) for p in places])
    lists = [np.argsort(p, kind="stable") for p in places]
    scores = [data.queries @ c.T for c in centres]

    def candidates(n_probes):
        found = sparse.csr_matrix((len(data.queries), len(data.items)), dtype=np.float32)
        for i in range(n_partitions):
            probed = np.argpartition(-scores[i], n_probes - 1, axis=1)[:, :n_probes]
            found = found + probe(lists[i], loads[i], probed, len(data.items))
        found.data = (found.data >= least).astype(np.float32)
        found.eliminate_zeros()
        return found

    return Fitted(loads, sum(c.nbytes for c in centres) + 4 * places.size, EFFORTS, candidates)


def probe(order, loads, probed, n_items):
    """Return the items of the probed buckets, where `order` has the items sorted by bucket."""
    starts = np.concatenate([[0], np.cumsum(loads)])[:-1]
    sizes = loads[probed]
    flat, total = sizes.ravel(), int(sizes.sum())
    steps = np.arange(total) - np.repeat(np.cumsum(flat) - flat, flat)
    return of_lists(order[np.repeat(starts[probed].ravel(), flat) + steps], sizes.sum(axis=1), n_items)


def spherical_k_means(rows, n, seed):
    rng = np.random.default_rng(seed)
    centres = rows[rng.choice(len(rows), n, replace=False)]
    for _ in range(ROUNDS):
        place = (rows @ centres.T).argmax(axis=1)
        member = sparse.csr_matrix((np.ones(len(rows), np.float32), place, np.arange(len(rows) + 1)))
        member.resize(len(rows), n)
        sums = member.T @ rows
        empty = np.bincount(place, minlength=n) == 0
        sums[empty] = rows[rng.choice(len(rows), int(empty.sum()), replace=False)]
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres.astype(np.float32)


def faiss_ivf(data, faiss):
    faiss.omp_set_num_threads(1)
    width = data.items.shape[1]
    coarse = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(coarse, width, N_BUCKETS, faiss.METRIC_INNER_PRODUCT)
    index.train(data.items)
    index.add(data.items)
    lists = [
        faiss.rev_swig_ptr(index.invlists.get_ids(i), index.invlists.list_size(i)).copy()
        for i in range(N_BUCKETS)
    ]
    loads = np.array([len(ids) for ids in lists])
    order = np.concatenate(lists)

    def candidates(n_probes):
        _, probed = coarse.search(data.queries, n_probes)
        return probe(order, loads, probed, len(data.items))

    return Fitted(loads[None], 4 * width * N_BUCKETS + 8 * len(order), EFFORTS, candidates)


def frequent_labels(data):
    counts = np.asarray(data.Y.sum(axis=0)).ravel()
    order = np.argsort(-counts, kind="stable")

    def candidates(n):
        return as_matrix(np.broadcast_to(order[:n], (len(data.queries), n)), len(data.items))

    return Fitted(None, 4 * len(order), [10, 30, 70, 140, 350, 700, 1400, 3500], candidates)
