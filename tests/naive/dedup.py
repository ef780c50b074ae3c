"""De-duplication: candidate pairs, their components, and all similar pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from naive.minhash import jaccard


def bucket_pairs(keys: list[int], limit: int) -> set[tuple[int, int]]:
    """Pair the places of equal keys: all, or in buckets above `limit` the first and each other one."""
    pairs = set()
    for key in set(keys):
        places = [i for i, k in enumerate(keys) if k == key]
        for m, right in enumerate(places):
            for n, left in enumerate(places[:m]):
                if len(places) <= limit or n == 0:
                    pairs.add((left, right))
    return pairs


def candidates(values: Sequence[Sequence[int]], bands: int, rows: int) -> set[tuple[int, int]]:
    """Return the pairs of signatures that are equal in a whole band."""
    parts = [[tuple(v[b * rows : (b + 1) * rows]) for b in range(bands)] for v in values]
    return {
        (i, j)
        for j in range(len(parts))
        for i in range(j)
        if any(a == b for a, b in zip(parts[i], parts[j], strict=True))
    }


def contained(a: set[int], b: set[int]) -> float:
    """Return the share of the smaller set that the other set has."""
    return len(a & b) / min(len(a), len(b))


def stars(order: Sequence[int], are_similar: Callable[[int, int], bool]) -> dict[int, int]:
    """Map every node to its centre: the first earlier centre that it is similar to, or itself."""
    centres: dict[int, int] = {}
    for node in order:
        centre = next((c for c in order if centres.get(c) == c and are_similar(c, node)), node)
        centres[node] = centre
    return centres


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
