"""Arrays other than weights for the benchmark of CompressedFloats: where it pays, and where it does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minilm
import numpy as np
from float_coders import Coder
from float_weights import Array, bound, cast, model, package
from measure import show

N = 1 << 20
TINY = 64


def drawn() -> Iterator[tuple[str, str, Array]]:
    """Yield arrays that are made up: what they are, their dtype, and the values."""
    rng = np.random.default_rng(0)
    yield (
        "random bits",
        "bfloat16",
        rng.integers(0, 1 << 16, N, np.uint16).view(cast(np.zeros(1), "bfloat16").dtype),
    )
    yield "normal values", "bfloat16", cast(rng.standard_normal(N), "bfloat16")
    yield "uniform values in [0, 1)", "float32", rng.random(N, np.float32)
    yield "integers up to 1,000", "float32", rng.integers(0, 1000, N).astype(np.float32)
    yield "times of events, sorted", "float32", np.cumsum(rng.exponential(1e-3, N)).astype(np.float32)
    yield f"{TINY} normal values", "bfloat16", cast(rng.standard_normal(TINY), "bfloat16")


def of_minilm() -> Iterator[tuple[str, str, Array]]:
    """Yield weights of MiniLM in other forms, and what it computes from a text."""
    weights = model("MiniLM")
    if weights is None:
        return
    W = weights["encoder.layer.0.intermediate.dense.weight"]
    steps = np.abs(W).max(axis=1, keepdims=True) / 7
    yield "weights rounded to 4 bits", "bfloat16", cast(np.round(W / steps) * steps, "bfloat16")
    yield "float16 weights saved as float32", "float32", W.astype(np.float16).astype(np.float32)
    encoder, parts = minilm.MiniLM(), []
    text = Path(ast.__file__).read_text(encoding="utf-8")
    for _, keys, values in encoder.attention(encoder.windows(text, 1)[0]):
        parts += [keys, values]
    yield "keys and values of a text", "bfloat16", cast(np.stack(parts), "bfloat16")


def of_training() -> Iterator[tuple[str, str, Array]]:
    """Yield the state of Adam after the training of CHGNet."""
    at = package("chgnet")
    if at is None:
        return
    state = optimizer(next((at / "pretrained" / "0.3.0").glob("*.pth.tar")))
    for name, what in (("exp_avg", "means of gradients"), ("exp_avg_sq", "means of squared gradients")):
        found = [part[name].numpy().reshape(-1) for part in state.values() if name in part]
        if found:
            yield f"{what} (Adam)", "float32", np.concatenate(found)


def optimizer(path: Path) -> dict[int, dict[str, Any]]:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)["optimizer"]["state"]


def others(coders: list[Coder]) -> Iterator[dict[str, Any]]:
    """Yield the size of each array, of its plain bytes."""
    for source in (of_minilm, of_training, drawn):
        for what, dtype, values in source():
            row: dict[str, Any] = {"array": what, "dtype": dtype, "values": values.size}
            row["bound, joint"] = bound(values, dtype, joint=True) / values.nbytes
            for coder in coders:
                if coder.name != "constriction":
                    code = coder.encode(coder.prepare(values, dtype), dtype)
                    row[coder.name] = coder.size(code) / values.nbytes
            show("other arrays", [row])
            yield row
