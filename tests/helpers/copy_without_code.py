"""A copy of the package without compiled kernels, beside which none can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import mergesketch

__all__ = ["copy_without_code"]

PACKAGE = Path(mergesketch.__file__).parent


def copy_without_code(folder: Path) -> Path:
    """Return a copy of the package's folders of kernels that no code can be written to, also as root."""
    root = folder / "site" / "mergesketch"
    without = shutil.ignore_patterns("__pycache__")
    for room in ("lsh", "sketches", "distributed", "gpu"):
        shutil.copytree(PACKAGE / room, root / room, ignore=without)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(PACKAGE / name, root / name)
    for kernels in root.glob("*/kernels"):
        (kernels / "__pycache__").touch()  # a file, so no folder
    return root.parent
