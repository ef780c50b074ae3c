"""Run ``mergesketch count``, ``distinct``, ``top`` and ``filter``: build a sketch of the keys of files."""

from __future__ import annotations

import math
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import DocumentError, SaturationWarning, readable
from ...lsh.support.wording import counted
from ...sketches import BloomFilter, CountMinSketch, HeavyHitters, MergeableSketch, MinHashSketch
from ..ranks.comm import Communicator
from ..ranks.merge import merge_over_ranks
from .answers import key_text, print_distinct, print_top, typed_keys
from .files import save
from .key_columns import AskedColumn
from .key_files import KeyFiles, KeySummary
from .messages import percent, si_bytes
from .output import check_output, shown_output
from .streams import messages_beside

__all__ = ["asked_column", "build_sketch"]

#: The number of reasons for skipped lines that are printed.
N_SHOWN = 8


def build_sketch(options: Namespace, comm: Communicator) -> int:
    """Build a sketch: each rank reads its share of the keys, and the ranks' sketches are merged."""
    started = time.perf_counter()
    check_output(options.output, (), comm)
    make, answer = _COMMANDS[options.command]
    sketch = comm.local(make, options)
    longest = options.max_key_bytes if options.command == "top" else None
    source = KeyFiles(
        options.paths, asked_column(options), comm, strict=options.strict, longest=longest, progress=True
    )
    check_output(options.output, source.files, comm)
    with comm.agree(), warnings.catch_warnings():
        # The answer says that a filter has more keys than its capacity.
        warnings.simplefilter("ignore", SaturationWarning)
        for keys in source.batches():
            sketch.update(keys)
    summary = source.finish()
    with comm.agree():
        if summary.n_keys == 0 and summary.skipped:
            name, reason, _ = summary.skipped[0]
            raise DocumentError(f"no key could be read ({summary.n_skipped:,} skipped; {name}: {reason})")
    merge_over_ranks(sketch, comm)
    with comm.agree():
        if comm.rank == 0 and options.output is not None:
            save(sketch, options.output)
    if comm.rank == 0:
        with messages_beside(options.output):
            answer(sketch, options)
            _print_summary(options, summary, sketch, time.perf_counter() - started)
    return 0


def asked_column(options: Namespace) -> AskedColumn:
    """Return the options about the keys of files."""
    return AskedColumn(options.column, options.format, options.delimiter, options.header)


# -- one sketch and one answer for each command ---------------------------------------------------


def _make_count(options: Namespace) -> CountMinSketch:
    try:
        return CountMinSketch.for_error(options.error, options.confidence, seed=options.seed)
    except ValueError as error:
        raise ValueError(f"--error {options.error:g} is not possible: {error}") from error


def _print_count(sketch: CountMinSketch, options: Namespace) -> None:
    if options.ask:
        keys: Any = typed_keys(options.ask)
        for i, count in enumerate(sketch.query(keys).tolist()):
            print(f"{count:>12,}  {key_text(keys.item(i))}")
        print()
    most = f"less than {math.ceil(options.error * sketch.total):,} too high"
    print(
        f"error            counts are never too low, and {most} with {percent(options.confidence)} confidence"
    )


def _make_distinct(options: Namespace) -> MinHashSketch:
    # The square of a tiny error is 0, or its inverse no float.
    n_hashes = round(min(1.0 / options.error / options.error, 2.0**62))
    try:
        return MinHashSketch(n_hashes=max(2, n_hashes), seed=options.seed)
    except ValueError as error:
        raise ValueError(f"--error {options.error:g} is not possible: {error}") from error


def _print_distinct(sketch: MinHashSketch, _: Namespace) -> None:
    print_distinct(sketch)


def _make_top(options: Namespace) -> HeavyHitters:
    error = options.frequency / 10.0 if options.error is None else options.error
    try:
        return HeavyHitters.for_error(
            options.frequency, error, max_key_bytes=options.max_key_bytes, seed=options.seed
        )
    except ValueError as problem:
        asked = f"--frequency {options.frequency:g} --error {error:g}"
        raise ValueError(f"{asked} is not possible: {problem}") from problem


def _print_top(sketch: HeavyHitters, options: Namespace) -> None:
    print_top(sketch, options.k, "a smaller --frequency finds more")


def _make_filter(options: Namespace) -> BloomFilter:
    try:
        return BloomFilter.for_error(options.capacity, options.error_rate, seed=options.seed)
    except ValueError as error:
        asked = f"--capacity {options.capacity} --error-rate {options.error_rate:g}"
        raise ValueError(f"{asked} is not possible: {error}") from error


def _print_filter(sketch: BloomFilter, options: Namespace) -> None:
    if options.ask:
        keys: Any = typed_keys(options.ask)
        for i, found in enumerate(sketch.contains(keys).tolist()):
            print(f"{'yes' if found else 'no':>12}  {key_text(keys.item(i))}")
        print()
    n = sketch.cardinality()
    full = "" if n <= options.capacity * 1.05 else ", more than --capacity"
    print(f"different keys   about {n:,.0f}{full}")
    print(f"error rate       {sketch.error_rate():.2g} of the absent keys pass as present")


#: What makes the sketch of each command, and what prints its answer.
_COMMANDS: dict[str, tuple[Callable[..., MergeableSketch], Callable[..., None]]] = {
    "count": (_make_count, _print_count),
    "distinct": (_make_distinct, _print_distinct),
    "top": (_make_top, _print_top),
    "filter": (_make_filter, _print_filter),
}


# -- the summary ----------------------------------------------------------------------------------


def _print_summary(options: Namespace, summary: KeySummary, sketch: MergeableSketch, seconds: float) -> None:
    read = f"{si_bytes(summary.bytes_read)} read from {counted(summary.n_files, 'file')}"
    print(f"keys             {summary.n_keys:,}, {read} in {seconds:.2f} seconds")
    if summary.n_empty:
        print(f"empty            {summary.n_empty:,} without a key")
    if summary.skipped:
        print(f"skipped          {summary.n_skipped:,}")
        _print_skipped(summary.skipped)
    where = "" if options.output is None else f" in {readable(shown_output(options.output))}"
    print(f"sketch           {type(sketch).__name__} of {si_bytes(sketch.nbytes)}{where}")


def _print_skipped(skipped: Sequence[tuple[str, str, int]]) -> None:
    for name, reason, n in skipped[:N_SHOWN]:
        print(f"    {readable(name)}: {readable(reason)} ({n:,})")
    if len(skipped) > N_SHOWN:
        print(f"    ... and {counted(len(skipped) - N_SHOWN, 'reason')} more")
