"""The place in a user's program that a warning is about."""

from __future__ import annotations

import sys

__all__ = ["stacklevel_of_caller"]


def stacklevel_of_caller() -> int:
    """Return the `stacklevel` by which `warnings.warn` names the first caller outside the package.

    The function that calls this one also calls `warnings.warn`.
    """
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level
