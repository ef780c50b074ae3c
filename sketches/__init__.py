"""The sketches, their common interface and their storage."""

from .base import MergeableSketch, StateArray
from .storage import inspect, load

__all__ = ["MergeableSketch", "StateArray", "inspect", "load"]
