"""Attention over few tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from mergesketch import sparse_attention, top_tokens


def argument_cases() -> Iterator[Case]:
    n = len(ROWS)
    scores = ROWS[:, :1] + np.arange(12.0)
    yield Case(
        "top_tokens",
        lambda scores, positions: top_tokens(scores, 3, sinks=1, positions=positions),
        {"scores": scores, "positions": KEYS % 12},
    )
    yield Case(
        "sparse_attention",
        lambda Q, K, V, tokens: sparse_attention(Q, K, V, tokens),
        {"Q": ROWS, "K": ROWS, "V": ROWS, "tokens": (KEYS[:, None] + np.arange(3)) % n},
        None,
        ("Q", "K", "V"),
    )
