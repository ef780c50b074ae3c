"""Instructions that fetch a cache line before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .registers import element_of, intrinsic

__all__ = ["prefetch", "prefetch_once", "prefetch_read"]


def _prefetch(write: bool, locality: int = 3) -> Any:
    def prefetch(typingctx, array, index):
        signature = types.void(array, types.int64)

        def generate(context, builder, signature, arguments):
            address = element_of(context, builder, signature, arguments, 0)
            pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            flags = [number(int(write)), number(locality), number(1)]  # data
            builder.call(function, [builder.bitcast(address, pointer), *flags])
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(prefetch)


#: Fetch the cache line of ``array[index]`` without waiting for it: `prefetch` before it is written,
#: `prefetch_read` before it is only read. The first takes the line from other cores' caches, so threads that
#: share lines use the second.
prefetch: Any = _prefetch(write=True)
prefetch_read: Any = _prefetch(write=False)
#: Do the same for what is read once, and need not stay in all caches.
prefetch_once: Any = _prefetch(write=False, locality=1)
