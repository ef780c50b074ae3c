"""Compare CompressedFloats with ZipNN, lmzip, pcodec, constriction and Zstandard on weights of real models.

`float_weights.py` names the models and the packages that ship them, `float_coders.py` the coders, of the
packages `zipnn` (which needs PyTorch), `lmzip`, `pcodec`, `constriction` and `zstandard`. Sizes are
those of all tensors of a model, each coded by itself, in percent of the plain bytes. 8-bit floats are cast
with one scale a tensor. "bound" is the entropy of the exponents of each tensor, or of sign, exponent and top
of the mantissa together, with all other bits plain. Zstandard at level 19 codes at most the first 2^17 values
of a tensor.

Rates are of bytes of floats, on one thread, of the token vectors of MiniLM in each dtype. All coders take
turns, and processor time is counted, so that other programs disturb all alike. A ratio is the median of the
ratios of all turns.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import fine_tune
import float_weights
import numpy as np
from float_coders import Coder, coders, ours, same, zstd
from float_costs import first_calls, memory, rows_at_random
from float_others import others
from float_weights import DTYPES, Weights, bound, cast
from measure import parse, show, write
from mergesketch import CompressedFloats, set_num_threads
from scipy import stats

ROUNDS, SLOW_ROUNDS = 15, 3
#: Coders that are too slow to take turns as often, and the values that they get.
SLOW, FEW = ("constriction", "zstd 19", "pcodec"), 1 << 21
STEPS = (5, 10)
Row = dict[str, Any]
#: Level 19 of Zstandard encodes about 3 MB a second.
SAMPLE = 1 << 17


def size(coder: Coder, values: Any, dtype: str) -> int:
    return coder.size(coder.encode(coder.prepare(values, dtype), dtype))


def sizes(name: str, weights: Weights, found: list[Coder]) -> Iterator[Row]:
    """Yield the sizes of a model in each dtype that is not wider than its own."""
    native = next(iter(weights.values())).dtype.name
    for dtype in DTYPES:
        if np.dtype(DTYPES[dtype][0]).itemsize > np.dtype(native).itemsize:
            continue
        tensors = [cast(values, dtype) for values in weights.values()]
        raw = sum(values.nbytes for values in tensors)
        row: Row = {"model": name, "dtype": dtype, "stored as": native, "MB": raw / 1e6}
        row["bound, exponents"] = sum(bound(values, dtype) for values in tensors) / raw
        row["bound, joint"] = sum(bound(values, dtype, joint=True) for values in tensors) / raw
        for coder in found:
            row[coder.name] = sum(size(coder, values, dtype) for values in tensors) / raw
        parts = [values.reshape(-1)[:SAMPLE] for values in tensors]
        row["zstd 19"] = sum(size(zstd(19), part, dtype) for part in parts) / sum(p.nbytes for p in parts)
        show("sizes", [row])
        yield row


def turns(coders: list[Coder], values: Any, dtype: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the processor seconds of encoding and of decoding of each coder in each round."""
    taken: dict[str, list[tuple[float, float]]] = {coder.name: [] for coder in coders}
    for turn in range(rounds + 1):
        for coder in coders:
            prepared = coder.prepare(values, dtype)
            start = time.process_time()
            code = coder.encode(prepared, dtype)
            middle = time.process_time()
            decoded = coder.decode(code, dtype)
            stop = time.process_time()
            # The first round warms caches, and shows that the values come back.
            if turn:
                taken[coder.name].append((middle - start, stop - middle))
            elif coder.name != "constriction" and not same(values, decoded):
                raise AssertionError(f"{coder.name} does not give {dtype} back")
    return taken


def speeds(weights: Weights, found: list[Coder]) -> Iterator[Row]:
    """Yield the rates of each coder in each dtype, and how many times as fast ours is."""
    vectors = weights["embeddings.word_embeddings.weight"]
    for dtype in DTYPES:
        values = cast(vectors, dtype)
        quick = turns([c for c in found if c.name not in SLOW], values, dtype, ROUNDS)
        rest = [found[0], *(c for c in found if c.name in SLOW)]
        few = np.ascontiguousarray(values.reshape(-1)[-FEW:])
        slow = turns(rest, few, dtype, SLOW_ROUNDS)
        slow |= turns([found[0], zstd(19)], few[: FEW // 4], dtype, 1) | {"ours": slow["ours"]}
        for group, n_bytes in ((quick, values.nbytes), (slow, few.nbytes)):
            for name, seconds in group.items():
                if group is slow and name == "ours":
                    continue
                bytes_ = n_bytes // 4 if name == "zstd 19" else n_bytes
                row: Row = {"rates of": dtype, "coder": name}
                for at, what in enumerate(("encode", "decode")):
                    row[f"{what} MB/s"] = bytes_ / 1e6 / statistics.median(pair[at] for pair in seconds)
                for at, what in enumerate(("encode", "decode")):
                    scale = bytes_ / n_bytes
                    ratios = [b[at] / a[at] / scale for a, b in zip(group["ours"], seconds, strict=False)]
                    row[f"ours {what}s, times as fast"] = statistics.median(ratios)
                show("rates", [row])
                yield row


def threads(weights: Weights) -> Iterator[Row]:
    """Yield how many times as fast 2 threads are as 1, on the wall's clock; nothing on a busy machine."""
    if os.getloadavg()[0] > 1.5:
        print("other programs run: threads are not compared")
        return
    values, coder = cast(weights["embeddings.word_embeddings.weight"], "bfloat16"), ours()
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for n in (1, 2):
            set_num_threads(n)
            start = time.perf_counter()
            code = coder.encode(values, "bfloat16")
            middle = time.perf_counter()
            coder.decode(code, "bfloat16")
            seconds.setdefault(("encode", n), []).append(middle - start)
            seconds.setdefault(("decode", n), []).append(time.perf_counter() - middle)
    set_num_threads(1)
    for what in ("encode", "decode"):
        ratios = [a / b for a, b in zip(seconds[what, 1], seconds[what, 2], strict=True)]
        yield {"2 threads": what, "times as fast as 1": statistics.median(ratios)}


def deltas(base: Weights) -> Iterator[Row]:
    """Yield the sizes of a checkpoint beside another: on its own, and as a delta."""

    def compare(what: str, old: Weights, new: Weights, dtype: str) -> Row:
        raw = alone = delta = xored = equal = 0.0
        for name, values in new.items():
            a, b = cast(old[name], dtype), cast(values, dtype)
            encoded = CompressedFloats(b)
            found = encoded.delta(a)
            if not same(b, found.decode(a)):
                raise AssertionError(f"a delta does not give {name} back")
            change = float_weights.bits_of(a) ^ float_weights.bits_of(b)
            raw, alone, delta = raw + b.nbytes, alone + encoded.nbytes, delta + found.nbytes
            xored += size(zstd(3), change, dtype)
            equal += np.count_nonzero(change == 0) * b.itemsize
        row = {"checkpoint": what, "dtype": dtype, "MB": raw / 1e6, "equal values": equal / raw}
        row |= {"alone": alone / raw, "delta": delta / raw, "zstd 3 of the XOR": xored / raw}
        show("deltas", [row])
        return row

    first, second = fine_tune.checkpoints(base, STEPS)
    for dtype in ("bfloat16", "float32"):
        yield compare("MiniLM, fine-tuned, beside the model", base, second, dtype)
        yield compare(f"MiniLM, step {STEPS[1]} beside step {STEPS[0]}", first, second, dtype)
    old, new = (float_weights.model(name) for name in ("CHGNet", "CHGNet, transferred"))
    if old is not None and new is not None:
        for dtype in ("bfloat16", "float32"):
            yield compare("CHGNet, trained further on other data, beside the model", old, new, dtype)


def shares(name: str, weights: Weights) -> Row:
    """Return how often each exponent of bfloat16 occurs in a model, and the mean entropy in a tensor."""
    tensors = [cast(values, "bfloat16") for values in weights.values()]
    counts = sum(float_weights.histogram(values, "bfloat16") for values in tensors)
    n = sum(values.size for values in tensors)
    largest = max(tensors, key=lambda values: values.size)
    of_largest = float_weights.histogram(largest, "bfloat16")
    return {
        "exponents of": name,
        "values": n,
        "bits": sum(v.size * float_weights.entropy(float_weights.histogram(v, "bfloat16")) for v in tensors)
        / n,
        "used": int(np.count_nonzero(counts)),
        "hold 99.9 %": int(np.searchsorted(np.cumsum(np.sort(counts)[::-1]) / n, 0.999)) + 1,
        "shares": [round(share, 7) for share in (counts / n).tolist()],
        "shares of the largest tensor": [round(share, 7) for share in (of_largest / largest.size).tolist()],
    }


def theory() -> Iterator[Row]:
    """Yield the entropy of exponents of drawn values, the mean over scales from 1 to 2."""
    drawn = {"normal": stats.norm, "Laplace": stats.laplace, "t, 3 degrees of freedom": stats.t(3)}
    for name, distribution in drawn.items():
        found = []
        for scale in 2.0 ** np.linspace(0, 1, 64, endpoint=False):
            share = 2 * np.diff(distribution.cdf(scale * 2.0 ** np.arange(-60, 60)))
            share = share[share > 0]
            found.append(-(share * np.log2(share)).sum())
        yield {"exponents of": name, "bits": float(np.mean(found))}


def timed(minilm: Weights, found: list[Coder]) -> Iterator[Row]:
    """Yield what depends on how busy the machine is."""
    yield from speeds(minilm, found)
    yield from threads(minilm)
    yield from rows_at_random(minilm)
    yield from first_calls()


def counted(minilm: Weights, found: list[Coder]) -> Iterator[Row]:
    """Yield sizes and memory."""
    yield from theory()
    for name, weights in float_weights.models():
        yield shares(name, weights)
        yield from sizes(name, weights, found)
    yield from others(found)
    yield from memory()


def main() -> None:
    arguments = parse(
        __doc__ or "",
        "compressed_floats",
        timed="measure rates, rows, threads and first calls, and keep the other results",
        counted="measure sizes and memory, and keep the other results",
        deltas="measure pairs of checkpoints, and keep the other results",
    )
    set_num_threads(1)
    found = coders()
    minilm = float_weights.model("MiniLM")
    if minilm is None:
        sys.exit("nothing is measured")
    parts = {"timed": partial(timed, minilm, found), "counted": partial(counted, minilm, found)}
    parts["deltas"] = partial(deltas, minilm)
    chosen = [name for name in parts if getattr(arguments, name)] or list(parts)
    rows: list[Row] = []
    if arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    for name in chosen:
        new = [{"part": name, **row} for row in parts[name]()]
        rows = [row for row in rows if row["part"] != name] + new
        write(arguments.json, rows)


if __name__ == "__main__":
    main()
