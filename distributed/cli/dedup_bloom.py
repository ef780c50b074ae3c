"""Run ``mergesketch dedup --memory bloom``: find the documents that resemble an earlier one, in one pass."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from ...errors import IncompatibleSketchError, readable
from ...lsh.support.configured import differing_field
from ...lsh.support.wording import counted
from ...sketches.sets.streaming_deduplicator import StreamingDeduplicator
from ..dedup.streaming import StreamedDuplicates, gather_filters, stream_duplicates
from ..documents.source import DocumentSource
from ..documents.summary import ReadSummary
from ..ranks.comm import Communicator
from ..ranks.memory import peak_memory
from .dedup_outputs import check_different
from .dedup_reading import check_some_read, open_source, print_skipped, print_unusual
from .files import save
from .messages import naming_file, si_bytes
from .output import check_output, shown_output, write_lines
from .parquet_lists import check_parquet, write_parquet
from .streams import messages_beside

__all__ = ["dedup_bloom"]


def dedup_bloom(options: Namespace, comm: Communicator) -> int:
    """Run the command on every rank, and return the exit code."""
    started = time.perf_counter()
    outputs = [path for path in (options.output, options.save_state) if path is not None]
    check_output(options.output, options.paths, comm, compressed=True)
    check_output(options.save_state, options.paths, comm)
    with comm.agree():
        check_different(options)
        check_parquet(options.output or "")
    source = open_source(options, outputs, comm)
    check_output(options.output, source.files, comm, compressed=True)
    check_output(options.save_state, source.files, comm)
    with comm.agree():
        seen = _made(options) if options.against is None else _loaded(options, comm)
    n_before = seen.n_updates
    found = stream_duplicates(source, seen, comm)
    with comm.agree():
        if len(found.invalid):
            source.report_bad_bytes(found.invalid)
    n_invalid = comm.sum(len(found.invalid))
    summary = source.finish()
    check_some_read(summary, comm)
    gather_filters(seen, comm)
    with comm.agree():
        if comm.rank == 0:
            if options.output is not None:
                _write(options.output, _records(source, found))
            if options.save_state is not None:
                save(seen, options.save_state)
    peaks = comm.gather(peak_memory())
    if comm.rank == 0:
        assert peaks is not None
        with messages_beside(*outputs):
            _print_first(source, found, options.top)
            _print_summary(options, source, summary, found, n_invalid, seen, n_before)
            print(f"seconds          {time.perf_counter() - started:.2f}")
            ranks = counted(len(peaks), "rank")
            print(f"peak memory      {', '.join(si_bytes(peak) for peak in peaks)} ({ranks})")
            for path in outputs:
                print(f"written          {readable(shown_output(path))}")
    return 0


def _made(options: Namespace) -> StreamingDeduplicator:
    """Return a deduplicator without data, of the settings that the options give."""
    given = {"capacity": options.capacity, "error_rate": options.error_rate}
    return StreamingDeduplicator(
        options.threshold,
        n_hashes=options.hashes,
        unit=options.unit,
        size=options.shingle_size,
        normalize=options.normalize,
        seed=options.seed,
        **{name: value for name, value in given.items() if value is not None},
    )


def _loaded(options: Namespace, comm: Communicator) -> StreamingDeduplicator:
    """Return the deduplicator of --against, if it has the settings that the options give."""
    path = options.against
    with naming_file(path, "read"):
        # Rank 0 checks all bytes. The other ranks read the pages of their bands.
        seen = StreamingDeduplicator.load(path, mmap=comm.rank > 0)
    asked = {
        "threshold": options.threshold,
        "capacity": options.capacity,
        "error_rate": options.error_rate,
        "n_hashes": options.hashes,
        "unit": options.unit,
        "size": options.shingle_size,
        "normalize": options.normalize,
        "seed": options.seed,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    difference = differing_field(asked, {name: seen.config()[name] for name in asked})
    if difference is not None:
        raise IncompatibleSketchError(f"the options and {path} differ in {difference}")
    return seen


def _records(source: DocumentSource, found: StreamedDuplicates) -> Iterator[dict[str, Any]]:
    """Yield the lines of the output: the duplicates in the order of the input."""
    for path, line in source.name_of(found.ids):
        yield {"path": path, "line": line}


def _write(path: str, records: Iterator[dict[str, Any]]) -> None:
    """Write the duplicates, as Parquet if the name of the file says so, and otherwise as JSON lines."""
    if path.endswith(".parquet"):
        # Parquet has no other text than UTF-8.
        rows = (
            {**record, "path": os.fsencode(record["path"]).decode("utf-8", "backslashreplace")}
            for record in records
        )
        write_parquet(path, rows, {"path": "string", "line": "int64"})
    else:
        write_lines(path, records)


def _print_first(source: DocumentSource, found: StreamedDuplicates, top: int) -> None:
    shown = source.name_of(found.ids[:top])
    if shown:
        print(f"First of {counted(found.n_duplicates, 'duplicate')}:")
        for path, line in shown:
            print(f"    {readable(path)}{'' if line is None else f':{line}'}")
        print()


def _print_summary(
    options: Namespace,
    source: DocumentSource,
    summary: ReadSummary,
    found: StreamedDuplicates,
    n_invalid: int,
    seen: StreamingDeduplicator,
    n_before: int,
) -> None:
    print(f"documents        {summary.n_documents:,}, {si_bytes(summary.bytes_read)} read")
    if options.against is not None:
        print(f"seen before      {counted(n_before, 'document')}, from {readable(options.against)}")
    earlier = "an earlier document" if options.against is None else "a document that was seen before"
    print(f"duplicates       {counted(found.n_duplicates, 'document')} that resemble {earlier}, unverified")
    print_unusual(source, found.n_empty, n_invalid, "no duplicates")
    rate = seen.false_positive_rate()
    print(f"filters          {si_bytes(seen.nbytes)}, false positive rate {rate:.2g}")
    if rate > seen.error_rate:
        print(
            f"                 above the stated {seen.error_rate:g}: {seen.n_updates:,} documents were seen, "
            f"and the capacity is {seen.capacity:,}"
        )
    print_skipped(source, summary)
