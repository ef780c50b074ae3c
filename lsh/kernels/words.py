"""Bits of a 64-bit word as one instruction each, for kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiled import helper

__all__ = ["lowest_bit", "mix64", "popcount"]


@intrinsic
def _popcount(typing_context, word):
    """Bits that are set in a word, as uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def _lowest_bit(typing_context, word):
    """Index of the lowest bit that is set, as int64; of 0 anything."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


# Type checkers take intrinsics for what they return at compile time.
popcount: Any = _popcount
lowest_bit: Any = _lowest_bit


@helper(inline="always")
def mix64(z):
    """Stafford's mix 13, the finaliser of SplitMix64: a bijection of 64-bit words."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
