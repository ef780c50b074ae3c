"""Check that ``mergesketch dedup`` does not write two of its outputs to one file."""

from __future__ import annotations

import os
from argparse import Namespace

from ..dedup.clean_manifest import MANIFEST
from .dedup_lists import REMOVED

__all__ = ["check_different"]


def check_different(options: Namespace) -> None:
    """Raise ValueError if two outputs would be written to one file, or one over the state that is read.

    The new state may replace the old one.
    """
    outputs = {f"--{name}": getattr(options, name) for name in ("output", "removed", "report", "clean")}
    if options.clean is not None:
        outputs["the manifest of --clean"] = os.path.join(options.clean, MANIFEST)
        if options.removed is None:
            outputs["the list of removed documents of --clean"] = os.path.join(options.clean, REMOVED)
    states = {os.path.realpath(path) for path in (options.against, options.save_state) if path is not None}
    seen: dict[str, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if place in states:
            raise ValueError(f"cannot write {path}: it is the file of a state")
        first = seen.setdefault(place, name)
        if first != name:
            raise ValueError(f"{first} and {name} must be different files, got {path} for both")
