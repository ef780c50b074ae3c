"""Kernels that choose the links of a graph of near neighbours."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .graph_distances import row_distance
from .heaps import keep_best, sort_best

__all__ = ["add_reverse_links", "choose_links", "draw_long_links", "group_pairs", "spread_nodes"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def group_pairs(targets, offsets, order):
    """Write the places of pairs in the order of their targets, and where each target's pairs begin.

    `offsets` has a zero for each target, and two more.
    """
    for i in range(targets.size):
        if targets[i] >= 0:
            offsets[targets[i] + 2] += 1
    for target in range(2, offsets.size):
        offsets[target] += offsets[target - 1]
    for i in range(targets.size):
        if targets[i] >= 0:
            order[offsets[targets[i] + 1]] = i
            offsets[targets[i] + 1] += 1


@kernel
def choose_links(rows, lists, metric, diversify, start, stop, chosen):
    """Choose the links of the nodes [start, stop) from the lists of their nearest nodes, in order.

    With `diversify`, a node is left out that is nearer to one that was chosen before: a search reaches it
    from there.
    """
    width, flat = rows.shape[1], rows.reshape(-1)
    for i in range(start, stop):
        size = 0
        for j in range(lists.shape[1]):
            node = lists[i, j]
            if node < 0 or size == chosen.shape[1]:
                break
            is_hidden = False
            if diversify and size:
                at = np.int64(node) * width
                key = row_distance(metric, flat, np.int64(i) * width, flat, at, width)
                for other in range(size):
                    there = np.int64(chosen[i, other]) * width
                    if row_distance(metric, flat, there, flat, at, width) < key:
                        is_hidden = True
                        break
            if not is_hidden:
                chosen[i, size] = node
                size += 1
        chosen[i, size:] = -1


@kernel
def add_reverse_links(rows, chosen, offsets, sources, metric, start, stop, links):
    """Write the chosen links of the nodes [start, stop), and then links to nodes that have chosen them.

    If there are more than fit, those to nodes that have chosen this one first are kept, and then those to the
    nearest nodes. So few nodes are left that no link leads to.
    """
    width, most, flat = rows.shape[1], links.shape[1], rows.reshape(-1)
    for i in range(start, stop):
        size = 0
        while size < chosen.shape[1] and chosen[i, size] >= 0:
            links[i, size] = chosen[i, size]
            size += 1
        n_own = size
        n_reverse = 0
        for j in range(offsets[i], offsets[i + 1]):
            n_reverse += not _is_among(sources[j], links[i], n_own)
        room = min(most - size, n_reverse)
        numbers, keys = np.empty(room, np.int64), np.empty(room, np.float32)
        for turn in range(2):
            n_kept = 0
            for j in range(offsets[i], offsets[i + 1]) if size < n_own + room else range(0):
                node = np.int64(sources[j])
                if (chosen[node, 0] == i) != (turn == 0) or _is_among(node, links[i], n_own):
                    continue
                key = row_distance(metric, flat, np.int64(i) * width, flat, node * width, width)
                n_kept = keep_best(node, key, n_own + room - size, 0, n_kept, numbers, keys)
            sort_best(0, n_kept, numbers, keys)
            for j in range(n_kept):
                links[i, size] = numbers[j]
                size += 1
        links[i, size:] = -1


@helper(forceinline=True)
def _is_among(node, nodes, size):
    found = False
    for j in range(size):
        found |= nodes[j] == node
    return found


@helper(forceinline=True)
def _mixed(word):
    """Return the next word of SplitMix64."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@kernel
def draw_long_links(rows, words, origins, metric, n_levels, start, stop, long_links):
    """Draw long links of the nodes [start, stop): each to the nearest of some nodes at random.

    The number of these nodes is a power of two, and all `n_levels` powers from 1 on are equally likely. So
    the rank r of the node that is linked has a probability of about 1 / r. `words` has a random word for each
    node.

    A link that is there already was drawn among nodes of the same origin. Of c nodes that are drawn now, it
    is compared with the b nodes of other origins only, of which one is nearer with probability
    b / (b + c). Else it gives way with probability (b / c)**2, so that it does so with b / c in all, as if
    all c nodes were drawn anew.
    """
    width, flat, n = rows.shape[1], rows.reshape(-1), np.uint64(rows.shape[0])
    for i in range(start, stop):
        word = words[i]
        for j in range(long_links.shape[1]):
            old = np.int64(long_links[i, j])
            # The nodes that are drawn for a link differ each time, but not how many they are.
            salt = _mixed(n) if old >= 0 else np.uint64(0)
            word += _GOLDEN
            count = 1 << np.int64(_mixed(word) % np.uint64(n_levels))
            best, best_key, n_others = np.int64(-1), np.float32(np.inf), 0
            for _ in range(count):
                word += _GOLDEN
                node = np.int64(_mixed(word ^ salt) % n)
                if node != i and (old < 0 or origins[node] != origins[i]):
                    n_others += 1
                    key = row_distance(metric, flat, np.int64(i) * width, flat, node * width, width)
                    if best < 0 or key < best_key:
                        best, best_key = node, key
            if old >= 0:
                if best < 0:
                    best = old
                elif _mixed(~(word ^ salt)) % np.uint64(count * count) >= np.uint64(n_others * n_others):
                    place = np.int64(i) * width
                    if row_distance(metric, flat, place, flat, old * width, width) <= best_key:
                        best = old
            elif best < 0 and n > 1:
                # All nodes that were drawn are this one.
                best = (i + 1) % np.int64(n)
            long_links[i, j] = best


@kernel
def spread_nodes(rows, some, metric, start, stop, far):
    """Choose the nodes [start, stop) of `far` from some nodes: the first one, and then the farthest ones.

    Each is the node whose nearest node among those that were chosen before is farthest away (the traversal
    of Gonzalez 1985).
    """
    width, flat = rows.shape[1], rows.reshape(-1)
    keys = np.full(some.size, np.inf, np.float32)
    here = 0
    for i in range(start, stop):
        far[i] = some[here]
        base = np.int64(some[here]) * width
        farthest = 0
        for j in range(some.size):
            key = row_distance(metric, flat, base, flat, np.int64(some[j]) * width, width)
            keys[j] = min(keys[j], key)
            if keys[j] > keys[farthest]:
                farthest = j
        # A node is chosen once, even if others are at the distance 0 in float32.
        keys[here] = -np.float32(np.inf)
        if farthest == here:
            farthest = int(np.argmax(keys))
        here = farthest
