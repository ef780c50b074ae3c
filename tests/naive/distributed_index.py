"""An index over ranks: all rows are compared with all queries."""

from __future__ import annotations

import numpy as np


def top_by_collisions(
    codes: np.ndarray, ids: np.ndarray, query_codes: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k rows that share most codes with each query, by comparing every row with every query."""
    out_ids = np.full((len(query_codes), k), -1, dtype=np.int64)
    out_counts = np.zeros((len(query_codes), k), dtype=np.int32)
    for i, query in enumerate(query_codes):
        counts = (codes == query).sum(axis=1) if len(codes) else np.zeros(0, dtype=int)
        best = sorted((-int(c), int(row)) for c, row in zip(counts, ids, strict=True) if c)[:k]
        for j, (count, row) in enumerate(best):
            out_ids[i, j], out_counts[i, j] = row, -count
    return out_ids, out_counts


def vote(cells: dict, place: tuple, candidate: int, votes: int) -> None:
    """Add votes for an id to a cell of (id, votes): equal ids add up, else the one with more survives."""
    held, count = cells.get(place, (0, 0))
    if held == candidate:
        cells[place] = (held, count + votes)
    elif count > votes or (count == votes and held <= candidate):
        cells[place] = (held, count - votes)
    else:
        cells[place] = (candidate, votes - count)
