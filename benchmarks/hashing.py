"""Measure hashing of integers and strings, and shingling of the standard library's sources, on one thread.

The peers are the xxhash package, called once a key from Python, and a shingler of regular expressions on top
of it, which is what people write by hand. Bounds: an integer takes two multiplications. A short string takes
about 20 instructions and a mispredicted branch on its length. Shingling reads its bytes once (1.4 ns each,
without a branch on them) and hashes one slice of about 30 bytes a word (5 to 7 ns).
"""

from __future__ import annotations

import re
import sysconfig
from itertools import pairwise
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import xxhash
from measure import parse, seconds, show, write
from mergesketch.lsh import hash_keys, shingle
from mergesketch.lsh.hashing.keys import hash_buffer

PEER_KEYS = 1_000_000
WORD = re.compile(r"\w+")


def row(what: str, unit: str, ours: float, peer: float | None = None, peer_name: str = "") -> dict[str, Any]:
    return {
        "what": what,
        "unit": unit,
        "ours": ours,
        "peer": peer if peer is not None else "",
        "ratio": ours / peer if peer else "",
        "peer is": peer_name,
    }


def strings(n: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `n` random strings of `low` to `high` bytes in a buffer."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(low, high + 1, n))])
    return rng.integers(0, 256, int(offsets[-1]), dtype=np.uint8), offsets


def keys() -> list[dict[str, Any]]:
    """Measure millions of keys a second."""
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 2**64, 10_000_000, dtype=np.uint64)
    peer_bytes = [v.to_bytes(8, "little") for v in integers[:PEER_KEYS].tolist()]
    hash_one = xxhash.xxh3_64_intdigest
    peer = PEER_KEYS / seconds(lambda: [hash_one(key) for key in peer_bytes]) / 1e6
    ours = integers.size / seconds(lambda: hash_keys(integers)) / 1e6
    rows = [row("uint64 array", "M keys/s", ours, peer, "xxhash, a list of bytes")]
    for low, high in ((1, 16), (3, 20), (20, 60), (100, 400)):
        n = 4_000_000 if high < 100 else 400_000
        data, offsets = strings(n, low, high)
        ours = n / seconds(lambda data=data, offsets=offsets: hash_buffer(data, offsets)) / 1e6
        listed = [data[a:b].tobytes() for a, b in pairwise(offsets[:400_001])]
        peer = len(listed) / seconds(lambda listed=listed: [hash_one(key) for key in listed]) / 1e6
        rows.append(row(f"buffer, {low}-{high} bytes", "M keys/s", ours, peer, "xxhash, a list of bytes"))
    words = [f"key-{i}" for i in range(PEER_KEYS)]
    ours = len(words) / seconds(lambda: hash_keys(words)) / 1e6
    peer = len(words) / seconds(lambda: [hash_one(key) for key in words_encoded(words)]) / 1e6
    rows.append(row("list of str", "M keys/s", ours, peer, "encode and xxhash"))
    fields = np.array(words, dtype="S")
    rows.append(row("NumPy S array", "M keys/s", fields.size / seconds(lambda: hash_keys(fields)) / 1e6))
    return rows


def words_encoded(words: list[str]) -> list[bytes]:
    return [word.encode() for word in words]


def regex_shingles(text: str, unit: str, size: int) -> list[int]:
    """Shingle as people do by hand: by a regular expression, a join and a hash a shingle."""
    words = WORD.findall(text.lower())
    if unit == "word":
        parts = [" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))]
    else:
        joined = " ".join(words)
        parts = [joined[i : i + size] for i in range(max(1, len(joined) - size + 1))]
    return [xxhash.xxh3_64_intdigest(part.encode()) for part in parts]


def text() -> list[dict[str, Any]]:
    """Measure MB/s over the standard library's sources."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    documents = [path.read_bytes() for path in files]
    data = np.frombuffer(b"".join(documents), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, documents)])
    decoded = [document.decode("utf-8", "replace") for document in documents]
    megabytes = data.size / 1e6
    print(f"{len(files)} files, {megabytes:.1f} MB")
    rows = []
    for unit in ("word", "character"):
        slow = seconds(lambda unit=unit: [regex_shingles(t, unit, 5) for t in decoded], repeats=1, warmups=0)
        peer = megabytes / slow
        for what, documents_as in (("buffer", (data, offsets)), ("list of bytes", documents)):
            for threads in (1, 4):
                mergesketch.set_num_threads(threads)
                taken = seconds(lambda unit=unit, d=documents_as: shingle(d, unit=unit), repeats=9)
                name = f"{unit} 5-grams, {what}, {threads} thread{'s' * (threads > 1)}"
                rows.append(row(name, "MB/s", megabytes / taken, peer, "re and xxhash, 1 thread"))
    mergesketch.set_num_threads(1)
    for script, sample in SAMPLES.items():
        repeated = [sample * 200] * 100
        encoded = [t.encode() for t in repeated]
        data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        offsets = np.cumsum([0, *map(len, encoded)])
        taken = seconds(lambda d=(data, offsets): shingle(d))
        slow = seconds(lambda r=repeated: [regex_shingles(t, "word", 5) for t in r], repeats=1, warmups=0)
        rows.append(
            row(
                f"word 5-grams, {script}",
                "MB/s",
                data.size / taken / 1e6,
                data.size / slow / 1e6,
                "re and xxhash",
            )
        )
    return rows


#: Text beyond ASCII, in a language with two-byte letters and in one with three-byte letters.
SAMPLES = {
    "French": "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, je dîne d'exquis rôtis de bœuf. ",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "Chinese": "我能吞下玻璃而不伤身体。千里之行。始于足下。",
}


def main() -> None:
    arguments = parse(__doc__.splitlines()[0], "hashing")
    mergesketch.set_num_threads(1)
    key_rows = keys()
    show("Keys, one thread", key_rows)
    text_rows = text()
    show("Text", text_rows)
    write(arguments.json, [*key_rows, *text_rows])


if __name__ == "__main__":
    main()
