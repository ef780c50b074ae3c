"""Define the command line: the commands of ``mergesketch``, their options and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

__all__ = ["parser"]

_DESCRIPTION = """\
Find near-duplicate documents, search nearest neighbours (neighbors) of rows, and inspect and merge sketch
files. Every command also runs on many MPI ranks: start it with `mpiexec -n N`. The output is the same for
every N.
"""

_DEDUP_HELP = """\
Find groups of near-duplicate documents (fuzzy deduplication), and write each group as a line of JSON.

PATH is a folder or a file. A text file is one document. Each line of a .jsonl or .ndjson file is one
document, and each row of a .parquet file (which needs pyarrow). A .gz file may contain text or JSON lines.
In folders, names that begin with a dot are skipped, and links to folders are not followed. Two documents
are near-duplicates if the Jaccard similarity of their sets of shingles (sequences of 5 words) is at least
the threshold. A group contains all documents that are connected by such pairs. Files that are read are never
changed.
"""

_DEDUP_EXAMPLES = """\
examples:
  mergesketch dedup articles/ --output groups.jsonl
  mergesketch dedup src/ --include '*.py' --exclude tests --threshold 0.9
  mpiexec -n 4 mergesketch dedup crawl-*.jsonl.gz --text-field content --output groups.jsonl

Each line of the output is {"group": 0, "size": 2, "documents": [{"path": "a.jsonl", "line": 7}, ...]}.
"line" is the number of the line or of the Parquet row, counted from 1. It is null if the document is a whole
file.
"""

_ROWS_HELP = """\
A file of rows is a .npy matrix of numbers, a SciPy sparse .npz matrix, or svmlight text. Files with any other
name are read as svmlight text, which may be compressed (.gz). Rows are numbered from 0. The family minhash
takes sparse rows as sets, and ignores their values.
"""

_BUILD_HELP = """\
Build an index of the rows of a file for approximate nearest neighbour search (ANN, nearest neighbors). The
memory of the index is known before the rows are read.
"""

_BUILD_EXAMPLES = f"""\
examples:
  mergesketch index build vectors.npy -o vectors.index --tables 32 --power 8
  mpiexec -n 4 mergesketch index build rows.svm -o rows.index
  mergesketch index build later.npy -o later.index --tables 32 --power 8 --first-id 20000
  mergesketch merge vectors.index later.index -o all.index

{_ROWS_HELP}
Indexes of parts can be merged if their rows have different numbers and their settings are equal. Set
--buckets if you will merge, because its default depends on the number of rows.
"""

_QUERY_HELP = """\
Find approximate nearest neighbours (nearest neighbors): for each row of a file, the k indexed rows that share
the most hash tables with it.
"""

_QUERY_EXAMPLES = f"""\
example:
  mpiexec -n 4 mergesketch index query rows.index queries.svm -k 10 --output neighbours.jsonl

Each line of the output is {{"query": 0, "rows": [17, 4], "counts": [9, 2]}}: the number of a row of QUERIES,
the indexed rows that share the most tables with it, and how many tables they share. If fewer than k rows
share a table with the query, the line has fewer than k rows.

{_ROWS_HELP}"""

_INSPECT_HELP = """\
Print the contents of sketch files: class, size, configuration and arrays. The checksum is checked.
The exit code is 2 if a file is damaged or is not a sketch.
"""

_MERGE_HELP = """\
Merge sketch files into one. The result is the sketch of all their data.
All sketches must have one class and configuration. The rows of indexes must have different numbers: see
`index build --first-id`.
"""

_MERGE_EXAMPLES = """\
example:
  mergesketch merge monday.sketch tuesday.sketch -o week.sketch
"""


_WARMUP_HELP = """\
Compile the kernels of classes and functions now, so that programs do not wait for it later. The kernels
are those that the examples in the documentation use; other types of arrays may need one or two more.

NAME is a class or a function of mergesketch, mergesketch.lsh or mergesketch.distributed, for example
BloomFilter or deduplicate. Without a name, everything is compiled, which takes minutes. The compiled
code lies in the folder NUMBA_CACHE_DIR, or beside the package, or in the cache folder of the user.
"""

_WARMUP_EXAMPLES = """\
examples:
  mergesketch warmup deduplicate
  NUMBA_CACHE_DIR=/opt/kernels mergesketch warmup CountMinSketch HeavyHitters
"""


class _Integer:
    """The type of an option with integer values.

    The library checks its arguments too, but only messages from here name the option.
    """

    #: The name of the type in argparse's messages.
    __name__ = "integer"

    def __init__(self, least: int, largest: int | None) -> None:
        self.least, self.largest = least, largest

    def __call__(self, text: str) -> int:
        value = int(text)
        if value < self.least or (self.largest is not None and value > self.largest):
            most = self.largest
            wanted = f"at least {self.least}" if most is None else f"from {self.least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {value}")
        return value


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


class _Command:
    """A command whose options are added one by one."""

    def __init__(self, commands: Any, name: str, summary: str, description: str, epilog: str = "") -> None:
        self.options = commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def path(self, name: str, metavar: str, text: str, nargs: str | None = None) -> None:
        """Add the path of a file, or several with `nargs`, which has no option's name."""
        self.options.add_argument(name, nargs=nargs, type=_path, metavar=metavar, help=text)

    def output(self, text: str, *, required: bool = False) -> None:
        """Add --output."""
        self.options.add_argument("--output", "-o", type=_path, metavar="FILE", required=required, help=text)

    def integer(
        self, name: str, least: int, largest: int | None, text: str, default: int | None = None
    ) -> None:
        """Add an option with integer values in [least, largest]; the default ends its help."""
        text += "" if default is None else f" (default: {default})"
        self.options.add_argument(
            name, type=_Integer(least, largest), default=default, metavar="N", help=text
        )

    def seed_and_threads(self) -> None:
        """Add --seed and --threads."""
        self.integer("--seed", 0, 2**64 - 1, "seed of the hashes", 0)
        self.threads()

    def threads(self) -> None:
        """Add --threads."""
        text = "threads of each rank (default: cores of the node divided by its ranks); results stay the same"
        self.integer("--threads", 1, None, text)

    def choice(self, name: str, choices: Sequence[str], text: str, default: str | None = None) -> None:
        """Add an option with one of some values."""
        self.options.add_argument(name, choices=choices, default=default, help=text)

    def patterns(self, name: str, text: str) -> None:
        """Add an option with a shell pattern that may be repeated."""
        self.options.add_argument(
            name, action="append", default=[], metavar="GLOB", help=f"{text}; may be repeated"
        )


def _add_dedup(commands: Any) -> None:
    summary = "find groups of near-duplicate documents"
    dedup = _Command(commands, "dedup", summary, _DEDUP_HELP, _DEDUP_EXAMPLES)
    dedup.path("paths", "PATH", "files and folders", nargs="+")
    dedup.options.add_argument(
        "--threshold",
        type=_threshold,
        default=0.7,
        metavar="T",
        help="smallest Jaccard similarity of near-duplicates, above 0 and at most 1 (default: 0.7)",
    )
    dedup.output("write the groups to this file, as JSON lines")
    dedup.options.add_argument(
        "--text-field", default="text", metavar="NAME", help="field or column with the text (default: text)"
    )
    dedup.patterns(
        "--include",
        "read only those files of folders whose names match; a pattern with a slash is compared with the "
        "path below the folder",
    )
    dedup.patterns("--exclude", "skip files of folders, and whole folders, whose names match")
    dedup.choice("--unit", ["word", "character"], "unit of a shingle (default: word)", "word")
    dedup.integer("--shingle-size", 1, 2**31 - 1, "words or characters in a shingle", 5)
    dedup.integer("--hashes", 1, 2**16, "hashes of a signature", 128)
    dedup.choice(
        "--verify",
        ["exact", "signature", "none"],
        "how candidate pairs are checked: by exact similarity (default; reads the files a second time), by "
        "the estimate of signatures, or not at all",
        "exact",
    )
    dedup.options.add_argument(
        "--strict",
        action="store_true",
        help="stop with an error if a document cannot be read, instead of skipping it",
    )
    dedup.integer("--top", 0, None, "number of groups to print, the largest first", 5)
    dedup.seed_and_threads()


def _add_index(commands: Any) -> None:
    index = commands.add_parser("index", help="build or query an index for nearest neighbour search (ANN)")
    actions = index.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = _Command(actions, "build", "index the rows of a file", _BUILD_HELP, _BUILD_EXAMPLES)
    build.path("path", "PATH", ".npy, sparse .npz or svmlight file")
    build.output("write the index to this file", required=True)
    build.choice(
        "--family",
        ["srp", "pstable", "minhash"],
        "similarity: srp is the angle (cosine), pstable the Euclidean distance, minhash the overlap of sets "
        "(default: srp for .npy, minhash for sparse rows)",
    )
    build.integer("--tables", 1, 2**20, "hash tables", 16)
    build.integer("--power", 1, 64, "hashes that select a bucket (default: 8; 4 for minhash)")
    build.options.add_argument(
        "--width", type=float, metavar="W", help="for pstable: width of a step of the hashes (default: 1)"
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
        "number of the first row of the file (default: 0). For parts that will be merged, set it to the "
        "number of rows in all earlier parts",
    )
    build.seed_and_threads()
    summary = "find the indexed rows that are nearest to those of a file"
    query = _Command(actions, "query", summary, _QUERY_HELP, _QUERY_EXAMPLES)
    query.path("index", "INDEX", "file that `index build` has written")
    query.path("path", "QUERIES", ".npy, sparse .npz or svmlight file")
    query.integer("-k", 1, 2**31, "neighbours of each row", 10)
    query.output("write JSON lines to this file (default: standard output)")
    query.threads()


def _add_inspect_and_merge(commands: Any) -> None:
    inspect = _Command(commands, "inspect", "print the contents of sketch files", _INSPECT_HELP)
    inspect.path("paths", "FILE", "saved sketches", nargs="+")
    inspect.options.add_argument("--json", action="store_true", help="print one JSON object a file")
    merge = _Command(commands, "merge", "merge sketch files into one", _MERGE_HELP, _MERGE_EXAMPLES)
    merge.path("paths", "FILE", "saved sketches", nargs="+")
    merge.output("write the merged sketch to this file", required=True)


def _add_warmup(commands: Any) -> None:
    summary = "compile kernels before they are needed"
    warmup = _Command(commands, "warmup", summary, _WARMUP_HELP, _WARMUP_EXAMPLES)
    warmup.options.add_argument(
        "names", metavar="NAME", nargs="*", help="classes and functions (default: all)"
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    from ... import __version__

    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser("mergesketch", description=_DESCRIPTION, formatter_class=formatter)
    top.add_argument("--version", action="version", version=f"mergesketch {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_dedup(commands)
    _add_index(commands)
    _add_inspect_and_merge(commands)
    _add_warmup(commands)
    return top
