"""The tables and figures of docs/structures/compressed_floats.md, from results/compressed_floats.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from markdown_parts import percent, short, span, table
from summary import row, rows

Row = dict[str, Any]
FILE = "compressed_floats"
CODERS = {
    "ours": "CompressedFloats",
    "zipnn": "ZipNN",
    "lmzip": "lmzip",
    "pcodec": "pcodec",
    "constriction": "constriction",
    "zstd 3": "Zstandard 3",
    "zstd 19": "Zstandard 19",
}
#: Bytes of each format.
WIDTHS = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3fn": 1, "float8_e5m2": 1}
TUNED = "MiniLM, fine-tuned, beside the model"
#: Bytes a second of the memory of an H200, clock cycles a second, and multiprocessors.
GPU_MEMORY, GPU_CLOCK, GPU_UNITS = 4.8e12, 1.98e9, 132
#: Instructions a value of the kernels, counted in their source: to decode a symbol, and to write the value.
GPU_INSTRUCTIONS = 40


def found(key: str) -> list[Row]:
    """Return the rows that have a key."""
    return [r for r in rows(FILE) if key in r]


def folded(title: str, text: str) -> str:
    return f"\n<details>\n<summary>{title}</summary>\n{text}\n</details>\n"


def shares(r: Row, names: Iterable[str]) -> list[str]:
    return [f"{100 * r[name]:.1f}" if name in r else "" for name in names]


def exponents() -> str:
    lines = [
        (r["exponents of"], r["values"], r["used"], r["hold 99.9 %"], short(r["bits"], 3))
        for r in found("used")
    ]
    return table(("model", "values", "exponents", "that hold 99.9 %", "bits of entropy in a tensor"), lines)


NAMES = ("bound, exponents", "bound, joint", *CODERS)


def together(dtype: str) -> Row:
    """Return the sizes of all models together as one dtype."""
    measured = [r for r in found("model") if r["dtype"] == dtype]
    size = sum(r["MB"] for r in measured)
    return {"MB": size} | {name: sum(r["MB"] * r[name] for r in measured) / size for name in NAMES}


def sizes() -> str:
    """Return the sizes in each dtype: of all models together, and folded those of each model."""
    head = ("MB", *NAMES[:2], *CODERS.values())
    sums = {dtype: together(dtype) for dtype in WIDTHS}
    total = table(
        ("all models as", *head),
        ((dtype, round(r["MB"]), *shares(r, NAMES)) for dtype, r in sums.items()),
    )
    lines = []
    for r in found("model"):
        stored = ", as stored" if r["dtype"] == r["stored as"] else ""
        lines.append((r["model"], r["dtype"] + stored, short(r["MB"]), *shares(r, NAMES)))
    return total + folded("Each model", table(("model", "as", *head), lines))


def rates() -> str:
    lines = [
        (
            r["rates of"],
            CODERS[r["coder"]],
            short(r["encode MB/s"]),
            short(r["decode MB/s"]),
            "" if r["coder"] == "ours" else short(r["ours encodes, times as fast"]),
            "" if r["coder"] == "ours" else short(r["ours decodes, times as fast"]),
        )
        for r in found("rates of")
    ]
    head = ("floats", "coder", "encode, MB/s", "decode, MB/s", "ours encodes, times as fast", "ours decodes")
    return table(head, lines)


def access() -> str:
    lines = [(r["row of"], r["columns"], short(r["us"]), short(r["copy us"])) for r in found("row of")]
    return table(("row of", "columns", "µs", "µs of a copy of a plain row"), lines)


def processes() -> str:
    lines = [(r["process"], short(r["first, CPU s"]), short(r["later, CPU s"])) for r in found("process")]
    return table(("a process that does", "first, s", "later, s"), lines)


def streams() -> str:
    head = ("threads", "stream, MB", "file, MB", "memory grows by, MB")
    lines = [
        (
            r["threads"],
            *(short(r[k], 3) for k in ("stream of bfloat16, MB", "file, MB", "memory grows by, MB")),
        )
        for r in found("stream of bfloat16, MB")
    ]
    return table(head, lines)


def threads() -> str:
    """Return how much faster two threads are, where that could be measured."""
    lines = [(r["2 threads"], short(r["times as fast as 1"])) for r in found("2 threads")]
    return table(("two threads", "times as fast as one"), lines) if lines else "\n"


def deltas() -> str:
    names = ("equal values", "alone", "delta", "zstd 3 of the XOR")
    lines = [(r["checkpoint"], r["dtype"], *shares(r, names)) for r in found("checkpoint")]
    return table(("checkpoint", "as", "equal values", "alone", "delta", "Zstandard 3 of the XOR"), lines)


def others() -> str:
    names = ("ours", "zipnn", "lmzip", "pcodec", "zstd 3")
    lines = [(r["array"], r["dtype"], *shares(r, names)) for r in found("array")]
    return table(("array", "as", *(CODERS[name] for name in names)), lines)


def on_a_gpu() -> str:
    """Compute what bounds decoding on a GPU: bytes of memory, look-ups in shared memory, and instructions."""
    lines = []
    for dtype, width in WIDTHS.items():
        size = row(FILE, model="MiniLM", dtype=dtype)["ours"]
        by_memory = GPU_MEMORY / (width * (1 + size))
        # A warp reads 32 entries at random, and the fullest of the 32 banks has 3.5 words in the mean.
        by_lookups = GPU_UNITS * GPU_CLOCK * 32 / 3.5
        by_instructions = GPU_UNITS * GPU_CLOCK * 128 / GPU_INSTRUCTIONS
        rates = by_memory, by_lookups, by_instructions
        cells = (short(rate / 1e12) for rate in (*rates, width * min(rates)))
        lines.append((dtype, short(width * size, 3), width, *cells))
    head = ("floats", "bytes read a value", "written", "memory allows, 10^12 values/s")
    return table((*head, "look-ups allow", "instructions allow", "floats written, TB/s at most"), lines)


def theory(name: str) -> str:
    return short(row(FILE, **{"exponents of": name})["bits"], 3)


def above_bound() -> str:
    """Return how many points of the plain size ours is above the joint bound, all models together."""
    sums = [together(dtype) for dtype in WIDTHS]
    return span((100 * (r["ours"] - r["bound, joint"]) for r in sums), 1)


def gpu_values() -> str:
    """Return 10^12 values that four warps on each multiprocessor decode in a second.

    A thread is taken to need 40 cycles from one look-up to the next.
    """
    return short(4 * 32 / 40 * GPU_UNITS * GPU_CLOCK / 1e12)


TABLES: dict[str, Callable[[], str]] = {
    "float_exponents": exponents,
    "float_sizes": sizes,
    "float_rates": rates,
    "float_threads": threads,
    "float_rows": access,
    "float_processes": processes,
    "float_streams": streams,
    "float_deltas": deltas,
    "float_others": others,
    "float_gpu": on_a_gpu,
}
FIGURES: dict[str, Callable[[], str]] = {
    "float_normal": lambda: theory("normal"),
    "float_laplace": lambda: theory("Laplace"),
    "float_t": lambda: theory("t, 3 degrees of freedom"),
    "float_bits": lambda: span((r["bits"] for r in found("used")), 3),
    "float_above": above_bound,
    "float_gpu_values": gpu_values,
    "float_tuned": lambda: percent(row(FILE, dtype="bfloat16", checkpoint=TUNED)["delta"]),
    "float_tuned_equal": lambda: percent(row(FILE, dtype="bfloat16", checkpoint=TUNED)["equal values"]),
}
