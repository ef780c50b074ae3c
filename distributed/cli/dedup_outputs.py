"""Check that ``mergesketch dedup`` does not write two of its outputs to one file."""

from __future__ import annotations

import os
from argparse import Namespace

from ..dedup.clean_manifest import MANIFEST
from .dedup_lists import REMOVED

__all__ = ["check_different"]

_OUTPUTS = ("output", "removed", "report", "save_state")


def check_different(options: Namespace) -> None:
    """Raise ValueError if two outputs would be written to one file, or a list over the state that is read."""
    outputs = {_spelled(name): getattr(options, name) for name in _OUTPUTS}
    if options.clean is not None:
        outputs["--clean"] = options.clean
        outputs["the manifest of --clean"] = os.path.join(options.clean, MANIFEST)
        if options.removed is None:
            outputs["the list of removed documents of --clean"] = os.path.join(options.clean, REMOVED)
    seen: dict[str, str] = {}
    if options.against is not None:
        seen[os.path.realpath(options.against)] = "--against"
    for name, path in outputs.items():
        if path is None:
            continue
        first = seen.setdefault(os.path.realpath(path), name)
        # The new state may replace the old one.
        if first != name and (first, name) != ("--against", "--save-state"):
            raise ValueError(f"{first} and {name} must be different files, got {path} for both")


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")
