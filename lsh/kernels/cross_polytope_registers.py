"""Cross-polytope hashing in registers: small rotations as a whole, and the largest of some coordinates."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .hadamard_registers import (
    BITS,
    FLOATS,
    RADIX,
    WIDTH,
    WORDS,
    across_registers,
    data_of,
    register_type,
    within_registers,
)

__all__ = ["GROUP", "MAGNITUDE", "largest_place", "rotate_group"]

#: Coordinates that fit in the registers at a time.
GROUP = RADIX * WIDTH
#: All bits of a float32 but the sign.
MAGNITUDE = 0x7FFFFFFF
_WORD = ir.IntType(32)


def _everywhere(value: int) -> Any:
    return ir.Constant(WORDS, [value] * WIDTH)


@intrinsic
def rotate_group(typing_context, source, masks, masks_at, block):
    """``block = H D3 H D2 H D1 source`` of GROUP coordinates, which stay in registers for all three rounds.

    Adds in the order of `hadamard._rotate`. The signs are bits from ``masks[masks_at]`` on, GROUP a round.
    """
    signature = types.void(source, masks, types.intp, block)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask = data_of(context, builder, signature, arguments, 1)
        loaded, stored = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3)
        )
        places = [ir.IntType(64)(i * WIDTH) for i in range(RADIX)]
        values = [builder.load(register_type(builder, loaded, at), align=4) for at in places]
        for turn in range(3):
            for i in range(RADIX):
                flips = builder.load(builder.gep(mask, [ir.IntType(64)(turn * RADIX + i)]), align=2)
                words = builder.bitcast(values[i], WORDS)
                flipped = builder.xor(words, _everywhere(0x80000000))
                words = builder.select(builder.bitcast(flips, BITS), flipped, words)
                values[i] = builder.bitcast(words, FLOATS)
            values = across_registers(builder, within_registers(builder, values))
        for at, value in zip(places, values, strict=True):
            builder.store(value, register_type(builder, stored, at), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def largest_place(typing_context, words, first, count):
    """Which of `count` coordinates from `first` on is the largest in magnitude, the first of equal ones.

    `words` are the bits of float32: those without the sign are ordered as the magnitudes are. `count` is
    a multiple of 16. No branch depends on the coordinates: a wrongly guessed one costs more than all this.
    """
    signature = types.intp(words, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, signature, arguments, 0)
        step = ir.Constant(arguments[2].type, WIDTH)
        largest = cgutils.alloca_once_value(builder, _everywhere(0))
        # Lane by lane, the register that holds its largest; before the first, none.
        where = cgutils.alloca_once_value(builder, _everywhere(0))
        with cgutils.for_range(builder, builder.udiv(arguments[2], step)) as loop:
            at = builder.mul(loop.index, step)
            found = builder.load(register_type(builder, data, at, WORDS), align=4)
            found, held = builder.and_(found, _everywhere(MAGNITUDE)), builder.load(largest)
            larger = builder.icmp_unsigned(">", found, held)
            undefined = ir.Constant(WORDS, ir.Undefined)
            one = builder.insert_element(undefined, builder.trunc(at, _WORD), _WORD(0))
            here = builder.shuffle_vector(one, undefined, _everywhere(0))
            builder.store(builder.select(larger, found, held), largest)
            builder.store(builder.select(larger, here, builder.load(where)), where)

        def reduced(name: str, vector: Any) -> Any:
            kind = ir.FunctionType(_WORD, [WORDS])
            name = f"llvm.vector.reduce.{name}.v{WIDTH}i32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])

        undefined = ir.Constant(WORDS, ir.Undefined)
        greatest = reduced("umax", builder.load(largest))
        one = builder.insert_element(undefined, greatest, _WORD(0))
        equal = builder.icmp_unsigned(
            "==", builder.load(largest), builder.shuffle_vector(one, undefined, _everywhere(0))
        )
        places = builder.add(builder.load(where), ir.Constant(WORDS, list(range(WIDTH))))
        first = reduced("umin", builder.select(equal, places, _everywhere(0xFFFFFFFF)))
        return builder.zext(first, arguments[1].type)

    return signature, generate
