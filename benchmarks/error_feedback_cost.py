"""Measure a step of SketchedErrorFeedback beside error feedback with an error for each parameter, in NumPy.

Gradients of 10 million normal numbers, of which 1 % are sent, in one process and on one thread. Both choose
the same way: by the partition of NumPy. Times are processor nanoseconds for each parameter, the least of 5
steps, and "memory" is in megabytes.
"""

from __future__ import annotations

import time

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch.distributed import SketchedErrorFeedback

N, SHARE = 10_000_000, 0.01


class Full:
    """Error feedback with an error for each parameter."""

    def __init__(self) -> None:
        self.errors = np.zeros(N, np.float32)

    def step(self, gradient: np.ndarray) -> np.ndarray:
        self.errors += gradient
        if not np.isfinite(self.errors).all():
            raise ValueError
        sizes = np.abs(self.errors)
        k = round(SHARE * N)
        positions = np.flatnonzero(sizes >= np.partition(sizes, N - k)[N - k])
        update = np.zeros(N, np.float32)
        update[positions] = self.errors[positions]
        self.errors[positions] = 0
        return update


def main() -> None:
    arguments = parse(__doc__ or "", "error_feedback_cost")
    mergesketch.set_num_threads(1)
    gradient = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    full, small = Full(), SketchedErrorFeedback(N, compression=SHARE, memory=0.1)
    random_block = SketchedErrorFeedback(N, compression=SHARE, memory=0.1, compressor="random_block")
    steps = {
        "NumPy, all errors": lambda: full.step(gradient),
        "top_k": lambda: small.step(gradient),
        "random_block": lambda: random_block.step(gradient),
    }
    times = best_of(steps, clock=time.process_time)
    sizes = dict(zip(steps, (full.errors.nbytes, small.nbytes, random_block.nbytes), strict=True))
    peer = times["NumPy, all errors"]
    rows = [
        {
            "what": name,
            "ns a parameter": 1e9 * seconds / N,
            "memory": sizes[name] / 1e6,
            "time / NumPy's": seconds / peer,
        }
        for name, seconds in times.items()
    ]
    show("steps", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
