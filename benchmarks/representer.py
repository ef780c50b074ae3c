"""Compare RepresenterSketch with a network and a support vector machine on digits: accuracy, bytes and work.

Sketches of growing size are fitted to the log-probabilities of a scikit-learn MLP (30 % of the rows are test
rows), with the sketched kernel and with the exact one, as in the paper. The number of multiply-adds includes
the hashing of a query by Gaussian projections, n_features for each bit, and n_outputs for each repetition.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch import RepresenterSketch
from mergesketch.lsh import SignedRandomProjection
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC


def main() -> None:
    arguments = parse(__doc__, "representer")
    X, y = load_digits(return_X_y=True)
    X = X / 16.0
    train, test, labels, truth = train_test_split(X, y, test_size=0.3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = MLPClassifier((128,), max_iter=400, random_state=0).fit(train, labels)
    svm = SVC(gamma="scale", C=10.0).fit(train, labels)
    weights = sum(w.size for w in [*mlp.coefs_, *mlp.intercepts_])
    vectors = svm.support_vectors_.size
    rows: list[dict[str, Any]] = [
        {
            "model": "MLP, 128 hidden",
            "accuracy": float(mlp.score(test, truth)),
            "bytes": 4 * weights,
            "multiply-adds": sum(w.size for w in mlp.coefs_),
            "queries/s": len(test) / seconds(lambda: mlp.predict(test)),
        },
        {
            "model": "RBF SVM",
            "accuracy": float(svm.score(test, truth)),
            "bytes": 4 * (vectors + svm.dual_coef_.size),
            "multiply-adds": vectors + svm.dual_coef_.size,
            "queries/s": len(test) / seconds(lambda: svm.predict(test)),
        },
    ]
    outputs = np.clip(mlp.predict_log_proba(train), -8.0, None)
    outputs -= outputs.mean(axis=1, keepdims=True)
    centre = train.mean(axis=0)
    for n_hashes, power in ((50, 2), (100, 2), (200, 2), (100, 4), (200, 4), (200, 6)):
        for kernel in ("sketched", "exact"):
            found = []
            for seed in range(5):
                family = SignedRandomProjection(X.shape[1], n_hashes, power=power, seed=seed)
                sketch = RepresenterSketch.fit(
                    outputs, train - centre, family=family, kernel=kernel, ridge=1e-2
                )
                found.append(float((sketch.predict(test - centre) == truth).mean()))
            rows.append(
                {
                    "model": f"sketch, {n_hashes} x {power} bits, {kernel} kernel",
                    "accuracy": float(np.mean(found)),
                    "bytes": sketch.state["counts"].array.nbytes,
                    "multiply-adds": n_hashes * power * X.shape[1] + sketch.operations_per_query,
                    "queries/s": len(test) / seconds(lambda sketch=sketch: sketch.predict(test - centre)),
                }
            )
    show("Digits", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
