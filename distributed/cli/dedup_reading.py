"""Open the documents of ``mergesketch dedup``, and print what was read in an unusual way or not at all."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from ...errors import DocumentError, readable
from ...lsh.support.wording import counted
from ..documents.source import DocumentSource
from ..documents.summary import ReadSummary
from ..ranks.comm import Communicator
from .messages import si_bytes
from .output import own_files

__all__ = ["N_SHOWN", "check_some_read", "open_source", "print_skipped", "print_unusual"]

#: The number of members of a group that are printed, and of skipped documents that are named.
N_SHOWN = 8


def open_source(options: Namespace, outputs: Sequence[str], comm: Communicator) -> DocumentSource:
    """Return the documents that the options name, without the outputs."""
    return DocumentSource(
        options.paths,
        text_field=options.text_field,
        format=options.format,
        encoding=options.encoding,
        id_field=options.id_field,
        score_field=options.keep.removeprefix("best:") if options.keep.startswith("best:") else None,
        strict=options.strict,
        comm=comm,
        include=options.include,
        exclude=options.exclude,
        leave_out=own_files(outputs),
        progress=True,
    )


def check_some_read(summary: ReadSummary, comm: Communicator) -> None:
    """Raise DocumentError on every rank if no document could be read."""
    with comm.agree():
        if summary.n_documents == 0:
            first = "".join(f"; {name}: {reason}" for name, reason in summary.skipped[:1])
            raise DocumentError(f"no document could be read ({summary.n_skipped} skipped{first})")


def print_unusual(source: DocumentSource, n_empty: int, n_invalid: int, where: str) -> None:
    """Print the lines of the summary about documents that have no words, or bad bytes, and where they are."""
    if n_empty:
        print(f"empty            {counted(n_empty, 'document')} without a word or symbol, {where}")
    if n_invalid:
        wanted = "UTF-8" if source.encoding == "auto" else source.encoding
        print(
            f"bad bytes        {counted(n_invalid, 'document')} with bytes that are not {wanted}, "
            "which separate words"
        )


def print_skipped(source: DocumentSource, summary: ReadSummary) -> None:
    """Print the lines of the summary about the standard input, and about what was skipped."""
    if source.input_bytes:
        print(f"standard input   {si_bytes(source.input_bytes)}, kept in a temporary file until the end")
    print(f"skipped          {summary.n_skipped:,}")
    for name, reason in summary.skipped[:N_SHOWN]:
        print(f"    {readable(name)}: {readable(reason)}")
    if summary.n_skipped > N_SHOWN:
        print(f"    ... and {summary.n_skipped - N_SHOWN:,} more")
