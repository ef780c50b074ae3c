"""Find groups that have a notable share of all documents, which are often chains or templates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..dedup.result import Deduplication

__all__ = ["GiantGroup", "giant_groups"]

#: A group is giant if it has at least so many documents and this share of all documents.
LEAST_SIZE, LEAST_SHARE = 100, 0.01


class GiantGroup(NamedTuple):
    """A giant group: its number, its documents, and the least similarity to the kept one or NaN."""

    group: int
    size: int
    least: float


def giant_groups(result: Deduplication) -> list[GiantGroup]:
    """Return the giant groups of rank 0's result, the largest first."""
    starts = result.offsets
    sizes = np.diff(starts)
    is_giant = sizes >= max(LEAST_SIZE, LEAST_SHARE * result.n_documents)
    groups = np.flatnonzero(is_giant)
    return [
        GiantGroup(
            i, int(sizes[i]), float(result.member_similarity[result.offsets[i] : result.offsets[i + 1]].min())
        )
        for i in groups[np.argsort(-sizes[groups], kind="stable")].tolist()
    ]
