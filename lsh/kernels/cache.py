"""Keep compiled kernels on disk; where nothing can be written, compile them in every process.

Importing this module sets this up, so it is imported before all modules that compile kernels.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from numba import njit
from numba.core.dispatcher import Dispatcher

__all__: list[str] = []

_WARNING = (
    "nothing can be written to {folder}, nor to the cache folder of this user: mergesketch works, but "
    "compiles its kernels anew in every process, which takes seconds at the first use of each. Set the "
    "environment variable NUMBA_CACHE_DIR to a folder that can be written, and they are kept there"
)


def _probe() -> None: ...


def _is_for_want_of_a_folder(error: RuntimeError) -> bool:
    return "no locator available" in str(error)


def _go_without(dispatcher: Any) -> None:
    """Enable caching as Numba does, but leave a function without a cache if there is no folder for it."""
    try:
        _enable_caching(dispatcher)
    except RuntimeError as error:
        if not _is_for_want_of_a_folder(error):
            raise


_enable_caching = Dispatcher.enable_caching
try:
    njit(cache=True)(_probe)
except RuntimeError as _error:
    if not _is_for_want_of_a_folder(_error):
        raise
    Dispatcher.enable_caching = _go_without  # type: ignore[method-assign, assignment]
    # All ranks would give the same warning.
    if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == "0":
        warnings.warn(
            _WARNING.format(folder=os.path.dirname(os.path.abspath(__file__))), RuntimeWarning, stacklevel=2
        )
