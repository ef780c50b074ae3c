"""The examples run, and say what their pages say of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_adaptive_sampling_learns_redundant_rows_in_fewer_steps() -> None:
    """At equal steps, so that the result does not depend on the machine's speed."""
    example = load("adaptive_sampling")
    X, y = example.digits()
    assert X.shape == (10_000, 64)
    ticks = iter(range(10**9))

    def steps() -> float:
        # Two looks at the clock a round: each round takes one "second".
        return next(ticks)

    losses = {}
    for sketched in (False, True):
        # Products of small matrices on many threads wait for each other on a busy machine.
        with threadpool_limits(1):
            history = example.train(X, y, sketched=sketched, seconds=15, clock=steps)
        assert [step for _, step, _ in history] == [example.ROUND * (i + 1) for i in range(15)]
        losses[sketched] = history[-1][2]
        assert np.isfinite(losses[sketched])
        assert losses[sketched] < 0.5 * history[0][2]
    assert losses[True] < 0.8 * losses[False]


def test_signatures_halve_the_wrong_orders_of_a_graph_network() -> None:
    pytest.importorskip("torch", reason="the example needs PyTorch")
    example = load("link_prediction_pytorch")
    edges, X = example.nearby(n_nodes=1000)
    assert example.area(np.array([0.5, 0.5, 0.2, 0.9]), np.array([True, False, False, True])) == 0.875
    alone, both = (example.run(edges, X, signatures=s, epochs=60) for s in (False, True))
    assert 0.5 < alone < 1
    assert 1 - both < 0.5 * (1 - alone)
