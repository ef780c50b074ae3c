"""Define the options of ``mergesketch dedup`` and their help."""

from __future__ import annotations

import argparse
from typing import Any

from ..documents.formats import FORMATS
from .dedup_bloom_options import add_memory_options
from .options import Command, between

__all__ = ["add_dedup"]

_DEDUP_HELP = """\
Find near-duplicate documents (fuzzy deduplication), and write the files again without them, the groups as
lines of JSON, and a report.

PATH is a folder, a file or - (the standard input). A text file is one document. Each line of JSON lines is
one document (.jsonl, .ndjson, or .json with such lines), each object of a .json file that is one array, each
record of a .csv or .tsv file, and each row of a Parquet, Arrow or Feather file (which need pyarrow). A tar
archive is read like a folder. All of these may be compressed by gzip, Zstandard (which needs zstandard),
bzip2 or xz. Files of other formats, such as PDF and zip, are skipped and named. In folders, names that begin
with a dot are skipped, and links to folders are not followed. Two documents are near-duplicates if the
Jaccard similarity of their sets of shingles (sequences of 5 words) is at least the threshold. A group
contains all documents that are connected by such pairs, or with --grouping star those that are similar
to the one that is kept. Files that are read are never changed.
"""

_DEDUP_EXAMPLES = """\
examples:
  mergesketch dedup articles/ --clean cleaned/ --report report.html
  mergesketch dedup crawl/ --clean cleaned/ --keep best:score --id-field url
  mergesketch dedup src/ --include '*.py' --exclude tests --threshold 0.9
  mergesketch dedup 2024-05-01/ --clean cleaned/01 --save-state corpus.state
  mergesketch dedup 2024-05-02/ --clean cleaned/02 --against corpus.state --save-state corpus.state
  mpiexec -n 4 mergesketch dedup crawl-*.jsonl.gz --text-field content --output groups.jsonl

With --clean, removed.jsonl in the folder has a line for each removed document: its path and line, those of
the document that is kept, the similarity, and the reason, which is "copy" or "near".

Each line of the output is a group: {"group": 0, "size": 2, "documents": [{"path": "a.jsonl", "line": 7,
"keep": true, "similarity": 1.0}, ...]}. The similarity is that to the document that is kept. "line" is the
number of the line, record or row, counted from 1; the header of a .csv file is record 1. It is null if the
document is a whole file. A file in an archive has the path "archive.tar!file".

With --against, only the new files are read and cleaned, and the result is that of one run over all documents.
Their order is that of their paths, so name files such that later days sort later. Documents of earlier runs
have "old": true in the lists. If a new document is preferred to an old one, the old one is in the list of
removed documents too.
"""


def _keep(text: str) -> str:
    """Return the value of --keep if it is one."""
    if text not in ("first", "last", "longest") and not (text.startswith("best:") and len(text) > 5):
        raise argparse.ArgumentTypeError(f"must be first, last, longest or best:FIELD, got {text!r}")
    return text


def _add_cleaning(dedup: Command) -> None:
    dedup.path(
        "--clean",
        "OUT",
        "write the cleaned corpus into this folder: the same files in the same formats, without the "
        "duplicates. The folder must be new, empty, or written by the same command before, which is "
        "then resumed",
    )
    dedup.options.add_argument(
        "--keep",
        type=_keep,
        default="first",
        metavar="WHICH",
        help="document of each group that is kept: first, last, longest, or best:FIELD for the one with the "
        "largest number in a field (default: first)",
    )
    dedup.path(
        "--removed",
        "FILE",
        "write the list of removed documents to this file, as JSON lines, or as Parquet if its name ends "
        "with .parquet (default: removed.jsonl in OUT)",
    )
    dedup.path("--report", "FILE", "write a report to this file, as one page of HTML")
    dedup.options.add_argument(
        "--id-field", metavar="NAME", help="field or column with your own ids, which the lists then contain"
    )


def add_dedup(commands: Any) -> None:
    """Add the command to the parser's commands."""
    summary = "find groups of near-duplicate documents"
    dedup = Command(commands, "dedup", summary, _DEDUP_HELP, _DEDUP_EXAMPLES)
    dedup.path("paths", "PATH", "files and folders; - is the standard input", nargs="+")
    dedup.options.add_argument(
        "--threshold",
        type=between(0.0, 1.0, closed=True),
        default=0.7,
        metavar="T",
        help="smallest Jaccard similarity of near-duplicates, above 0 and at most 1 (default: 0.7)",
    )
    dedup.output(
        "write the groups to this file, as JSON lines, or as Parquet if its name ends with .parquet (- is "
        "the standard output; lines are compressed if the name ends with .gz, .bz2, .xz or .zst)"
    )
    _add_cleaning(dedup)
    dedup.options.add_argument(
        "--text-field",
        default="text",
        metavar="NAME",
        help="field or column with the text; a.b is the field b in the object a (default: text)",
    )
    dedup.choice(
        "--format",
        FORMATS,
        "what all files contain; auto: their contents and names decide (default: auto)",
        "auto",
    )
    dedup.options.add_argument(
        "--encoding",
        default="auto",
        metavar="NAME",
        help="encoding of texts, such as latin-1, cp1252 or shift_jis; auto: UTF-8, or what a byte order "
        "mark says (default: auto)",
    )
    dedup.patterns(
        "--include",
        "read only those files of folders whose names match; a pattern with a slash is compared with the "
        "path below the folder",
    )
    dedup.patterns("--exclude", "skip files of folders, and whole folders, whose names match")
    dedup.choice(
        "--unit",
        ["word", "character", "symbol"],
        "unit of a shingle (default: word); symbol is for source code: words, and the characters between",
        "word",
    )
    dedup.integer("--shingle-size", 1, 2**31 - 1, "words, characters or symbols in a shingle", 5)
    dedup.choice(
        "--normalize",
        ["nfc", "nfkc", "none"],
        "Unicode normal form in which texts are compared (default: nfc)",
        "nfc",
    )
    dedup.integer("--hashes", 1, 2**16, "hashes of a signature", 128)
    dedup.choice(
        "--verify",
        ["exact", "signature", "none"],
        "how candidate pairs are checked: by exact similarity (default; reads the files a second time), by "
        "the estimate of signatures (default with a state, which has no texts), or not at all",
    )
    add_memory_options(dedup)
    dedup.choice(
        "--grouping",
        ["connected", "star"],
        "what a group is: documents that are connected by near-duplicate pairs (default), or a star, in "
        "which every document is a near-duplicate of the one that is kept",
        "connected",
    )
    dedup.options.add_argument(
        "--strict",
        action="store_true",
        help="stop with an error if a document cannot be read, instead of skipping it",
    )
    dedup.integer("--top", 0, None, "number of groups to print, the largest first", 5)
    dedup.seed_and_threads()
