"""Decorators of kernels: functions that Numba compiles at the first call, and keeps on disk.

`kernel` makes a function that Python calls, `helper` one that only kernels call. Numba compiles a
function for each combination of argument types. Where nothing can be written, or the disk is full, every
process compiles what it uses, and a warning says so.

These functions differ from those of ``numba.njit(cache=True)``:

- The folder is looked for when a function is compiled or loaded, not when its module is imported. Numba
  tries each folder by a temporary file, and there are hundreds of functions.
- A literal argument, as in ``f(x, 0)``, has the code for all integers. Numba would compile one more copy.
- There are no wrappers for calls from C, and none for calls of helpers from Python. Each takes as long to
  compile as a small function. Helpers have no machine code of their own; see `inlined`.
- The files on disk are checked more strictly, and processes share the work; see `code_cache`.
- The first compilation in a process is announced on stderr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core.caching import NullCache
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from .announcements import announce_compilation
from .code_cache import HelperCache, KernelCache
from .inlined import InlinedCompiler

__all__ = ["helper", "kernel"]

Function = Callable[..., Any]


def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that Python calls; it releases the GIL. Options are those of ``numba.njit``."""
    return _Kernel.decorate(function, options)


def helper(function: Function | None = None, **options: Any) -> Any:
    """Compile a function that only kernels and other helpers call. Options are those of ``numba.njit``."""
    return _Helper.decorate(function, options | {"no_cpython_wrapper": True})


class _KernelCompiler(Compiler):
    def _compile_bytecode(self) -> Any:
        announce_compilation()
        return super()._compile_bytecode()


class _Kernel(CPUDispatcher):
    _cache_class: type[KernelCache] = KernelCache
    _compiler_class: type[Compiler] = _KernelCompiler

    @classmethod
    def decorate(cls, function: Function | None, options: dict[str, Any]) -> Any:
        if function is None:
            return lambda function: cls.decorate(function, options)
        fixed = {"nopython": True, "nogil": True, "boundscheck": None, "no_cfunc_wrapper": True}
        return cls(function, targetoptions=fixed | options, pipeline_class=cls._compiler_class)

    def compile(self, signature: Any) -> Any:
        # Of two threads that come here first, one makes the cache: the other would replace it, and the file
        # lock that the first took would never be given back.
        with global_compiler_lock:
            if isinstance(self._cache, NullCache):
                self.enable_caching()
            try:
                return super().compile(signature)
            finally:
                if isinstance(self._cache, KernelCache):
                    self._cache.lock.release()

    def enable_caching(self) -> None:
        self._cache = self._cache_class.of(self.py_func) or NullCache()

    def add_overload(self, compiled: Any) -> None:
        # Variables that the helpers of a compiled kernel have left to it.
        for environment in compiled._find_referenced_environments():
            compiled.library.codegen.set_env(environment.env_name, environment)
        super().add_overload(compiled)

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        return super().get_call_template(
            [types.unliteral(a) for a in arguments],
            {name: types.unliteral(a) for name, a in keywords.items()},
        )


class _Helper(_Kernel):
    _cache_class = HelperCache
    _compiler_class = InlinedCompiler

    def add_overload(self, compiled: Any) -> None:
        # Python must not find the code, for it has no wrapper that could be called.
        self.overloads[tuple(compiled.signature.args)] = compiled

    def _compile_for_args(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(f"{self.py_func.__qualname__} can be called by kernels only")
