"""Hash tables over the weights of labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import slide_sampling
from .slide_weights import Weights

__all__ = ["LabelTables"]

#: Labels that are hashed together.
_BLOCK = 1 << 14


class LabelTables:
    """The labels of a range, sorted by their codes, in a table for each hash of a family.

    Parameters
    ----------
    family : HashFamily
        Of vectors with an entry for each hidden unit.
    """

    def __init__(self, family: HashFamily) -> None:
        self.family = family
        self.starts = np.zeros((family.n_hashes, family.n_buckets + 1), np.int32)
        self.labels = np.zeros((family.n_hashes, 0), np.int32)

    def rebuild(self, weights: Weights) -> None:
        """Hash the weights of all labels anew, less their mean.

        The mean adds the same number to all scores of a row. Training makes it large: activations are not
        negative, and most labels are wrong for most rows. So angles between weights and activations would be
        obtuse, and buckets would be almost empty.
        """
        n = weights.n_rows
        blocks = list(cut_range(0, n, _BLOCK))
        mean = np.sum([weights.rows(a, b).sum(axis=0, dtype=np.float64) for a, b in blocks], axis=0) / n
        codes = np.empty((n, self.family.n_hashes), np.uint32)
        for a, b in blocks:
            codes[a:b] = self.family.hash(weights.rows(a, b) - mean.astype(np.float32))
        if self.labels.shape[1] != n:
            self.labels = np.empty((self.family.n_hashes, n), np.int32)
        map_blocks(
            lambda a, b: slide_sampling.build_tables(codes, a, b, self.starts, self.labels),
            self.family.n_hashes,
            1,
        )

    def codes(self, hidden: NDArray[np.float32]) -> NDArray[np.uint32]:
        """Return the codes of rows of activations."""
        return np.asarray(self.family.hash(hidden))

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.labels.nbytes
