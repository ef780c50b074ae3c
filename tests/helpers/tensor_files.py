"""Build safetensors files by hand, also such that the library safetensors would not write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Part", "mutated", "tensor_file"]


class Part(NamedTuple):
    """A tensor of a file, or bytes between tensors if it has no name."""

    name: str | None
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def tensor_file(
    parts: Sequence[Part],
    *,
    order: Sequence[int] | None = None,
    metadata: Any = None,
    padding: bytes = b"",
    text: bytes | None = None,
) -> bytes:
    """Return a file with the bytes of parts one behind another.

    The header names the tensors in the `order` of the parts' numbers and ends with the `padding`. With a
    `text` it is that.
    """
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    starts = np.cumsum([0, *(len(part.data) for part in parts)]).tolist()
    for i in range(len(parts)) if order is None else order:
        part = parts[i]
        if part.name is not None:
            offsets = [starts[i], starts[i + 1]]
            entries[part.name] = {"dtype": part.dtype, "shape": list(part.shape), "data_offsets": offsets}
    header = (json.dumps(entries).encode() if text is None else text) + padding
    return len(header).to_bytes(8, "little") + header + b"".join(part.data for part in parts)


def mutated(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Return data with a few bytes changed, cut out, repeated or inserted behind `start`."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(start, max(start + 1, len(changed))))
        length = int(rng.integers(1, 9))
        match int(rng.integers(6)):
            case 0 | 1:
                fresh = rng.integers(0, 256, length).astype(np.uint8).tobytes()
                changed[place : place + length] = fresh
            case 2:
                changed[place : place + 1] = bytes(
                    [(changed[place] if place < len(changed) else 0) ^ 1 << int(rng.integers(8))]
                )
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = changed[place : place + length]
            case _:
                number = (0, 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1)[int(rng.integers(7))]
                changed[place : place + 8] = number.to_bytes(8, "little")
    return bytes(changed)
