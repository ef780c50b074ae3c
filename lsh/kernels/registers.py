"""Parts of kernels in the compiler's intermediate code: pointers, registers, the processor's features."""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

__all__ = [
    "element_of",
    "first_element_of",
    "intrinsic",
    "multiply_add",
    "processor_features",
    "register_at",
    "spread",
]

#: Numba's decorator. It has no type here, for checkers would give kernels the type of their code generator.
intrinsic: Any = numba_intrinsic


def processor_features() -> list[str]:
    """Return the instruction sets that kernels are compiled for, as LLVM names them: "+avx2", say."""
    # Numba's own settings, which make caches that several processors share, take precedence.
    features = config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is None and config.CPU_NAME is None:  # type: ignore[attr-defined]
        features = llvmlite.binding.get_host_cpu_features().flatten()
    return (features or "").split(",")


def first_element_of(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    """Return a pointer to the first element of the array that is argument `place`."""
    return context.make_array(signature.args[place])(context, builder, arguments[place]).data


def element_of(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    """Return a pointer to the element of array `place` that the argument after the array names."""
    first = first_element_of(context, builder, signature, arguments, place)
    return builder.gep(first, [arguments[place + 1]])


def register_at(builder: Any, pointer: Any, vector: ir.VectorType) -> Any:
    """Return a pointer to numbers side by side as one to a register of them."""
    return builder.bitcast(pointer, vector.as_pointer())


def spread(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """Return a register of which every lane holds `number`."""
    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, number, ir.IntType(32)(0))
    lanes = ir.VectorType(ir.IntType(32), vector.count)
    return builder.shuffle_vector(single, undefined, ir.Constant(lanes, [0] * vector.count))


def multiply_add(builder: Any, kind: Any) -> Any:
    """Return LLVM's ``x * y + z`` for float32 or a register of it: fused where the processor can."""
    name = f"llvm.fmuladd.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fmuladd.f32"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
