"""Measure the memory of this rank's process."""

from __future__ import annotations

import resource
import sys

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """Return the most bytes of memory that this process has had at a time."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
