"""Entropy-coded floats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import ROWS, Case
from later import Later
from mergesketch import CompressedFloats, FloatDelta
from mergesketch.sketches.core.stored import Stored


def argument_cases() -> Iterator[Case]:
    # The dtype of the floats is what is compressed.
    yield Case(
        "CompressedFloats", lambda array: CompressedFloats(array).decode(), {"array": ROWS}, any_dtype=False
    )
    both = {"array": ROWS, "base": ROWS + 1}
    delta = Later(lambda: FloatDelta(ROWS, ROWS + 1))
    compressed = Later(lambda: CompressedFloats(ROWS))

    def kept(array, base):
        return FloatDelta(array, base).decode(base)

    def kept_by(base):
        return compressed.delta(base).decode(base)

    yield Case("FloatDelta", kept, both, any_dtype=False)
    yield Case("FloatDelta.decode", delta.decode, {"base": ROWS + 1}, any_dtype=False)
    yield Case("CompressedFloats.delta", kept_by, {"base": ROWS + 1}, any_dtype=False)


def stored_examples() -> dict[str, Stored]:
    weights = np.random.default_rng(0).normal(0.0, 0.02, (50, 60)).astype(np.float16)
    tuned = (weights + np.float16(1e-4)).astype(np.float16)
    return {
        "CompressedFloats": CompressedFloats(weights),
        "CompressedFloats, raw": CompressedFloats(weights[:2].astype(np.float64), coding="raw"),
        "CompressedFloats, equal": CompressedFloats(np.zeros(5000, np.float32)),
        "CompressedFloats, empty": CompressedFloats(np.zeros((0, 3))),
        "FloatDelta": FloatDelta(tuned, weights),
    }
