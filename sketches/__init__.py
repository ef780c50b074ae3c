"""The sketches, their common interface and their storage."""

from .base import MergeableSketch, StateArray
from .counting import CountMinSketch, CountSketch
from .storage import inspect, load

__all__ = ["CountMinSketch", "CountSketch", "MergeableSketch", "StateArray", "inspect", "load"]
