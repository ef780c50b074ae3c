"""Group testing by Bloom pools."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import Case
from later import Later
from mergesketch import BloomPooling


def argument_cases() -> Iterator[Case]:
    pools = Later(lambda: BloomPooling(20, 8))
    sick = np.arange(20) == 4
    risk = np.repeat([0.125, 0.25], 10)
    yield Case(
        "BloomPooling",
        lambda prevalence: BloomPooling(20, 8, prevalence=prevalence).decode(pools.outcomes(sick)),
        {"prevalence": risk},
    )
    yield Case("BloomPooling.outcomes", pools.outcomes, {"infected": sick})
    yield Case("BloomPooling.decode", pools.decode, lambda: {"outcomes": pools.outcomes(sick)})
    yield Case(
        "BloomPooling.decode",
        lambda second_outcomes: pools.decode(
            pools.outcomes(sick), second_pools=[[4, 5], [6]], second_outcomes=second_outcomes
        ),
        {"second_outcomes": np.array([True, False])},
    )
    yield Case(
        "BloomPooling.decode",
        lambda second_pools: pools.decode(
            pools.outcomes(sick), second_pools=second_pools, second_outcomes=[True, False]
        ),
        {"second_pools": np.array([[3, 4], [5, 6]])},
    )
    yield Case(
        "BloomPooling.suggest_pools", lambda posterior: pools.suggest_pools(posterior, 2), {"posterior": risk}
    )
