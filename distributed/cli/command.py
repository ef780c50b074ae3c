"""The command line: what `mergesketch` accepts, and which command runs.

The commands themselves are in `cli_dedup`, `cli_index` and `cli_files`, which are imported only when
they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any

from ..ranks.comm import Communicator

__all__ = ["parser", "run_command"]

_RAW = argparse.RawDescriptionHelpFormatter

_DESCRIPTION = """\
Near-duplicate search, neighbour indexes and sketches of files, alone or on many MPI ranks:
start any command under `mpiexec -n N`; the output is the same for every N.
"""

_DEDUP_HELP = """\
Find the groups of near-duplicate documents, and write one group a line as JSON.

PATH is a folder or a file: a text file is one document, a line of .jsonl and .ndjson one, a row of
.parquet one (needs pyarrow), and .gz may hold text or JSON lines. In folders, names that begin with a
dot are left out and links to folders are not followed. Two documents are near-duplicates if the sets
of their shingles (runs of 5 words) have a Jaccard similarity of at least the threshold; a group holds
all that are linked by such pairs. Nothing that is read is ever changed.
"""

_DEDUP_EXAMPLES = """\
examples:
  mergesketch dedup articles/ --output groups.jsonl
  mergesketch dedup src/ --include '*.py' --exclude tests --threshold 0.9
  mpiexec -n 4 mergesketch dedup crawl-*.jsonl.gz --text-field content --output groups.jsonl

Each line of the output is {"group": 0, "size": 2, "documents": [{"path": "a.jsonl", "line": 7}, ...]};
"line" counts lines (or Parquet rows) from 1, and is null for a document that is a whole file.
"""

_ROWS_HELP = """\
A file of rows is a .npy matrix of numbers, a SciPy sparse .npz matrix, or svmlight text (any other name;
.gz too). Rows are numbered from 0. Sparse rows are sets to minhash, which leaves their values aside.
"""

_BUILD_EXAMPLES = f"""\
examples:
  mergesketch index build vectors.npy -o vectors.index --tables 32 --power 8
  mpiexec -n 4 mergesketch index build rows.svm -o rows.index
  mergesketch index build later.npy -o later.index --tables 32 --power 8 --first-id 20000
  mergesketch merge vectors.index later.index -o all.index

{_ROWS_HELP}Indexes of parts merge if their rows have different numbers and their settings are equal: give
--buckets, which depends on the number of rows otherwise.
"""

_QUERY_EXAMPLES = f"""\
example:
  mpiexec -n 4 mergesketch index query rows.index queries.svm -k 10 --output neighbours.jsonl

Each line of the output is {{"query": 0, "rows": [17, 4], "counts": [9, 2]}}: a row of QUERIES, the indexed
rows that share most tables with it, and how many; fewer than k if no more share one.

{_ROWS_HELP}"""

_INSPECT_HELP = """\
Tell what sketch files hold: class, size, configuration and arrays, and whether the checksum matches. The
exit code is 2 if a file is damaged or no sketch.
"""

_MERGE_HELP = """\
Merge sketch files into one. They must hold sketches of one class and configuration; the result is the
sketch of all their data. Indexes must have numbered their rows differently: see `index build --first-id`.
"""

_MERGE_EXAMPLES = """\
example:
  mergesketch merge monday.sketch tuesday.sketch -o week.sketch
"""


def _whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Integers that the library takes too; refused here, the message names the option."""

    def whole(text: str) -> int:
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            wanted = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {value}")
        return value

    whole.__name__ = "integer"  # how argparse names the type in its messages
    return whole


def _threshold(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return value


_threshold.__name__ = "number"


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a file or folder, got an empty name")
    return text


_SEED = _whole(0, 2**64 - 1)


def _add_dedup(commands: Any, threads: argparse.ArgumentParser) -> None:
    dedup = commands.add_parser(
        "dedup",
        help="find groups of near-duplicate documents",
        description=_DEDUP_HELP,
        epilog=_DEDUP_EXAMPLES,
        formatter_class=_RAW,
        parents=[threads],
    )
    dedup.add_argument("paths", nargs="+", type=_path, metavar="PATH", help="files and folders")
    dedup.add_argument(
        "--threshold",
        type=_threshold,
        default=0.7,
        metavar="T",
        help="least Jaccard similarity, above 0 and at most 1 (default: 0.7)",
    )
    dedup.add_argument(
        "--output", "-o", type=_path, metavar="FILE", help="write the groups here, as JSON lines"
    )
    dedup.add_argument(
        "--text-field", default="text", metavar="NAME", help="field or column of the text (default: text)"
    )
    dedup.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="in folders, take only files whose name matches (with a slash: whose path below the folder "
        "does); may be repeated",
    )
    dedup.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="in folders, leave out files and whole folders that match; may be repeated",
    )
    dedup.add_argument(
        "--unit",
        choices=["word", "character"],
        default="word",
        help="what shingles are runs of (default: word)",
    )
    dedup.add_argument(
        "--shingle-size",
        type=_whole(1, 2**31 - 1),
        default=5,
        metavar="N",
        help="length of a shingle (default: 5)",
    )
    dedup.add_argument(
        "--hashes",
        type=_whole(1, 2**16),
        default=128,
        metavar="N",
        help="hashes of a signature (default: 128)",
    )
    dedup.add_argument(
        "--verify",
        choices=["exact", "signature", "none"],
        default="exact",
        help="what decides on a candidate pair: its exact similarity (default; reads the files a second "
        "time), the estimate by its signatures, or nothing",
    )
    dedup.add_argument("--seed", type=_SEED, default=0, metavar="N", help="seed of the hashes (default: 0)")
    dedup.add_argument(
        "--strict", action="store_true", help="fail on a document that cannot be read, rather than skip it"
    )
    dedup.add_argument(
        "--top",
        type=_whole(0),
        default=5,
        metavar="N",
        help="print the N largest groups (default: 5)",
    )


def _add_index(commands: Any, threads: argparse.ArgumentParser) -> None:
    index = commands.add_parser("index", help="build a neighbour index of rows, or ask one")
    actions = index.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="index the rows of a file",
        description="Index the rows of a file for neighbour search, in memory known beforehand.",
        epilog=_BUILD_EXAMPLES,
        formatter_class=_RAW,
        parents=[threads],
    )
    build.add_argument("path", type=_path, metavar="PATH", help=".npy, sparse .npz or svmlight file")
    build.add_argument(
        "--output", "-o", required=True, type=_path, metavar="FILE", help="where the index is written"
    )
    build.add_argument(
        "--family",
        choices=["srp", "pstable", "minhash"],
        help="hash by angle, by Euclidean distance, or by overlap of sets (default: srp for .npy, minhash "
        "for sparse rows)",
    )
    build.add_argument(
        "--tables", type=_whole(1, 2**20), default=16, metavar="N", help="hash tables (default: 16)"
    )
    build.add_argument(
        "--power", type=_whole(1, 64), metavar="N", help="hashes of a key (default: 8; 4 for minhash)"
    )
    build.add_argument(
        "--width", type=float, metavar="W", help="for pstable: width of its cells (default: 1)"
    )
    build.add_argument(
        "--buckets",
        type=_whole(2, 2**32),
        metavar="N",
        help="buckets of a table (default: about the rows, from 1,024 to 65,536; for srp 2**power, if fewer)",
    )
    build.add_argument(
        "--capacity",
        type=_whole(1, 2**20),
        default=64,
        metavar="N",
        help="rows that a bucket keeps (default: 64)",
    )
    build.add_argument(
        "--first-id",
        type=_whole(0, 2**63 - 2),
        metavar="N",
        help="number of the file's first row (default: 0); give it to parts that will be merged: the rows in "
        "the parts before",
    )
    build.add_argument("--seed", type=_SEED, default=0, metavar="N", help="seed of the hashes (default: 0)")
    query = actions.add_parser(
        "query",
        help="find the rows most like those of a file",
        description="Find the k indexed rows that share most hashes with each row of a file.",
        epilog=_QUERY_EXAMPLES,
        formatter_class=_RAW,
        parents=[threads],
    )
    query.add_argument("index", type=_path, metavar="INDEX", help="what `index build` has written")
    query.add_argument("path", type=_path, metavar="QUERIES", help=".npy, sparse .npz or svmlight file")
    query.add_argument(
        "-k", type=_whole(1, 2**31), default=10, metavar="N", help="neighbours of each (default: 10)"
    )
    query.add_argument(
        "--output", "-o", type=_path, metavar="FILE", help="write JSON lines here (default: standard output)"
    )


def _add_inspect_and_merge(commands: Any) -> None:
    inspect = commands.add_parser(
        "inspect", help="tell what sketch files hold", description=_INSPECT_HELP, formatter_class=_RAW
    )
    inspect.add_argument("paths", nargs="+", type=_path, metavar="FILE", help="sketches that were saved")
    inspect.add_argument("--json", action="store_true", help="one JSON object a file")

    merge = commands.add_parser(
        "merge",
        help="merge sketch files into one",
        description=_MERGE_HELP,
        epilog=_MERGE_EXAMPLES,
        formatter_class=_RAW,
    )
    merge.add_argument("paths", nargs="+", type=_path, metavar="FILE", help="sketches that were saved")
    merge.add_argument(
        "--output", "-o", required=True, type=_path, metavar="FILE", help="where the result is written"
    )


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    from ... import __version__

    top = argparse.ArgumentParser("mergesketch", description=_DESCRIPTION, formatter_class=_RAW)
    top.add_argument("--version", action="version", version=f"mergesketch {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    threads = argparse.ArgumentParser(add_help=False)
    threads.add_argument(
        "--threads",
        type=_whole(1),
        metavar="N",
        help="threads of each rank (default: the node's cores divided by its ranks); never changes a result",
    )
    _add_dedup(commands, threads)
    _add_index(commands, threads)
    _add_inspect_and_merge(commands)
    return top


def run_command(arguments: Sequence[str] | None, comm: Communicator) -> int:
    """Parse and run; the exit code. argparse itself ends the process on help and on wrong usage."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Compared before they are parsed, so that no rank can end here while another goes on.
    comm.check_same("the command line", arguments)
    with ExitStack() as stack:
        if comm.rank > 0:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
        options = parser().parse_args(arguments)
    if getattr(options, "threads", None) is not None:
        from ...lsh.support.threads import set_num_threads

        set_num_threads(options.threads)
    if options.command == "dedup":
        from .dedup import dedup

        return dedup(options, comm)
    if options.command == "index":
        from .index import build, query

        return (build if options.action == "build" else query)(options, comm)
    from .files import inspect, merge

    return (inspect if options.command == "inspect" else merge)(options, comm)
