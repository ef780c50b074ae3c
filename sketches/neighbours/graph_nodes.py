"""Nodes of a graph of near neighbours: each stands for all rows that are equal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows
from ...lsh.support.backend import sum_rows
from ...lsh.support.threads import cut_range

__all__ = ["MOST_ROWS", "NUMBERS", "Nodes", "join_nodes", "number_distinct", "read_nodes"]

#: The longest rows, whose squared distances fit float32.
_LONGEST = 4e18
#: Numbers that are converted at a time.
NUMBERS = 1 << 22
#: The most rows, whose numbers are int32.
MOST_ROWS = (1 << 31) - 2


class Nodes(NamedTuple):
    """Distinct rows, what each is linked to, and the nodes of all rows."""

    #: float32, shape (m, d).
    rows: NDArray[np.float32]
    #: int32, shape (n,): the node of each row. Nodes are numbered in the order of their first rows.
    nodes: NDArray[np.int32]
    #: int32, shape (m, k): the nearest other nodes that are known, the nearest first, and -1 at the end.
    neighbours: NDArray[np.int32]
    #: int32, shape (m, n_long_links), -1 where none has been drawn.
    long_links: NDArray[np.int32]


def read_nodes(rows: VectorRows, metric: str, name: str) -> NDArray[np.float32]:
    """Return rows as float32: of length 1 where angles are compared, and otherwise as they are.

    Raises
    ------
    ValueError
        If distances of rows are too large for float32.
    """
    out = np.empty((rows.n, rows.width), np.float32)
    for first, last in cut_range(0, rows.n, max(1, NUMBERS // max(1, rows.width))):
        part = rows.cut(first, last).dense.astype(np.float64)
        largest = np.abs(part).max(axis=1, keepdims=True, initial=0.0)
        scaled = part / np.where(largest > 0.0, largest, 1.0)
        # Sums in one order, so that all processors find the same.
        lengths = np.sqrt(sum_rows((scaled * scaled).T))[:, None] if rows.width else largest
        if metric == "angle":
            part = scaled / np.where(lengths > 0.0, lengths, 1.0)
        else:
            sizes = sum_rows(np.abs(scaled).T)[:, None] if metric == "cityblock" and rows.width else lengths
            with np.errstate(over="ignore"):
                sizes = sizes * largest
            if not (sizes <= _LONGEST).all():
                row = int(np.argmax(sizes[:, 0] > _LONGEST))
                raise ValueError(
                    f"{name} must have rows of lengths up to {_LONGEST:g}, whose squares fit float32, got "
                    f"{float(sizes[row, 0]):g} in row {first + row}"
                )
        # A negative zero becomes a positive one, so that equal rows have equal bytes.
        out[first:last] = part.astype(np.float32) + np.float32(0.0)
    return out


def number_distinct(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return a number for each row, the same for equal rows only."""
    if not rows.shape[1] or not len(rows):
        return np.zeros(len(rows), np.int64)
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, 4 * rows.shape[1])))[:, 0]
    return np.asarray(np.unique(keys, return_inverse=True)[1], np.int64).reshape(-1)


def join_nodes(
    parts: list[Nodes], order: NDArray[np.int64] | None
) -> tuple[Nodes, list[NDArray[np.int32]], NDArray[np.int32], NDArray[np.int32]]:
    """Return the nodes of all rows of parts, what the nodes of each part have become, and further neighbours.

    Parameters
    ----------
    parts : list of Nodes
    order : int64, optional
        The order of all rows, by their numbers in the parts one after the other; by default that one.

    Returns
    -------
    joined : Nodes
    numbers : list of int32
        For each part, the new numbers of its nodes.
    pairs : int32, shape (p, 2)
        Nodes, and a neighbour of each: those of equal rows of other parts.
    origins : int32
        The part whose links each node has.
    """
    sizes = [len(part.rows) for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.concatenate([part.rows for part in parts])
    old = np.concatenate([part.nodes + start for part, start in zip(parts, starts[:-1], strict=True)])
    if order is not None:
        old = old[order]
    groups = number_distinct(rows)
    # The first row of each group, and the groups in the order of their first rows.
    found, firsts, inverse = np.unique(groups[old], return_index=True, return_inverse=True)
    in_order = np.argsort(firsts)
    numbers = np.empty(found.size, np.int64)
    numbers[in_order] = np.arange(found.size)
    new_of_old = np.full(len(rows), -1, np.int64)
    of_group = np.full(int(groups.max(initial=-1)) + 1, -1, np.int64)
    of_group[found] = numbers
    new_of_old[:] = of_group[groups]
    chosen = old[firsts[in_order]]

    def renumbered(links: list[Any]) -> NDArray[np.int32]:
        moved = [
            np.where(link >= 0, new_of_old[np.where(link >= 0, link + start, 0)], -1)
            for link, start in zip(links, starts[:-1], strict=True)
        ]
        return np.concatenate(moved).astype(np.int32)

    lists = renumbered([part.neighbours for part in parts])
    long_links = renumbered([part.long_links for part in parts])
    others = np.setdiff1d(np.arange(len(rows)), chosen)
    pairs = np.stack([np.repeat(new_of_old[others], lists.shape[1]), lists[others].reshape(-1)], axis=1)
    joined = Nodes(
        rows[chosen], numbers[inverse.reshape(-1)].astype(np.int32), lists[chosen], long_links[chosen]
    )
    moved = [new_of_old[a:b].astype(np.int32) for a, b in pairwise(starts)]
    origins = (np.searchsorted(starts, chosen, side="right") - 1).astype(np.int32)
    return joined, moved, pairs[pairs[:, 1] >= 0].astype(np.int32), origins
