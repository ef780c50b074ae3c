"""Keep the most frequent ids of a query in a bounded number of cells, as SLASH aggregates them over ranks.

Each query has a few rows of cells. An id falls into one cell of every row, and the ids of a cell vote. The
cell has one of them and a counter. An equal id raises the counter, and another id lowers it; when the
counter would fall below zero, the other id takes the cell (Boyer and Moore's majority vote; Topkapi: Mandal,
Jiang, Shrivastava and Sarkar 2018). Cells merge in the same way. A counter is a lower bound of its id's
count. The ids in the cells depend on the order of the votes. Ids are stored plus one, as in the slots of
buckets; 0 is an empty cell.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64
from ...sketches.kernels.heaps import keep_best
from ...sketches.kernels.index_query import write_frequent

__all__ = ["cells_of_buckets", "merge_cells", "top_of_cells"]


@kernel
def cells_of_buckets(slots, seen, codes, keys, start, stop, cells, votes):
    """Count the ids in the buckets of the queries [start, stop) in their empty cells.

    `cells` and `votes` have shape (queries, rows, width); the width is a power of two.
    """
    capacity = slots.shape[2]
    mask = np.uint64(cells.shape[2] - 1)
    for i in range(start, stop):
        for t in range(slots.shape[0]):
            bucket = slots[t, codes[i, t]]
            for j in range(min(seen[t, codes[i, t]], capacity)):
                slot = bucket[j]
                if slot == 0:
                    break
                for r in range(cells.shape[1]):
                    place = np.int64(mix64(np.uint64(slot) ^ keys[r]) & mask)
                    if cells[i, r, place] == slot:
                        votes[i, r, place] += 1
                    elif votes[i, r, place] == 0:
                        cells[i, r, place], votes[i, r, place] = slot, 1
                    else:
                        votes[i, r, place] -= 1


@kernel
def merge_cells(other_cells, other_votes, start, stop, cells, votes):
    """Merge other cells into `cells`; the votes of equal ids add up, and those of different ids subtract."""
    for i in range(start, stop):
        for r in range(cells.shape[1]):
            for c in range(cells.shape[2]):
                ours, theirs = votes[i, r, c], other_votes[i, r, c]
                if cells[i, r, c] == other_cells[i, r, c]:
                    votes[i, r, c] = ours + theirs
                elif ours > theirs or (ours == theirs and cells[i, r, c] <= other_cells[i, r, c]):
                    votes[i, r, c] = ours - theirs
                else:
                    cells[i, r, c] = other_cells[i, r, c]
                    votes[i, r, c] = theirs - ours


@kernel
def top_of_cells(cells, votes, keys, start, stop, out_ids, out_counts):
    """Return the ids of most votes, with the largest votes of any row, as `query_buckets` returns ids."""
    n_rows, width = cells.shape[1], cells.shape[2]
    k = out_ids.shape[1]
    mask = np.uint64(width - 1)
    best, best_keys = np.empty(k, cells.dtype), np.empty(k, np.int32)
    for i in range(start, stop):
        n_best = 0
        for r in range(n_rows):
            for c in range(width):
                slot = cells[i, r, c]
                count = votes[i, r, c]
                if count == 0:
                    continue
                # An id is taken from the first row that has it, with the most votes of any row.
                is_new = True
                for other in range(n_rows):
                    place = np.int64(mix64(np.uint64(slot) ^ keys[other]) & mask)
                    if cells[i, other, place] == slot and votes[i, other, place] > 0:
                        is_new &= other >= r
                        count = max(count, votes[i, other, place])
                if is_new:
                    n_best = keep_best(slot, -count, k, 0, n_best, best, best_keys)
        write_frequent(best, best_keys, n_best, i, out_ids, out_counts)
