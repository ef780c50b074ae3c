"""Cases of ranges of entropy-coded floats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch import CompressedFloats
from mergesketch.sketches.coding.float_device import kernel_arguments

N = 2900


def compressed(rng: np.random.Generator) -> Iterator[CompressedFloats]:
    normal = rng.standard_normal(N)
    for dtype in ("float16", "float32", "float64"):
        yield CompressedFloats(normal.astype(dtype))
    # One symbol, values without order, symbols far apart, and few values.
    yield CompressedFloats(np.full(N, 1.5, "float16"))
    yield CompressedFloats(rng.integers(0, 2**16, N, dtype=np.uint16), dtype="bfloat16")
    yield CompressedFloats(np.concatenate([normal * 1e90, normal * 1e-90]), coding="exponent")
    yield CompressedFloats(normal[:1100].astype("float32"), coding="exponent")
    yield CompressedFloats(normal[:3])
    bits = rng.integers(120, 130, N) << 7 | rng.integers(0, 128, N)
    yield CompressedFloats(bits.astype(np.uint16), dtype="bfloat16")
    yield CompressedFloats(np.clip(normal * 6 + 60, 0, 255).astype(np.uint8), dtype="float8_e4m3fn")


@case("decode_ranges")
def ranges_of_floats(rng: np.random.Generator) -> Iterator[Case]:
    for floats in compressed(rng):
        reader, n = floats._reader, floats.size
        cuts = sorted({0, n, *rng.integers(0, n, 3).tolist()})
        ranges = [
            (chunk, first, last, reader.starts[chunk] + first)
            for start, stop in pairwise(cuts)
            for chunk, first, last in reader.ranges(start, stop, 1 << 18)
        ]
        rng.shuffle(ranges)
        out = np.zeros(n, floats.bits().dtype)
        data, lengths, *plans = kernel_arguments(reader)
        yield (
            to_read(data),
            to_read(lengths),
            *map(on_device, plans),
            on_device(np.array(ranges, np.int64)),
            on_device(out),
        )
