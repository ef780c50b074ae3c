"""Predict links with a graph network, with and without Bloom signatures.

This example shows link prediction in graphs with `BloomSignatures`. A graph neural network passes messages
along edges. Its vectors of two nodes do not contain the number of neighbours (neighbors) that the nodes
share. Signatures estimate this number. A second small network gets the `link_features` of a pair, and its
output is added to the output of the first network (Zhang et al., Learning scalable structural
representations for link prediction with Bloom signatures, 2024).

    python examples/link_prediction_pytorch.py [--graph cora.npz] [--epochs 200] [--seed 0]

The example needs PyTorch. The graph is an .npz file with `edges` of shape (n, 2) and `n_nodes`. If its nodes
have features, the file also has the parts of a CSR matrix: `x_data`, `x_indices`, `x_indptr` and `x_shape`.
The default graph links points in the plane that are near to one another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mergesketch import BloomSignatures
from scipy import sparse
from scipy.spatial import cKDTree

try:
    import torch
    from torch import nn
except ImportError:
    torch = None  # The option --help works without it.

HIDDEN = 64


def nearby(n_nodes: int = 2000, degree: float = 8.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return edges between near points of the unit square, and features that do not depend on the points."""
    rng = np.random.default_rng(seed)
    points = rng.random((n_nodes, 2))
    edges = cKDTree(points).query_pairs((degree / (np.pi * n_nodes)) ** 0.5, output_type="ndarray")
    return edges.astype(np.int64), rng.standard_normal((n_nodes, 16)).astype(np.float32)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges and features of an .npz file; by default a node's number is its only feature."""
    data = np.load(path)
    edges, n = data["edges"].astype(np.int64), int(data["n_nodes"])
    if "x_data" not in data:
        return edges, np.eye(n, dtype=np.float32)
    parts = data["x_data"].astype(np.float32), data["x_indices"], data["x_indptr"]
    X = sparse.csr_array(parts, shape=tuple(data["x_shape"])).toarray()
    return edges, X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9)


def averaging(edges: np.ndarray, n: int) -> torch.Tensor:
    """Return the matrix that averages each node's vector with its neighbours', normalised by degrees."""
    ends = np.concatenate([edges, edges[:, ::-1], np.stack([np.arange(n)] * 2, axis=1)])
    A = sparse.csr_array((np.ones(len(ends), np.float32), tuple(ends.T)), shape=(n, n))
    root = sparse.diags_array(A.sum(axis=1) ** -0.5)
    A = (root @ A @ root).tocoo()
    places, values = np.stack([A.row, A.col]), A.data.astype(np.float32)
    return torch.sparse_coo_tensor(places, values, (n, n), check_invariants=True).coalesce()


class LinkModel(nn.Module if torch else object):
    """Two layers of messages, a network on products of vectors, and a second network on signatures."""

    def __init__(self, n_features: int, n_signature_features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_features, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.of_vectors = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.of_signatures = nn.Sequential(
            nn.BatchNorm1d(n_signature_features),
            nn.Linear(n_signature_features, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )

    def forward(
        self, A: torch.Tensor, X: torch.Tensor, pairs: torch.Tensor, features: torch.Tensor | None
    ) -> torch.Tensor:
        X = nn.functional.dropout(X, 0.5, self.training)
        hidden = nn.functional.dropout(torch.relu(A @ self.first(X)), 0.5, self.training)
        vectors = A @ self.second(hidden)
        score = self.of_vectors(vectors[pairs[:, 0]] * vectors[pairs[:, 1]])
        if features is not None:
            score = score + self.of_signatures(features)
        return score.squeeze(1)


def signature_features(edges: np.ndarray, n: int, pairs: np.ndarray, seed: int = 0) -> torch.Tensor:
    """Return features of pairs from signatures of one and two hops; counts are logarithms."""
    near = BloomSignatures(n, 2048, seed=seed).update(edges)
    return torch.from_numpy(np.log1p(near.link_features(pairs, near.propagate(edges))))


def unlinked_pairs(edges: np.ndarray, n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return pairs of nodes without an edge."""
    known = set((edges.min(axis=1) * n + edges.max(axis=1)).tolist())
    drawn = np.sort(rng.integers(0, n, (4 * k + 100, 2)), axis=1)
    unlinked = [u != v and u * n + v not in known for u, v in drawn.tolist()]
    return drawn[unlinked][:k]


def area(scores: np.ndarray, links: np.ndarray) -> float:
    """Return the share of cases in which a link scores higher than an unlinked pair; ties count half."""
    yes, no = scores[links], np.sort(scores[~links])
    return float((np.searchsorted(no, yes, "left") + np.searchsorted(no, yes, "right")).mean() / 2 / no.size)


def run(edges: np.ndarray, X: np.ndarray, *, signatures: bool, epochs: int, seed: int = 0) -> float:
    """Train on 85 % of the edges, and return the area under the ROC on 10 % others and unlinked pairs."""
    torch.manual_seed(seed)
    rng, n = np.random.default_rng(seed), len(X)
    edges = edges[rng.permutation(len(edges))]
    train, test = edges[: int(0.85 * len(edges))], edges[int(0.9 * len(edges)) :]
    # The model must not get the links that it learns to predict, neither in messages nor in signatures.
    asked, seen = train[: len(train) // 5], train[len(train) // 5 :]
    model = LinkModel(X.shape[1], 13)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4)

    def inputs(graph: np.ndarray, links: np.ndarray) -> tuple[tuple, torch.Tensor]:
        pairs = np.concatenate([links, unlinked_pairs(edges, n, len(links), rng)])
        features = signature_features(graph, n, pairs, seed) if signatures else None
        given = averaging(graph, n), torch.from_numpy(X), torch.from_numpy(pairs), features
        return given, torch.arange(len(pairs)) < len(links)

    given, links = inputs(seen, asked)
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(*given), links.float())
        loss.backward()
        optimizer.step()
    given, links = inputs(train, test)
    model.eval()
    with torch.no_grad():
        return area(model(*given).numpy(), links.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--graph", type=Path, help=".npz file with edges and n_nodes (default: near points in the plane)"
    )
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if torch is None:
        raise SystemExit("this example needs PyTorch: pip install torch")
    try:
        edges, X = read(options.graph) if options.graph else nearby(seed=options.seed)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"argument --graph: {error}")
    print(f"{len(X):,} nodes, {len(edges):,} edges")
    for signatures in (False, True):
        found = run(edges, X, signatures=signatures, epochs=options.epochs, seed=options.seed)
        print(
            f"{'messages and signatures' if signatures else 'messages alone':24} area under ROC {found:.3f}"
        )


if __name__ == "__main__":
    main()
