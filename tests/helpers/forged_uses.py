"""Call every method of objects that load from forged files, within little memory and time.

``python forged_uses.py`` prints a line for each call that fails with anything but a refusal. With the
argument ``all``, every number and array is forged in every way, and not only in one or two.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import pathlib
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import mergesketch as ms
import numpy as np
import scipy.sparse as sp
from forged_files import header_of, with_header
from mergesketch import lsh
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.core.stored import Stored
from registry import stored_examples
from stored_data import SMALL_ROWS, SMALL_SETS

__all__ = ["forgeries", "main", "uses"]

#: Bytes beyond those of the interpreter, and seconds for one file with all of its uses.
MEMORY, SECONDS = 2 << 30, 10.0
#: Errors that a use may end with: refusals that say why.
REFUSALS = (TypeError, ValueError, OverflowError, NotImplementedError)
_LARGE = (1 << 20, 1 << 31, 1 << 62)


# -- forging --------------------------------------------------------------------------------------


def _numbers(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of numbers and lists in a configuration."""
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


def forgeries(sketch: Stored, *, arrays: bool = True, turn: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield files like that of `sketch` with right checksums, in which one number or array is changed.

    With a `turn`, a number is changed in one of the ways only and an array in two, which follow those of the
    number or array before. The turn says where that begins.
    """
    data = sketch.to_bytes()
    metadata = header_of(data)["__metadata__"]
    config = json.loads(metadata["config"])
    for number, path in enumerate(_numbers(config)):
        if path[-1] == "seed":
            continue
        held = config
        for name in path:
            held = held[name]
        values: tuple[Any, ...] = (1e-300, 1e300) if isinstance(held, float) else _LARGE
        values = ([], held * 3) if isinstance(held, list) else values
        for value in values if turn is None else (values[(turn + number) % len(values)],):
            header = header_of(data)
            header["__metadata__"]["config"] = json.dumps(_with(config, path, value), sort_keys=True)
            yield f"{'.'.join(map(str, path))} = {value!r}"[:60], with_header(data, header)
    for number, (name, array) in enumerate(sketch._arrays.items() if arrays else ()):
        extremes = (
            (-1e300, 1e300, np.nan)
            if array.dtype.kind == "f"
            else (0, np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, np.iinfo(array.dtype).max // 2 + 1)
        )
        changes = list(product(extremes, (slice(None), slice(1))))
        if turn is not None:
            n, first = len(changes), turn + number
            # An odd step changes the value and the place.
            changes = [changes[first % n], changes[(first + (n // 2 | 1)) % n]]
        for value, place in changes:
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
        return SMALL_SETS[:n]
    if isinstance(family, lsh.WeightedMinHash):
        return sp.csr_array(np.abs(SMALL_ROWS[:n]))
    width = getattr(family, "n_features", None) or getattr(family, "n_bits", None) or 4
    if width <= 1 << 14:
        rows = np.resize(SMALL_ROWS, (n, width))
        return rows > 0 if isinstance(family, lsh.BitSampling) else rows
    return sp.csr_array((np.ones(n, np.float32), (np.arange(n), np.arange(n))), shape=(n, width))


def uses(sketch: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield every public method and property of an object, ready to be called with small arguments."""
    rows = _rows_for(sketch, 2)
    given = {
        "X": rows, "Q": rows, "keys": ["key 1", "x"], "n_keys": 10, "other": sketch, "u": [0, 1], "v": [1, 0],
        "pairs": [[0, 1]], "edges": [[0, 1]], "n": 3, "counts": [1], "k": 2, "left": [0],
        "rows": _rows_for(sketch, 30), "right": [0], "tokens": [1, 2], "y": [0.5, 0.5], "epsilon": 1.0,
        "ids": [0, 1], "q": [0.0, 0.5, 1.0], "values": [1.0, -2.0],
        "args": (), "pane": 5, "precision": 3, "kwargs": {}, "n_documents": 10, "similarity": [0.5],
        "batches": [["key 1", "x"]], "key": "key 1", "W": rows, "approximation": rows,
        "base": np.zeros(getattr(sketch, "shape", 1), np.float16),
        "documents": ["a b", "c"] if isinstance(sketch, ms.StreamingDeduplicator) else [0, 1],
        "codes": np.zeros((1, getattr(getattr(sketch, "family", None), "n_hashes", 1)), np.uint32),
        "gradients": np.ones((2, 3)), "n_columns": 3, "n_parameters": 1, "std": 1.0, "offsets": [0, 1, 2],
        "shape": (4, 3), "shapes": [(2, 3)], "Y": np.ones((2, 3)), "importance": [(0, 1.0), (1, 2.0)],
        "K": rows, "V": np.ones((2, min(8, getattr(sketch, "n_values", 1)))), "pages": [0, -1],
        "gradient": np.ones(min(40, getattr(sketch, "n_parameters", 1))), "tables": [[1.0]], "n_rows": [1],
        "terms": ["a", "c"],
    }  # fmt: skip
    if isinstance(sketch, ms.TermStatistics):
        given["documents"] = [["a", "b"], ["c"]]
    if isinstance(sketch, ms.SharedParameters):
        given["rows"] = [[0, 1], [1, 0]] if isinstance(sketch.map, ms.PairMap) else [0, 1]
    skipped = {"load", "save", "to", "config"}
    # What only other parts of the package call, with what they have checked.
    skipped |= {"add_codes", "check_ids", "fit_rows", "hash_queries", "hash_rows", "number_rows"}
    skipped |= {
        "rank_candidates",
        "reduce_arrays",
        "change_rows",
        "check_merge",
        "check_new_ids",
        "find_rows",
    }
    skipped |= {"ids_there", "note_ids"}
    if sp.issparse(rows) and rows.shape[1] > 1 << 24:
        skipped.add("search")  # compares dense rows of the caller's size
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
    for sketch in examples.values():  # compiles kernels and starts threads before the limit is set
        for _, call in uses(sketch):
            with contextlib.suppress(REFUSALS):
                call()
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    indexes, sampled = 0, sys.argv[1:] != ["all"]
    for turn, (name, sketch) in enumerate(examples.items()):
        # The arrays of an index are the same whatever its family.
        indexes += isinstance(sketch, ms.LSHIndex)
        arrays = not (isinstance(sketch, ms.LSHIndex) and indexes > 1)
        for change, data in forgeries(sketch, arrays=arrays, turn=turn if sampled else None):
            for failure in _failures(name, change, data):
                print(failure, flush=True)


if __name__ == "__main__":
    main()
