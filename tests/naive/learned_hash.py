"""Pairs for training hyperplanes, and their losses, written from the definitions."""

from __future__ import annotations

import math

import numpy as np

from .words import mix13

_LEAST = 1e-3


def pairs(
    row_codes: np.ndarray, neuron_codes: np.ndarray, labels: list[list[int]], key: int, n_wrong: int
) -> tuple[list[list[bool]], list[list[int]], list[int]]:
    """Return for each row which labels share a bucket, the wrong neurons kept, and how many share one."""
    found, wrong, sizes = [], [], []
    for i, codes in enumerate(row_codes):
        inside = {j for j, others in enumerate(neuron_codes) if (codes == others).any()}
        row_key = mix13(key ^ mix13(i + 1))
        others = sorted(inside - set(labels[i]), key=lambda j: mix13(row_key ^ j))
        found.append([j in inside for j in labels[i]])
        wrong.append(others[:n_wrong])
        sizes.append(len(inside))
    return found, wrong, sizes


def loss(
    planes: np.ndarray, x: np.ndarray, w: np.ndarray, sign: int, kind: str, how: float, power: int
) -> float:
    """Return the loss of one pair; `how` is the gain of "codes" or the weight of "tables"."""
    a, b = np.tanh(planes @ x), np.tanh(planes @ w)
    if kind == "codes":
        return math.log1p(math.exp(-sign * how * float(a @ b)))
    agree = np.maximum((1.0 + a * b) / 2.0, _LEAST).reshape(power, -1)
    none = float(np.prod(1.0 - np.minimum(agree.prod(axis=0), 1.0 - _LEAST)))
    return -math.log(1.0 - none) if sign > 0 else -how * math.log(none)
