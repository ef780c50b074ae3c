"""The sparse all-reduce, on one rank."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import KEYS, ROWS, Case
from mergesketch import sparse_all_reduce


def argument_cases() -> Iterator[Case]:
    yield Case("sparse_all_reduce", sparse_all_reduce, {"ids": KEYS, "values": ROWS})
    yield Case("sparse_all_reduce: numbers", sparse_all_reduce, {"ids": KEYS, "values": ROWS[:, 0]})
