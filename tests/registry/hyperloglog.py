"""Distinct counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, Case
from batches import SEEDS, key_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_keys
from hypothesis import strategies as st
from mergesketch import HyperLogLog
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS

ENTRIES: dict[str, Entry] = {
    "HyperLogLog": Entry(
        HyperLogLog,
        st.tuples(st.sampled_from([8, 16, 28, 4096]), SEEDS).map(
            lambda t: HyperLogLog((t[0] - 1).bit_length(), n_registers=t[0], seed=t[1])
        ),
        lambda sketch: key_batches(0)(sketch).map(lambda batch: batch[:1]),
        lambda batches: ([key for (keys,) in batches for key in keys],),
        lambda rng, sketch: (rng.integers(0, 2**40, 600_000),),
        [(["a", 1],), ([1.5],), ([None],), (np.array([1.0]),), (3.5,), (True,)],
        linear=False,
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    # Its answers are numbers, so the arrays that are compared here are those of its state.
    "HyperLogLog": GpuEntry(
        lambda: HyperLogLog(7, seed=3),
        lambda rng, n: gpu_keys(rng, n)[:1],
        (lambda s, b: s.copy().update(b[0]).state["registers"].array,),
    ),
}


def argument_cases() -> Iterator[Case]:
    yield Case("HyperLogLog.update", lambda keys: HyperLogLog(5).update(keys), {"keys": KEYS})


def stored_examples() -> dict[str, Stored]:
    return {"HyperLogLog": HyperLogLog(5).update(SMALL_KEYS)}
