"""Measure HyperLogLog beside DataSketches' HLL and CPC: CPU time of an update, and errors up to 10**9 keys.

DataSketches takes keys one by one from Python, so it is timed on an existing list, in the fastest loop. Its
estimates of one stream use the order of the keys ("one stream"); those of merged sketches cannot ("merged").
Ours do not depend on it. All sketches of many keys have about 4 KB when they are written to a file; the bytes
are those of files, of which ours have about 500 bytes of header.

Above 10**6 keys, our registers are drawn by their probabilities. The last rows are the bytes of our registers
for about 2 %, with the errors for 10**6 keys.

Bound: an update reads 8 bytes, hashes (25 vector operations for 8 keys), and reads one byte of 4 KB.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import HyperLogLog, MinHashSketch
from mergesketch.sketches.counts.hyperloglog_theory import probabilities, relative_error
from mergesketch.sketches.counts.hyperloglog_tokens import shared_variance

PRECISION = 12
SIZES = [10**i for i in range(7)]
SIMULATED = [10**i for i in range(7, 10)]
#: Trials up to 10,000 keys, and beyond: DataSketches takes 0.1 s for a million keys.
TRIALS, LONG_TRIALS, LONG = 1000, 200, 10**4


def peers() -> dict[str, Callable[[], Any]]:
    import datasketches as ds

    return {
        "HLL_4, 8,192 registers": partial(ds.hll_sketch, 13, ds.HLL_4),
        "HLL_8, 4,096 registers": partial(ds.hll_sketch, 12, ds.HLL_8),
        "CPC, 8,192 rows": partial(ds.cpc_sketch, 13),
    }


def merged(halves: list[Any]) -> float:
    """Return the estimate of two merged sketches."""
    import datasketches as ds

    is_cpc = isinstance(halves[0], ds.cpc_sketch)
    union = ds.cpc_union(13) if is_cpc else ds.hll_union(halves[0].lg_config_k)
    for half in halves:
        union.update(half)
    return float(union.get_result().get_estimate())


def speeds() -> list[dict[str, Any]]:
    mergesketch.set_num_threads(1)
    n, rows = 10**6, []
    for kind, keys in (
        ("integers", np.random.default_rng(0).integers(0, 2**62, n)),
        ("strings", np.array([f"user-{i}" for i in range(n)], "S12")),
    ):
        listed = keys.tolist() if kind == "integers" else [key.decode() for key in keys]
        sketches = {name: make() for name, make in peers().items()}
        ours, minhash = HyperLogLog(PRECISION), MinHashSketch(n_hashes=1024)
        calls: dict[str, Callable[[], Any]] = {
            "HyperLogLog": partial(ours.update, keys),
            "MinHashSketch": partial(minhash.update, keys),
        }
        calls |= {
            name: lambda s=s, keys=listed: deque(map(s.update, keys), 0) for name, s in sketches.items()
        }
        if kind == "strings":
            calls["HyperLogLog, list of str"] = partial(ours.update, listed)
        times = best_of(calls, repeats=25, clock=time.process_time)
        rows += [
            {"keys are": kind, "sketch": name, "ns a key": 1e9 * t / n, "ratio": t / times["HyperLogLog"]}
            for name, t in times.items()
        ]
    return rows


def parts_of(trial: int) -> list[np.ndarray]:
    """Return the keys of a trial in parts, which end at the sizes."""
    sizes = [n for n in SIZES if n <= LONG or trial < LONG_TRIALS]
    keys = np.arange(sizes[-1]) + (trial << 32)
    return np.split(keys, sizes[:-1])


def theory(n: int) -> float:
    """Return the standard error of n keys, in a list or in registers."""
    if 4 * n <= 1 << PRECISION:
        return math.sqrt(shared_variance(0.0, n, 0.0)) / n
    return relative_error(n, 1 << PRECISION)


def errors() -> list[dict[str, Any]]:
    found: dict[tuple[str, int], list[float]] = {}
    sizes: dict[tuple[str, int], int] = {}

    def note(name: str, n: int, estimate: float, nbytes: int) -> None:
        found.setdefault((name, n), []).append(estimate / n - 1)
        sizes[name, n] = nbytes

    for trial in range(TRIALS):
        ours = HyperLogLog(PRECISION, seed=trial)
        others = {name: (make(), [make(), make()]) for name, make in peers().items()}
        for n, part in zip(SIZES, parts_of(trial), strict=False):
            note("HyperLogLog", n, ours.update(part).cardinality(), len(ours.to_bytes()))
            listed = part.tolist()
            for name, (sketch, halves) in others.items():
                for place, half in enumerate(halves):
                    deque(map(half.update, listed[place::2]), 0)
                deque(map(sketch.update, listed), 0)
                is_cpc = name.startswith("CPC")
                written = sketch.serialize() if is_cpc else sketch.serialize_compact()
                note(f"{name}, one stream", n, sketch.get_estimate(), len(written))
                note(f"{name}, merged", n, merged(halves), len(written))
    rng = np.random.default_rng(0)
    for n in SIMULATED:
        chances = probabilities(n / 2.0**PRECISION, PRECISION)
        sketch = HyperLogLog(PRECISION)
        sketch.state["is_dense"].array[:] = 1
        for counts in rng.multinomial(1 << PRECISION, chances / chances.sum(), TRIALS * 10):
            registers = np.repeat(np.arange(256, dtype=np.uint8), counts)
            sketch.state["registers"].array[:] = registers
            note("HyperLogLog", n, sketch.cardinality(), len(sketch.to_bytes()))
    rows = []
    for (name, n), values in sorted(found.items(), key=lambda item: item[0]):
        relative = np.array(values)
        row: dict[str, Any] = {"sketch": name, "keys": n, "bytes": sizes[name, n], "trials": relative.size}
        row |= {"bias": float(relative.mean()), "RMS error": float(np.sqrt(np.mean(relative**2)))}
        row |= {"standard error of the bias": float(relative.std() / np.sqrt(relative.size))}
        if name == "HyperLogLog":
            row["theory"] = theory(n)
        rows.append(row)
    return rows


def errors_by_size() -> list[dict[str, Any]]:
    """Return the bytes of registers and the errors of sketches for about 2 %."""
    n, rows = SIZES[-1], []
    for make in (partial(HyperLogLog.for_error, 0.02), partial(HyperLogLog, 10)):
        relative = []
        for trial in range(TRIALS):
            sketch = make(seed=trial).update(np.arange(n))
            relative.append(sketch.cardinality() / n - 1.0)
        row: dict[str, Any] = {"registers": sketch.n_registers, "file bytes": len(sketch.to_bytes())}
        row |= {"trials": TRIALS, "RMS error": float(np.sqrt(np.mean(np.square(relative))))}
        rows.append(row | {"theory": sketch.standard_error})
    return rows


def main() -> None:
    arguments = parse((__doc__ or "").splitlines()[0], "distinct")
    speed_rows = speeds()
    show("Updates, one thread", speed_rows)
    error_rows = errors()
    show("Errors", error_rows)
    size_rows = errors_by_size()
    show("Bytes", size_rows)
    write(arguments.json, [*speed_rows, *error_rows, *size_rows])


if __name__ == "__main__":
    main()
