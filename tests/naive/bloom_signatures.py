"""Neighbourhoods of the nodes of a graph."""

from __future__ import annotations

from typing import Any


def neighbourhoods(n_nodes: int, edges: Any, n_hops: int, directed: bool) -> list[set[int]]:
    """Return the nodes within n_hops edges of each node, by widening sets hop by hop."""
    near: list[set[int]] = [set() for _ in range(n_nodes)]
    for u, v in edges:
        if u != v:
            near[u].add(v)
            if not directed:
                near[v].add(u)
    sets = [set(neighbours) for neighbours in near]
    for _ in range(n_hops - 1):
        sets = [sets[u].union(*(sets[v] for v in near[u])) for u in range(n_nodes)]
    return sets
