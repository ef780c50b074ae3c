"""Decorators of kernels: functions that Numba compiles at the first call, and keeps on disk.

`kernel` makes a function that Python calls, `helper` one that only kernels call. Numba compiles a
function for each combination of argument types, and keeps the machine code in the folder named by
`NUMBA_CACHE_DIR`; without it, in ``__pycache__`` beside the source; where that cannot be written, in the
cache folder of the user. Where nothing can be written, every process compiles what it uses, and a warning
says so.

These functions differ from those of ``numba.njit(cache=True)``:

- The folder is looked for when a function is compiled or loaded, not when its module is imported. Numba
  tries each folder by a temporary file, and there are hundreds of functions.
- Code on disk counts as stale when the source of any kernel that it may contain has changed. Numba itself
  looks at the file of the function alone, and would run old code after an upgrade of another file.
- A literal argument, as in ``f(x, 0)``, has the code for all integers. Numba would compile one more copy.
- There are no wrappers for calls from C, and none for calls of helpers from Python. Each takes as long to
  compile as a small function. Helpers have no machine code of their own; see `inlined`.
- One process compiles a function while others that need it wait, and then load it; see `compile_lock`.
- The first compilation in a process is announced on stderr, unless ``MERGESKETCH_QUIET`` is set.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from numba import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

from .compile_lock import CompileLock
from .inlined import InlinedCacheImpl, InlinedCompiler

__all__ = ["helper", "kernel", "sources"]

Function = Callable[..., Any]

_WARNING = (
    "nothing can be written to {folder}, nor to the cache folder of this user: mergesketch works, but "
    "compiles its kernels anew in every process, which takes seconds at the first use of each. Set the "
    "environment variable NUMBA_CACHE_DIR to a folder that can be written, and they are kept there"
)

_ANNOUNCEMENT = (
    "mergesketch: compiling kernels for their first use, which takes some seconds; later runs load them "
    "from disk"
)

_IMPORT = re.compile(r"^from (\.[\w.]*) import ", re.MULTILINE)


def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that Python calls; it releases the GIL. Options are those of ``numba.njit``."""
    return _Kernel.decorate(function, options)


def helper(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that only kernels and other helpers call. Options are those of ``numba.njit``."""
    return _Helper.decorate(function, options | {"no_cpython_wrapper": True})


# Without a home folder, Numba would make one named "~" in the working folder, and load code from there.
_LOCATORS = [
    locator
    for locator in CompileResultCacheImpl._locator_classes
    if "UserWide" not in locator.__name__
    or os.path.isabs(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~")))
]


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = _LOCATORS


class _HelperCacheImpl(InlinedCacheImpl):
    _locator_classes = _LOCATORS


class _KernelCache(FunctionCache):
    _impl_class = _KernelCacheImpl

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            self._cache_path, self._impl.filename_base, _stamp(function.__module__)
        )
        self.lock = CompileLock(self._cache_path, self._impl.filename_base)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        found = super().load_overload(signature, target_context)
        # Another process may have compiled the function while this one waited for the lock.
        if found is None and self.lock.acquire():
            found = super().load_overload(signature, target_context)
        return found


class _HelperCache(_KernelCache):
    _impl_class = _HelperCacheImpl


class _KernelCompiler(Compiler):
    def _compile_bytecode(self) -> Any:
        _announce()
        return super()._compile_bytecode()


class _Kernel(CPUDispatcher):
    _cache_class: type[_KernelCache] = _KernelCache
    _compiler_class: type[Compiler] = _KernelCompiler

    @classmethod
    def decorate(cls, function: Function | None, options: dict[str, Any]) -> Any:
        if function is None:
            return lambda function: cls.decorate(function, options)
        fixed = {"nopython": True, "nogil": True, "boundscheck": None, "no_cfunc_wrapper": True}
        return cls(function, targetoptions=fixed | options, pipeline_class=cls._compiler_class)

    def compile(self, signature: Any) -> Any:
        if isinstance(self._cache, NullCache):
            self.enable_caching()
        try:
            return super().compile(signature)
        finally:
            if isinstance(self._cache, _KernelCache):
                self._cache.lock.release()

    def add_overload(self, compiled: Any) -> None:
        # Variables that the helpers of a compiled kernel have left to it.
        for environment in compiled._find_referenced_environments():
            self.targetctx.codegen().set_env(environment.env_name, environment)
        super().add_overload(compiled)

    def enable_caching(self) -> None:
        try:
            self._cache = self._cache_class(self.py_func)
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
    _cache_class = _HelperCache
    _compiler_class = InlinedCompiler

    def add_overload(self, compiled: Any) -> None:
        # Python must not find the code, for it has no wrapper that could be called.
        self.overloads[tuple(compiled.signature.args)] = compiled

    def _compile_for_args(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(f"{self.py_func.__qualname__} can be called by kernels only")


@cache
def _stamp(module: str) -> str:
    digest = hashlib.sha256()
    for source in sources(module):
        digest.update(source.read_bytes())
    return digest.hexdigest()


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
def _announce() -> None:
    if _speaks():
        print(_ANNOUNCEMENT, file=sys.stderr, flush=True)


@cache
def _warn() -> None:
    if _speaks():
        folder = os.path.dirname(os.path.abspath(__file__))
        warnings.warn(_WARNING.format(folder=folder), RuntimeWarning, stacklevel=2)


def _speaks() -> bool:
    # All ranks would say the same.
    rank = os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
    return rank == "0" and not os.environ.get("MERGESKETCH_QUIET") and sys.stderr is not None
