"""Run the commands that build a sketch of the keys or numbers of files: ``count``, ``distinct``, ..."""

from __future__ import annotations

import math
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import DocumentError, SaturationWarning, readable
from ...lsh.support.wording import counted
from ...sketches import (
    BloomFilter,
    CountMinSketch,
    DDSketch,
    HeavyHitters,
    HyperLogLog,
    KLLSketch,
    MergeableSketch,
    TopK,
)
from ..documents.columns import INTEGERS, NUMBERS
from ..ranks.comm import Communicator
from ..ranks.merge import merge_over_ranks
from .answers import key_text, print_distinct, print_frequent, print_quantiles, print_top, typed_keys
from .files import save
from .key_columns import AskedColumn
from .key_files import KeyFiles, KeySummary
from .messages import percent, si_bytes
from .number_files import number_batches
from .output import check_output, shown_output
from .streams import messages_beside

__all__ = ["asked_column", "build_sketch"]

#: The number of reasons for skipped lines that are printed.
N_SHOWN = 8


def build_sketch(options: Namespace, comm: Communicator) -> int:
    """Build a sketch: each rank reads its share of the files, and the ranks' sketches are merged."""
    started = time.perf_counter()
    check_output(options.output, (), comm)
    make, answer = _COMMANDS[options.command]
    sketch = comm.local(make, options)
    of_numbers = options.command == "quantiles"
    kinds = NUMBERS if of_numbers else INTEGERS
    source = KeyFiles(
        options.paths, asked_column(options), comm, strict=options.strict, numbers=kinds, progress=True
    )
    check_output(options.output, source.files, comm)
    with comm.agree(), warnings.catch_warnings():
        # The answer says that a filter has more keys than its capacity.
        warnings.simplefilter("ignore", SaturationWarning)
        for batch in number_batches(source) if of_numbers else source.batches():
            sketch.update(batch)
    summary = source.finish()
    with comm.agree():
        if summary.n_keys == 0 and summary.skipped:
            name, reason, _ = summary.skipped[0]
            what = "number" if of_numbers else "key"
            raise DocumentError(f"no {what} could be read ({summary.n_skipped:,} skipped; {name}: {reason})")
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


def _make_distinct(options: Namespace) -> HyperLogLog:
    try:
        return HyperLogLog.for_error(options.error, seed=options.seed)
    except ValueError as error:
        raise ValueError(f"--error {options.error:g} is not possible: {error}") from error


def _print_distinct(sketch: HyperLogLog, _: Namespace) -> None:
    print_distinct(sketch)


def _make_top(options: Namespace) -> HeavyHitters | TopK:
    k, frequency, error = options.k, options.frequency, options.error
    more: dict[str, int] = {"max_key_bytes": options.max_key_bytes, "seed": options.seed}
    if frequency is not None:
        error = frequency / 10.0 if error is None else error
        asked = f"--frequency {frequency:g} --error {error:g}"
    else:
        asked = f"-k {k}" + ("" if error is None else f" --error {error:g}")
    try:
        if frequency is not None:
            return HeavyHitters.for_error(frequency, error, **more)
        return TopK(k, **more) if error is None else TopK.for_error(k, error, **more)
    except ValueError as problem:
        raise ValueError(f"{asked} is not possible: {problem}") from problem


def _print_top(sketch: HeavyHitters | TopK, options: Namespace) -> None:
    if isinstance(sketch, TopK):
        print_top(sketch, options.k)
    else:
        print_frequent(sketch, options.k, "a smaller --frequency finds more")


def _make_quantiles(options: Namespace) -> DDSketch | KLLSketch:
    try:
        if options.rank_error is None:
            return DDSketch(0.01 if options.error is None else options.error)
        if options.error is not None:
            raise ValueError("it has a relative error, and --rank-error one of the rank: choose one")
        return KLLSketch.for_error(options.rank_error, seed=options.seed)
    except ValueError as problem:
        asked = (
            f"--rank-error {options.rank_error}" if options.error is None else f"--error {options.error:g}"
        )
        raise ValueError(f"{asked} is not possible: {problem}") from problem


def _print_quantiles(sketch: DDSketch | KLLSketch, options: Namespace) -> None:
    print_quantiles(sketch, options.q)


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
    "quantiles": (_make_quantiles, _print_quantiles),
}


# -- the summary ----------------------------------------------------------------------------------


def _print_summary(options: Namespace, summary: KeySummary, sketch: MergeableSketch, seconds: float) -> None:
    read = f"{si_bytes(summary.bytes_read)} read from {counted(summary.n_files, 'file')}"
    what = "number" if options.command == "quantiles" else "key"
    print(f"{what + 's':<16} {summary.n_keys:,}, {read} in {seconds:.2f} seconds")
    if summary.n_empty:
        print(f"empty            {summary.n_empty:,} without a {what}")
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
