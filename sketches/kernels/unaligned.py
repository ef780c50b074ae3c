"""Instructions that Numba has no names for: words at any place of an array, and shifts of narrow numbers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ...lsh.kernels.registers import element_of, intrinsic

__all__ = ["load_word_at", "reverse_bytes", "shift_down", "shift_up", "store_word_at"]

_WORD = ir.IntType(64)


@intrinsic
def load_word_at(typing_context, array, index):
    """Load the 8 bytes from ``array[index]`` on, little-endian; they must lie within the array."""
    signature = types.uint64(array, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element_of(context, builder, signature, arguments, 0)
        return builder.load(builder.bitcast(address, _WORD.as_pointer()), align=1)

    return signature, generate


@intrinsic
def store_word_at(typing_context, array, index, word):
    """Store 8 bytes from ``array[index]`` on, little-endian; they must lie within the array."""
    signature = types.void(array, types.intp, types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element_of(context, builder, signature, arguments, 0)
        builder.store(arguments[2], builder.bitcast(address, _WORD.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def reverse_bytes(typing_context, word):
    """Return a word with its 8 bytes in reverse order."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate


def _shift(name: str) -> Any:
    def shift(typing_context, number, count):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value, bits = arguments
            bits = bits if value.type == bits.type else builder.trunc(bits, value.type)
            return getattr(builder, name)(value, bits)

        return number(number, types.intp), generate

    return intrinsic(shift)


#: Return ``number >> count`` and ``number << count`` in the type of the number, which must have more than
#: `count` bits. Numba would widen both to 64 bits, and few of these fit a register.
shift_down: Any = _shift("lshr")
shift_up: Any = _shift("shl")
