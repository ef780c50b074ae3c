"""Whatever a forged file loads as is used: every method of it, within little memory and time.

``python forged_uses.py`` prints a line for each use that fails by anything but a refusal.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import pathlib
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import mergesketch as ms
import numpy as np
import scipy.sparse as sp
from forged_files import header_of, with_header
from mergesketch import lsh
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.core.stored import Stored

__all__ = ["forgeries", "main", "stored_examples", "uses"]

#: Above what the interpreter has, and for one file with all of its uses.
MEMORY, SECONDS = 2 << 30, 10.0
#: What a use may end with: a refusal that says why.
REFUSALS = (TypeError, ValueError, OverflowError, NotImplementedError)
_LARGE = (1 << 20, 1 << 31, 1 << 62)
_ROWS = np.random.default_rng(0).standard_normal((30, 4))
_SETS = [np.arange(i, i + 9) for i in range(30)]


def _families() -> dict[str, tuple[lsh.HashFamily, Any]]:
    """Families of every class and the rows that they take."""
    few = {"n_buckets": 16, "seed": 1}
    return {
        "srp": (lsh.SignedRandomProjection(4, 3, power=2, seed=1), _ROWS),
        "hadamard": (lsh.SignedRandomProjection(4, 3, power=2, projection="hadamard", seed=1), _ROWS),
        "sparse": (lsh.SignedRandomProjection(None, 3, power=2, projection="sparse", seed=1), _ROWS),
        "pstable": (lsh.PStable(4, 3, width=1.0, power=2, **few), _ROWS),
        "cauchy": (lsh.PStable(4, 3, p=1, width=1.0, power=2, **few), _ROWS),
        "cross-polytope": (lsh.CrossPolytope(4, 3, power=2, **few), _ROWS),
        "inner product": (lsh.InnerProduct(4, 3, max_norm=9.0, power=2, seed=1), _ROWS),
        "bits": (lsh.BitSampling(4, 3, power=2, seed=1), _ROWS > 0),
        "winners": (lsh.WinnerTakeAll(4, 3, group_size=2, power=2, seed=1), _ROWS),
        "minhash": (lsh.MinHash(3, power=2, **few), _SETS),
        "weighted": (lsh.WeightedMinHash(3, power=2, **few), sp.csr_array(np.abs(_ROWS))),
        "b-bit": (lsh.BBitMinHash(3, bits=4), _SETS),
    }


def stored_examples() -> dict[str, Stored]:
    """A small object of every class that is saved, over every family."""
    keys, words = np.arange(40), [f"key {i}" for i in range(40)]
    families = _families()
    examples: dict[str, Stored] = {
        "Race": ms.Race(families["srp"][0]).update(_ROWS),
        **{f"LSHIndex of {name}": ms.LSHIndex(f, capacity=4).add(X) for name, (f, X) in families.items()},
        "PrivateRace": ms.Race(families["srp"][0]).update(_ROWS).release(1.0),
        "PrivateRace, sparse": ms.Race(families["sparse"][0]).update(_ROWS).release(1.0),
        "PrivateClassifier": ms.private_classifier(
            _ROWS, keys[:30] % 2, epsilon=1.0, classes=[0, 1], low=-3.0, high=3.0
        ),
        "PrivateRegressor": ms.private_regressor(
            _ROWS, _ROWS[:, 0], epsilon=1.0, low=-3.0, high=3.0, target_low=-3.0, target_high=3.0
        ),
        "AceDetector": ms.AceDetector(families["srp"][0], contamination=0.1, sample_size=9).update(_ROWS),
        "RaceWindow": ms.RaceWindow(families["srp"][0], 3).update(_ROWS, pane=1),
        "NadarayaWatsonSketch": ms.NadarayaWatsonSketch(families["pstable"][0]).update(_ROWS, _ROWS[:, 0]),
        "NadarayaWatsonSketch, decaying": ms.NadarayaWatsonSketch(
            families["pstable"][0], half_life=2.0
        ).update(_ROWS, _ROWS[:, 0], time=np.arange(30.0)),
        "RepresenterSketch": ms.RepresenterSketch.fit(_ROWS[:, 0], _ROWS, family=families["pstable"][0]),
        "BloomFilter": ms.BloomFilter(n_blocks=4, n_hashes=3).update(words),
        "BloomSignatures": ms.BloomSignatures(9, 64).update([[0, 1], [1, 2]]),
        "CountMinSketch": ms.CountMinSketch(3, 50).update(keys),
        "CountSketch": ms.CountSketch(3, 50).update(keys),
        "HeavyHitters": ms.HeavyHitters(0.1, max_key_bytes=8).update(words),
        "DensitySketch": ms.DensitySketch(4, 1.0, n_repetitions=2, n_buckets=64, max_bins=8).update(_ROWS),
        "DensitySketch, rotated": ms.DensitySketch(
            4, 1.0, n_repetitions=2, n_buckets=64, max_bins=8, rotate=True
        ).update(_ROWS),
        "MinHashSketch": ms.MinHashSketch(3, 8).update(keys, keys % 3),
        "StormSketch": ms.StormSketch(4, 5).update(_ROWS),
        "StaticFunction": ms.StaticFunction(keys, keys % 3),
        "StaticFunction, constant": ms.StaticFunction(keys, np.zeros(40)),
        "StaticFunction, empty": ms.StaticFunction(keys[:0], np.zeros(0)),
        "StaticFunction, words": ms.StaticFunction(words, [f"{i % 3}" for i in range(40)], key_check_bits=8),
        "StaticTable": ms.StaticTable(keys, np.column_stack([keys % 3, keys % 5])),
        "RibbonFilter": ms.RibbonFilter(words, 0.01),
    }
    return examples


# -- forging --------------------------------------------------------------------------------------


def _numbers(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Find where a configuration holds numbers or lists."""
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for name, value in items:
        if isinstance(value, (dict, list)):
            yield from _numbers(value, (*path, name))
        if (isinstance(value, (int, float, list)) or value is None) and not isinstance(value, bool):
            yield (*path, name)


def _with(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = json.loads(json.dumps(config))
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return changed


def forgeries(sketch: Stored, *, arrays: bool = True) -> Iterator[tuple[str, bytes]]:
    """Files like that of `sketch`, of right checksums, with one number (with `arrays`, or array) changed."""
    data = sketch.to_bytes()
    metadata = header_of(data)["__metadata__"]
    config = json.loads(metadata["config"])
    for path in _numbers(config):
        if path[-1] == "seed":
            continue
        held = config
        for name in path:
            held = held[name]
        values: tuple[Any, ...] = (1e-300, 1e300) if isinstance(held, float) else _LARGE
        for value in ([], held * 3) if isinstance(held, list) else values:
            header = header_of(data)
            header["__metadata__"]["config"] = json.dumps(_with(config, path, value), sort_keys=True)
            yield f"{'.'.join(map(str, path))} = {value!r}"[:60], with_header(data, header)
    for name, array in sketch._arrays.items() if arrays else ():
        extremes = (
            (-1e300, 1e300, np.nan)
            if array.dtype.kind == "f"
            else (0, np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, np.iinfo(array.dtype).max // 2 + 1)
        )
        for value in extremes:
            for place in (slice(None), slice(1)):
                changed = array.copy()
                with np.errstate(over="ignore"):
                    changed.reshape(-1)[place] = value
                twin = type(sketch)._from_config(sketch.config())
                twin._set_arrays({**sketch._arrays, name: changed})
                twin._canonicalise = lambda: None
                yield f"{name} = {value}", twin.to_bytes()


# -- using ----------------------------------------------------------------------------------------


def _rows_for(sketch: Any, n: int) -> Any:
    family = getattr(sketch, "family", sketch)
    if isinstance(family, lsh.MinHash):
        return _SETS[:n]
    if isinstance(family, lsh.WeightedMinHash):
        return sp.csr_array(np.abs(_ROWS[:n]))
    width = getattr(family, "n_features", None) or getattr(family, "n_bits", None) or 4
    if width <= 1 << 14:
        rows = np.resize(_ROWS, (n, width))
        return rows > 0 if isinstance(family, lsh.BitSampling) else rows
    return sp.csr_array((np.ones(n, np.float32), (np.arange(n), np.arange(n))), shape=(n, width))


def uses(sketch: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every public method and property of an object, to be called with little."""
    rows = _rows_for(sketch, 2)
    given = {
        "X": rows, "Q": rows, "keys": ["key 1", "x"], "n_keys": 10, "other": sketch, "u": [0, 1], "v": [1, 0],
        "pairs": [[0, 1]], "edges": [[0, 1]], "n": 3, "counts": [1], "k": 2, "left": [0],
        "rows": _rows_for(sketch, 30), "right": [0], "tokens": [1, 2], "y": [0.5, 0.5], "epsilon": 1.0,
        "args": (), "pane": 5, "kwargs": {},
        "codes": np.zeros((1, getattr(getattr(sketch, "family", None), "n_hashes", 1)), np.uint32),
    }  # fmt: skip
    skipped = {"load", "save", "to", "config"}
    # What only other parts of the package call, with what they have checked.
    skipped |= {"add_codes", "check_ids", "hash_queries", "hash_rows", "number_rows", "reduce_arrays"}
    if sp.issparse(rows) and rows.shape[1] > 1 << 24:
        skipped.add("search")  # compares dense rows, and these are the caller's own
    for name in dir(type(sketch)):
        if name.startswith("_") or name in skipped:
            continue
        found = inspect.getattr_static(type(sketch), name)
        if isinstance(found, (classmethod, staticmethod)):
            continue
        if not callable(found):
            yield name, lambda name=name: getattr(sketch, name)
            continue
        wanted = list(inspect.signature(found).parameters.values())[1:]
        arguments = [
            given["keys" if p.name == "others" else p.name]
            for p in wanted
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        integers = [[1, 2] if a is given["keys"] else a for a in arguments]

        def call(name: str = name, arguments: list[Any] = arguments) -> Any:
            # Updates and merges change what they are called on.
            return getattr(sketch.copy() if hasattr(sketch, "copy") else sketch, name)(*arguments)

        yield name, call
        if integers != arguments:
            yield name, lambda name=name, integers=integers: getattr(sketch, name)(*integers)
    if isinstance(sketch, ms.MergeableSketch):
        yield "merged, saved and loaded", lambda: type(sketch).from_bytes((sketch | sketch).to_bytes())
    yield "saved and loaded", lambda: _must_load(sketch)
    yield "repr", lambda: repr(sketch)
    if isinstance(sketch, ms.PrivateRace):
        yield "modes in a box", lambda: sketch.modes(low=-1.0, high=1.0, n_steps=2)
    if isinstance(sketch, ms.LSHIndex):
        yield "probes", lambda: sketch.query(rows, n_probes=2)
    if hasattr(sketch, "family"):
        yield "kernel", lambda: sketch.family.kernel(rows, rows)


def _must_load(sketch: Any) -> None:
    try:
        type(sketch).from_bytes(sketch.to_bytes())
    except REFUSALS as error:
        raise AssertionError(f"it cannot be saved again: {error}") from error


def _failures(name: str, change: str, data: bytes) -> Iterator[str]:
    try:
        sketch = Stored.from_bytes(data)
    except SketchFormatError:
        return
    started = time.process_time()
    for use, call in uses(sketch):
        try:
            call()
        except SketchFormatError as error:
            yield f"{name}, {change}: {use}: {error}"
        except REFUSALS:
            pass
        except BaseException as error:
            yield f"{name}, {change}: {use}: {type(error).__name__}: {str(error)[:200]}"
        if time.process_time() - started > SECONDS:
            yield f"{name}, {change}: {use}: too slow"
            return


def main() -> None:
    examples = stored_examples()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for sketch in examples.values():  # kernels compiled and threads started, outside of the limit
        for _, call in uses(sketch):
            with contextlib.suppress(REFUSALS):
                call()
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    indexes = 0
    for name, sketch in examples.items():
        # The arrays of an index are the same whatever its family.
        indexes += isinstance(sketch, ms.LSHIndex)
        arrays = not (isinstance(sketch, ms.LSHIndex) and indexes > 1)
        for change, data in forgeries(sketch, arrays=arrays):
            for failure in _failures(name, change, data):
                print(failure, flush=True)


if __name__ == "__main__":
    main()
