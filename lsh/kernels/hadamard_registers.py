"""Steps of the Walsh-Hadamard transform of one row in registers, in the compiler's intermediate code.

A register holds 16 neighbouring coordinates. Each of the four levels of the transform that stay within a
register is a shuffle and a fused multiply-add. Further levels add and subtract whole registers. Where
registers are narrower than 16 floats, the compiler uses several for one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .registers import element_of, first_element_of, intrinsic, multiply_add, processor_features, register_at

__all__ = [
    "RADIX",
    "WIDTH",
    "gather_bits",
    "low_levels",
    "radix_2",
    "radix_4",
    "radix_8",
    "radix_16",
    "sign_bits",
]

#: Coordinates of a register, and of a mask of 16 bits.
WIDTH = 16


#: Registers that are worked on together: half of those that the processor has.
RADIX = 16 if "+avx512f" in processor_features() else 4

FLOATS, WORDS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(32), WIDTH)
BITS = ir.VectorType(ir.IntType(1), WIDTH)
_MASK = ir.IntType(16)


def within_registers(builder: Any, values: list[Any]) -> list[Any]:
    """Compute the levels of span 1, 2, 4 and 8: sums and differences of coordinates and their partners."""
    product_and_sum = multiply_add(builder, FLOATS)
    undefined = ir.Constant(FLOATS, ir.Undefined)
    for span in (1, 2, 4, 8):
        partners = ir.Constant(WORDS, [lane ^ span for lane in range(WIDTH)])
        signs = ir.Constant(FLOATS, [-1.0 if lane & span else 1.0 for lane in range(WIDTH)])
        # A factor of 1 or -1 is exact, so this rounds as addition and subtraction do.
        values = [
            builder.call(product_and_sum, [value, signs, builder.shuffle_vector(value, undefined, partners)])
            for value in values
        ]
    return values


def across_registers(builder: Any, values: list[Any]) -> list[Any]:
    """Compute the levels that add and subtract whole registers."""
    span = 1
    while span < len(values):
        following = list(values)
        for i in range(len(values)):
            if not i & span:
                a, b = values[i], values[i + span]
                following[i], following[i + span] = builder.fadd(a, b), builder.fsub(a, b)
        values, span = following, 2 * span
    return values


@intrinsic
def low_levels(typing_context, source, source_at, masks, masks_at, target, target_at):
    """Flip the signs of ``RADIX * WIDTH`` coordinates, and compute the levels of smaller spans.

    Coordinate 16 i + j from ``source[source_at]`` changes sign if bit j of ``masks[masks_at + i]`` is set.
    """
    place = types.intp
    signature = types.void(source, place, masks, place, target, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded, mask, stored = (element_of(context, builder, signature, arguments, i) for i in (0, 2, 4))
        values = []
        for i in range(RADIX):
            at = builder.gep(loaded, [ir.IntType(64)(i * WIDTH)])
            words = builder.load(register_at(builder, at, WORDS), align=4)
            flips = builder.load(builder.gep(mask, [ir.IntType(64)(i)]), align=2)
            flipped = builder.xor(words, ir.Constant(WORDS, [0x80000000] * WIDTH))
            words = builder.select(builder.bitcast(flips, BITS), flipped, words)
            values.append(builder.bitcast(words, FLOATS))
        for i, value in enumerate(across_registers(builder, within_registers(builder, values))):
            at = builder.gep(stored, [ir.IntType(64)(i * WIDTH)])
            builder.store(value, register_at(builder, at, FLOATS), align=4)
        return context.get_dummy_value()

    return signature, generate


def _radix_levels(radix: int) -> Any:
    """Make the function that computes the next levels of `radix` registers."""

    def levels(typing_context, block, at, span):
        signature = types.void(block, types.intp, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = element_of(context, builder, signature, arguments, 0)
            offsets = [builder.mul(arguments[2], ir.IntType(64)(i)) for i in range(radix)]
            places = [register_at(builder, builder.gep(first, [offset]), FLOATS) for offset in offsets]
            values = [builder.load(place, align=4) for place in places]
            for place, value in zip(places, across_registers(builder, values), strict=True):
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    levels.__name__ = levels.__qualname__ = f"radix_{radix}"
    levels.__doc__ = (
        f"The next levels of {radix} registers that lie `span` coordinates apart from ``block[at]``."
    )
    return intrinsic(levels)


radix_2, radix_4, radix_8, radix_16 = (_radix_levels(radix) for radix in (2, 4, 8, 16))


@intrinsic
def sign_bits(typing_context, block, at, bits, bits_at):
    """Set bit j of ``bits[bits_at]``, a word of 16 bits, where ``block[at + j]`` is at least 0."""
    signature = types.void(block, types.intp, bits, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, words = (element_of(context, builder, signature, arguments, i) for i in (0, 2))
        value = builder.load(register_at(builder, values, FLOATS), align=4)
        positive = builder.fcmp_ordered(">=", value, ir.Constant(FLOATS, [0.0] * WIDTH))
        builder.store(builder.bitcast(positive, _MASK), words, align=2)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def gather_bits(typing_context, bits, first, stride, power, codes, codes_at):
    """Write 16 codes to ``codes[codes_at:]``: bit k of the j-th is bit ``first + k * stride + j`` of `bits`.

    Up to two bytes beyond the last of those bits are read.
    """
    place = types.intp
    signature = types.void(bits, place, place, place, codes, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        octets = first_element_of(context, builder, signature, arguments, 0)
        octets = builder.bitcast(octets, ir.IntType(8).as_pointer())
        target = register_at(builder, element_of(context, builder, signature, arguments, 4), WORDS)
        zero = ir.Constant(WORDS, [0] * WIDTH)
        gathered = cgutils.alloca_once_value(builder, zero)
        unit = cgutils.alloca_once_value(builder, ir.Constant(WORDS, [1] * WIDTH))
        index = arguments[1].type
        with cgutils.for_range(builder, arguments[3]) as loop:
            position = builder.add(arguments[1], builder.mul(loop.index, arguments[2]))
            word_at = builder.gep(octets, [builder.lshr(position, index(3))])
            word = builder.load(builder.bitcast(word_at, ir.IntType(32).as_pointer()), align=1)
            shift = builder.trunc(builder.and_(position, index(7)), ir.IntType(32))
            mask = builder.bitcast(builder.trunc(builder.lshr(word, shift), _MASK), BITS)
            one = builder.load(unit)
            builder.store(builder.or_(builder.load(gathered), builder.select(mask, one, zero)), gathered)
            builder.store(builder.add(one, one), unit)
        builder.store(builder.load(gathered), target, align=4)
        return context.get_dummy_value()

    return signature, generate
