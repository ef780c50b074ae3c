"""Files of sketches to damage and to forge."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import xxhash
from later import LaterItems
from mergesketch import CountMinSketch, HeavyHitters, MergeableSketch, Race
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.core.stored import Stored
from toy_family import ToyFamily

RNG = np.random.default_rng(0)
KEYS, ROWS = RNG.integers(0, 99, 300), RNG.integers(0, 4, (30, 4))
WORDS = ["tea", "cake", "tea", "日本"]
SKETCHES: LaterItems[MergeableSketch] = LaterItems(
    {
        "CountMinSketch": lambda: CountMinSketch(3, 50, seed=5).update(KEYS),
        "HeavyHitters": lambda: HeavyHitters(0.25, n_buckets=8, max_key_bytes=8).update(WORDS),
        "Race": lambda: Race(ToyFamily(4, 6, seed=1)).update(ROWS),
    }
)


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(data: bytes, header: Any, *, sign: bool = True) -> bytes:
    """Return `data` under another header; with `sign`, its checksum is right, as a forger's would be."""
    if sign:
        metadata = {k: v for k, v in header["__metadata__"].items() if k != "header_xxh3"}
        names = {
            "I32": "int32", "I64": "int64", "U64": "uint64", "U8": "uint8", "U16": "uint16",
            "U32": "uint32", "F32": "float32", "F64": "float64",
        }  # fmt: skip
        shapes = {n: [names[e["dtype"]], e["shape"]] for n, e in header.items() if n != "__metadata__"}
        text = json.dumps([metadata, shapes], sort_keys=True)
        header["__metadata__"] = {**metadata, "header_xxh3": xxhash.xxh3_64_hexdigest(text.encode())}
    body = data[8 + int.from_bytes(data[:8], "little") :]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def forged(sketch: MergeableSketch, change: Callable[[dict[str, Any]], None]) -> bytes:
    data = sketch.to_bytes()
    header = header_of(data)
    change(header)
    return with_header(data, header)


def assert_refused(
    data: bytes, path: Path, match: str | None = None, cls: type[Stored] = MergeableSketch
) -> None:
    """Assert that a file is refused as bytes, as a file and memory-mapped, quickly and in little memory."""
    path.write_bytes(data)
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(SketchFormatError, match=match):
            cls.from_bytes(data)
        with pytest.raises(SketchFormatError, match=match) as caught:
            mergesketch.load(path)
        assert str(path) in str(caught.value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data) + 500_000
    assert time.process_time() - started < 2.0
