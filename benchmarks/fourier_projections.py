"""Time and error of FourierSketch by its projections, and of one sketch of several widths.

Projections: the processor's time of a row that is added and of a query, on one thread, all projections in one
run, and the root mean square error of densities over ten seeds beside that of independent frequencies. Rows
are normal, and the width is such that the mean density is about 0.3.

Widths: the median relative error of a sketch of four widths, and of a sketch for each width, of equally many
bytes together. The widths give mean densities of 0.01, 0.05, 0.2 and 0.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import FourierSketch
from sklearn.metrics.pairwise import euclidean_distances

PROJECTIONS = ("independent", "orthogonal", "hadamard")
SHAPES = ((20, 256), (100, 1024), (784, 1024), (784, 4096))
SEEDS, N_QUERIES, N_ROWS, REPEATS = 10, 100, 100, 7
FEATURES, DENSITIES, EACH = (2, 5, 20), (0.01, 0.05, 0.2, 0.5), 256


def gaussian(Q: np.ndarray, X: np.ndarray, width: float) -> np.ndarray:
    return np.exp(euclidean_distances(Q, X, squared=True) / (-2.0 * width * width))


def microseconds(functions: dict[str, Callable[[], Any]], rows: int) -> dict[str, float]:
    """Return the least time a row of each function, which are called in turns."""
    least = dict.fromkeys(functions, np.inf)
    for _ in range(REPEATS):
        for name, function in functions.items():
            start = time.process_time()
            function()
            least[name] = min(least[name], time.process_time() - start)
    return {name: seconds / rows * 1e6 for name, seconds in least.items()}


def projections() -> list[dict[str, Any]]:
    found = []
    for d, m in SHAPES:
        rng = np.random.default_rng(d)
        X, Q = (rng.standard_normal((n, d)).astype(np.float32) for n in (N_ROWS, N_QUERIES))
        width = 0.9 * d**0.5
        exact, errors = gaussian(Q, X, width).mean(axis=1), {}
        made = {p: FourierSketch(d, m, width, projection=p, seed=0).update(X) for p in PROJECTIONS}
        for p in PROJECTIONS:
            # Orthogonal frequencies of many features take long to draw.
            seeds = SEEDS if d * m < 1 << 20 else 3
            sketches = [FourierSketch(d, m, width, projection=p, seed=s).update(X) for s in range(seeds)]
            errors[p] = float(np.sqrt(np.mean([np.square(s.density(Q) - exact) for s in sketches])))
        adding = microseconds({p: partial(s.update, X) for p, s in made.items()}, N_ROWS)
        asking = microseconds({p: partial(s.query, Q) for p, s in made.items()}, N_QUERIES)
        for p in PROJECTIONS:
            found.append(
                {
                    "features": d,
                    "components": m,
                    "projection": p,
                    "us a row": adding[p],
                    "us a query": asking[p],
                    "query, times as fast": asking["independent"] / asking[p],
                    "error": errors[p],
                    "error over independent": errors[p] / errors["independent"],
                }
            )
    return found


def width_of(Q: np.ndarray, X: np.ndarray, density: float) -> float:
    low, high = 1e-2, 1e2
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if gaussian(Q, X, middle).mean() < density else (low, middle)
    return low


def widths() -> list[dict[str, Any]]:
    rng, found = np.random.default_rng(0), []
    for d in FEATURES:
        X, Q = rng.standard_normal((1000, d)), rng.standard_normal((N_QUERIES, d))
        of = [width_of(Q, X, density) for density in DENSITIES]
        shared = [FourierSketch(d, EACH * len(of), of, seed=s).update(X) for s in range(SEEDS)]
        for width, density in zip(of, DENSITIES, strict=True):
            exact = gaussian(Q, X, width).mean(axis=1)
            own = [FourierSketch(d, EACH, width, seed=s).update(X) for s in range(SEEDS)]
            one, each = (
                float(np.median([np.abs(s.density(Q, width=width) - exact) / exact for s in sketches]))
                for sketches in (shared, own)
            )
            found.append(
                {
                    "features": d,
                    "mean density": density,
                    "one sketch": one,
                    "a sketch for each width": each,
                    "ratio of errors": each / one,
                }
            )
    return found


def main() -> None:
    arguments = parse(__doc__, "fourier_projections")
    mergesketch.set_num_threads(1)
    rows = projections()
    show("projections", rows)
    of_widths = widths()
    show("widths", of_widths)
    write(arguments.json, rows + of_widths)


if __name__ == "__main__":
    main()
