"""Run ``mergesketch dedup``: find the groups of near-duplicate documents."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from ...errors import readable
from ...lsh.support.wording import counted
from ..dedup.deduplicate import deduplicate
from ..dedup.result import Deduplication
from ..documents.source import DocumentSource, ReadSummary
from ..ranks.comm import Communicator
from ..ranks.memory import peak_memory
from .dedup_reading import N_SHOWN, check_some_read, open_source, print_skipped
from .messages import si_bytes
from .output import check_output, write_lines

__all__ = ["dedup"]


def dedup(options: Namespace, comm: Communicator) -> int:
    """Run the command on every rank, and return the exit code."""
    started = time.perf_counter()
    check_output(options.output, (), comm)
    source = open_source(options, comm)
    check_output(options.output, source.files, comm)
    listed = time.perf_counter()
    result = deduplicate(
        source,
        threshold=options.threshold,
        unit=options.unit,
        size=options.shingle_size,
        n_hashes=options.hashes,
        verify=options.verify or "exact",
        seed=options.seed,
        comm=comm,
    )
    summary = source.finish()
    check_some_read(summary, comm)
    written = time.perf_counter()
    with comm.agree():
        if comm.rank == 0 and options.output is not None:
            write_lines(options.output, _records(source, result))
    ended = time.perf_counter()
    peaks = comm.gather(peak_memory())
    if comm.rank == 0:
        assert peaks is not None
        _print_groups(source, result, options.top)
        stages = {"listing": listed - started, **result.seconds}
        if options.output is not None:
            stages["writing"] = ended - written
        _print_summary(options, source, summary, result, stages, ended - started, peaks)
    return 0


def _records(source: DocumentSource, result: Deduplication) -> Iterator[dict[str, Any]]:
    """Yield the lines of the output: groups by their first document, documents in the order of input."""
    for i in range(result.n_groups):
        names = source.name_of(result.members[result.offsets[i] : result.offsets[i + 1]])
        documents = [{"path": path, "line": line} for path, line in names]
        yield {"group": i, "size": len(documents), "documents": documents}


def _print_groups(source: DocumentSource, result: Deduplication, top: int) -> None:
    sizes = result.offsets[1:] - result.offsets[:-1]
    # Groups of equal size keep the order of the output.
    largest = sorted(range(result.n_groups), key=lambda i: (-int(sizes[i]), i))[:top]
    if not largest:
        return
    below = _common_folder(source.files)
    where = f" (in {readable(below)})" if below else ""
    print(f"Largest of {counted(result.n_groups, 'group')}{where}:")
    for i in largest:
        begin = int(result.offsets[i])
        names = source.name_of(result.members[begin : begin + min(N_SHOWN, int(sizes[i]))])
        print(f"  group {i}: {counted(int(sizes[i]), 'document')}")
        for path, line in names:
            print(f"    {readable(path[len(below) :])}{'' if line is None else f':{line}'}")
        if int(sizes[i]) > N_SHOWN:
            print(f"    ... and {int(sizes[i]) - N_SHOWN:,} more")
    print()


def _common_folder(files: list[str]) -> str:
    """Return the folder that contains all files, with its slash, which need not be printed every time."""
    folder = os.path.dirname(files[0])
    while folder and not all(path.startswith(os.path.join(folder, "")) for path in files):
        folder = os.path.dirname(folder) if folder != "/" else ""
    return os.path.join(folder, "") if folder else ""


def _print_summary(
    options: Namespace,
    source: DocumentSource,
    summary: ReadSummary,
    result: Deduplication,
    stages: dict[str, float],
    seconds: float,
    peaks: list[int],
) -> None:
    print(f"documents        {summary.n_documents:,}, {si_bytes(summary.bytes_read)} read")
    print(
        f"groups           {result.n_groups:,}, linked by pairs of similarity {options.threshold:g} or more"
    )
    print(f"duplicates       {counted(result.n_duplicates, 'document')} besides the first of each group")
    if result.n_empty:
        print(f"empty            {counted(result.n_empty, 'document')} without a word, in no group")
    print_skipped(source, summary)
    by_stage = ", ".join(f"{name} {taken:.2f}" for name, taken in stages.items())
    print(f"seconds          {seconds:.2f} ({by_stage})")
    ranks = counted(len(peaks), "rank")
    print(f"peak memory      {', '.join(si_bytes(peak) for peak in peaks)} ({ranks})")
    if options.output is not None:
        print(f"written          {readable(options.output)}")
