"""Compare InnerProduct with its inner signed random projections, and its index with exact products.

Hashing: 784 features, on the same threads. Search: the ten rows of largest inner product among 20,000
patches of scikit-learn's sample photographs, found by the collisions of `InnerProduct`, by those of
`SignedRandomProjection`, which depend on angles, and by a matrix product over all rows. Many patches are
nearly equal. So a column beside recall gives the mean product of the ten best rows found over that of the
true ten best.
"""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import LSHIndex
from mergesketch.lsh import HashFamily, InnerProduct, SignedRandomProjection


def hashing() -> list[dict[str, Any]]:
    n, d = 10_000, 784
    X = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    rows = []
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        for projection in ("gaussian", "hadamard"):
            for n_hashes in (16, 64):
                how: dict[str, Any] = {"power": 8, "projection": projection}
                srp = SignedRandomProjection(d, n_hashes, **how)
                family = InnerProduct(d, n_hashes, max_norm=50.0, **how)
                bounded = InnerProduct(d, n_hashes, max_norm=50.0, query_norm=50.0, **how)
                took = best_of(
                    {
                        "angle": lambda srp=srp: srp.hash(X),
                        "data": lambda family=family: family.hash(X),
                        "queries": lambda family=family: family.hash_query(X),
                        "bounded queries": lambda bounded=bounded: bounded.hash_query(X),
                    }
                )
                rows.append(
                    {
                        "what": "hash",
                        "projection": projection,
                        "n_hashes": n_hashes,
                        "power": 8,
                        "threads": threads,
                        "SRP, us/row": took["angle"] / n * 1e6,
                        **{
                            f"{name}, times SRP": took[name] / took["angle"]
                            for name in ("data", "queries", "bounded queries")
                        },
                    }
                )
    return rows


def patches(n: int) -> np.ndarray:
    """Return patches of 28 by 28 pixels of one channel, minus the mean patch."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(1)
    images = np.concatenate([image.transpose(2, 0, 1) for image in load_sample_images().images])
    which, top, left = (rng.integers(0, high, n) for high in (len(images), 427 - 28, 640 - 28))
    X = np.stack([images[i, a : a + 28, b : b + 28] for i, a, b in zip(which, top, left, strict=True)])
    X = X.reshape(n, -1).astype(np.float32) / 255
    return np.asarray(X - X.mean(axis=0))


def search() -> list[dict[str, Any]]:
    rows, n_queries, k, answers = patches(20_200), 200, 10, 50
    Q, X = rows[:n_queries], rows[n_queries:]
    best = np.argsort(-(Q @ X.T), axis=1)[:, :k]
    largest = np.sort(Q @ X.T, axis=1)[:, -k:].mean()
    bound = float(np.linalg.norm(X, axis=1).max())

    def exact() -> Any:
        return np.argpartition(-(Q @ X.T), answers, axis=1)[:, :answers]

    mergesketch.set_num_threads(4)
    results = []
    for n_hashes, power in ((100, 6), (400, 6), (400, 9)):
        families: dict[str, HashFamily] = {
            "InnerProduct": InnerProduct(784, n_hashes, max_norm=bound, power=power),
            "SignedRandomProjection": SignedRandomProjection(784, n_hashes, power=power),
        }
        indexes = {name: LSHIndex(family, capacity=4096).add(X) for name, family in families.items()}
        took = best_of(
            {
                **{name: lambda index=index: index.query(Q, answers) for name, index in indexes.items()},
                "exact": exact,
            },
            repeats=3,
        )
        for name, index in indexes.items():
            ids, counts = index.query(Q, answers)
            recall = np.mean([np.isin(a, b).mean() for a, b in zip(best, ids, strict=True)])
            products = np.take_along_axis(Q @ X.T, ids, axis=1)
            ten = np.sort(products, axis=1)[:, -k:].mean()
            row: dict[str, Any] = {
                "what": "search",
                "family": name,
                "n_hashes": n_hashes,
                "power": power,
                "threads": 4,
                "recall of 10 among 50": float(recall),
                "their ten best, over the ten best": float(ten / largest),
                "overflow": index.overflow,
                "queries/s": n_queries / took[name],
                "exact, queries/s": n_queries / took["exact"],
            }
            if name == "InnerProduct":
                lengths = np.linalg.norm(Q, axis=1, keepdims=True)
                errors = index.distance_estimate(counts) * lengths - products
                row["error of estimates"] = float(np.sqrt((errors**2).mean()) / products.mean())
            results.append(row)
    return results


def main() -> None:
    options = parse(__doc__ or "", "inner_product")
    times, found = hashing(), search()
    show("Hashing rows of 784 features", times)
    show("Largest inner products of image patches", found)
    write(options.json, times + found)


if __name__ == "__main__":
    main()
