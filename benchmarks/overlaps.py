"""Measure errors of Bloom signatures on shared neighbours, and of MinHash with HyperLogLog at equal bytes.

1. Cora: bias and root mean square error of common neighbours within one and two hops, on the test pairs of
   five splits (85/5/10, and the same number of random pairs without an edge), means over splits and seeds.
   Also the errors of the estimates cut off at 0. Pairs for which the signatures are too full are left out.
2. Crossover: the error of an overlap of a tenth, by the size of the neighbourhoods, at 256 bytes a node.
3. Weights: Adamic-Adar by signatures, and one constant times the exact number of common neighbours, on pairs
   that share a neighbour, by the number of nodes a bit. The graphs are Cora and a graph of 19,717 nodes and
   44,338 edges whose ends are drawn in proportion to rank**-0.6. The constant is the best one for each graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from link_prediction import CORA, SPLITS, MinHashes, adjacency, shared, split, wider
from measure import parse, show, write
from mergesketch import BloomSignatures
from scipy import sparse


def count_rows(edges: np.ndarray, n: int) -> list[dict[str, Any]]:
    rows = []
    for hops, sizes in ((1, (64, 512, 1024, 2048)), (2, (2048, 4096, 8192))):
        for n_bits in sizes:
            exacts: list[np.ndarray] = []
            errors: dict[str, list[np.ndarray]] = {}
            for seed in SPLITS:
                train, test, none = split(edges, n, seed)
                pairs = np.concatenate([test, none])
                A = adjacency(train, n)
                A = A if hops == 1 else wider(A)
                exact = shared(A, A, pairs)
                signatures = BloomSignatures(n, n_bits, seed=seed).update(train)
                if hops == 2:
                    signatures = signatures.propagate(train)
                other = MinHashes(adjacency(train, n), n_bits // 8, seed, hops)
                whole = MinHashes(adjacency(train, n), n_bits // 4, seed, hops)  # MinHash gets all bytes.
                sizes_of = np.asarray(A.sum(axis=1)).ravel()
                ours = signatures.common_neighbors(*pairs.T)
                for name, found in (
                    ("Bloom", ours),
                    ("Bloom, cut at 0", np.maximum(ours, 0.0)),
                    ("MinHash + HLL", other.shared(pairs, hops - 1, hops - 1)),
                    ("MinHash, exact sizes", whole.shared(pairs, hops - 1, hops - 1, sizes_of)),
                ):
                    errors.setdefault(name, []).append(found - exact)
                exacts.append(exact)
            mean = float(np.mean(np.concatenate(exacts)))
            row: dict[str, Any] = {"hops": hops, "bits a node": n_bits, "mean shared": mean}
            for name, found in errors.items():
                row[name] = float(np.mean([np.sqrt(np.nanmean(part**2)) for part in found]))
            for name in ("Bloom", "Bloom, cut at 0"):
                row[f"{name}, bias"] = float(np.nanmean(np.concatenate(errors[name])))
            rows.append(row)
    return rows


def crossover_rows() -> list[dict[str, Any]]:
    """Measure 60 pairs of sets of one size that share a tenth, with 256 bytes a set."""
    rows, n_pairs, universe = [], 60, 200_000
    rng = np.random.default_rng(3)
    for size in (20, 100, 300, 1000, 2000, 5000, 10_000, 30_000):
        common = size // 10
        drawn = [rng.choice(universe, 2 * size - common, replace=False) for _ in range(n_pairs)]
        ends = np.concatenate([part for s in drawn for part in (s[:size], s[size - common :])])
        sets = universe + np.repeat(np.arange(2 * n_pairs), size)
        n = universe + 2 * n_pairs
        u, v = universe + np.arange(0, 2 * n_pairs, 2), universe + np.arange(1, 2 * n_pairs, 2)
        A = sparse.csr_array((np.ones(ends.size), (sets, ends)), shape=(n, n))
        signatures = BloomSignatures(n, 2048, directed=True, seed=1).update(A)
        other = MinHashes(A, 256, seed=1)
        row: dict[str, Any] = {"size": size, "shared": common}
        for name, found in (
            ("Bloom", signatures.common_neighbors(u, v)),
            ("MinHash + HLL", other.shared(np.stack([u, v], axis=1), 0, 0)),
        ):
            known = found[~np.isnan(found)]
            if known.size:
                row[f"{name}, relative error"] = float(np.sqrt(np.mean((known - common) ** 2)) / common)
        rows.append(row)
    return rows


def graphs() -> Iterator[tuple[str, np.ndarray, int]]:
    if CORA.exists():
        data = np.load(CORA)
        yield "Cora", data["edges"].astype(np.int64), int(data["n_nodes"])
    n, rng = 19_717, np.random.default_rng(4)
    weight = np.arange(1, n + 1) ** -0.6
    yield "power law", rng.choice(n, size=(44_338, 2), p=weight / weight.sum()), n


def weight_rows() -> list[dict[str, Any]]:
    rows = []
    for graph, edges, n in graphs():
        A = adjacency(edges, n)
        near = sparse.triu(A @ A, 1).tocoo()
        chosen = np.random.default_rng(0).permutation(near.nnz)[:20_000]
        pairs = np.stack([near.row[chosen], near.col[chosen]], axis=1)
        degree = np.asarray(A.sum(axis=1)).ravel()
        weights = sparse.diags_array(1 / np.log(np.maximum(degree, 2)))
        count, exact = shared(A, A, pairs), shared((A @ weights).tocsr(), A, pairs)
        constant = (exact @ count) / (count @ count) * count
        of_constant = float(np.sqrt(np.mean((constant - exact) ** 2)))
        for n_bits in (256, 1024, 4096, 16_384):
            signatures = BloomSignatures(n, n_bits, seed=1).update(edges)
            found = signatures.adamic_adar(*pairs.T)
            rows.append(
                {
                    "graph": graph, "nodes": n, "bits": n_bits, "nodes a bit": n / n_bits,
                    "mean Adamic-Adar": float(exact.mean()),
                    "error by signatures": float(np.sqrt(np.mean((found - exact) ** 2))),
                    "error of a constant times exact counts": of_constant,
                }
            )  # fmt: skip
    return rows


def main() -> None:
    path = parse(__doc__.split("\n")[0], "overlaps").json
    counts: list[dict[str, Any]] = []
    if CORA.exists():
        data = np.load(CORA)
        counts = count_rows(data["edges"].astype(np.int64), int(data["n_nodes"]))
    crossing, weights = crossover_rows(), weight_rows()
    show("Cora: errors of common neighbours", counts)
    show("Relative error where a tenth is shared", crossing)
    show("Adamic-Adar", weights)
    write(path, [*counts, *crossing, *weights])


if __name__ == "__main__":
    main()
