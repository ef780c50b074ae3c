"""Samplers of ids, and the softmax of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import KEYS, ROWS, SIGNS, Case
from later import Later
from mergesketch import LSHIndex, LSHSampler, sampled_softmax

N = len(ROWS)


def sampler(**options: Any) -> LSHSampler:
    return LSHSampler(LSHIndex(SIGNS).update(ROWS, KEYS), **options)


def argument_cases() -> Iterator[Case]:
    full = Later(sampler)
    exclude = {"exclude": KEYS[::-1].copy()}

    def sample(Q, exclude):
        # Draws depend on the number of a row.
        return full.sample(Q, 6, exclude=exclude, step=3)

    def sample_shared(Q):
        return full.sample_shared(Q, 6, step=3)

    def probabilities(Q, ids, exclude):
        return full.probabilities(Q, ids, 6, exclude=exclude)

    yield Case("LSHSampler.sample", sample, {"Q": ROWS, **exclude}, None, ("Q",))
    yield Case("LSHSampler.sample_shared", sample_shared, {"Q": ROWS}, None, ("Q",))
    yield Case("LSHSampler.probabilities", probabilities, {"Q": ROWS, "ids": KEYS, **exclude}, None, ("Q",))
    yield Case(
        "LSHSampler.probabilities: shared",
        lambda Q, ids: full.probabilities(Q, ids),
        {"Q": ROWS, "ids": KEYS},
    )
    yield Case("LSHSampler.probabilities: queries", lambda Q: full.probabilities(Q, KEYS), {"Q": ROWS}, "Q")
    numbered = Later(lambda: LSHSampler(LSHIndex(SIGNS).update(ROWS)))
    pair = {"Q": ROWS, "rows": ROWS}
    yield Case("LSHSampler.retrieve", lambda Q, rows: numbered.retrieve(Q, rows), pair, None, ("Q", "rows"))

    def counts(changed: LSHSampler) -> Any:
        return changed.index.query(ROWS, 3)

    def update(X, ids, weights):
        made = sampler(ids=KEYS, weights=KEYS + 1.0).update(X, ids, weights=weights)
        return (*counts(made), made.ids)

    def remove(ids, X):
        return counts(sampler().remove(ids, X))

    def replace(ids, X, old):
        return counts(sampler().replace(ids, X, old=old))

    yield Case(
        "LSHSampler.update", update, {"X": ROWS, "ids": KEYS + 100, "weights": KEYS + 2.0}, None, ("X",)
    )
    yield Case("LSHSampler.remove", remove, {"ids": KEYS, "X": ROWS}, None, ("X",))
    given = {"ids": KEYS, "X": ROWS[::-1].copy(), "old": ROWS}
    yield Case("LSHSampler.replace", replace, given, None, ("X", "old"))

    def make(ids, weights):
        return sampler(ids=ids, weights=weights).probabilities(ROWS, KEYS)

    yield Case("LSHSampler", make, {"ids": np.arange(100), "weights": 1.0 + np.arange(100)})
    numbers = np.arange(4 * N).reshape(N, 4)
    classes = {
        "logits": np.arange(5.0 * N).reshape(N, 5) % 7,
        "ids": numbers % 10,
        "probabilities": 1.0 + numbers % 3,
        "targets": np.arange(N),
    }
    # Gradients have the dtype of the logits.
    yield Case("sampled_softmax", sampled_softmax, classes, any_dtype=False)
