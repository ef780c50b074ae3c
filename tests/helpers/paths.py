"""Folders that tests read, and the environment of processes that import the tests' modules."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ROOT", "SHARED", "TESTS", "environment"]

#: The folder of pyproject.toml: the sources, or a copy of the tests, docs and benchmarks without the package.
ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
#: Data sets beside the sources; tests that need one are skipped where it is absent.
SHARED = ROOT.parent / "shared" / "data"


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment, with tests/ and tests/helpers/ on the path of imports."""
    paths = [str(TESTS / "helpers"), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}
