"""The sketches, their common interface and their storage."""

from .base import MergeableSketch, StateArray
from .counting import CountMinSketch, CountSketch
from .heavy_hitters import HeavyHitters
from .index import LSHIndex, Nearest, Neighbours
from .minhash_sketch import MinHashSketch
from .race import Race
from .storage import inspect, load
from .suggestion import Suggestion, suggest

__all__ = [
    "CountMinSketch",
    "CountSketch",
    "HeavyHitters",
    "LSHIndex",
    "MergeableSketch",
    "MinHashSketch",
    "Nearest",
    "Neighbours",
    "Race",
    "StateArray",
    "Suggestion",
    "inspect",
    "load",
    "suggest",
]
