"""Measure reading documents into batches, and compare it with code by hand on the standard library.

By hand means ``os.walk`` and ``read_bytes`` for text files, a loop of ``json.loads`` for JSON lines,
``gzip.open`` around it, and pyarrow's ``to_pylist`` for Parquet. Each document is a bytes object.
"""

import gzip
import json
import sysconfig
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from os import walk
from pathlib import Path
from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch.distributed import DocumentSource

STANDARD_LIBRARY = sysconfig.get_path("stdlib")
UTF8_MARK = b"\xef\xbb\xbf"
N_LINES = 200_000


def ours(path: str, **options: Any) -> int:
    return sum(int(batch.offsets[-1]) for batch in DocumentSource(path, **options).batches())


def text_by_hand(path: str) -> int:
    total = 0
    for folder, folders, names in walk(path):
        folders[:] = sorted(set(folders) - {"site-packages"})
        for name in sorted(names):
            if fnmatch(name, "*.py"):
                total += len(Path(folder, name).read_bytes().removeprefix(UTF8_MARK))
    return total


def lines_by_hand(path: str) -> int:
    with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
        return sum(len(json.loads(line)["text"].encode()) for line in file)


def parquet_by_hand(path: str) -> int:
    import pyarrow.parquet as pq

    return sum(len(text.encode()) for text in pq.read_table(path, columns=["text"])["text"].to_pylist())


def main() -> None:
    options = parse(__doc__, "reading")
    rng = np.random.default_rng(0)
    words = np.array([f"{word:x}" for word in rng.integers(1 << 30, size=5000)])
    texts = [" ".join(row) for row in words[rng.integers(len(words), size=(N_LINES, 20))].tolist()]
    rows = []

    def compare(what: str, path: str, by_hand: Callable[[str], int], **source_options: Any) -> None:
        n_bytes = by_hand(path)
        assert ours(path, **source_options) == n_bytes
        mine, hand = seconds(lambda: ours(path, **source_options)), seconds(lambda: by_hand(path))
        row = {"what": what, "MB": n_bytes / 1e6, "ours s": mine, "by hand s": hand, "ratio": hand / mine}
        rows.append({**row, "ours MB/s": n_bytes / mine / 1e6})

    chosen = {"include": ["*.py"], "exclude": ["site-packages"]}
    compare("standard library", STANDARD_LIBRARY, text_by_hand, **chosen)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "short.jsonl")
        path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
        compare("JSON lines, 150 bytes each", str(path), lines_by_hand)
        packed = Path(folder, "short.jsonl.gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), 6))
        compare("the same in gzip", str(packed), lines_by_hand)
        long = Path(folder, "long.jsonl")
        joined = ["\n".join(texts[i : i + 20]) for i in range(0, N_LINES, 20)]
        long.write_text("".join(json.dumps({"text": text, "url": "http://"}) + "\n" for text in joined))
        compare("JSON lines, 3 kB each", str(long), lines_by_hand)
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            print("pyarrow is not installed: Parquet is left out")
        else:
            columns = Path(folder, "short.parquet")
            pq.write_table(pa.table({"text": texts}), columns)
            compare("the same short texts in Parquet", str(columns), parquet_by_hand)
    show("Reading documents, one thread", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
