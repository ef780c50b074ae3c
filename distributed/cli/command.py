"""Define the command line: the commands of ``mergesketch``, their options and their help."""

from __future__ import annotations

import argparse
from typing import Any

from .dedup_options import add_dedup
from .floats_options import add_floats
from .options import Command, Parser
from .sketch_commands import add_query, add_sketches

__all__ = ["parser"]

_DESCRIPTION = """\
Find near-duplicate documents, count keys and distinct keys, find frequent keys (top-k) and quantiles
(percentiles), search nearest neighbours (neighbors) of rows, compress the weights of models (safetensors),
and ask, inspect and merge sketch files. Every command also runs on many MPI ranks: start it with
`mpiexec -n N`.
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
the most hash tables with it. With --rows, the rows that share a table are compared with it, and the k nearest
are the answer.
"""

_QUERY_EXAMPLES = f"""\
examples:
  mpiexec -n 4 mergesketch index query rows.index queries.svm -k 10 --output neighbours.jsonl
  mergesketch index query vectors.index queries.npy --rows vectors.npy --probes 4

Each line of the output is {{"query": 0, "rows": [17, 4], "counts": [9, 2]}}: the number of a row of QUERIES,
the indexed rows that share the most tables with it, and how many tables they share. If fewer than k rows
share a table with the query, the line has fewer than k rows.

With --rows, a line is {{"query": 0, "rows": [17, 4], "distances": [0.21, 0.35]}}: the exact distances, in the
unit of the family. It is the angle in radians for srp, the Euclidean distance for pstable, and the Jaccard
distance for minhash. Row i of the file has the number i in the index; a .npy file is mapped, and only the
rows that are compared are read.

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


def _add_index(commands: Any) -> None:
    index = commands.add_parser("index", help="build or query an index for nearest neighbour search (ANN)")
    actions = index.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = Command(actions, "build", "index the rows of a file", _BUILD_HELP, _BUILD_EXAMPLES)
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
    query = Command(actions, "query", summary, _QUERY_HELP, _QUERY_EXAMPLES)
    query.path("index", "INDEX", "file that `index build` has written")
    query.path("path", "QUERIES", ".npy, sparse .npz or svmlight file")
    query.integer("-k", 1, 2**31, "neighbours of each row", 10)
    query.path("--rows", "FILE", "the indexed rows: compare them, and order the neighbours by exact distance")
    text = "buckets that are looked into in each table; more find more neighbours"
    query.integer("--probes", 1, 2**20, text, 1)
    query.output("write JSON lines to this file (default: -, the standard output; x.gz is compressed)")
    query.threads()


def _add_inspect_and_merge(commands: Any) -> None:
    inspect = Command(commands, "inspect", "print the contents of sketch files", _INSPECT_HELP)
    inspect.path("paths", "FILE", "saved sketches", nargs="+")
    inspect.options.add_argument("--json", action="store_true", help="print one JSON object a file")
    merge = Command(commands, "merge", "merge sketch files into one", _MERGE_HELP, _MERGE_EXAMPLES)
    merge.path("paths", "FILE", "saved sketches", nargs="+")
    merge.output("write the merged sketch to this file", required=True)


def _add_warmup(commands: Any) -> None:
    summary = "compile kernels before they are needed"
    warmup = Command(commands, "warmup", summary, _WARMUP_HELP, _WARMUP_EXAMPLES)
    warmup.options.add_argument(
        "names", metavar="NAME", nargs="*", help="classes and functions (default: all)"
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    from ... import __version__

    formatter = argparse.RawDescriptionHelpFormatter
    top = Parser("mergesketch", description=_DESCRIPTION, formatter_class=formatter)
    top.add_argument("--version", action="version", version=f"mergesketch {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_dedup(commands)
    add_sketches(commands)
    add_query(commands)
    _add_index(commands)
    add_floats(commands)
    _add_inspect_and_merge(commands)
    _add_warmup(commands)
    return top
