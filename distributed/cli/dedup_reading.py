"""Open the documents of ``mergesketch dedup``, and print what could not be read."""

from __future__ import annotations

from argparse import Namespace

from ...errors import DocumentError, readable
from ...lsh.support.wording import counted
from ..documents.source import DocumentSource, ReadSummary
from ..ranks.comm import Communicator

__all__ = ["N_SHOWN", "check_some_read", "open_source", "print_skipped"]

#: The number of members of a group that are printed, and of skipped documents that are named.
N_SHOWN = 8


def open_source(options: Namespace, comm: Communicator) -> DocumentSource:
    """Return the documents that the options name."""
    return DocumentSource(
        options.paths,
        text_field=options.text_field,
        strict=options.strict,
        comm=comm,
        include=options.include,
        exclude=options.exclude,
        progress=True,
    )


def check_some_read(summary: ReadSummary, comm: Communicator) -> None:
    """Raise DocumentError on every rank if no document could be read."""
    with comm.agree():
        if summary.n_documents == 0:
            first = "".join(f"; {name}: {reason}" for name, reason in summary.skipped[:1])
            raise DocumentError(f"no document could be read ({summary.n_skipped} skipped{first})")


def print_skipped(source: DocumentSource, summary: ReadSummary) -> None:
    """Print the lines of the summary about what was skipped or read in another way than its name says."""
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
