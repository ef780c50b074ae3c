"""Cases of floats that are encoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.sketches.coding.float_formats import FORMATS, FloatFormat

N = 2900


def arrays(rng: np.random.Generator) -> Iterator[tuple[FloatFormat, np.ndarray]]:
    normal = rng.standard_normal(N)
    for name in ("float16", "float32", "float64"):
        yield FORMATS[name], normal.astype(name).view(f"uint{FORMATS[name].width}")
    bits = rng.integers(120, 130, N - 1000) << 7 | rng.integers(0, 128, N - 1000)
    yield FORMATS["bfloat16"], bits.astype(np.uint16)
    yield FORMATS["float8_e4m3fn"], np.clip(normal * 6 + 60, 0, 255).astype(np.uint8)
    yield FORMATS["float32"], np.full(700, 1.5, np.float32).view(np.uint32)


@case("varying_bits")
def bits_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for _, values in arrays(rng):
        yield (to_read(values),)


@case("count_tops")
def tops_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for form, values in arrays(rng):
        for n in (N - 1, 2):
            counted = min(12, form.width)
            counts = np.ones((4, 1 << counted), np.uint32)
            yield to_read(values[:n]), form.width - counted, on_device(counts)
