"""Measure static functions of strings beside gzip, marisa-trie and the raw text, and contexts.

The keys are the numbers 0, 1, ... and the values are distinct strings of this machine: paths of installed
files, identifiers of Python sources, URLs in them, and random hexadecimal numbers. gzip -9 is of all strings,
one a line, and must be unpacked to read one. marisa-trie (where installed) has numbers of its own for the
strings, so the numbers that the keys need are not in its bytes. Version 0.2 stored the strings as they are,
and eight bytes for the end of each; its bytes are computed.

Times are those of the processor, on one thread.

    python benchmarks/static_text.py
"""

from __future__ import annotations

import gzip
import random
import re
import sysconfig
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import StaticFunction


def data_sets() -> Iterator[tuple[str, list[str]]]:
    lists = Path("/var/lib/dpkg/info").glob("*.list")
    paths = {line for path in lists for line in path.read_text(errors="replace").splitlines()}
    if paths:
        yield "paths of Debian files", sorted(paths)
    names: set[str] = set()
    urls: set[str] = set()
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in sorted(p for p in stdlib.rglob("*.py") if "site-packages" not in p.parts):
        text = path.read_text(errors="replace")
        names.update(re.findall(r"[^\W\d]\w*", text))
        urls.update(re.findall(r"https?://[\w./\-?&=#%~+]+", text))
    yield "identifiers of Python sources", sorted(names)
    yield "URLs in Python sources", sorted(urls)
    rng = random.Random(0)
    yield "random, 16 hexadecimal digits", sorted({f"{rng.getrandbits(64):016x}" for _ in range(100_000)})


def least_seconds(functions: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Return the least seconds of the processor that each takes on one thread, run in turn."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            best[name] = min(best[name], time.process_time() - start)
    return best


def measure(name: str, texts: list[str]) -> dict[str, Any]:
    n = len(texts)
    # Keys and strings are in different orders, as in a table that was not made for this.
    order = np.random.default_rng(0).permutation(n)
    values = [texts[i] for i in order.tolist()]
    keys = np.arange(n)
    function = StaticFunction(keys, values, progress=False)
    numbers = StaticFunction(keys, order, progress=False)
    raw = [text.encode() for text in texts]
    asked = np.random.default_rng(1).permutation(n)
    assert function.lookup(asked).tolist() == [values[i] for i in asked.tolist()]
    run = {"ours": lambda: function.lookup(asked), "numbers": lambda: numbers.lookup(asked)}
    row: dict[str, Any] = {
        "data": name,
        "texts": n,
        "raw B": sum(map(len, raw)),
        "gzip B": len(gzip.compress(b"\n".join(raw), 9)),
        "version 0.2 B": numbers.nbytes + sum(map(len, raw)) + 8 * (n + 1),
        "ours B": function.nbytes,
        "ours, numbers only B": numbers.nbytes,
    }
    try:
        import marisa_trie
    except ImportError:
        print("marisa-trie is not installed")
    else:
        trie = marisa_trie.Trie(texts)
        row["marisa-trie B"] = len(trie.tobytes())
        run["marisa-trie"] = lambda: [trie.restore_key(i) for i in asked.tolist()]
    before = mergesketch.get_num_threads()
    mergesketch.set_num_threads(1)
    took = least_seconds(run | {"build": lambda: StaticFunction(keys, values, progress=False)})
    mergesketch.set_num_threads(before)
    row |= {f"{what} ns": 1e9 * took[what] / n for what in run}
    return row | {"build us": 1e6 * took["build"] / n}


def unicode_categories() -> dict[str, Any]:
    """Measure the general categories of all code points, with the blocks of 256 code points as contexts."""
    points = np.arange(0x110000)
    names, values = np.unique([unicodedata.category(chr(i)) for i in points.tolist()], return_inverse=True)
    block = points >> 8
    plain = StaticFunction(points, names[values], progress=False)
    function = StaticFunction(points, names[values], context=block, progress=False)
    assert (function.lookup(points, context=block) == names[values]).all()

    def entropy(part: np.ndarray) -> float:
        counts = np.unique(part, return_counts=True)[1]
        return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)

    given = sum(entropy(values[start : start + 256]) for start in range(0, points.size, 256))
    return {
        "job": "Unicode categories by block",
        "keys": points.size,
        "contexts": int(block[-1]) + 1,
        "entropy B": entropy(values),
        "conditional entropy B": given,
        "without contexts B": plain.nbytes,
        "ours B": function.nbytes,
    }


def main() -> None:
    arguments = parse(__doc__ or "", "static_text")
    results = [measure(*data) for data in data_sets()]
    show("Static functions of strings", results)
    contexts = unicode_categories()
    show("Contexts", [contexts])
    write(arguments.json, [*results, contexts])


if __name__ == "__main__":
    main()
