"""Static functions: bytes over the entropy, time to build and look up, and real tables beside their peers.

Drawn tables of a million keys (with --large ten million too): random 64-bit keys, geometric values or a
bounded Zipf. Beside them a Python dict and a sorted array in the same run. CaramelDB, the build of the
method's authors, is not on the package index: its figures (August 2026) were not measured in this run.

Real tables (`static_tables_data`): what ours takes, with and without a check of the keys, beside the
entropy, gzip -9 and zstd -19 (which answer no look-up before all is unpacked), a dict, sorted arrays and
runs, and, for keys that are text, marisa-trie and DAWG where they are installed. Every table that can be
asked is checked against the true values.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import RibbonFilter, StaticFunction, StaticTable
from mergesketch.lsh import hash_keys
from numpy.typing import NDArray
from static_tables_data import (
    Table,
    code_points,
    entropy_bytes,
    genome,
    geometric,
    ngrams,
    patches,
    reads,
    zipf,
)

#: Per cent over the entropy at a million keys, CaramelDB of August 2026; not measured in this run.
CARAMELDB = {"geometric, H=0.5": 40, "geometric, H=2": 18, "geometric, H=4": 15, "geometric, H=8": 15,
             "Zipf of 40,000, H=8": 31}  # fmt: skip
#: Look-ups of one key at a time, by ours and by peers in Python.
SINGLES, ASKED = 2_000, 200_000
#: Keys of the largest table that tries are built of: they take their keys as Python strings.
MOST_STRINGS = 3_000_000


@contextlib.contextmanager
def saved(function: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "function"
        function.save(path)
        yield path


def heap_over_file(path: Path, key: int) -> tuple[float, float]:
    """Per cent that the heap is over the file: after it was read and asked for a key, and at its peak."""
    warm: Any = mergesketch.load(path)
    warm[key]  # what is imported and compiled at the first call is not the function's
    del warm
    gc.collect()
    tracemalloc.start()
    try:
        function: Any = mergesketch.load(path)
        function[key]
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = path.stat().st_size
    return 100 * (held / size - 1), 100 * (peak / size - 1)


# -- drawn tables -------------------------------------------------------------------------------------


def measure_drawn(name: str, keys: NDArray[np.uint64], values: NDArray[Any]) -> dict[str, Any]:
    """One row: space, building, looking up in random order, loading."""
    n, entropy = len(keys), entropy_bytes(values)
    table = values.ndim == 2
    kind: Any = StaticTable if table else StaticFunction
    repeats = 3 if n <= 1_000_000 else 1
    shuffled = np.random.default_rng(9).permutation(n)
    asked, truth = keys[shuffled], values[shuffled]
    few = asked[:SINGLES].tolist()
    row: dict[str, Any] = {"job": name, "keys": n}
    function: Any = kind(keys, values)
    with saved(function) as path:
        size = path.stat().st_size
        row |= {"entropy B": round(entropy), "file B": size, "over the entropy %": 100 * (size / entropy - 1)}
        row["CaramelDB, not this run %"] = CARAMELDB.get(name, "") if n == 1_000_000 else ""
        held, peak = heap_over_file(path, few[0])
        row |= {"heap over file %": held, "peak heap over file %": peak}
        mapped: Any = mergesketch.load(path, mmap=True)
        if not np.array_equal(mapped.lookup(asked), truth):
            raise AssertionError(f"{name}: wrong values")
        order = np.argsort(keys)
        in_order, beside = keys[order], values[order]
        pairs = dict(zip(keys[:1_000_000].tolist(), range(1_000_000), strict=False))
        known = keys[:1_000_000][np.random.default_rng(8).permutation(min(n, 1_000_000))[:ASKED]].tolist()
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            took = best_of({"build": lambda: kind(keys, values, progress=False)}, repeats)
            took |= best_of({"lookup": lambda: mapped.lookup(asked)}, 5)
            suffix = f"{threads} thread{'s' if threads > 1 else ''}"
            row[f"build, million keys/s, {suffix}"] = n / took["build"] / 1e6
            row[f"lookup ns, {suffix}"] = 1e9 * took["lookup"] / n
        mergesketch.set_num_threads(1)
        took = best_of(
            {
                "single": lambda: [mapped[key] for key in few],
                "load": lambda: mergesketch.load(path, mmap=True),
                "sorted": lambda: beside[np.searchsorted(in_order, asked[:ASKED])],
                "dict": lambda: [pairs[key] for key in known],
            },
            3,
        )
        row |= {
            "single us": 1e6 * took["single"] / SINGLES,
            "load ms": 1e3 * took["load"],
            "sorted arrays ns": 1e9 * took["sorted"] / ASKED,
            "dict ns": 1e9 * took["dict"] / len(known),
        }
    return row


def drawn(n: int) -> list[dict[str, Any]]:
    keys = np.random.default_rng(7).integers(0, 2**64, n, dtype=np.uint64)
    rows = [measure_drawn(f"geometric, H={H:g}", keys, geometric(n, H)) for H in (0.5, 2, 4, 8)]
    rows.append(measure_drawn("Zipf of 40,000, H=8", keys, zipf(n, 40_000, 8.0)))
    if n <= 1_000_000:
        columns = np.stack([geometric(n, 2.0, seed) for seed in range(10)], axis=1)
        rows.append(measure_drawn("table of 10 columns, H=2 each", keys, columns))
    return rows


def filters(n: int) -> list[dict[str, Any]]:
    """Ribbon filters: bits a key beside the least there can be, and time of a query."""
    rng = np.random.default_rng(6)
    keys, others = (rng.integers(0, 2**64, n, dtype=np.uint64) for _ in range(2))
    rows = []
    for rate in (2.0**-7, 2.0**-16):
        ours = RibbonFilter(keys, error_rate=rate)
        row = {
            "job": "ribbon filter",
            "keys": n,
            "error rate": rate,
            "measured": float(ours.contains(others).mean()),
            "bits a key": 8 * len(ours.to_bytes()) / n,
            "over log2(1/rate) %": 100 * (8 * len(ours.to_bytes()) / n / -np.log2(rate) - 1),
        }
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            took = best_of({"query": lambda ours=ours: ours.contains(others)})
            row[f"query ns, {threads} thread{'s' if threads > 1 else ''}"] = 1e9 * took["query"] / n
        rows.append(row)
    return rows


# -- real tables --------------------------------------------------------------------------------------


def compressed(parts: dict[str, bytes]) -> dict[str, int]:
    """Bytes of each part by gzip -9 and, where zstandard is installed, by zstd -19; all side by side."""
    jobs: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda data: gzip.compress(data, 9, mtime=0)}
    try:
        import zstandard
    except ImportError:
        print("zstandard is not installed")
    else:
        jobs["zstd"] = lambda data: zstandard.ZstdCompressor(level=19).compress(data)
    with ThreadPoolExecutor(4) as pool:
        sizes = {
            f"{job} of {part} B": pool.submit(lambda f=f, data=data: len(f(data)))
            for part, data in parts.items()
            for job, f in jobs.items()
        }
        return {name: future.result() for name, future in sizes.items()}


def of_runs(table: Table) -> dict[str, Any]:
    """Measure starts of runs of one value, if keys are neighbours: narrowest dtypes, searchsorted."""
    keys, values = table.keys, table.values
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    starts, kept = keys[first].astype(np.min_scalar_type(int(keys[-1]))), values[first]
    asked = _asked(table)
    took = best_of({"runs": lambda: kept[np.searchsorted(starts, keys[asked], side="right") - 1]}, 2)
    return {"runs B": starts.nbytes + kept.nbytes, "runs ns": 1e9 * took["runs"] / len(asked)}


def _asked(table: Table) -> NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, table.n, ASKED)


def dictionary(items: list[Any], values: list[Any], asked: list[Any]) -> dict[str, Any]:
    """Measure a Python dict: its own bytes and those of the keys and values that it keeps alive."""
    made = dict(zip(items, values, strict=True))
    shared = 257  # small integers are there anyhow
    size = sys.getsizeof(made) + sum(map(sys.getsizeof, made))
    size += sum(sys.getsizeof(v) for v in values if not (isinstance(v, int) and v < shared))
    took = best_of({"dict": lambda: [made[key] for key in asked]}, 2)
    return {"dict B": size, "dict ns": 1e9 * took["dict"] / len(asked)}


def tries(texts: list[str], values: NDArray[Any], asked: NDArray[np.int64]) -> dict[str, Any]:
    """marisa-trie's RecordTrie and DAWG's IntDAWG; blank where they are not installed or refuse."""
    some, truth = [texts[i] for i in asked], values[asked].tolist()
    row: dict[str, Any] = {}
    try:
        import marisa_trie
    except ImportError:
        print("marisa-trie is not installed")
    else:
        form = {1: "<B", 2: "<H", 4: "<I"}[values.dtype.itemsize]
        trie = marisa_trie.RecordTrie(form, ((t, (v,)) for t, v in zip(texts, values.tolist(), strict=True)))
        assert [trie[key][0][0] for key in some] == truth
        took = best_of({"marisa": lambda: [trie[key] for key in some]}, 2)
        row |= {"marisa-trie B": len(trie.tobytes()), "marisa-trie ns": 1e9 * took["marisa"] / len(some)}
    try:
        import dawg
    except ImportError:
        print("dawg2 is not installed")
        return row
    try:
        graph = dawg.IntDAWG(zip(texts, values.tolist(), strict=True))
    except dawg.Error as error:
        print(f"DAWG refuses: {error}")
        return row
    assert [graph[key] for key in some] == truth
    took = best_of({"dawg": lambda: [graph[key] for key in some]}, 2)
    return row | {"DAWG B": len(graph.tobytes()), "DAWG ns": 1e9 * took["dawg"] / len(some)}


def measure_real(table: Table) -> dict[str, Any]:
    """One row: bytes of everything, nanoseconds of what answers one key at a time or a batch."""
    keys, values = table.keys, table.values
    kind: Any = StaticTable if values.ndim == 2 else StaticFunction
    asked = _asked(table)
    some = keys.take(asked)
    start = time.perf_counter()
    function = kind(keys, values, progress=False)
    build = time.perf_counter() - start
    checked = kind(keys, values, key_check_bits=16, progress=False)
    assert np.array_equal(function.lookup(some), values[asked]), table.name
    took = best_of({"ours": lambda: function.lookup(some)}, 3)
    row: dict[str, Any] = {
        "job": table.name,
        "keys": table.n,
        "entropy B": round(entropy_bytes(values)),
        "ours B": len(function.to_bytes()),
        "ours, 16 check bits B": len(checked.to_bytes()),
        "build s": build,
        "ours ns": 1e9 * took["ours"] / len(asked),
        "values alone B": values.nbytes,
    }
    raw = np.ascontiguousarray(values.T).tobytes()
    row |= compressed({"values": raw, "keys and values": table.raw_keys + raw})
    hashes = np.asarray(keys) if isinstance(keys, np.ndarray) else hash_keys(keys)
    order = np.argsort(hashes)
    in_order, beside = hashes[order], values[order]
    sought: Callable[[], Any] = (lambda: some) if isinstance(keys, np.ndarray) else (lambda: hash_keys(some))
    took = best_of({"sorted": lambda: beside[np.searchsorted(in_order, sought())]}, 2)
    row |= {
        "sorted arrays B": in_order.nbytes + beside.nbytes,
        "sorted arrays ns": 1e9 * took["sorted"] / len(asked),
    }
    if isinstance(keys, np.ndarray) and values.ndim == 1:
        row |= of_runs(table)
    items = keys.tolist() if isinstance(keys, np.ndarray) else keys.to_pylist()
    rows = values.tolist() if values.ndim == 1 else [bytes(line) for line in values]
    row |= dictionary(items, rows, [items[i] for i in asked])
    if table.text_keys is not None and table.n <= MOST_STRINGS:
        row |= tries(table.text_keys(), values, asked)
    return row


def real(large: bool) -> Iterator[Table]:
    """Yield the real tables, one at a time."""
    yield code_points()
    for name, make in (("pyarrow", ngrams), ("scikit-learn", patches)):
        try:
            table = make()
        except ImportError:
            print(f"left out: it needs {name}")
        else:
            yield table
    yield reads(n_bases=3_000_000) if large else reads()
    for k in (15, 21) if large else (21,):
        found = genome(k)
        if found is not None:
            yield found


def main() -> None:
    arguments = parse(__doc__, "static_functions", large="ten million keys too, and longer sequences")
    before = mergesketch.get_num_threads()
    rows: list[dict[str, Any]] = []
    try:
        mergesketch.set_num_threads(1)
        drawings = drawn(1_000_000)
        if arguments.large:
            drawings += drawn(10_000_000)
        show("Drawn tables", drawings)
        filtering = filters(1_000_000)
        show("Ribbon filters", filtering)
        mergesketch.set_num_threads(1)
        for table in real(arguments.large):
            rows.append(measure_real(table))
            show(table.name, rows[-1:])
    finally:
        mergesketch.set_num_threads(before)
    write(arguments.json, drawings + filtering + rows)


if __name__ == "__main__":
    main()
