"""Decorators of kernels: functions that Numba compiles at the first call, and keeps on disk.

`kernel` makes a function that Python calls, `helper` one that only kernels call. Numba compiles a
function for each combination of argument types, and keeps the machine code in the folder named by
`NUMBA_CACHE_DIR`; without it, in ``__pycache__`` beside the source; where that cannot be written, in the
cache folder of the user. Where nothing can be written, or the disk is full, every process compiles what it
uses, and a warning says so.

These functions differ from those of ``numba.njit(cache=True)``:

- The folder is looked for when a function is compiled or loaded, not when its module is imported. Numba
  tries each folder by a temporary file, and there are hundreds of functions.
- Code on disk counts as stale when the source of any kernel that it may contain has changed. Numba itself
  looks at the file of the function alone, and would run old code after an upgrade of another file.
- A process that runs during an upgrade neither loads nor keeps code: the sources on disk are not its own.
- A file of code says what it is for. Two processes that compile different versions of one function at the
  same moment may give their files one name; Numba would then run the code of one version for the other.
- Files that are damaged, after a power failure for example, are written anew.
- A literal argument, as in ``f(x, 0)``, has the code for all integers. Numba would compile one more copy.
- There are no wrappers for calls from C, and none for calls of helpers from Python. Each takes as long to
  compile as a small function.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from numba import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache
from numba.core.registry import CPUDispatcher

__all__ = ["helper", "kernel", "sources"]

Function = Callable[..., Any]

_WARNING = (
    "nothing can be written to {folder}, nor to the cache folder of this user: mergesketch works, but "
    "compiles its kernels anew in every process, which takes seconds at the first use of each. Set the "
    "environment variable NUMBA_CACHE_DIR to a folder that can be written, and they are kept there"
)

#: The time before which this process read no source of a kernel.
_STARTED = time.time_ns()

_IMPORT = re.compile(r"^from (\.[\w.]*) import ", re.MULTILINE)


def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that Python calls; it releases the GIL. Options are those of ``numba.njit``."""
    return _Kernel.decorate(function, options)


def helper(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that only kernels and other helpers call. Options are those of ``numba.njit``."""
    return _Helper.decorate(function, options | {"no_cpython_wrapper": True})


class _Kernel(CPUDispatcher):
    @classmethod
    def decorate(cls, function: Function | None, options: dict[str, Any]) -> Any:
        if function is None:
            return lambda function: cls.decorate(function, options)
        fixed = {"nopython": True, "nogil": True, "boundscheck": None, "no_cfunc_wrapper": True}
        return cls(function, targetoptions=fixed | options)

    def compile(self, signature: Any) -> Any:
        if isinstance(self._cache, NullCache):
            self.enable_caching()
        return super().compile(signature)

    def enable_caching(self) -> None:
        stamp = _stamp_of_unchanged(self.py_func.__module__)
        if stamp is None:
            return
        try:
            self._cache = _KernelCache(self.py_func, stamp)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _warn()

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        return super().get_call_template(
            [types.unliteral(a) for a in arguments],
            {name: types.unliteral(a) for name, a in keywords.items()},
        )


class _Helper(_Kernel):
    def add_overload(self, compiled: Any) -> None:
        # Python must not find the code, for it has no wrapper that could be called.
        self.overloads[tuple(compiled.signature.args)] = compiled

    def _compile_for_args(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(f"{self.py_func.__qualname__} can be called by kernels only")


class _Folders(CompileResultCacheImpl):
    # Without a home folder, Numba would make one named "~" in the working folder, and load code from there.
    if not os.path.isabs(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~"))):
        _locator_classes = [
            locator
            for locator in CompileResultCacheImpl._locator_classes
            if "UserWide" not in locator.__name__
        ]


class _Files(IndexDataCacheFile):
    """The files of a function's code: an index, and one file for each combination of argument types."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        try:
            stamp, found, data = super().load(key)
        except Exception:
            # There is none, or it is damaged: unpickling may raise any error then.
            return None
        return data if (stamp, found) == (self._source_stamp, key) else None

    def _load_index(self) -> dict[Any, str]:
        try:
            return dict(super()._load_index())
        except Exception:
            return {}


class _KernelCache(FunctionCache):
    _impl_class = _Folders

    def __init__(self, function: Function, stamp: str) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            super().save_overload(signature, compiled)
        except OSError:
            # The disk is full, for example. The code is there for this process.
            _warn()


def _stamp_of_unchanged(module: str) -> str | None:
    """Return the stamp of a module's sources; None if they may have changed since this process read them."""
    # Not the time of the content, which an installation sets to an old one.
    try:
        stamp, paths = _stamp(module)
        return stamp if all(os.stat(path).st_ctime_ns < _STARTED for path in paths) else None
    except OSError:
        return None  # One is gone.


@cache
def _stamp(module: str) -> tuple[str, list[Path]]:
    digest, paths = hashlib.sha256(), list(sources(module))
    for source in paths:
        digest.update(source.read_bytes())
    return digest.hexdigest(), paths


def sources(module: str) -> Iterator[Path]:
    """Yield the file of a module, then those of all modules of the package that it imports."""
    waiting = [module]
    for name in waiting:
        loaded = sys.modules[name]
        path = Path(str(loaded.__file__))
        yield path
        # The pattern also finds text that looks like an import; that names no module, or one too many.
        imports = _IMPORT.findall(path.read_text()) if loaded.__package__ else []
        imported = dict.fromkeys(resolve_name(found, loaded.__package__) for found in imports)
        waiting.extend(other for other in imported if other in sys.modules and other not in waiting)


@cache
def _warn() -> None:
    # Ranks would all say the same.
    if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == "0":
        folder = os.path.dirname(os.path.abspath(__file__))
        warnings.warn(_WARNING.format(folder=folder), RuntimeWarning, stacklevel=2)
