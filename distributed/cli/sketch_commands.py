"""Define the commands that build sketches (``count``, ``distinct``, ``top``, ...), and ``query``."""

from __future__ import annotations

from typing import Any

from .options import DEFAULT_K, DEFAULT_QUANTILES, KEY_FORMATS, Command

__all__ = ["add_query", "add_sketches"]

_FILES_HELP = """\
FILE is a file, a folder, or - for the standard input of one process. The ending of a file's name says where
its {what} are:
  .csv, .tsv        a column (--column); the first record has the names of the columns
  .jsonl, .ndjson   a field of one object a line (--field); {numbers}
  .parquet          a column of {types} (--column); this needs pyarrow
  any other         the lines, or a column of words that spaces or tabs separate (--column 3)
All but Parquet may be compressed (.gz). Empty lines and fields are no {what}. A file that is named twice is
read once.
"""

_OF_KEYS = {
    "what": "keys",
    "numbers": "numbers are taken as they are written",
    "types": "text or integers",
}
_OF_NUMBERS = {"what": "numbers", "numbers": "texts may be numbers, too", "types": "numbers or of text"}
_KEYS_HELP = f"""\
{_FILES_HELP.format(**_OF_KEYS)}
Keys are text: 7 in csv, "7" in JSON and the integer 7 in Parquet are one key. Sketches with equal settings
merge (`mergesketch merge`), whatever their files were.
"""

_COUNT_HELP = f"""\
Count the keys of files in little memory, and print the counts of the keys that you ask for.

Counts are never too low. With the probability --confidence, a count is too high by less than --error times
the number of all keys.

{_KEYS_HELP}"""

_COUNT_EXAMPLES = """\
examples:
  mergesketch count access.log --column 1 --ask 10.0.0.7
  mergesketch count monday.csv --column user -o monday.sketch
  mergesketch query monday.sketch alice bob
"""

_DISTINCT_HELP = f"""\
Estimate how many different keys files have (count distinct, unique users), to a relative --error.

{_KEYS_HELP}"""

_DISTINCT_EXAMPLES = """\
examples:
  mergesketch distinct events.jsonl.gz --field user_id
  mergesketch distinct monday.parquet --column user -o monday.sketch --error 0.005
  mpiexec -n 4 mergesketch distinct logs/ --column 1
"""

_TOP_HELP = f"""\
Find the -k most frequent keys of files (heavy hitters, top-k) and their counts.

Counts are never too low. The answer says how many of the keys are certainly right, and by how much counts can
be too high. With --error, they are too high by at most that share of all keys, whatever the keys are.

With --frequency, every key that makes up more than this share of all keys is found, and the first -k of them
are printed. With 99 % confidence, a count is too high by less than --error times the number of all keys.

The first --max-key-bytes bytes of a key are kept. A longer key is counted by its hash, as exactly as others,
and its name ends with an ellipsis and the hash.

{_KEYS_HELP}"""

_TOP_EXAMPLES = """\
examples:
  mergesketch top access.log --column 7 -k 20
  mergesketch top sales.csv --column product -o sales.sketch
  zcat words.gz | mergesketch top - --frequency 0.0001
"""

_FILTER_HELP = f"""\
Put the keys of files into a Bloom filter, which answers "certainly absent" or "probably present".

The filter takes about 10 bits a key at an error rate of 0.01. A key that was put in is always present. At
most --error-rate of the absent keys pass as present, as long as there are no more than --capacity different
keys.

{_KEYS_HELP}"""

_FILTER_EXAMPLES = """\
examples:
  mergesketch filter known.txt --capacity 1000000 -o known.sketch
  mergesketch query known.sketch --keys candidates.txt
"""

_QUANTILES_HELP = f"""\
Estimate quantiles (medians, percentiles) of the numbers of files, each to a relative --error.

99 % of the numbers are at most the quantile 0.99. The true quantile certainly lies between the bounds. With
--rank-error instead, the answer is a number of the file whose rank differs by at most that share of all
numbers, with 99 % confidence.

Text that is no number is skipped and counted, as are nulls, NaN and infinite numbers.

{_FILES_HELP.format(**_OF_NUMBERS)}"""

_QUANTILES_EXAMPLES = """\
examples:
  mergesketch quantiles requests.csv --column milliseconds -q 0.5 0.95 0.999
  mergesketch quantiles access.log --column 11 -o monday.sketch --error 0.001
  mpiexec -n 4 mergesketch quantiles logs/ --field latency
"""

_QUERY_HELP = f"""\
Ask a saved sketch: for the counts of keys (sketches of `count` and `top`), whether it has keys (those of
`filter`), or without a key for its answer (`top`, `distinct` and `quantiles`).

Each line of the answer is the count, or yes or no, a tab and the key. The keys are arguments, or those of
the file --keys, in their order. Options stand before SKETCH or after the keys; -- stands before keys that
begin with a dash.

--keys is like the FILE of the other commands:
{_KEYS_HELP}"""

_QUERY_EXAMPLES = """\
examples:
  mergesketch query monday.sketch alice bob
  mergesketch query known.sketch --keys candidates.csv --column user
  mergesketch query week.sketch -k 20
  mergesketch query latency.sketch -q 0.5 0.999
"""


def _quantile(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


_quantile.__name__ = "quantile"


def _add_column(command: Command, what: str = "keys") -> None:
    command.options.add_argument(
        "--column",
        "--field",
        metavar="NAME",
        help=f"column or field of the {what}, by its name, or by its number from 1",
    )
    command.choice("--format", KEY_FORMATS, "read all files so, and not by their names; - is text otherwise")
    command.options.add_argument(
        "--delimiter", type=_character, metavar="CHAR", help="for csv: character between fields (default: ,)"
    )
    command.options.add_argument(
        "--no-header",
        dest="header",
        action="store_false",
        help=f"for csv and tsv: the first record has {what}, and --column is a number",
    )
    command.options.add_argument(
        "--strict",
        action="store_true",
        help=f"fail on a line without a readable {what[:-1]}, instead of skipping it",
    )


def _character(text: str) -> str:
    value = "\t" if text == "\\t" else text
    if len(value) != 1 or not value.isascii() or value in '"\r\n':
        raise ValueError
    return value


_character.__name__ = "character"


def _begin(
    commands: Any, name: str, summary: str, description: str, epilog: str, what: str = "keys"
) -> Command:
    command = Command(commands, name, summary, description, epilog)
    command.path("paths", "FILE", f"files and folders of {what}, or -", nargs="+")
    command.output("save the sketch to this file")
    _add_column(command, what)
    return command


def _add_quantiles(command: Command, default: list[float] | None) -> None:
    command.options.add_argument(
        "-q",
        nargs="+",
        type=_quantile,
        default=default,
        metavar="Q",
        help="quantiles to print, from 0 to 1; files stand before -q (default: 0.5 0.9 0.99)",
    )


def _add_ask(command: Command, text: str) -> None:
    command.options.add_argument(
        "--ask", action="append", default=[], metavar="KEY", help=f"{text}; may be repeated"
    )


def add_sketches(commands: Any) -> None:
    """Add the commands that build sketches."""
    count = _begin(commands, "count", "count the keys of files", _COUNT_HELP, _COUNT_EXAMPLES)
    _add_ask(count, "print the count of this key")
    count.share("--error", "largest error of a count, as a share of all keys", 0.0001)
    count.share("--confidence", "probability that a count is as exact as that", 0.99)
    count.seed_and_threads()

    summary = "estimate the number of different keys (count distinct)"
    distinct = _begin(commands, "distinct", summary, _DISTINCT_HELP, _DISTINCT_EXAMPLES)
    distinct.share("--error", "relative standard error of the number", 0.01)
    distinct.seed_and_threads()

    summary = "find the most frequent keys (top-k)"
    top = _begin(commands, "top", summary, _TOP_HELP, _TOP_EXAMPLES)
    text = "number of the keys; sketches merge if they were built with the same -k, or with --frequency"
    top.integer("-k", 1, 2**24, text, 10)
    top.share("--frequency", "find all keys that make up more than this share of all keys")
    text = (
        "largest error of a count, as a share of all keys (with --frequency, the default is a tenth of that)"
    )
    top.share("--error", text)
    top.integer("--max-key-bytes", 8, 65535, "bytes of a key that are kept", 256)
    top.seed_and_threads()

    summary = "put keys into a Bloom filter"
    bloom = _begin(commands, "filter", summary, _FILTER_HELP, _FILTER_EXAMPLES)
    text = "number of different keys that the filter is made for"
    bloom.integer("--capacity", 1, 2**53, text, required=True)
    bloom.share("--error-rate", "largest share of absent keys that pass as present", 0.01)
    _add_ask(bloom, "print whether the filter has this key")
    bloom.seed_and_threads()

    summary = "estimate quantiles of numbers (medians, percentiles)"
    quantiles = _begin(commands, "quantiles", summary, _QUANTILES_HELP, _QUANTILES_EXAMPLES, "numbers")
    _add_quantiles(quantiles, DEFAULT_QUANTILES)
    quantiles.share("--error", "largest error of a quantile, as a share of it (default: 0.01)")
    text = "largest error of the rank of a quantile, as a share of all numbers, instead of --error"
    quantiles.share("--rank-error", text)
    quantiles.seed_and_threads()


def add_query(commands: Any) -> None:
    """Add the command that asks a saved sketch."""
    query = Command(commands, "query", "ask a saved sketch about keys", _QUERY_HELP, _QUERY_EXAMPLES)
    query.path("sketch", "SKETCH", "file of a sketch")
    query.options.add_argument("keys", nargs="*", metavar="KEY", help="keys to ask for")
    query.options.add_argument("--keys", dest="keys_file", metavar="FILE", help="file of the keys, or -")
    _add_column(query)
    query.options.add_argument(
        "--integers",
        action="store_true",
        help="the keys are integers, as in sketches that a program has built of integers",
    )
    # Both have no default here, because sketches that have no such answer refuse them.
    text = f"number of the most frequent keys to print (default: {DEFAULT_K})"
    query.integer("-k", 0, 2**31, text)
    _add_quantiles(query, None)
    query.threads()
