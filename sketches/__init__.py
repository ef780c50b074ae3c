"""The sketches, their common interface and their storage."""

from .base import MergeableSketch, StateArray
from .counting import CountMinSketch, CountSketch
from .heavy_hitters import HeavyHitters
from .race import Race
from .storage import inspect, load

__all__ = [
    "CountMinSketch",
    "CountSketch",
    "HeavyHitters",
    "MergeableSketch",
    "Race",
    "StateArray",
    "inspect",
    "load",
]
