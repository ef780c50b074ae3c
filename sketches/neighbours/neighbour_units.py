"""The distance of neighbours in the units of the caller: a cosine, a Jaccard similarity or a distance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ...lsh.support.checks import check_choice, check_real
from .crowding import MODELS

__all__ = ["Nearness", "read_nearness"]

#: The arguments that give the distance of neighbours, and the metric that each stands for if none is given.
_UNITS = {"near": None, "min_cosine": "angle", "min_jaccard": "jaccard", "max_distance": "euclidean"}

#: The largest distance. A multiple of it, which a width may be, is still a float.
_LARGEST = 1e300


class Nearness(NamedTuple):
    """A distance at which neighbours are to be found, and how the caller gave it."""

    metric: str
    #: The distance, in the units of the metric.
    distance: float
    #: The name of the argument, and its value.
    name: str
    given: float

    @property
    def is_similarity(self) -> bool:
        """True if nearer rows have larger values of the argument."""
        return self.name.startswith("min_")


def read_nearness(metric: Any, **given: Any) -> Nearness:
    """Check that one of the arguments of `_UNITS` is given, and fits the metric, which may be None."""
    names = [name for name in _UNITS if given[name] is not None]
    if len(names) != 1:
        got = " and ".join(names) or "none of them"
        raise ValueError(f"one of {', '.join(_UNITS)} must be given, got {got}")
    name, value = names[0], given[names[0]]
    if metric is None:
        metric = _UNITS[name]
        if metric is None:
            raise ValueError("metric must be given with near, got None")
    model = MODELS[check_choice("metric", metric, MODELS)]
    if name.startswith("min_"):
        if metric != _UNITS[name]:
            raise ValueError(f"metric must be {_UNITS[name]!r} with {name}, got {metric!r}")
        low = -1.0 if name == "min_cosine" else 0.0
        value = check_real(name, value, low, 1.0, closed=True)
        return Nearness(metric, math.acos(value) if low < 0 else 1.0 - value, name, value)
    value = check_real(name, value, 0.0, min(model.metric.largest, _LARGEST), closed=True)
    return Nearness(metric, value, name, value)
