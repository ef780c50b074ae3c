"""Measure LabelHash on the dependencies of Debian's packages: precision against memory, and federated rounds.

One solver trains everything but omikuji: logistic regression by stochastic gradients in batches, for sparse
rows, with an output for each bucket, or for each label ("one-vs-rest"). Precision@k is the mean share of the
first k labels that a held-out package has. Megabytes are those of the parameters (float32) and the buckets of
labels; omikuji's are those of its files. Times are processor times on one thread.

Clients of the federated rounds have different packages: the packages are sorted by their most frequent label
and cut into eight parts. In a round each client learns its rows once from the mean model, and sends its
parameters. "lookups" has probabilities of buckets that are drawn, in which few buckets are likely.

Needs some gigabytes of memory.
"""

import importlib.util
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import mergesketch
import numpy as np
from label_data import debian_labels
from measure import parse, show, write
from mergesketch import LabelHash
from mergesketch.sketches.learned.label_buckets import buckets_of_labels
from mergesketch.sketches.learned.label_readout import label_lists, top_estimates
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone

KS = (1, 3, 5)
SIZES = ((1, 256), (1, 1024), (4, 128), (2, 512), (4, 256), (8, 128), (4, 512), (8, 256))
#: The sizes whose targets are "single", too, and those of the federated rounds.
SINGLE = FEDERATED = (4, 256)
CLIENTS, ROUNDS = 8, 4


class SparseLogistic(ClassifierMixin, BaseEstimator):
    """Logistic regression of several labels a row, or of one label a row by softmax."""

    def __init__(self, n_epochs=5, rate=0.5, batch=64, random_state=0):
        self.n_epochs = n_epochs
        self.rate = rate
        self.batch = batch
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X, y, sample_weight=None):
        vars(self).pop("coef_", None)
        for _ in range(self.n_epochs):
            self.partial_fit(X, y, sample_weight=sample_weight)
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn the rows once, in random order."""
        is_new = "coef_" not in vars(self)
        self.is_softmax_ = np.ndim(y) == 1
        if not self.is_softmax_:
            self.classes_ = np.arange(y.shape[1])
        elif is_new:
            self.classes_ = np.unique(y) if classes is None else np.asarray(classes)
        if self.is_softmax_:
            y = np.searchsorted(self.classes_, y)
        if is_new:
            n_outputs = self.classes_.size
            self.coef_ = np.zeros((X.shape[1], n_outputs), np.float32)
            first = 0.0 if self.is_softmax_ else -np.log(n_outputs)
            self.intercept_ = np.full(n_outputs, first, np.float32)
            self.rng_ = np.random.default_rng(self.random_state)
        order = self.rng_.permutation(X.shape[0])
        for start in range(0, order.size, self.batch):
            rows = order[start : start + self.batch]
            Xb = X[rows]
            errors = Xb @ self.coef_ + self.intercept_
            if self.is_softmax_:
                errors = softmax(errors, axis=1)
                errors[np.arange(rows.size), y[rows]] -= 1.0
                if sample_weight is not None:
                    errors *= sample_weight[rows, None].astype(np.float32)
            else:
                expit(errors, out=errors)
                wanted = sparse.csr_matrix(y[rows])
                errors[np.repeat(np.arange(rows.size), np.diff(wanted.indptr)), wanted.indices] -= 1.0
            touched, columns = np.unique(Xb.indices, return_inverse=True)
            part = sparse.csr_matrix((Xb.data, columns, Xb.indptr), (rows.size, touched.size))
            self.coef_[touched] -= self.rate * (part.T.tocsr() @ errors)
            self.intercept_ -= self.rate * errors.mean(axis=0)
        return self

    def predict_proba(self, X):
        values = X @ self.coef_ + self.intercept_
        return softmax(values, axis=1) if self.is_softmax_ else expit(values, out=values)


def timed(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def precisions(top, Y):
    """Return the precision at each k of the labels `top`, the best first."""
    hits = np.asarray(Y[np.arange(len(top))[:, None], top].todense())
    return {f"precision@{k}": round(float(hits[:, :k].mean()), 4) for k in KS}


def best_columns(values, k):
    chosen = np.argpartition(-values, k, axis=1)[:, :k]
    return np.take_along_axis(chosen, np.argsort(-np.take_along_axis(values, chosen, 1), axis=1), 1)


def row(method, size, nbytes, full, top, data, learning, asking):
    return {
        "method": method,
        "R x B": size,
        "MB": round(nbytes / 1e6, 1),
        "share of one-vs-rest": round(nbytes / full, 3),
        **precisions(top, data.Y_test),
        "s to learn": round(learning, 1),
        "us a row": round(asking / data.X_test.shape[0] * 1e6, 1),
    }


def one_vs_rest(data):
    model = SparseLogistic()
    learning, _ = timed(lambda: model.fit(data.X, data.Y))
    asking, top = timed(lambda: best_columns(model.predict_proba(data.X_test), 5))
    nbytes = model.coef_.nbytes + model.intercept_.nbytes
    return row("one-vs-rest", "", nbytes, nbytes, top, data, learning, asking), nbytes


def hashed(data, full, R, B, targets):
    model = LabelHash(SparseLogistic(), n_repetitions=R, n_buckets=B, targets=targets)
    learning, _ = timed(lambda: model.fit(data.X, data.Y))
    for readout in ("min", "mean") if R > 1 else ("min",):
        model.readout_ = readout
        model.top_k(data.X_test[:10], 5)
        asking, found = timed(lambda: model.top_k(data.X_test, 5))
        name = f"LabelHash, {targets}, {readout}" if R > 1 else f"one hash function, {targets}"
        yield row(name, f"{R} x {B}", model.nbytes, full, found.labels, data, learning, asking)


def omikuji(data, full):
    """Train omikuji's forest of label trees (Parabel) with its own settings."""
    import omikuji

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        X, Y = data.X, data.Y
        with path.open("w") as file:
            file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
            for i in range(X.shape[0]):
                labels = Y.indices[Y.indptr[i] : Y.indptr[i + 1]]
                at = slice(X.indptr[i], X.indptr[i + 1])
                pairs = zip(X.indices[at], X.data[at], strict=True)
                values = " ".join(f"{j}:{v:.6f}" for j, v in pairs)
                file.write(f"{','.join(map(str, labels))} {values}\n")
        learning, model = timed(lambda: omikuji.Model.train_on_data(str(path), n_threads=1))
        model.save(str(Path(folder) / "model"))
        nbytes = sum(file.stat().st_size for file in (Path(folder) / "model").iterdir())
    Q = data.X_test
    rows = [
        list(zip(Q.indices[a:b].tolist(), Q.data[a:b].tolist(), strict=True))
        for a, b in zip(Q.indptr[:-1], Q.indptr[1:], strict=True)
    ]
    model.init_prediction_thread_pool(1)
    asking, found = timed(lambda: [[label for label, _ in model.predict(pairs, top_k=5)] for pairs in rows])
    top = np.array([labels + [0] * (5 - len(labels)) for labels in found])
    return row("omikuji", "", nbytes, full, top, data, learning, asking)


def parts_of_clients(Y):
    """Return rows of each client, so that clients have different labels."""
    frequency = np.asarray(Y.sum(axis=0)).ravel()
    owners = np.repeat(np.arange(Y.shape[0]), np.diff(Y.indptr))
    order = np.lexsort((-frequency[Y.indices], owners))
    first = Y.indices[order][Y.indptr[:-1]]
    return np.array_split(np.lexsort((np.arange(first.size), first)), CLIENTS)


def federated_hashed(data):
    R, B = FEDERATED
    parts = parts_of_clients(data.Y)
    server = LabelHash(SparseLogistic(), n_repetitions=R, n_buckets=B)
    for number in range(1, ROUNDS + 1):
        trained = []
        for part in parts:
            client = LabelHash.average([server]) if number > 1 else clone(server)
            trained.append(client.partial_fit(data.X[part], data.Y[part]))
        server = LabelHash.average(trained, weights=[part.size for part in parts])
        if number in (1, 2, 4):
            size = sum(m.estimator.coef_.nbytes + m.estimator.intercept_.nbytes for m in server.models_)
            yield {
                "federated": f"LabelHash, {R} x {B}",
                "rounds": number,
                "MB a client sends a round": round(size / 1e6, 1),
                **precisions(server.top_k(data.X_test, 5).labels, data.Y_test),
            }


def federated_one_vs_rest(data):
    parts = parts_of_clients(data.Y)
    mean, shift = None, None
    for number in range(1, ROUNDS + 1):
        sums = None
        for part in parts:
            client = SparseLogistic(random_state=number)
            if mean is not None:
                client.partial_fit(data.X[:1], data.Y[:1])
                client.coef_[:], client.intercept_[:] = mean, shift
            client.partial_fit(data.X[part], data.Y[part])
            weight = part.size / data.X.shape[0]
            client.coef_ *= weight
            client.intercept_ *= weight
            if sums is None:
                sums = client.coef_, client.intercept_
            else:
                sums[0][:] += client.coef_
                sums[1][:] += client.intercept_
        mean, shift = sums
        if number in (1, 2, 4):
            values = data.X_test @ mean + shift
            yield {
                "federated": "one-vs-rest",
                "rounds": number,
                "MB a client sends a round": round((mean.nbytes + shift.nbytes) / 1e6, 1),
                **precisions(best_columns(values, 5), data.Y_test),
            }


def lookups(n_labels, R, B):
    """Return the time of a row's top 5, by reading all labels and through lists of labels."""
    rng = np.random.default_rng(0)
    buckets = buckets_of_labels(np.arange(n_labels), R, B, 0)
    # Three labels of a row are likely, all others share the rest.
    n = max(8, 2_000_000 // n_labels)
    P = rng.random((n, R, B)) ** 8 * 0.01
    for i, chosen in enumerate(rng.integers(0, n_labels, (n, 3))):
        for r in range(R):
            P[i, r, buckets[r, chosen]] += (0.5, 0.3, 0.1)
    best = {}
    for name, lists in (("all labels", None), ("lists", label_lists(buckets, B))):
        for readout in ("mean", "min"):
            ask = partial(top_estimates, P, buckets, 3, lists, readout=readout)
            ask()
            best[f"us a row, {name}, {readout}"] = round(min(timed(ask)[0] for _ in range(7)) / n * 1e6, 1)
    return {"labels": n_labels, "R x B": f"{R} x {B}", "lookups": n_labels * R, **best}


def main():
    arguments = parse(__doc__, "label_hash")
    mergesketch.set_num_threads(1)
    rows = [lookups(10_000, 4, 512), lookups(100_000, 4, 1024), lookups(1_000_000, 4, 2660)]
    data = debian_labels()
    if data is None:
        print("apt has no lists of packages: their labels are left out")
    else:
        first, full = one_vs_rest(data)
        debian = [first]
        if importlib.util.find_spec("omikuji") is not None:
            debian.append(omikuji(data, full))
        for R, B in SIZES:
            debian += hashed(data, full, R, B, "indicator")
        debian += hashed(data, full, *SINGLE, "single")
        show("Debian's dependencies", debian)
        rounds = [*federated_hashed(data), *federated_one_vs_rest(data)]
        show(f"{CLIENTS} clients", rounds)
        rows = debian + rounds + rows
    show("lookups", rows[-3:])
    write(arguments.json, rows)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
