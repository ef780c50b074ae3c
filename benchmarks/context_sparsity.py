"""Measure how much attention few tokens keep: kept mass and output error against sparsity, by selectors.

At a sparsity of s, each query attends to n / s of the n tokens of its context, and the softmax over these is
exact. "mass" is the share of the full attention that falls on them. "error" is the length of the difference
from the full attention's output, over the output's length. Both are means over the queries of a head; rows
have the mean over heads, with its standard error. "first and latest" tells whether a quarter of the tokens
are the latest ones, and up to 4 the first ones, before a selector chooses the others.

Queries, keys and values are real. "MiniLM" are those of all-MiniLM-L6-v2 (72 heads of 32 columns) on the
Python language reference, in contexts of 512 tokens, the most that it takes. It is an encoder, in which all
tokens see each other; the queries are the last 16 tokens. "MiniLM, 8 contexts" puts the keys and values of 8
contexts behind each other: 4,096 real keys, which the model has not seen as one context. "language model" is
the small causal one of benchmarks/attention_models.py (8 heads of 16 columns) on 256 tokens of held-out text;
its queries see no later tokens. There is no other text of it for the quantizers.

"bytes a token" is what a selector keeps beside keys and values. Hard and soft collisions have 16 tables of 8
bits, and Hamming distances compare the same bits. Product quantizers have 16 groups of 256 centroids, fitted
to the head's keys in other contexts; centroids are not counted. "exact" is the oracle: the largest products.
"""

from __future__ import annotations

from collections.abc import Iterator
from pydoc_data.topics import topics
from typing import NamedTuple

import minilm
import numpy as np
from measure import parse, show, write
from mergesketch import (
    PageBounds,
    ProductQuantizer,
    SoftCollisions,
    VectorCodes,
    set_num_threads,
    sparse_attention,
    top_tokens,
)
from mergesketch.lsh import SignedRandomProjection

SPARSITIES = (2, 5, 10, 20, 50)
CONTEXTS, TRAINING, LONG, QUERIES = 4, 4, 8, 16
TABLES, POWER, GROUPS, PAGE = 16, 8, 16, 16


class Head(NamedTuple):
    """The queries, keys and values of a head, and the keys of other contexts, which quantizers learn from."""

    name: str
    number: int
    Q: np.ndarray
    K: np.ndarray
    V: np.ndarray
    others: np.ndarray
    #: The position of each query if it sees no later tokens.
    positions: np.ndarray | None


def heads_of_minilm() -> Iterator[Head]:
    """Yield the heads of MiniLM in contexts of 512 tokens, and in 8 of them behind each other."""
    model = minilm.MiniLM()
    windows = model.windows("\n".join(topics.values()), LONG + TRAINING)
    # By context, layer, what, head, token and column.
    stacked = np.array([list(model.attention(window)) for window in windows], np.float32)
    # Contexts that quantizers learn from lie between those that are measured.
    learned = np.arange(len(windows)) % (len(windows) // TRAINING) == 1
    n_layers, n_heads = stacked.shape[1], stacked.shape[3]
    for layer in range(n_layers):
        for head in range(n_heads):
            Q, K, V = stacked[~learned, layer, :, head].swapaxes(0, 1)
            number, others = layer * n_heads + head, np.concatenate(stacked[learned, layer, 1, head])
            for context in range(0, LONG, LONG // CONTEXTS):
                yield Head("MiniLM", number, Q[context, -QUERIES:], K[context], V[context], others, None)
            whole = [np.concatenate(rows) for rows in (K, V)]
            yield Head(f"MiniLM, {LONG} contexts", number, Q[-1, -QUERIES:], *whole, others, None)


def heads_of_language_model() -> Iterator[Head]:
    """Yield the heads of the small causal language model, in one context of 256 tokens."""
    try:
        from attention_models import trained_qkv
    except ModuleNotFoundError as error:
        print(f"{error.name} is not there: the language model is left out")
        return
    queries, keys, values = trained_qkv()
    n_layers, n_heads, n, d = keys.shape
    positions, others = np.arange(n - QUERIES, n), np.zeros((0, d))
    for layer in range(n_layers):
        for head in range(n_heads):
            Q, K, V = (array[layer, head] for array in (queries, keys, values))
            yield Head("language model", layer * n_heads + head, Q[-QUERIES:], K, V, others, positions)


def signs(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.where(rows @ vectors >= 0.0, 1.0, -1.0)


class Selectors:
    """Score the keys of heads of d columns, by name."""

    def __init__(self, d: int) -> None:
        family = SignedRandomProjection(d, TABLES, power=POWER, seed=1)
        self.vectors = family.vectors.T.astype(np.float64)
        self.empty = {
            "hard collisions": SoftCollisions(family, 1e-8),
            "SoftCollisions (SOCKET)": SoftCollisions(family),
            "SoftCollisions, tau = 3": SoftCollisions(family, 3.0),
            "VectorCodes, 1 bit": VectorCodes(d, 1, seed=1).update(np.ones((1, d))),
            "VectorCodes, 4 bits": VectorCodes(d, 4, seed=1).update(np.ones((1, d))),
            f"PageBounds, pages of {PAGE}": PageBounds(d, PAGE),
            f"PageBounds, pages of {PAGE // 4}": PageBounds(d, PAGE // 4),
        }
        self.rng, self.quantizers = np.random.default_rng(3), {}

    def scores(self, head: Head) -> Iterator[tuple[str, int, np.ndarray]]:
        """Yield the name of each selector, its bytes a token, and its scores."""
        Q, K, n = head.Q, head.K, len(head.K)
        yield "random", 0, self.rng.random((len(Q), n))
        yield "latest tokens", 0, np.broadcast_to(np.arange(n, dtype=float), (len(Q), n))
        for name, empty in self.empty.items():
            given = {"norms": np.linalg.norm(head.V, axis=1)} if "SOCKET" in name else {}
            made = empty.empty_like().update(K, **given)
            yield name, round(made.nbytes / n), made.scores(Q)
        bits = signs(K, self.vectors)
        yield "Hamming distance", bits.shape[1] // 8, signs(Q, self.vectors) @ bits.T
        yield "exact", 4 * K.shape[1], Q @ K.T
        if not len(head.others):
            return
        known = self.quantizers
        if head.number not in known:
            made = ProductQuantizer(K.shape[1], GROUPS, 256, n_iterations=10, n_restarts=1, seed=1)
            known[head.number] = made.fit(head.others)
        codes = known[head.number].encode(K)
        yield "ProductQuantizer", codes.shape[1], known[head.number].scores(Q, codes)


def main() -> None:
    arguments = parse(__doc__ or "", "context_sparsity")
    if not minilm.is_installed():
        print(f"{minilm.PACKAGE} is not installed: nothing is measured")
        return
    set_num_threads(1)
    measured: dict[tuple, dict[int, list[tuple[float, float]]]] = {}
    lengths: dict[str, tuple[int, int]] = {}
    selectors: dict[str, Selectors] = {}
    for heads in (heads_of_minilm(), heads_of_language_model()):
        for head in heads:
            n, d = head.K.shape
            lengths[head.name] = (n, d)
            set_of = head.name.partition(",")[0]
            if set_of not in selectors:
                selectors[set_of] = Selectors(d)
            at = np.full(len(head.Q), n - 1) if head.positions is None else head.positions
            seen = np.where(np.arange(n) <= at[:, None], np.arange(n), -1)
            full = sparse_attention(head.Q, head.K, head.V, seen)
            norms = np.linalg.norm(full.outputs, axis=1)
            for name, size, scores in selectors[set_of].scores(head):
                for sparsity in SPARSITIES:
                    k = n // sparsity
                    for marked in (False, True):
                        kept = {"sinks": min(4, k // 4), "window": k // 4} if marked else {}
                        tokens = top_tokens(scores, k, positions=at, **kept)
                        found = sparse_attention(head.Q, head.K, head.V, tokens)
                        mass = np.exp(found.log_masses - full.log_masses).mean()
                        error = (np.linalg.norm(found.outputs - full.outputs, axis=1) / norms).mean()
                        key = (head.name, name, size, marked, sparsity)
                        measured.setdefault(key, {}).setdefault(head.number, []).append((mass, error))
    results = []
    for (name, selector, size, marked, sparsity), by_head in measured.items():
        values = np.array([np.mean(pairs, axis=0) for pairs in by_head.values()])
        mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
        row = {"set": name, "tokens": lengths[name][0], "columns": lengths[name][1], "heads": len(values)}
        row |= {"selector": selector, "bytes a token": size, "first and latest": marked}
        row |= {"sparsity": sparsity, "mass": mean[0], "mass, ±": deviation[0]}
        results.append(row | {"error": mean[1], "error, ±": deviation[1]})
    show("attention over few tokens", results)
    write(arguments.json, results)


if __name__ == "__main__":
    main()
