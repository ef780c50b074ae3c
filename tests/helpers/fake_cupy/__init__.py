"""A stand-in for CuPy where there is no GPU: its arrays are NumPy's, and its kernels run on the host.

It is as strict as CuPy: arrays of the two kinds do not mix, and NumPy cannot read a CuPy array except
by an explicit copy. So a program that runs on it copies nothing behind the user's back. It has only what
the library and its tests use.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

__all__ = ["install"]


def _real() -> Any:
    try:
        import cupy
    except Exception:
        return None
    return cupy if cupy.cuda.is_available() else None


def install() -> Any:
    """Return CuPy if it has a GPU; otherwise put the stand-in into `sys.modules` under its name."""
    present = sys.modules.get("cupy")
    if present is not None and getattr(present, "IS_STAND_IN", False):
        return present
    real = _real()
    if real is not None:
        return real
    from cuda_host import compiler

    if compiler() is None:
        pytest.skip("needs a GPU, or g++ to run kernels on the host", allow_module_level=True)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")]:
        del sys.modules[name]
    for name in ("cupyx", "cupyx.scipy"):
        sys.modules[name] = types.ModuleType(name)
    module = _load("cupy", "cupy/__init__.py")
    _load("cupyx.scipy.sparse", "sparse.py")
    return module


def _load(name: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
