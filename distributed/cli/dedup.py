"""Run ``mergesketch dedup``: find the groups of near-duplicate documents."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import DocumentError, readable
from ...lsh.support.wording import counted
from ..dedup.deduplicate import deduplicate
from ..dedup.result import Deduplication
from ..documents.source import DocumentSource, ReadSummary
from ..ranks.comm import Communicator
from ..ranks.memory import peak_memory
from .dedup_state import DedupState, is_old
from .messages import si_bytes
from .output import check_output, write_lines

__all__ = ["dedup"]

#: The number of members of a group that are printed, and of skipped documents that are named.
N_SHOWN = 8


def dedup(options: Namespace, comm: Communicator) -> int:
    """Run the command on every rank, and return the exit code."""
    started = time.perf_counter()
    check_output(options.output, (), comm)
    state = DedupState(options, comm)
    source = DocumentSource(
        options.paths,
        text_field=options.text_field,
        strict=options.strict,
        comm=comm,
        include=options.include,
        exclude=options.exclude,
        progress=True,
    )
    check_output(options.output, source.files, comm)
    state.check_inputs(source)
    listed = time.perf_counter()
    result = deduplicate(
        source,
        threshold=options.threshold,
        unit=options.unit,
        size=options.shingle_size,
        n_hashes=options.hashes,
        verify=options.verify,
        seed=options.seed,
        against=state.against,
        comm=comm,
    )
    summary = source.finish()
    with comm.agree():
        if summary.n_documents == 0:
            first = "".join(f"; {name}: {reason}" for name, reason in summary.skipped[:1])
            raise DocumentError(f"no document could be read ({summary.n_skipped} skipped{first})")
    written = time.perf_counter()
    with comm.agree():
        if comm.rank == 0 and options.output is not None:
            write_lines(options.output, _records(source, state, result))
    state.save(result)
    ended = time.perf_counter()
    peaks = comm.gather(peak_memory())
    if comm.rank == 0:
        assert peaks is not None
        _print_groups(source, state, result, options.top)
        stages = {"listing": listed - started, **result.seconds}
        if options.output is not None or options.save_state is not None:
            stages["writing"] = ended - written
        _print_summary(options, source, state, summary, result, stages, ended - started, peaks)
    return 0


def _records(source: DocumentSource, state: DedupState, result: Deduplication) -> Iterator[dict[str, Any]]:
    """Yield the lines of the output: groups by their first document, documents in the order of input.

    Documents that this run has not read are marked.
    """
    for i in range(result.n_groups):
        members = result.members[result.offsets[i] : result.offsets[i + 1]]
        documents: list[dict[str, Any]] = [
            {"path": path, "line": line} for path, line in state.name_of(source, members)
        ]
        for row in np.flatnonzero(is_old(members)).tolist():
            documents[row]["old"] = True
        yield {"group": i, "size": len(documents), "documents": documents}


def _print_groups(source: DocumentSource, state: DedupState, result: Deduplication, top: int) -> None:
    sizes = result.offsets[1:] - result.offsets[:-1]
    # Groups of equal size keep the order of the output.
    largest = sorted(range(result.n_groups), key=lambda i: (-int(sizes[i]), i))[:top]
    if not largest:
        return
    # Old documents may be in other folders.
    below = _common_folder(source.files) if result.compared is None else ""
    where = f" (in {readable(below)})" if below else ""
    print(f"Largest of {counted(result.n_groups, 'group')}{where}:")
    for i in largest:
        begin = int(result.offsets[i])
        names = state.name_of(source, result.members[begin : begin + min(N_SHOWN, int(sizes[i]))])
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
    state: DedupState,
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
    state.print_summary(source, result)
    if result.n_empty:
        print(f"empty            {counted(result.n_empty, 'document')} without a word, in no group")
    if source.json_lines_as_text:
        files = counted(len(source.json_lines_as_text), "file")
        print(
            f"JSON lines       {files} named .json taken as one document each; "
            "name them .jsonl for one document a line"
        )
        for name in source.json_lines_as_text[:N_SHOWN]:
            print(f"    {readable(name)}")
    print(f"skipped          {summary.n_skipped:,}")
    for name, reason in summary.skipped[:N_SHOWN]:
        print(f"    {readable(name)}: {readable(reason)}")
    if summary.n_skipped > N_SHOWN:
        print(f"    ... and {summary.n_skipped - N_SHOWN:,} more")
    by_stage = ", ".join(f"{name} {taken:.2f}" for name, taken in stages.items())
    print(f"seconds          {seconds:.2f} ({by_stage})")
    ranks = counted(len(peaks), "rank")
    print(f"peak memory      {', '.join(si_bytes(peak) for peak in peaks)} ({ranks})")
    if options.output is not None:
        print(f"written          {readable(options.output)}")
    state.print_written(result)
