"""Compare AceSketch with pyod's HBOS, isolation forest and LOF: quality and speed of finding anomalies.

Real data: the data sets of scikit-learn, with one class made rare, and standardised. The figure is the AUC of
the scores of all rows, the mean of ten draws of the rare rows and seeds. Stream: 10 million rows of 20
features in batches, of which one in a thousand is an anomaly. Our detector reads all rows in one pass, and
then scores 100,000 rows. The peers keep their rows in memory, so they get fewer rows; a column gives the
number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import AceSketch
from mergesketch.lsh import PStable, SignedRandomProjection
from sklearn import datasets
from sklearn.metrics import roc_auc_score

STREAM, BATCH, FEATURES, ASKED = 10_000_000, 100_000, 20, 100_000


def peers() -> dict[str, Callable[[], Any]]:
    try:
        from pyod.models.hbos import HBOS
        from pyod.models.iforest import IForest
        from pyod.models.lof import LOF
    except ImportError:
        print("pyod is not installed")
        return {}
    return {"HBOS": HBOS, "IForest": lambda: IForest(random_state=0), "LOF": LOF}


def steps(d: int, seed: int) -> PStable:
    """Return a family for Euclidean distance; the distance of rows of unit variance is about sqrt(2 d)."""
    return PStable(d, 100, width=2.0 * d**0.5, power=2, n_buckets=1024, seed=seed)


def signs(d: int, seed: int) -> SignedRandomProjection:
    """Return a family for angles, as in the paper."""
    return SignedRandomProjection(d, 50, power=12, seed=seed)


def real(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return rows, and True for each that is an anomaly."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, load, rare, n in (
        ("digits, 20 fours among the others", datasets.load_digits, 4, 20),
        ("breast cancer, 20 malignant", datasets.load_breast_cancer, 0, 20),
        ("wine, 8 of class 2", datasets.load_wine, 2, 8),
    ):
        X, y = load(return_X_y=True)
        odd = rng.choice(np.flatnonzero(y == rare), n, replace=False)
        X = np.vstack([X[y != rare], X[odd]])
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
        out[name] = (X, np.arange(len(X)) >= len(X) - n)
    return out


def on_real_data() -> list[dict[str, Any]]:
    def ours(make: Callable[[int, int], Any]) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda X, seed: -AceSketch(make(X.shape[1], seed)).update(X).score_samples(X)

    def theirs(make: Callable[[], Any]) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda X, seed: make().fit(X).decision_scores_

    methods = {"ours, PStable": ours(steps), "ours, signs": ours(signs)}
    methods |= {name: theirs(make) for name, make in peers().items()}
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(10):
        for name, (X, odd) in real(seed).items():
            for method, score in methods.items():
                auc = float(roc_auc_score(odd, score(X, seed)))
                found.setdefault(name, {}).setdefault(method, []).append(auc)
    return [
        {"data": f"AUC, {name}", **{method: float(np.mean(aucs)) for method, aucs in results.items()}}
        for name, results in found.items()
    ]


def batch(number: int, n: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of the stream: five clusters, and one row in a thousand far from them."""
    centres = np.random.default_rng(0).standard_normal((5, FEATURES)) * 2.0
    rng = np.random.default_rng([1, number])
    X = centres[rng.integers(0, 5, n)] + rng.standard_normal((n, FEATURES))
    odd = rng.random(n) < 0.001
    X[odd] = rng.standard_normal((int(odd.sum()), FEATURES)) * 3.0
    return X.astype(np.float32), odd


def on_a_stream() -> list[dict[str, Any]]:
    asked, odd = batch(10**6, ASKED)
    rows = []
    for name, make in (("ours, PStable", steps), ("ours, signs", signs)):
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            detector = AceSketch(make(FEATURES, 1), contamination=0.001)
            detector.empty_like().update(asked[:1000])
            spent = 0.0
            for number in range(STREAM // BATCH):
                X, _ = batch(number)
                start = time.perf_counter()
                detector.update(X)
                spent += time.perf_counter() - start
            start = time.perf_counter()
            scores = detector.score_samples(asked)
            scored = time.perf_counter() - start
            rows.append(
                {
                    "stream": name,
                    "threads": threads,
                    "rows": STREAM,
                    "learnt rows/s": STREAM / spent,
                    "scored rows/s": ASKED / scored,
                    "AUC": float(roc_auc_score(odd, -scores)),
                    "called anomalous": float((scores < detector.threshold).mean()),
                    "bytes": detector.nbytes,
                }
            )
    for name, make in peers().items():
        n = 20_000 if name == "LOF" else 500_000
        X = np.vstack([batch(number)[0] for number in range(-(-n // BATCH))])[:n]
        few = ASKED // 10 if name == "LOF" else ASKED
        model = make()
        start = time.perf_counter()
        model.fit(X)
        spent = time.perf_counter() - start
        start = time.perf_counter()
        scores = model.decision_function(asked[:few])
        scored = time.perf_counter() - start
        rows.append(
            {
                "stream": name,
                "threads": 1,
                "rows": n,
                "learnt rows/s": n / spent,
                "scored rows/s": few / scored,
                "AUC": float(roc_auc_score(odd[:few], scores)),
                "called anomalous": "",
                "bytes": X.nbytes,
            }
        )
    return rows


def main() -> None:
    arguments = parse(__doc__, "ace")
    before = mergesketch.get_num_threads()
    try:
        found = on_real_data()
        show("Real data", found)
        streamed = on_a_stream()
        show("A stream", streamed)
    finally:
        mergesketch.set_num_threads(before)
    write(arguments.json, found + streamed)


if __name__ == "__main__":
    main()
