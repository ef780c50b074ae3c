"""Announce once in a process that kernels are compiled, or that the compiled code cannot be kept."""

from __future__ import annotations

import os
import sys
import warnings
from functools import cache

__all__ = ["announce_compilation", "warn_of_lost_code"]

_COMPILATION = (
    "mergesketch: compiling kernels for their first use, which takes some seconds; later runs load them "
    "from disk"
)

_LOST_CODE = (
    "nothing can be written to {folder}, nor to the cache folder of this user: mergesketch works, but "
    "compiles its kernels anew in every process, which takes seconds at the first use of each. Set the "
    "environment variable NUMBA_CACHE_DIR to a folder that can be written, and they are kept there"
)


@cache
def announce_compilation() -> None:
    """Print to stderr that kernels are compiled, unless ``MERGESKETCH_QUIET`` is set."""
    if _is_first_rank() and not os.environ.get("MERGESKETCH_QUIET") and sys.stderr is not None:
        print(_COMPILATION, file=sys.stderr, flush=True)


@cache
def warn_of_lost_code() -> None:
    """Warn that compiled kernels cannot be kept."""
    if _is_first_rank():
        folder = os.path.dirname(os.path.abspath(__file__))
        warnings.warn(_LOST_CODE.format(folder=folder), RuntimeWarning, stacklevel=2)


def _is_first_rank() -> bool:
    # All ranks would say the same.
    return os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == "0"
