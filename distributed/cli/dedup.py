"""Run ``mergesketch dedup``: find the groups of near-duplicate documents."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from typing import Any

from ...errors import readable
from ...lsh.support.wording import counted
from ..dedup.cleaning import CleanedCorpus, CleanedFiles
from ..dedup.deduplicate import deduplicate
from ..dedup.removals import gather_removals, removals
from ..dedup.result import Deduplication
from ..documents.source import DocumentSource
from ..documents.summary import ReadSummary
from ..ranks.comm import Communicator
from ..ranks.memory import peak_memory
from .dedup_lists import REMOVED, Lists, user_ids
from .dedup_outputs import check_different
from .dedup_reading import N_SHOWN, check_some_read, open_source, print_skipped, print_unusual
from .dedup_report import ReportedRun, write_report
from .dedup_state import DedupState
from .giant_groups import giant_groups
from .messages import common_folder, si_bytes
from .output import check_output, shown_output
from .parquet_lists import check_parquet
from .streams import messages_beside

__all__ = ["dedup"]

#: Options on which the choice of documents does not depend, or which choose the files.
_NO_SETTINGS = {
    *("command", "paths", "include", "exclude", "strict", "threads", "top"),
    *("clean", "output", "removed", "report", "id_field", "save_state"),
}


def dedup(options: Namespace, comm: Communicator) -> int:
    """Run the command on every rank, and return the exit code."""
    started = time.perf_counter()
    outputs = [path for path in (options.output, options.removed, options.report) if path is not None]
    # The folder of the cleaned corpus, which need not exist yet, is checked apart.
    elsewhere = [path for path in outputs if not _lies_in(path, options.clean)]
    for path in elsewhere:
        check_output(path, options.paths, comm, compressed=True)
    with comm.agree():
        check_different(options)
        for path in outputs:
            check_parquet(path)
    state = DedupState(options, comm)
    source = open_source(options, [*outputs, *state.files], comm)
    for path in elsewhere:
        check_output(path, source.files, comm, compressed=True)
    state.use(source)
    cleaned = None if options.clean is None else _cleaned_corpus(options, source, comm)
    listed = time.perf_counter()
    result = deduplicate(
        source,
        threshold=options.threshold,
        measure=options.measure,
        unit=options.unit,
        size=options.shingle_size,
        n_hashes=options.hashes,
        verify=options.verify,
        grouping=options.grouping,
        seed=options.seed,
        normalize=options.normalize,
        keep=options.keep.partition(":")[0],
        against=state.against,
        comm=comm,
    )
    summary = source.finish()
    check_some_read(summary, comm)
    stages = {"listing": listed - started, **result.seconds}
    began = time.perf_counter()
    has_lists = bool(outputs) or cleaned is not None
    removed = comm.local(removals, result)
    gathered = gather_removals(removed, comm)
    own = user_ids(source, result, comm) if has_lists and options.id_field is not None else None
    lists = Lists(state, result, gathered, own)
    written = None
    if cleaned is not None:
        written = cleaned.write(removed)
        stages["cleaning"] = time.perf_counter() - began
    began = time.perf_counter()
    with comm.agree():
        if comm.rank == 0:
            _write_lists(options, lists)
    if has_lists or options.save_state is not None:
        stages["writing"] = time.perf_counter() - began
    peaks = comm.gather(peak_memory())
    with comm.agree():
        if peaks is not None and options.report is not None:
            facts = _facts(stages, time.perf_counter() - started, peaks, written, options.clean)
            settings = {name.replace("_", "-"): value for name, value in settings_of(options).items()}
            report = ReportedRun(source, result, summary, lists, options.threshold, settings, facts)
            write_report(options.report, report)
    state.save(result)
    ended = time.perf_counter()
    if comm.rank == 0:
        assert peaks is not None
        with messages_beside(*outputs):
            _print_groups(source, state, result, options.top)
            _print_summary(options, source, state, summary, result, stages, ended - started, peaks)
            _print_written(options, written, len(lists.removed.ids))
            state.print_written()
    return 0


def settings_of(options: Namespace) -> dict[str, Any]:
    """Return the options on which the choice of documents depends."""
    return {name: value for name, value in vars(options).items() if name not in _NO_SETTINGS}


def _facts(
    stages: dict[str, float],
    seconds: float,
    peaks: list[int],
    written: CleanedFiles | None,
    folder: str | None,
) -> list[tuple[str, str]]:
    """Return what the report says about the run."""
    facts = [
        ("seconds", f"{seconds:.2f} ({_by_stage(stages)})"),
        ("peak memory", f"{', '.join(si_bytes(peak) for peak in peaks)} ({counted(len(peaks), 'rank')})"),
    ]
    if written is not None:
        files = counted(written.n_written + written.n_resumed, "file")
        facts.insert(0, ("cleaned corpus", f"{folder}: {files}, {si_bytes(written.n_bytes)}"))
    return facts


def _by_stage(stages: dict[str, float]) -> str:
    return ", ".join(f"{name} {taken:.2f}" for name, taken in stages.items())


def _lies_in(path: str, folder: str | None) -> bool:
    """Return True if a file is to be written directly into a folder."""
    return folder is not None and os.path.dirname(os.path.realpath(path)) == os.path.realpath(folder)


def _cleaned_corpus(options: Namespace, source: DocumentSource, comm: Communicator) -> CleanedCorpus:
    """Check the folder of the cleaned corpus."""
    outputs = (options.output, options.removed, options.report)
    inside = [os.path.basename(path) for path in outputs if path and _lies_in(path, options.clean)]
    return CleanedCorpus(
        options.clean, source, settings=settings_of(options), lists=(REMOVED, *inside), comm=comm
    )


def _write_lists(options: Namespace, lists: Lists) -> None:
    if options.output is not None:
        lists.write_groups(options.output)
    if options.removed is not None:
        lists.write_removed(options.removed)
    elif options.clean is not None:
        lists.write_removed(os.path.join(options.clean, REMOVED))


def _print_groups(source: DocumentSource, state: DedupState, result: Deduplication, top: int) -> None:
    sizes = result.offsets[1:] - result.offsets[:-1]
    # Groups of equal size keep the order of the output.
    largest = sorted(range(result.n_groups), key=lambda i: (-int(sizes[i]), i))[:top]
    if not largest:
        return
    # Old documents may be in other folders.
    below = common_folder(source.files) if result.compared is None else ""
    where = f" (in {readable(below)})" if below else ""
    print(f"Largest of {counted(result.n_groups, 'group')}{where}:")
    for i in largest:
        begin = int(result.offsets[i])
        names = state.name_of(result.members[begin : begin + min(N_SHOWN, int(sizes[i]))])
        print(f"  group {i}: {counted(int(sizes[i]), 'document')}")
        for path, line in names:
            print(f"    {readable(path[len(below) :])}{'' if line is None else f':{line}'}")
        if int(sizes[i]) > N_SHOWN:
            print(f"    ... and {int(sizes[i]) - N_SHOWN:,} more")
    print()


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
    linked = "linked by pairs of" if options.grouping == "connected" else "whose kept document has a"
    rule = f"{linked} similarity {options.threshold:g} or more"
    if options.measure == "containment":
        rule = f"whose kept document contains {options.threshold:g} or more of each other one"
    print(f"groups           {result.n_groups:,}, {rule}")
    for giant in giant_groups(result):
        least = "unknown" if giant.least != giant.least else f"{giant.least:.3f}"
        documents = counted(giant.size, "document")
        print(f"giant group      group {giant.group}: {documents}, least similarity to the kept one {least}")
    print(
        f"duplicates       {counted(result.n_duplicates, 'document')} besides the kept document of each group"
    )
    state.print_summary(result)
    print_unusual(source, result.n_empty, result.n_invalid, "in no group")
    print_skipped(source, summary)
    print(f"seconds          {seconds:.2f} ({_by_stage(stages)})")
    ranks = counted(len(peaks), "rank")
    print(f"peak memory      {', '.join(si_bytes(peak) for peak in peaks)} ({ranks})")


def _print_written(options: Namespace, written: CleanedFiles | None, n_removed: int) -> None:
    """Print what was written, and where."""
    if written is not None:
        kept = f", {written.n_resumed:,} kept of an earlier run" if written.n_resumed else ""
        absent = f", {written.n_absent:,} removed" if written.n_absent else ""
        files = counted(written.n_written + written.n_resumed, "file")
        print(
            f"cleaned          {readable(options.clean)}: {files}{absent}{kept}, "
            f"{si_bytes(written.n_bytes)}, without {counted(n_removed, 'document')}"
        )
        for reason, names in (
            ("only what lies before the damage was written", written.incomplete),
            ("not copied, because it cannot be read", written.missing),
        ):
            for name in names[:N_SHOWN]:
                print(f"    {readable(name)}: {reason}")
            if len(names) > N_SHOWN:
                print(f"    ... and {len(names) - N_SHOWN:,} more")
        if options.removed is None:
            print(f"removed          {readable(os.path.join(options.clean, REMOVED))}")
    for name, path in (("removed", options.removed), ("report", options.report), ("written", options.output)):
        if path is not None:
            print(f"{name:<17}{readable(shown_output(path))}")
