"""Loads of sparse_all_reduce on up to 512 ranks for words of real texts, and a model of the network.

The texts are the one-line descriptions of Debian's packages, in random order. Each rank has a batch of 800
words. Ids are words, or pairs of words that follow each other, numbered by their frequency in all texts. Each
id has a row of 256 float32 numbers, as in an embedding table. Which ids each rank has is real, and so are the
loads of owners and the bytes of our codes of ids. Nothing is sent: the time follows from the bytes of the
busiest rank, at 10 Gb/s, and 50 microseconds for each message, one after the other. Ours are p - 1 messages
to the owners, p - 1 from them, and 13 collective calls of a few bytes, of log2(p) messages each. The other
ways are

- dense: a ring, in which a rank sends 2 (p - 1) messages of 1/p of the table;
- by range: each rank owns an equal range of ids, which travel as int32;
- all-gather: every rank gets the ids and rows of all ranks.

"Each id hashed alone" gives the loads of an ordinary hash of each id, which need not share consecutive ids
evenly.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
from debian import NEEDED, records
from measure import parse, show, write
from mergesketch.distributed.kernels import sparse_all_reduce as kernels

RANKS, BATCH, ROW_BYTES = (16, 32, 64, 128, 256, 512), 800, 4 * 256
BYTES_PER_SECOND, LATENCY = 10e9 / 8, 50e-6

Row = dict[str, Any]


def texts() -> list[list[str]] | None:
    """Return the words of each description, in random order, or None where apt has no lists."""
    found = records("Package", "Description")
    if found is None:
        return None
    words = [re.findall("[a-z0-9+#]+", fields.get("Description", "").lower()) for fields in found]
    return [words[i] for i in np.random.default_rng(0).permutation(len(words))]


def numbered(stream: list[Any]) -> tuple[np.ndarray, int]:
    """Return the stream as ids that are numbered by frequency, and the number of ids."""
    number = {item: i for i, (item, _) in enumerate(Counter(stream).most_common())}
    return np.array([number[item] for item in stream]), len(number)


def owners_of(ids: np.ndarray, p: int) -> np.ndarray:
    owners = np.empty(len(ids), np.uint16)
    words = ids.astype(np.uint64)
    words.flags.writeable = False
    kernels.find_owners(words, p, 0, len(ids), owners)
    return owners


def code_bytes(ids: np.ndarray, owners: np.ndarray, p: int) -> np.ndarray:
    """Return the bytes of the code of each owner's ids."""
    starts, sizes = np.searchsorted(np.sort(owners), np.arange(p + 1)), np.empty(p, np.int64)
    first, last = int(ids[0]) // p, int(ids[-1]) // p
    words = ids[np.argsort(owners, kind="stable")].astype(np.uint64)
    for array in (words, starts):
        array.flags.writeable = False
    kernels.measure_codes(words, starts, p, first, (last - first) // 8 + 1, sizes)
    return 24 + sizes  # a block has 16 bytes more, and is filled up to a multiple of 8


def busiest(batches: list[np.ndarray], owners: np.ndarray, p: int, ours: bool) -> tuple[float, Row]:
    """Return the bytes of the busiest rank, to owners and back, and the largest loads over the mean ones."""
    entries = np.array([np.bincount(owners[ids], minlength=p) for ids in batches])
    union = np.unique(np.concatenate(batches))
    sums = np.bincount(owners[union], minlength=p)
    if ours:
        codes = np.array([code_bytes(ids, owners[ids], p) for ids in batches])
        code: Any = code_bytes(union, owners[union], p)
    else:
        codes, code = 4 * entries, 4 * sums
    to_owners = ROW_BYTES * entries + codes
    np.fill_diagonal(to_owners, 0)
    back = ROW_BYTES * sums + code
    total = max(to_owners.sum(0).max(), to_owners.sum(1).max()) + (p - 1) * back.max()
    received = entries.sum(0)
    return float(total), {"to": received.max() / received.mean(), "back": sums.max() / sums.mean()}


def measure(kind: str, stream: np.ndarray, n: int) -> list[Row]:
    rows = []
    for p in RANKS:
        batches = [np.unique(stream[r * BATCH : (r + 1) * BATCH]) for r in range(p)]
        every = np.arange(n)
        hashed, by_hash = busiest(batches, owners_of(every, p), p, ours=True)
        ranged, by_range = busiest(batches, every * p // n, p, ours=False)
        alone = np.random.default_rng(p).integers(0, p, n)
        _, each_alone = busiest(batches, alone, p, ours=False)
        entries = sum(map(len, batches))
        seconds = {
            "ours": hashed / BYTES_PER_SECOND + (2 * (p - 1) + 13 * int(np.log2(p))) * LATENCY,
            "dense": 2 * (p - 1) / p * n * ROW_BYTES / BYTES_PER_SECOND + 2 * (p - 1) * LATENCY,
            "by range": ranged / BYTES_PER_SECOND + 2 * (p - 1) * LATENCY,
            "all-gather": entries * (ROW_BYTES + 4) / BYTES_PER_SECOND + (p - 1) * LATENCY,
        }
        rows.append(
            {
                "ids": kind,
                "number of ids": n,
                "ranks": p,
                "density of a rank": entries / p / n,
                "density of the sum": len(np.unique(np.concatenate(batches))) / n,
                **{f"largest over mean load, {way}": by_hash[way] for way in ("to", "back")},
                **{f"each id hashed alone, {way}": each_alone[way] for way in ("to", "back")},
                **{f"by range, {way}": by_range[way] for way in ("to", "back")},
                **{f"{name}, ms": 1e3 * took for name, took in seconds.items()},
            }
        )
    return rows


def main() -> None:
    options = parse(__doc__ or "", "sparse_all_reduce_scale")
    found = texts()
    if found is None:
        raise SystemExit(NEEDED)
    words = [word for text in found for word in text]
    pairs = [pair for text in found for pair in itertools.pairwise(text)]
    if len(pairs) < max(RANKS) * BATCH:  # the last batches take words of the first texts again
        pairs = (pairs * 2)[: max(RANKS) * BATCH]
    rows = []
    for kind, stream in (("words", words), ("pairs of words", pairs)):
        rows += measure(kind, *numbered(stream))
        show(kind, rows[-len(RANKS) :])
    write(options.json, rows)


if __name__ == "__main__":
    main()
