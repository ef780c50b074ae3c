"""Define the command line: the commands of ``mergesketch``, their options and their help."""

from __future__ import annotations

import argparse
from typing import Any

from .options import Command, Parser, between
from .sketch_commands import add_query, add_sketches

__all__ = ["parser"]

_DESCRIPTION = """\
Near-duplicate search, counts, sets, neighbour indexes and sketches of files, in one process or on many MPI
ranks: start any command under `mpiexec -n N`.
"""

_DEDUP_HELP = """\
Find the groups of near-duplicate documents, and write one group a line as JSON.

PATH is a folder or a file. A text file is one document. Each line of a .jsonl or .ndjson file is one
document, and each row of a .parquet file (which needs pyarrow). A .gz file may contain text or JSON lines.
In folders, names that begin with a dot are left out, and links to folders are not followed. Two documents
are near-duplicates if the sets of their shingles (runs of 5 words) have at least the threshold as their
Jaccard similarity. A group has all documents that are connected by such pairs. No input is ever changed.
"""

_DEDUP_EXAMPLES = """\
examples:
  mergesketch dedup articles/ --output groups.jsonl
  mergesketch dedup src/ --include '*.py' --exclude tests --threshold 0.9
  mpiexec -n 4 mergesketch dedup crawl-*.jsonl.gz --text-field content --output groups.jsonl

Each line of the output is {"group": 0, "size": 2, "documents": [{"path": "a.jsonl", "line": 7}, ...]}.
"line" is the line (or the Parquet row), counted from 1; it is null for a document that is a whole file.
"""

_ROWS_HELP = """\
A file of rows is a .npy matrix of numbers, a SciPy sparse .npz matrix, or svmlight text (any other name;
also .gz). Rows are numbered from 0. The minhash family takes sparse rows as sets, without their values.
"""

_BUILD_HELP = "Index the rows of a file for neighbour search. The memory is known before the rows are read."

_BUILD_EXAMPLES = f"""\
examples:
  mergesketch index build vectors.npy -o vectors.index --tables 32 --power 8
  mpiexec -n 4 mergesketch index build rows.svm -o rows.index
  mergesketch index build later.npy -o later.index --tables 32 --power 8 --first-id 20000
  mergesketch merge vectors.index later.index -o all.index

{_ROWS_HELP}
Indexes of parts can be merged if the numbers of their rows differ and their settings are equal. Give
--buckets for this, because its default depends on the number of rows.
"""

_QUERY_HELP = """\
Find, for each row of a file, the k indexed rows that share the most hashes with it. With --rows, the rows
that share a hash are compared with it, and the k nearest are the answer.
"""

_QUERY_EXAMPLES = f"""\
examples:
  mpiexec -n 4 mergesketch index query rows.index queries.svm -k 10 --output neighbours.jsonl
  mergesketch index query vectors.index queries.npy --rows vectors.npy --probes 4

Each line of the output is {{"query": 0, "rows": [17, 4], "counts": [9, 2]}}: a row of QUERIES, the indexed
rows that share the most tables with it, and the numbers of shared tables. A line has fewer than k rows if no
others share a table.

With --rows, a line is {{"query": 0, "rows": [17, 4], "distances": [0.21, 0.35]}}: the exact distances, in the
unit of the family. It is the angle in radians for srp, the Euclidean distance for pstable, and the Jaccard
distance for minhash. Row i of the file has the number i in the index; a .npy file is mapped, and only the
rows that are compared are read.

{_ROWS_HELP}"""

_INSPECT_HELP = """\
Print the contents of sketch files: class, size, configuration and arrays, and a check of the checksum. The
exit code is 2 if a file is damaged or is not a sketch.
"""

_MERGE_HELP = """\
Merge sketch files into one. They must hold sketches of one class and configuration; the result is the
sketch of all their data. Indexes must have different row numbers: see `index build --first-id`.
"""

_MERGE_EXAMPLES = """\
example:
  mergesketch merge monday.sketch tuesday.sketch -o week.sketch
"""


def _add_dedup(commands: Any) -> None:
    summary = "find groups of near-duplicate documents"
    dedup = Command(commands, "dedup", summary, _DEDUP_HELP, _DEDUP_EXAMPLES)
    dedup.path("paths", "PATH", "files and folders", nargs="+")
    dedup.options.add_argument(
        "--threshold",
        type=between(0.0, 1.0, closed=True),
        default=0.7,
        metavar="T",
        help="least Jaccard similarity, above 0 and at most 1 (default: 0.7)",
    )
    dedup.output("write the groups to this file, as JSON lines")
    dedup.options.add_argument(
        "--text-field", default="text", metavar="NAME", help="field or column of the text (default: text)"
    )
    dedup.patterns(
        "--include",
        "take only those files of folders whose names match, or, if the pattern has a slash, whose paths "
        "below the folder match",
    )
    dedup.patterns("--exclude", "leave out files of folders, and whole folders, that match")
    dedup.choice("--unit", ["word", "character"], "unit of a shingle (default: word)", "word")
    dedup.integer("--shingle-size", 1, 2**31 - 1, "words or characters in a shingle", 5)
    dedup.integer("--hashes", 1, 2**16, "hashes of a signature", 128)
    dedup.choice(
        "--verify",
        ["exact", "signature", "none"],
        "check of a candidate pair: its exact similarity (default; reads the files a second time), the "
        "estimate by signatures, or no check",
        "exact",
    )
    dedup.options.add_argument(
        "--strict", action="store_true", help="fail on a document that cannot be read, instead of skipping it"
    )
    dedup.integer("--top", 0, None, "number of the largest groups to print", 5)
    dedup.seed_and_threads()


def _add_index(commands: Any) -> None:
    index = commands.add_parser("index", help="build a neighbour index of rows, or query one")
    actions = index.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = Command(actions, "build", "index the rows of a file", _BUILD_HELP, _BUILD_EXAMPLES)
    build.path("path", "PATH", ".npy, sparse .npz or svmlight file")
    build.output("write the index to this file", required=True)
    build.choice(
        "--family",
        ["srp", "pstable", "minhash"],
        "hash by angle, by Euclidean distance, or by overlap of sets (default: srp for .npy, minhash for "
        "sparse rows)",
    )
    build.integer("--tables", 1, 2**20, "hash tables", 16)
    build.integer("--power", 1, 64, "hashes of a key (default: 8; 4 for minhash)")
    build.options.add_argument(
        "--width", type=float, metavar="W", help="for pstable: width of its cells (default: 1)"
    )
    build.integer(
        "--buckets",
        2,
        2**32,
        "buckets of a table (default: about the number of rows, from 1,024 to 65,536; for srp 2**power if "
        "that is less)",
    )
    build.integer("--capacity", 1, 2**20, "rows that a bucket keeps", 64)
    build.integer(
        "--first-id",
        0,
        2**63 - 2,
        "number of the file's first row (default: 0). For parts that will be merged, give the number of rows "
        "in the parts before",
    )
    build.seed_and_threads()
    summary = "find the indexed rows that are nearest to those of a file"
    query = Command(actions, "query", summary, _QUERY_HELP, _QUERY_EXAMPLES)
    query.path("index", "INDEX", "file that `index build` has written")
    query.path("path", "QUERIES", ".npy, sparse .npz or svmlight file")
    query.integer("-k", 1, 2**31, "neighbours of each row", 10)
    query.path("--rows", "FILE", "the indexed rows: compare them, and order the neighbours by exact distance")
    text = "buckets that are looked into in each table; more find more neighbours"
    query.integer("--probes", 1, 2**20, text, 1)
    query.output("write JSON lines to this file (default: standard output)")
    query.threads()


def _add_inspect_and_merge(commands: Any) -> None:
    inspect = Command(commands, "inspect", "print the contents of sketch files", _INSPECT_HELP)
    inspect.path("paths", "FILE", "saved sketches", nargs="+")
    inspect.options.add_argument("--json", action="store_true", help="print one JSON object a file")
    merge = Command(commands, "merge", "merge sketch files into one", _MERGE_HELP, _MERGE_EXAMPLES)
    merge.path("paths", "FILE", "saved sketches", nargs="+")
    merge.output("write the merged sketch to this file", required=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    from ... import __version__

    formatter = argparse.RawDescriptionHelpFormatter
    top = Parser("mergesketch", description=_DESCRIPTION, formatter_class=formatter)
    top.add_argument("--version", action="version", version=f"mergesketch {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_dedup(commands)
    add_sketches(commands)
    add_query(commands)
    _add_index(commands)
    _add_inspect_and_merge(commands)
    return top
