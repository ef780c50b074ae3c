"""Compilation of helpers to intermediate code, which kernels link into themselves.

Numba compiles every function to machine code. It also keeps its intermediate code for callers, which
optimise and compile it again as a part of their own. Nothing calls the machine code of a helper, so
these classes do not produce it: it took a fifth of the time of a first call.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult

__all__ = ["InlinedCacheImpl", "InlinedCompiler"]


class InlinedCompiler(Compiler):
    """Compile a function to intermediate code."""

    def _compile_bytecode(self) -> Any:
        codegen = self.state.targetctx.codegen()
        self.state.library = _InlinedLibrary(codegen, self.state.func_id.func_qualname)
        return super()._compile_bytecode()


class InlinedCacheImpl(CompileResultCacheImpl):
    """Write intermediate code to files and read it from them."""

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        return CompileResult._rebuild(_Reader(target_context), *payload)


class _InlinedLibrary(JITCodeLibrary):
    @property
    def codegen(self) -> Any:
        return _WithoutEnvironments(self._codegen)

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        serialized: tuple[str, str, bytes] = self.serialize_using_bitcode()
        return serialized

    def read(self, bitcode: bytes) -> _InlinedLibrary:
        self._final_module = llvm.parse_bitcode(bitcode)
        self._finalized = True
        return self


class _Proxy:
    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _WithoutEnvironments(_Proxy):
    """A code generator that sets no environments, because they are variables of machine code."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _Reader(_Proxy):
    """A target context, and at the same time its code generator, that reads intermediate code."""

    def codegen(self) -> _Reader:
        return self

    def unserialize_library(self, serialized: tuple[str, str, bytes]) -> _InlinedLibrary:
        name, _, bitcode = serialized
        return _InlinedLibrary(self._original.codegen(), name).read(bitcode)
