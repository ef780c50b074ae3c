"""Predict links by Bloom signatures, beside exact counts and beside MinHash with HyperLogLog at equal bytes.

1. Links: area under the ROC and Hits@50 on the test pairs of the Cora graph, its edges split 85/5/10, and as
   many random pairs without an edge, means over five splits and seeds, of a gradient boosting classifier
   fitted on pairs of the training graph, and of the exact heuristics by themselves. Ties count half in the
   area; for Hits@50 a positive pair is a hit if fewer than 50 negative ones score as high or higher.
2. Speed: pairs a second on power-law graphs, beside SciPy's sparse rows multiplied and summed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch import BloomSignatures, set_num_threads
from mergesketch.lsh import MinHash
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

CORA = Path(__file__).parents[2] / "shared/data/cora.npz"
SPLITS = range(5)


def adjacency(edges: np.ndarray, n: int) -> sparse.csr_array:
    matrix = sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    matrix = ((matrix + matrix.T) > 0).astype(np.float64).tocsr()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return matrix


def wider(A: sparse.csr_array) -> sparse.csr_array:
    """Return everything within two hops, as `propagate` does."""
    loops = sparse.diags_array((A.sum(axis=1) > 0).astype(float))
    return ((A @ A + A + loops) > 0).astype(np.float64).tocsr()


def shared(A: sparse.csr_array, B: sparse.csr_array, pairs: np.ndarray) -> np.ndarray:
    return np.asarray(A[pairs[:, 0]].multiply(B[pairs[:, 1]]).sum(axis=1)).ravel()


class Exact:
    """The features of `BloomSignatures.link_features`, counted."""

    def __init__(self, edges: np.ndarray, n: int) -> None:
        self.A = adjacency(edges, n)
        self.W = wider(self.A)
        self.degree = np.asarray(self.A.sum(axis=1)).ravel()

    def features(self, pairs: np.ndarray) -> np.ndarray:
        pairs = np.sort(pairs, axis=1)
        u, v = pairs.T
        a, b = self.degree[u], self.degree[v]
        both = shared(self.A, self.A, pairs)
        far_u, far_v = (np.asarray(self.W.sum(axis=1)).ravel()[x] for x in (u, v))
        far = shared(self.W, self.W, pairs)
        weights = [1 / np.log(np.maximum(self.degree, 2)), 1 / np.maximum(self.degree, 1)]
        weighted = [shared((self.A @ sparse.diags_array(w)).tocsr(), self.A, pairs) for w in weights]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = [
                np.minimum(a, b), np.maximum(a, b), both, a + b - both, both / (a + b - both),
                both / np.sqrt(a * b), both / np.minimum(a, b), *weighted,
                shared(self.A, self.W, pairs), shared(self.W, self.A, pairs), far,
                far / (far_u + far_v - far),
            ]  # fmt: skip
        return np.nan_to_num(np.stack(columns, axis=1))


class MinHashes:
    """MinHash for resemblances and HyperLogLog for sizes, half the bytes each; merged over neighbours."""

    def __init__(self, A: sparse.csr_array, n_bytes: int, seed: int, hops: int = 1) -> None:
        n = A.shape[0]
        n_hashes, self.m = n_bytes // 2 // 4, n_bytes // 2
        self.minima = [MinHash(n_hashes, seed=seed).signatures(A.astype(np.int64))]
        rng = np.random.default_rng(seed)
        place = rng.integers(0, self.m, n)
        rank = np.minimum(rng.geometric(0.5, n), 60).astype(np.uint8)
        registers = np.zeros((n, self.m), dtype=np.uint8)
        rows = np.repeat(np.arange(n), np.diff(A.indptr))
        np.maximum.at(registers, (rows, place[A.indices]), rank[A.indices])
        self.registers = [registers]
        if hops == 2:
            low, high = self.minima[0].copy(), registers.copy()
            np.minimum.at(low, rows, self.minima[0][A.indices])
            np.maximum.at(high, rows, registers[A.indices])
            self.minima.append(low)
            self.registers.append(high)
        self.sizes = [self._size(r) for r in self.registers]

    def _size(self, registers: np.ndarray) -> np.ndarray:
        raw = 0.7213 / (1 + 1.079 / self.m) * self.m**2 / (2.0 ** -registers.astype(float)).sum(axis=1)
        empty = (registers == 0).sum(axis=1)
        linear = self.m * np.log(self.m / np.maximum(empty, 1))
        return np.where((raw <= 2.5 * self.m) & (empty > 0), linear, raw)

    def shared(self, pairs: np.ndarray, i: int, j: int, sizes: Any = None) -> np.ndarray:
        u, v = pairs.T
        left, right = (self.sizes[i], self.sizes[j]) if sizes is None else (sizes, sizes)
        equal = (self.minima[i][u] == self.minima[j][v]) & (self.minima[i][u] != np.uint32(0xFFFFFFFF))
        resemblance = equal.mean(axis=1)
        return resemblance / (1 + resemblance) * (left[u] + right[v])

    def features(self, pairs: np.ndarray) -> np.ndarray:
        pairs = np.sort(pairs, axis=1)
        u, v = pairs.T
        a, b = self.sizes[0][u], self.sizes[0][v]
        both, far = self.shared(pairs, 0, 0), self.shared(pairs, 1, 1)
        union = np.maximum(a + b - both, 1e-9)
        wide = np.maximum(self.sizes[1][u] + self.sizes[1][v] - far, 1e-9)
        columns = [
            np.minimum(a, b), np.maximum(a, b), both, union, both / union, self.shared(pairs, 0, 1),
            self.shared(pairs, 1, 0), far, far / wide,
        ]  # fmt: skip
        return np.stack(columns, axis=1)


def split(edges: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training edges, test edges, and as many pairs without an edge."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(edges))
    train, test = edges[order[: int(0.85 * len(edges))]], edges[order[int(0.9 * len(edges)) :]]
    return train, test, strangers(edges, n, len(test), rng)


def strangers(edges: np.ndarray, n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    known = {tuple(sorted(edge)) for edge in edges.tolist()}
    found: list[tuple[int, int]] = []
    while len(found) < k:
        u, v = sorted(rng.integers(0, n, 2).tolist())
        if u != v and (u, v) not in known:
            found.append((u, v))
    return np.array(found)


def hits(positive: np.ndarray, negative: np.ndarray, k: int = 50) -> float:
    """Positive pairs that fewer than k negative ones equal or beat."""
    ranks = negative.size - np.searchsorted(np.sort(negative), positive, side="left")
    return float((ranks < k).mean())


Features = Callable[[np.ndarray], np.ndarray]


def bloom_features(edges: np.ndarray, n: int, near: int, far: int, seed: int) -> Features:
    """Features of signatures of one hop, and counts of wider ones of two."""
    one = BloomSignatures(n, near, seed=seed).update(edges)
    two = BloomSignatures(n, far, seed=seed).update(edges).propagate(edges)

    def features(pairs: np.ndarray) -> np.ndarray:
        u, v = pairs.T
        both = np.maximum(two.common_neighbors(u, v), 0.0)
        sizes = two.cardinality(u) + two.cardinality(v)
        return np.column_stack([one.link_features(pairs), both, sizes, np.maximum(two.jaccard(u, v), 0.0)])

    return features


def link_rows(edges: np.ndarray, n: int) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in SPLITS:
        train, test, none = split(edges, n, seed)
        rng = np.random.default_rng(100 + seed)
        # The classifier learns from training edges that are taken out of the graph it sees, and strangers.
        held = rng.permutation(len(train))
        known, asked = train[held[len(train) // 5 :]], train[held[: len(train) // 5]]
        others = strangers(edges, n, len(asked), rng)
        makers: dict[str, Callable[[np.ndarray], Features]] = {
            "exact counts": lambda e: Exact(e, n).features,
            "MinHash + HLL, 1,280 bytes": lambda e, seed=seed: (
                MinHashes(adjacency(e, n), 640, seed, hops=2).features
            ),
        }
        for near, far in ((512, 2048), (2048, 8192)):
            makers[f"Bloom, {(near + far) // 8:,} bytes"] = lambda e, near=near, far=far, seed=seed: (
                bloom_features(e, n, near, far, seed)
            )
        for name, make in makers.items():
            model = HistGradientBoostingClassifier(random_state=0, max_iter=150, learning_rate=0.05)
            learn = make(known)
            X = np.concatenate([learn(asked), learn(others)])
            model.fit(X, np.arange(len(X)) < len(asked))
            ask = make(train)
            yes, no = (model.predict_proba(ask(pairs))[:, 1] for pairs in (test, none))
            found.setdefault(name, []).append(
                (roc_auc_score([1] * len(yes) + [0] * len(no), np.concatenate([yes, no])), hits(yes, no))
            )
        exact = Exact(train, n)
        for name, column in (("common neighbours", 2), ("Adamic-Adar", 7), ("resource allocation", 8)):
            yes, no = (exact.features(pairs)[:, column] for pairs in (test, none))
            found.setdefault(f"{name} alone, exact", []).append(
                (roc_auc_score([1] * len(yes) + [0] * len(no), np.concatenate([yes, no])), hits(yes, no))
            )
    return [
        {"features": name, "AUC": float(np.mean(v, axis=0)[0]), "Hits@50": float(np.mean(v, axis=0)[1])}
        for name, v in found.items()
    ]


def speed_rows() -> list[dict[str, Any]]:
    rows = []
    rng = np.random.default_rng(4)
    for n_edges in (10**5, 10**6, 10**7):
        n = n_edges // 10
        # Power-law degrees: ends drawn in proportion to rank**-0.6.
        weight = np.arange(1, n + 1) ** -0.6
        ends = rng.choice(n, size=(n_edges, 2), p=weight / weight.sum())
        A = adjacency(ends, n)
        signatures = BloomSignatures(n, 1024, seed=1)
        build = seconds(lambda signatures=signatures, ends=ends: signatures.update(ends), repeats=1)
        # Pairs that a recommender asks for: ends of edges, shuffled, so hubs are as frequent as their edges.
        pairs = np.stack(
            [rng.permutation(ends[:, 0])[:100_000], rng.permutation(ends[:, 1])[:100_000]], axis=1
        )
        part = pairs[:20_000]
        exact = seconds(lambda A=A, part=part: shared(A, A, part), repeats=3) / len(part)
        for threads in (1, 4):
            set_num_threads(threads)
            ours = seconds(lambda s=signatures, p=pairs: s.common_neighbors(*p.T), repeats=3) / len(pairs)
            every = seconds(lambda s=signatures, p=pairs: s.link_features(p), repeats=3) / len(pairs)
            rows.append(
                {
                    "edges": n_edges, "nodes": n, "threads": threads, "build edges/s": n_edges / build,
                    "common/s": 1 / ours, "all features/s": 1 / every, "scipy common/s": 1 / exact,
                    "ratio": exact / ours,
                }
            )  # fmt: skip
    return rows


def main() -> None:
    path = parse(__doc__.split("\n")[0], "link_prediction").json
    rows = []
    if CORA.exists():
        data = np.load(CORA)
        edges, n = data["edges"].astype(np.int64), int(data["n_nodes"])
        rows += link_rows(edges, n)
        show("Cora: links predicted", rows)
    speeds = speed_rows()
    show("Pairs a second", speeds)
    write(path, [*rows, *speeds])


if __name__ == "__main__":
    main()
