"""A bound of all numbers of `SlideClassifier`, so that rows are refused before they can spoil a network."""

from __future__ import annotations

import numpy as np

from .slide_batches import SparseRows
from .slide_settings import SlideSettings

__all__ = ["check_rows"]

#: The most that a number of a step may be whose square is taken, and that a sum of float32 may be. Float32
#: goes up to 3.4e38; the rest is for rounding.
_MOST_GRADIENT, _MOST_SUM = 1e18, 1e37
#: The most learning rates by which a step moves a weight. By the inequality of Cauchy and Schwarz, a mean of
#: gradients over the root of a mean of their squares is at most (1 - beta_1) / sqrt((1 - beta_2) (1 -
#: beta_1^2 / beta_2)) = 7.3 in Adam. Rounding to the nearest bfloat16 at most doubles a step.
_STEP = 16.0


def check_rows(settings: SlideSettings, rows: SparseRows, n_steps: int, n_more: int = 0) -> None:
    """Refuse rows with which a number of a network may be too large for float32.

    Adam bounds the length of steps, whatever the gradients are. So the number of steps bounds the weights,
    and these and the rows bound activations, scores and gradients. Nothing is read but the rows.

    Parameters
    ----------
    settings : SlideSettings
    rows : SparseRows
    n_steps : int
        The steps that the network has learnt.
    n_more : int
        The steps that it will learn, with these rows.

    Raises
    ------
    ValueError
        If the bound is too large.
    """
    # The first weights are at most 1. Floats of Python do not warn where they become infinite.
    weight = 1.0 + _STEP * settings.learning_rate * (n_steps + n_more)
    if not rows.n:
        return
    sizes = np.abs(rows.values, dtype=np.float64)
    norms = np.add.reduceat(sizes, rows.bounds[:-1])
    hidden = float(norms.max()) * weight
    scores = (settings.n_hidden * hidden + 1.0) * weight
    # A row's derivatives by its scores add up to at most 2, in absolute value.
    gradient = max(hidden, 2.0 * weight * float(sizes.max())) if n_more else 0.0
    if hidden <= _MOST_SUM and scores <= _MOST_SUM and gradient <= _MOST_GRADIENT:
        return
    row = int(norms.argmax())
    raise ValueError(
        f"X must be scaled{', and learning_rate be low' if n_more else ''}: with row {row}, whose absolute "
        f"values add up to {norms[row] - 1.0:.3g}, scores or steps may be too large for float32"
    )
