"""De-duplication: candidate pairs, their components, and all similar pairs."""

from __future__ import annotations

from collections.abc import Iterable

from naive.minhash import jaccard


def bucket_pairs(keys: list[int], limit: int, near: int) -> set[tuple[int, int]]:
    """Pair the places of equal keys: all, or in buckets above `limit` the near ones and the first."""
    pairs = set()
    for key in set(keys):
        places = [i for i, k in enumerate(keys) if k == key]
        for m, right in enumerate(places):
            for n, left in enumerate(places[:m]):
                if len(places) <= limit or m - n <= near or n == 0:
                    pairs.add((left, right))
    return pairs


def components(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Map every node that has an edge to the least node of its component; least nodes are left out."""
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    roots: dict[int, int] = {}
    for node in sorted(neighbours):
        if node not in roots:
            waiting = [node]
            while waiting:
                other = waiting.pop()
                if other not in roots:
                    roots[other] = node
                    waiting.extend(neighbours[other])
    return {node: root for node, root in roots.items() if node != root}


def similar_pairs(sets: list[set[int]], threshold: float) -> dict[tuple[int, int], float]:
    """Return the pairs of non-empty sets whose Jaccard similarity is at least `threshold`."""
    return {
        (i, j): similarity
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and (similarity := jaccard(sets[i], sets[j])) >= threshold
    }
