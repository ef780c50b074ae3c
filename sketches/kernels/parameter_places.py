"""The kernel that writes down the place and the sign of each entry of rows of shared parameters.

It has no twin on GPUs: dense gradients, which are scattered by kernels that write no places down, need none.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64

__all__ = ["run_places"]

_BITS = 64


@kernel
def run_places(starts, lengths, run_words, m, start, stop, places, signs):
    """Set the places and signs of the entries of rows [start, stop), copy after copy.

    Parameters
    ----------
    starts, lengths, run_words : array of shape (rows, copies, runs)
        Runs, as in `shared_parameters.gather_runs`.
    m : int
        The number of parameters.
    start, stop : int
    places : array of int64, shape (rows, copies, columns)
    signs : array of float, of the same shape
        1 or -1.
    """
    for i in range(start, stop):
        for j in range(starts.shape[1]):
            column = 0
            for r in range(starts.shape[2]):
                place = starts[i, j, r]
                for t in range(lengths[i, j, r]):
                    places[i, j, column] = place
                    signs[i, j, column] = 1
                    if run_words.size > 0:
                        bits = mix64(run_words[i, j, r] + np.uint64(t // _BITS + 1))
                        signs[i, j, column] -= 2 * ((bits >> np.uint64(t % _BITS)) & np.uint64(1))
                    column += 1
                    place += 1
                    if place == m:
                        place = 0
