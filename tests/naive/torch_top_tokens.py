"""Attention to few tokens of one head, written out: tokens by their products, or pages by their bounds."""

from __future__ import annotations

import math

import numpy as np

from naive.sparse_attention import Numbers, attention, top_tokens


def best_pages(
    scores: list[float], k: int, sinks: int, window: int, position: int, size: int, allowed: list[bool]
) -> list[int]:
    """Return the pages of a query: those of the first and the latest tokens, and those with the best bounds.

    Pages without an allowed token, and those behind the position, are never selected.
    """

    def rank(page: int) -> tuple[bool, float, int]:
        tokens = range(page * size, page * size + size)
        certain = any(t < sinks or position - window < t <= position for t in tokens)
        return not certain, -scores[page], page

    seen = [p for p in range(len(scores)) if p * size <= position and any(allowed[p * size : (p + 1) * size])]
    return sorted(sorted(seen, key=rank)[: math.ceil(k / size)])


def bound(query: Numbers, keys: Numbers) -> float:
    """Return the sum of the largest products of each column of a page."""
    return sum(max(q * x for x in column) for q, column in zip(query, keys.T, strict=True))


def attend(
    Q: Numbers,
    K: Numbers,
    V: Numbers,
    bias: Numbers,
    positions: list[int],
    k: int,
    sinks: int,
    window: int,
    page_size: int | None,
) -> Numbers:
    """Return outputs, 0 for a query without tokens. `bias` of shape (n_queries, n) is added to products."""
    scores = Q @ K.T + bias
    if page_size is None:
        tokens = top_tokens(scores, k, sinks, window, positions)
    else:
        tokens = []
        for query, row, position in zip(Q, bias, positions, strict=True):
            allowed = (row > -math.inf).tolist()
            # Without allowed tokens a page is never selected, whatever its bound.
            bounds = [
                bound(query, K[a : a + page_size][allowed[a : a + page_size]])
                if any(allowed[a : a + page_size])
                else -math.inf
                for a in range(0, len(K), page_size)
            ]
            pages = best_pages(bounds, k, sinks, window, position, page_size, allowed)
            inside = [t for p in pages for t in range(p * page_size, min((p + 1) * page_size, len(K)))]
            tokens.append([t for t in inside if t <= position and allowed[t]])
    # The bias of a token is a column of its key, for which the query has 1.
    outputs = np.zeros((len(Q), V.shape[1]))
    for i, chosen in enumerate(tokens):
        if chosen:
            keys = np.column_stack([K[chosen], bias[i, chosen]])
            found = attention(np.append(Q[i], 1.0)[None], keys, V[chosen], [list(range(len(chosen)))], 1.0)
            outputs[i] = found[0]
    return outputs
