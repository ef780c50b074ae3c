"""Instructions that ask for a cache line before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["prefetch", "prefetch_read"]


def _prefetch(write: bool) -> Any:
    def prefetch(typingctx, array, index):
        signature = types.void(array, types.int64)

        def generate(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            address = builder.gep(data, [arguments[1]])
            pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            flags = [number(int(write)), number(3), number(1)]  # to stay in every cache, data
            builder.call(function, [builder.bitcast(address, pointer), *flags])
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(prefetch)


#: Ask for the cache line of ``array[index]``, soon to be written or only read, without waiting for it. A
#: line to be written is taken from other cores' caches, so threads that share one must only read.
prefetch: Any = _prefetch(write=True)


prefetch_read: Any = _prefetch(write=False)
