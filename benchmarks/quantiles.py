"""Measure DDSketch and KLLSketch beside ddsketch and DataSketches: time a value, and errors at equal bytes.

The peers are the ddsketch package, and KLL, REQ and t-digest of datasketches; those that are not installed
are left out. Sorting all values by NumPy stands beside them. All of them run on one thread, and the
parameters of sketches are those at which they take at most the bytes of a DDSketch of the default range at
an error of 1 %. The quantiles are those from 1 % to 99.99 % of several data sets, and sketches with random
bits are made many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import DDSketch, KLLSketch
from numpy.typing import NDArray

N = 1_000_000
#: Values for peers that take one Python number at a time.
N_SINGLE = 50_000
#: Sketches of each data set, if they draw random bits.
REPEATS = 40
SHARES = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999])
Values = NDArray[np.float64]


class Peer(NamedTuple):
    """A way to make a sketch from values and to ask it."""

    make: Callable[[Values, int], Any]
    quantiles: Callable[[Any], Values]
    n_bytes: Callable[[Any], int]
    #: The most values that it takes in a reasonable time.
    most: int = N
    is_random: bool = False


def data_sets() -> Iterator[tuple[str, Values]]:
    rng = np.random.default_rng(0)
    # A sketch with levels is coarser just after a level was added. So the lengths differ by quarter octaves.
    second, third, fourth = (round(N / 2 ** (i / 4)) for i in (1, 2, 3))
    yield "log-normal, sigma 2", rng.lognormal(3.0, 2.0, N)
    yield "Pareto, exponent 1", rng.pareto(1.0, second) + 1.0
    yield "uniform from 1 to 1000", rng.uniform(1.0, 1000.0, third)
    yield "whole milliseconds", np.ceil(rng.gamma(2.0, 20.0, fourth))


def peers() -> Iterator[tuple[str, Peer]]:
    yield (
        "DDSketch",
        Peer(
            lambda x, _: DDSketch(relative_error=0.01).update(x),
            lambda s: s.quantile(SHARES),
            lambda s: s.nbytes,
        ),
    )
    yield (
        "KLLSketch, k = 960",
        Peer(
            lambda x, seed: KLLSketch(960, seed=seed).update(x),
            lambda s: s.quantile(SHARES),
            lambda s: s.nbytes,
            is_random=True,
        ),
    )
    yield (
        "all values, sorted by NumPy",
        Peer(
            lambda x, _: np.sort(x),
            lambda s: s[np.floor(SHARES * (s.size - 1)).astype(np.int64)],
            lambda s: s.nbytes,
        ),
    )
    if find_spec("ddsketch") is not None:
        import ddsketch

        def add_all(x: Values, _: int) -> Any:
            sketch = ddsketch.DDSketch(0.01)
            for value in x.tolist():
                sketch.add(value)
            return sketch

        yield (
            "ddsketch, Python",
            Peer(
                add_all,
                lambda s: np.array([s.get_quantile_value(q) for q in SHARES]),
                # Its bins are floats of Python.
                lambda s: 8 * (len(s._store.bins) + len(s._negative_store.bins)),
                N_SINGLE,
            ),
        )
    if find_spec("datasketches") is not None:
        import datasketches

        def of_datasketches(make: Callable[[], Any], dtype: type, is_random: bool = True) -> Peer:
            def update(x: Values, _: int) -> Any:
                sketch = make()
                sketch.update(x.astype(dtype, copy=False))
                return sketch

            return Peer(
                update,
                lambda s: np.array([s.get_quantile(float(q)) for q in SHARES]),
                lambda s: len(s.serialize()),
                is_random=is_random,
            )

        yield (
            "KLL of DataSketches, k = 1070",
            of_datasketches(lambda: datasketches.kll_doubles_sketch(1070), np.float64),
        )
        yield (
            "REQ of DataSketches, k = 50",
            of_datasketches(lambda: datasketches.req_floats_sketch(50, True), np.float32),
        )
        yield (
            "t-digest of DataSketches, k = 1150",
            of_datasketches(lambda: datasketches.tdigest_double(1150), np.float64, is_random=False),
        )


def rank_errors(ordered: Values, found: Values) -> Values:
    """Return how far the ranks of found values are from those that were asked for, as a share of all."""
    low = np.searchsorted(ordered, found, "left") / ordered.size
    high = np.searchsorted(ordered, found, "right") / ordered.size
    return np.maximum(0.0, np.maximum(low - SHARES, SHARES - high))


def main() -> None:
    arguments = parse(__doc__ or "", "quantiles")
    mergesketch.set_num_threads(1)
    sketches, sets = dict(peers()), dict(data_sets())
    values = next(iter(sets.values()))

    def build(name: str) -> Callable[[], Any]:
        return lambda: sketches[name].make(values[: sketches[name].most], 0)

    times = best_of({name: build(name) for name in sketches})
    rows = []
    for name, peer in sketches.items():
        relative, squares, n_bytes = 0.0, [], 0
        for x in sets.values():
            x = x[: peer.most]
            exact, ordered = np.quantile(x, SHARES, method="lower"), np.sort(x)
            for seed in range(REPEATS if peer.is_random else 1):
                sketch = peer.make(x, seed)
                found, n_bytes = peer.quantiles(sketch), max(n_bytes, peer.n_bytes(sketch))
                relative = max(relative, float(np.abs(found / exact - 1.0).max()))
                squares.append(float((rank_errors(ordered, found) ** 2).mean()))
        rows.append(
            {
                "sketch": name,
                "bytes": n_bytes,
                "ns a value": 1e9 * times[name] / peer.most,
                "million values/s": peer.most / times[name] / 1e6,
                "largest relative error, %": 100.0 * relative,
                "rank error, root mean square, %": 100.0 * float(np.sqrt(np.mean(squares))),
            }
        )
    show("quantiles", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
