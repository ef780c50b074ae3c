"""Steps of the Walsh-Hadamard transform of one row that happen in registers, in the compiler's own code.

A register holds 16 neighbouring coordinates. The four levels of the transform that stay within a register
are a shuffle and a fused multiply-add each; further levels add and subtract whole registers, as many as fit
at a time. Where registers are narrower than 16 floats the compiler takes several for one.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

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


def _radix() -> int:
    """Registers that are worked on together: half of those that the processor has."""
    features = config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is None and config.CPU_NAME is None:  # type: ignore[attr-defined]
        features = llvmlite.binding.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in (features or "").split(",") else 4


RADIX = _radix()

FLOATS, WORDS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(32), WIDTH)
BITS = ir.VectorType(ir.IntType(1), WIDTH)
_MASK = ir.IntType(16)


def data_of(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    """Pointer into the array that is argument `place`, at the element that the next argument names."""
    array = context.make_array(signature.args[place])(context, builder, arguments[place])
    return builder.gep(array.data, [arguments[place + 1]])


def register_type(builder: Any, pointer: Any, offset: Any = None, vector: Any = FLOATS) -> Any:
    pointer = pointer if offset is None else builder.gep(pointer, [offset])
    return builder.bitcast(pointer, vector.as_pointer())


def within_registers(builder: Any, values: list[Any]) -> list[Any]:
    """Levels of span 1, 2, 4 and 8: each coordinate and its partner's sum, or difference in the upper one."""
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(FLOATS, [FLOATS] * 3), f"llvm.fmuladd.v{WIDTH}f32"
    )
    undefined = ir.Constant(FLOATS, ir.Undefined)
    for span in (1, 2, 4, 8):
        partners = ir.Constant(WORDS, [lane ^ span for lane in range(WIDTH)])
        signs = ir.Constant(FLOATS, [-1.0 if lane & span else 1.0 for lane in range(WIDTH)])
        # A factor of 1 or -1 is exact, so this rounds as addition and subtraction do.
        values = [
            builder.call(multiply_add, [value, signs, builder.shuffle_vector(value, undefined, partners)])
            for value in values
        ]
    return values


def across_registers(builder: Any, values: list[Any]) -> list[Any]:
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
    """The levels of span below ``RADIX * WIDTH`` of as many coordinates, after their signs were flipped.

    Coordinate 16 i + j from ``source[source_at]`` changes sign if bit j of ``masks[masks_at + i]`` is set.
    """
    place = types.intp
    signature = types.void(source, place, masks, place, target, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded, mask, stored = (data_of(context, builder, signature, arguments, i) for i in (0, 2, 4))
        values = []
        for i in range(RADIX):
            offset = ir.IntType(64)(i * WIDTH)
            words = builder.bitcast(builder.load(register_type(builder, loaded, offset), align=4), WORDS)
            flips = builder.load(builder.gep(mask, [ir.IntType(64)(i)]), align=2)
            flipped = builder.xor(words, ir.Constant(WORDS, [0x80000000] * WIDTH))
            words = builder.select(builder.bitcast(flips, BITS), flipped, words)
            values.append(builder.bitcast(words, FLOATS))
        for i, value in enumerate(across_registers(builder, within_registers(builder, values))):
            builder.store(value, register_type(builder, stored, ir.IntType(64)(i * WIDTH)), align=4)
        return context.get_dummy_value()

    return signature, generate


def _radix_levels(radix: int) -> Any:
    def levels(typing_context, block, at, span):
        signature = types.void(block, types.intp, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = data_of(context, builder, signature, arguments, 0)
            places = [
                register_type(builder, first, builder.mul(arguments[2], ir.IntType(64)(i)))
                for i in range(radix)
            ]
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
    """Bit j of ``bits[bits_at]``, a word of 16, tells whether ``block[at + j]`` is at least 0."""
    signature = types.void(block, types.intp, bits, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, words = (data_of(context, builder, signature, arguments, i) for i in (0, 2))
        value = builder.load(register_type(builder, values), align=4)
        positive = builder.fcmp_ordered(">=", value, ir.Constant(FLOATS, [0.0] * WIDTH))
        builder.store(builder.bitcast(positive, _MASK), words, align=2)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def gather_bits(typing_context, bits, first, stride, power, codes, codes_at):
    """16 codes from ``codes[codes_at]``: bit k of the j-th is bit ``first + k * stride + j`` of `bits`.

    Reads up to two bytes beyond the last of those bits.
    """
    place = types.intp
    signature = types.void(bits, place, place, place, codes, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        octets = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        target = register_type(builder, data_of(context, builder, signature, arguments, 4), vector=WORDS)
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
