"""Cases of CUDA kernels and their Numba twins: one module for each kernel module, found by its place here."""

from importlib import import_module
from pathlib import Path

STEMS = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
for _stem in STEMS:
    import_module(f"{__name__}.{_stem}")
