"""Sums over ranges of labels in an order that does not depend on which process has which ranges.

The ranges are the leaves of a binary tree, and a node is the sum of its two children. Node i of level l has
the ranges from ``i * 2**l`` on; the last node of a level may have no partner, and goes up as it is. A process
with consecutive ranges adds them up to a few nodes, which `nodes_of` names.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

__all__ = ["Nodes", "added", "nodes_of", "sum_of_nodes", "sums_of_nodes"]

#: Arrays by the level and the number of their nodes.
Nodes = dict[tuple[int, int], NDArray[Any]]


def added(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the sum of the arrays of all ranges, added along the tree."""
    return sum_of_nodes({(0, i): array for i, array in enumerate(arrays)}, len(arrays))


def sum_of_nodes(nodes: Nodes, n: int) -> NDArray[Any]:
    """Return the sum of all n ranges from nodes that have each of them once."""
    return _value(nodes, (n - 1).bit_length(), 0, n)


def sums_of_nodes(arrays: list[NDArray[Any]], start: int, n: int) -> Nodes:
    """Add up the arrays of the ranges from `start` on, of n in all, to the nodes of `nodes_of`."""
    leaves = {(0, start + i): array for i, array in enumerate(arrays)}
    return {node: _value(leaves, *node, n) for node in nodes_of(start, start + len(arrays), n)}


def nodes_of(start: int, stop: int, n: int) -> list[tuple[int, int]]:
    """Return the largest nodes that together have the ranges [start, stop) of n, in their order."""
    found = []
    while start < stop:
        level = 0
        while start % 2 ** (level + 1) == 0 and min(start + 2 ** (level + 1), n) <= stop and 2**level < n:
            level += 1
        found.append((level, start >> level))
        start += 2**level
    return found


def _value(nodes: Nodes, level: int, i: int, n: int) -> NDArray[Any]:
    if (level, i) in nodes:
        return nodes[level, i]
    left = _value(nodes, level - 1, 2 * i, n)
    has_right = (2 * i + 1) << (level - 1) < n
    return left + _value(nodes, level - 1, 2 * i + 1, n) if has_right else left
