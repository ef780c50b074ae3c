"""Cases of probes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, words


@case("probe_signs")
def signs_to_probe(rng: np.random.Generator) -> Iterator[Case]:
    for power, n_probes in ((1, 2), (3, 8), (12, 2), (12, 100)):
        for n_buckets in (0, 1000):
            # Small numbers make some scores equal; and there are two columns too many.
            products = rng.integers(-3, 4, (9, 5 * power + 2)).astype(np.float32)
            keys = words(rng, 5)[: 5 if n_buckets else 0]
            out = np.zeros((9, 5, n_probes), np.uint32)
            yield on_device(products), 5, power, keys, np.uint64(n_buckets), on_device(out)


@case("probe_steps")
def steps_to_probe(rng: np.random.Generator) -> Iterator[Case]:
    for power, n_probes in ((1, 3), (4, 81), (10, 60)):
        steps = rng.integers(-(2**62), 2**62, (9, 5 * power))
        above = rng.choice([0.0, 0.25, 0.5, 1.0, 0.3], steps.shape)
        out = np.zeros((9, 5, n_probes), np.uint32)
        yield on_device(steps), on_device(above), words(rng, 5), np.uint64(1000), on_device(out)
