"""Read this rank's share of the numbers of files, in batches of floats."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ..kernels.decimals import read_decimals
from .key_files import KeyFiles

__all__ = ["number_batches", "read_numbers"]


def number_batches(files: KeyFiles) -> Iterator[NDArray[np.float64]]:
    """Yield this rank's finite numbers; texts that are none are counted as skipped.

    Raises
    ------
    DocumentError
        As `KeyFiles.batches` does.
    """
    for name, data, offsets in files.texts():
        numbers = read_numbers(data, offsets)
        for reason, refused in (("not a number", np.isnan(numbers)), ("infinite", np.isinf(numbers))):
            if refused.any():
                files.refuse(name, reason, int(np.count_nonzero(refused)))
        yield numbers[np.isfinite(numbers)]


def read_numbers(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return texts as the nearest floats, and NaN for those that are no numbers.

    A number is what `float` takes, but without underscores. It may have spaces around it.
    """
    numbers, hard = np.empty(len(offsets) - 1), np.empty(len(offsets) - 1, np.int64)
    hard = hard[: read_decimals(read_only(data), offsets, numbers, hard)]
    if len(hard):
        raw, bounds = data.tobytes(), zip(offsets[hard].tolist(), offsets[hard + 1].tolist(), strict=True)
        numbers[hard] = [_number(raw[start:stop]) for start, stop in bounds]
    return numbers


def _number(text: bytes) -> float:
    try:
        return math.nan if b"_" in text else float(text)
    except ValueError:
        return math.nan
