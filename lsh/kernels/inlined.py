"""Compilation of helpers to intermediate code, which kernels link into themselves.

Numba compiles every function to machine code, and also keeps its intermediate code for callers, which
optimise and compile it once more as a part of their own. Nothing calls a helper's machine code, so that
these classes leave it out: it took a third of the time of a first call.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult

__all__ = ["InlinedCacheImpl", "InlinedCompiler"]


class _NoEnvironments:
    """Pass everything on to the code generator, except environments: they belong to machine code."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Leave it to the kernels, which contain the variable `name`."""


class _InlinedLibrary(JITCodeLibrary):
    @property
    def codegen(self) -> Any:
        return _NoEnvironments(self._codegen)

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        return self.serialize_using_bitcode()

    @classmethod
    def from_bitcode(cls, codegen: Any, name: str, bitcode: bytes) -> _InlinedLibrary:
        self = cls(codegen, name)
        self._final_module = llvm.parse_bitcode(bitcode)
        self._finalized = True
        return self


class InlinedCompiler(Compiler):
    def _compile_bytecode(self) -> Any:
        codegen = self.state.targetctx.codegen()
        self.state.library = _InlinedLibrary(codegen, self.state.func_id.func_qualname)
        return super()._compile_bytecode()


class InlinedCacheImpl(CompileResultCacheImpl):
    def rebuild(self, target_context: Any, payload: Any) -> Any:
        return CompileResult._rebuild(_Loading(target_context), *payload)


class _Loading:
    """A target context that reads libraries of intermediate code."""

    def __init__(self, target_context: Any) -> None:
        self._target_context = target_context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target_context, name)

    def codegen(self) -> Any:
        return self

    def unserialize_library(self, state: tuple[str, str, bytes]) -> _InlinedLibrary:
        name, _, bitcode = state
        return _InlinedLibrary.from_bitcode(self._target_context.codegen(), name, bitcode)
