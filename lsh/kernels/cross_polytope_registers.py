"""Cross-polytope hashing in registers: small rotations as a whole, and the largest of some coordinates."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .hadamard_registers import (
    BITS,
    FLOATS,
    RADIX,
    WIDTH,
    WORDS,
    across_registers,
    within_registers,
)
from .registers import element_of, first_element_of, intrinsic, register_at, spread

__all__ = ["GROUP", "MAGNITUDE", "largest_place", "rotate_group"]

#: Coordinates that fit in the registers together.
GROUP = RADIX * WIDTH
#: All bits of a float32 except the sign.
MAGNITUDE = 0x7FFFFFFF
_WORD = ir.IntType(32)


def _everywhere(value: int) -> Any:
    return ir.Constant(WORDS, [value] * WIDTH)


@intrinsic
def rotate_group(typing_context, source, masks, masks_at, block):
    """Compute ``block = H D3 H D2 H D1 source`` of GROUP coordinates, which stay in registers throughout.

    Additions have the order of `hadamard.rotate`. The signs are the bits from ``masks[masks_at]`` on, GROUP
    for each round.
    """
    signature = types.void(source, masks, types.intp, block)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask = element_of(context, builder, signature, arguments, 1)
        loaded, stored = (first_element_of(context, builder, signature, arguments, i) for i in (0, 3))

        def register(block: Any, i: int) -> Any:
            return register_at(builder, builder.gep(block, [ir.IntType(64)(i * WIDTH)]), FLOATS)

        values = [builder.load(register(loaded, i), align=4) for i in range(RADIX)]
        for turn in range(3):
            for i in range(RADIX):
                flips = builder.load(builder.gep(mask, [ir.IntType(64)(turn * RADIX + i)]), align=2)
                words = builder.bitcast(values[i], WORDS)
                flipped = builder.xor(words, _everywhere(0x80000000))
                words = builder.select(builder.bitcast(flips, BITS), flipped, words)
                values[i] = builder.bitcast(words, FLOATS)
            values = across_registers(builder, within_registers(builder, values))
        for i, value in enumerate(values):
            builder.store(value, register(stored, i), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def largest_place(typing_context, words, first, count):
    """Find the place of the largest magnitude among `count` coordinates from `first` on, counted from there.

    The first of equal magnitudes counts. `words` are the bits of float32, and without the sign they are
    ordered as the magnitudes are. `count` is a multiple of 16. No branch depends on the coordinates: a wrong
    prediction would cost more than all of this.
    """
    signature = types.intp(words, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = element_of(context, builder, signature, arguments, 0)
        step = ir.Constant(arguments[2].type, WIDTH)
        largest = cgutils.alloca_once_value(builder, _everywhere(0))
        # Each lane keeps the place of the register that has its largest coordinate.
        where = cgutils.alloca_once_value(builder, _everywhere(0))
        with cgutils.for_range(builder, builder.udiv(arguments[2], step)) as loop:
            at = builder.mul(loop.index, step)
            found = builder.load(register_at(builder, builder.gep(data, [at]), WORDS), align=4)
            found, held = builder.and_(found, _everywhere(MAGNITUDE)), builder.load(largest)
            larger = builder.icmp_unsigned(">", found, held)
            here = spread(builder, builder.trunc(at, _WORD), WORDS)
            builder.store(builder.select(larger, found, held), largest)
            builder.store(builder.select(larger, here, builder.load(where)), where)

        def reduced(name: str, vector: Any) -> Any:
            kind = ir.FunctionType(_WORD, [WORDS])
            name = f"llvm.vector.reduce.{name}.v{WIDTH}i32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])

        greatest = spread(builder, reduced("umax", builder.load(largest)), WORDS)
        equal = builder.icmp_unsigned("==", builder.load(largest), greatest)
        places = builder.add(builder.load(where), ir.Constant(WORDS, list(range(WIDTH))))
        first = reduced("umin", builder.select(equal, places, _everywhere(0xFFFFFFFF)))
        return builder.zext(first, arguments[1].type)

    return signature, generate
