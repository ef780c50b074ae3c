"""What a run has used."""

from __future__ import annotations

import resource
import sys

__all__ = ["peak_memory", "si_bytes"]


def peak_memory() -> int:
    """The most bytes of memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def si_bytes(n: int) -> str:
    """A number of bytes for people, in powers of 1,000."""
    amount, unit = float(n), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{n} B" if unit == "B" else f"{amount:.1f} {unit}"
