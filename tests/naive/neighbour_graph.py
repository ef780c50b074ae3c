"""Graphs of near neighbours: lists of the nearest rows, links, and best-first search."""

from __future__ import annotations

import numpy as np

MASK = (1 << 64) - 1


def distance(metric: str, x: np.ndarray, y: np.ndarray) -> np.float32:
    """Return the key of a distance in float32: columns 16 by 16, then 4 by 4, then the rest one by one."""
    terms = {"angle": x * y, "euclidean": (x - y) * (x - y), "cityblock": abs(x - y)}[metric]
    at, sums = 0, []
    for width in (16, 4, 1):
        lanes = np.zeros(width, np.float32)
        while at + width <= len(terms):
            lanes = lanes + terms[at : at + width]
            at += width
        while len(lanes) > 1:
            lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
        sums.append(lanes[0])
    total = (sums[0] + sums[1]) + sums[2]
    return -total if metric == "angle" else total


def nearest(rows: np.ndarray, metric: str, node: int, others: list[int], k: int) -> list[int]:
    """Return the k nearest of some other nodes, at equal distances by number."""
    others = [other for other in set(others) if other not in (-1, node)]
    return sorted(others, key=lambda other: (distance(metric, rows[node], rows[other]), other))[:k]


def chosen(
    rows: np.ndarray, metric: str, node: int, listed: list[int], most: int, diversify: bool
) -> list[int]:
    """Return the nodes that a node is linked to: none that is nearer to one that was chosen before."""
    links: list[int] = []
    for other in listed:
        away = distance(metric, rows[node], rows[other])
        hidden = any(distance(metric, rows[link], rows[other]) < away for link in links)
        if len(links) < most and not (diversify and hidden):
            links.append(other)
    return links


def links(
    rows: np.ndarray, metric: str, lists: list[list[int]], most: int, diversify: bool
) -> list[set[int]]:
    """Return the links of all nodes, reverse ones included."""
    own = [chosen(rows, metric, node, listed, most, diversify) for node, listed in enumerate(lists)]
    complete = []
    for node, first in enumerate(own):
        reverse = [other for other in range(len(rows)) if node in own[other] and other not in first]
        # Those that have chosen this node first come before others.
        eager = [other for other in reverse if own[other][0] == node]
        kept = nearest(rows, metric, node, eager, most - len(first))
        others = [other for other in reverse if other not in eager]
        kept += nearest(rows, metric, node, others, most - len(first) - len(kept))
        complete.append({*first, *kept})
    return complete


def search(
    q: np.ndarray, rows: np.ndarray, metric: str, links: list[list[int]], entries: list[int], ef: int
) -> tuple[list[int], list[int], list[int]]:
    """Return the `ef` nearest nodes found, the nodes whose links were followed, and those looked at."""

    def key(node: int) -> tuple[np.float32, int]:
        return distance(metric, q, rows[node]), node

    looked_at: list[int] = []
    expanded: list[int] = []
    pool: list[int] = []
    waiting = entries
    while True:
        for node in waiting:
            if node not in looked_at:
                looked_at.append(node)
                pool.append(node)
        pool = sorted(pool, key=key)[:ef]
        left = [node for node in pool if node not in expanded]
        if not left:
            return pool, expanded, looked_at
        expanded.append(left[0])
        waiting = links[left[0]]


def mixed(word: int) -> int:
    """Return a word mixed as SplitMix64 does."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def long_links(
    rows: np.ndarray, metric: str, node: int, word: int, n_levels: int, old: list[int], origins: list[int]
) -> list[int]:
    """Return the long links of a node: each to the nearest of 1, 2, 4, ... nodes at random.

    An old link, if not -1, is compared with the b of c nodes that are of other origins only, and gives way in
    any case with probability (b / c)**2.
    """
    found = []
    for before in old:
        salt = mixed(len(rows)) if before >= 0 else 0
        word = word + 0x9E3779B97F4A7C15 & MASK
        drawn = []
        for _ in range(2 ** (mixed(word) % n_levels)):
            word = word + 0x9E3779B97F4A7C15 & MASK
            drawn.append(mixed(word ^ salt) % len(rows))
        others = [other for other in drawn if other != node]
        if before >= 0:
            others = [other for other in others if origins[other] != origins[node]]
            if mixed(~(word ^ salt) & MASK) % len(drawn) ** 2 >= len(others) ** 2:
                others = [before, *others]
        # At equal distances the first that was drawn is taken.
        keys = [distance(metric, rows[node], rows[other]) for other in others]
        found.append(others[keys.index(min(keys))] if others else (node + 1) % len(rows))
    return found
