"""Costs of CompressedFloats besides rates: a row of a matrix, the first call, and memory while it encodes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from float_weights import Weights, cast
from measure import show
from mergesketch import CompressedFloats

ROWS, CALLS = (384, 1024, 4096), 2000
#: Values that are encoded by parts, and values of a part.
STREAMED, PART = 128 * 2_000_000, 2_000_000

STREAM = """
import sys, tracemalloc
import ml_dtypes, numpy as np
from mergesketch import set_num_threads
from mergesketch.sketches.coding.float_writer import FloatWriter

set_num_threads({threads})
part = np.random.default_rng(0).standard_normal({part}, np.float32).astype(ml_dtypes.bfloat16)
# Kernels are loaded before memory is traced: that of Python and of NumPy's arrays.
small = FloatWriter("bfloat16", lambda data: None)
small.append(part[:5000])
small.finish()
tracemalloc.start()
with open(sys.argv[1], "wb") as file:
    writer = FloatWriter("bfloat16", file.write)
    for _ in range({values} // {part}):
        writer.append(part)
    writer.finish()
print(tracemalloc.get_traced_memory()[1])
"""
FIRST = {
    "Python and NumPy": "import numpy",
    "import mergesketch, CompressedFloats": "from mergesketch import CompressedFloats",
    "encode 1,000 values": """
import numpy as np
from mergesketch import CompressedFloats
CompressedFloats(np.linspace(0, 1, 1000, dtype=np.float16))
""",
    "encode and decode 1,000 values": """
import numpy as np
from mergesketch import CompressedFloats
CompressedFloats(np.linspace(0, 1, 1000, dtype=np.float16)).decode()
""",
    "ZipNN, encode and decode 1,000 values": """
import numpy as np
from zipnn import ZipNN
coder = ZipNN(input_format="byte", bytearray_dtype="float16")
coder.decompress(coder.compress(bytearray(np.linspace(0, 1, 1000, dtype=np.float16))))
""",
}


def rows_at_random(weights: Weights) -> Iterator[dict[str, Any]]:
    """Yield the microseconds of a row of a matrix, of its number as an index."""
    vectors = weights["embeddings.word_embeddings.weight"].reshape(-1)
    rng = np.random.default_rng(0)
    for dtype in ("bfloat16", "float8_e4m3fn", "float32"):
        for width in ROWS:
            matrix = cast(vectors[: vectors.size // width * width], dtype).reshape(-1, width)
            code = CompressedFloats(matrix)
            chosen = rng.integers(0, len(matrix), CALLS).tolist()
            if not np.array_equal(code[chosen[0]].view(np.uint8), matrix[chosen[0]].view(np.uint8)):
                raise AssertionError("a row does not come back")
            best, least = float("inf"), float("inf")
            for _ in range(5):
                start = time.process_time()
                for i in chosen:
                    code[i]
                best = min(best, time.process_time() - start)
                start = time.process_time()
                for i in chosen:
                    matrix[i].copy()
                least = min(least, time.process_time() - start)
            row = {
                "row of": dtype,
                "columns": width,
                "us": 1e6 * best / CALLS,
                "copy us": 1e6 * least / CALLS,
            }
            show("rows", [row])
            yield row


def first_calls() -> Iterator[dict[str, Any]]:
    """Yield the processor seconds of a process that does one thing, with kernels to compile and without."""
    for what, code in FIRST.items():
        found = []
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "MERGESKETCH_QUIET": "1"}
            for _ in range(3):
                start = resource.getrusage(resource.RUSAGE_CHILDREN)
                done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
                stop = resource.getrusage(resource.RUSAGE_CHILDREN)
                found.append(stop.ru_utime + stop.ru_stime - start.ru_utime - start.ru_stime)
                if done.returncode:
                    break
        if not done.returncode:
            row = {"process": what, "first, CPU s": found[0], "later, CPU s": min(found[1:])}
            show("first calls", [row])
            yield row


def memory() -> Iterator[dict[str, Any]]:
    """Yield the growth of a process's memory while it encodes many values by parts."""
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stream"
            code = STREAM.format(part=PART, values=STREAMED, threads=threads)
            command = [sys.executable, "-c", code, str(path)]
            made = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {
                "stream of bfloat16, MB": 2 * STREAMED / 1e6,
                "threads": threads,
                "MB a part": 2 * PART / 1e6,
                "file, MB": path.stat().st_size / 1e6,
                "memory grows by, MB": int(made.stdout) / 1e6,
            }
            show("memory", [row])
            yield row
