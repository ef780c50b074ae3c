"""Test FederatedTables as a strategy of Flower: rounds without a network, and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr")

from flwr.client import NumPyClient
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    GetPropertiesRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from mergesketch.distributed import FederatedTables, federated_tables_strategy

M = 24


class Device(NumPyClient):
    """A client that moves its table and a bias towards its own number."""

    def __init__(self, size: Any, goal: float, n_rows: int) -> None:
        self.size, self.goal, self.n_rows, self.got = size, goal, n_rows, []

    def get_properties(self, config: Any) -> Any:
        return {} if self.size is None else {"n_parameters": self.size}

    def fit(self, parameters: Any, config: Any) -> Any:
        self.got.append(parameters)
        return [array + 0.5 * (self.goal - array) for array in parameters], self.n_rows, {"goal": self.goal}

    def evaluate(self, parameters: Any, config: Any) -> Any:
        return float(np.abs(parameters[0] - self.goal).mean()), self.n_rows, {"size": len(parameters[0])}


class Proxy(ClientProxy):
    """A connection to a client in this process."""

    def __init__(self, cid: str, device: Device) -> None:
        super().__init__(cid)
        self.node_id, self.client = int(cid), device.to_client()

    def get_properties(self, ins: Any, timeout: Any, group_id: Any) -> GetPropertiesRes:
        return self.client.get_properties(ins)

    def fit(self, ins: Any, timeout: Any, group_id: Any) -> FitRes:
        return self.client.fit(ins)

    def evaluate(self, ins: Any, timeout: Any, group_id: Any) -> EvaluateRes:
        return self.client.evaluate(ins)

    def get_parameters(self, ins: Any, timeout: Any, group_id: Any) -> Any:
        raise NotImplementedError

    def reconnect(self, ins: Any, timeout: Any, group_id: Any) -> Any:
        raise NotImplementedError


def manager_of(devices: list[Device]) -> SimpleClientManager:
    manager = SimpleClientManager()
    for i, device in enumerate(devices):
        manager.register(Proxy(str(i), device))
    return manager


def round_of(strategy: Any, manager: Any, parameters: Any, number: int = 1) -> Any:
    chosen = strategy.configure_fit(number, parameters, manager)
    results = [(client, client.fit(ins, None, number)) for client, ins in chosen]
    return strategy.aggregate_fit(number, results, [])


def server_of() -> FederatedTables:
    return FederatedTables.from_weights(np.random.default_rng(0).standard_normal(M))


def test_rounds_are_those_of_federated_tables() -> None:
    devices = [Device(24, 1.0, 10), Device(12, -2.0, 30), Device(6, 3.0, 20)]
    manager, server, plain = manager_of(devices), server_of(), server_of()
    bias = np.array([0.5, -0.5], np.float32)
    strategy = federated_tables_strategy(
        server,
        [bias],
        min_available_clients=3,
        fit_metrics_aggregation_fn=lambda found: {"goals": sum(metrics["goal"] for _, metrics in found)},
    )
    parameters = strategy.initialize_parameters(manager)
    for number in range(1, 4):
        folds = [plain.fold(device.size) for device in devices]
        plain.update(
            [fold + 0.5 * (d.goal - fold) for fold, d in zip(folds, devices, strict=True)], [10, 30, 20]
        )
        parameters, metrics = round_of(strategy, manager, parameters, number)
        assert metrics == {"goals": 2.0}
        for device, fold in zip(devices, folds, strict=True):
            np.testing.assert_allclose(device.got[-1][0], fold, rtol=0, atol=1e-14)
        table, others = parameters_to_ndarrays(parameters)
        np.testing.assert_allclose(table, plain.weights, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(table, server.weights)
        bias = bias / 2 + np.float32((10 - 2 * 30 + 3 * 20) / 60 / 2)
        assert others.dtype == np.float32
        np.testing.assert_allclose(others, bias, rtol=0, atol=4e-7)  # float32
    asked = strategy.configure_evaluate(3, parameters, manager)
    sizes = sorted(client.evaluate(ins, None, 3).metrics["size"] for client, ins in asked)
    assert sizes == [6, 12, 24]


def test_one_client_of_full_size_is_central_training_to_the_bit() -> None:
    device, server, central = Device(M, 1.0, 7), server_of(), server_of().weights
    strategy = federated_tables_strategy(server, min_fit_clients=1, min_available_clients=1)
    manager = manager_of([device])
    parameters = strategy.initialize_parameters(manager)
    for number in range(1, 4):
        central = central + 0.5 * (1.0 - central)
        parameters, _ = round_of(strategy, manager, parameters, number)
        np.testing.assert_array_equal(parameters_to_ndarrays(parameters)[0], central)


@pytest.mark.parametrize("size", [None, 5, 48, 0, 12.0, True])
def test_clients_without_a_size_that_fits_are_refused_by_name(size: Any) -> None:
    strategy = federated_tables_strategy(server_of(), min_fit_clients=1, min_available_clients=1)
    manager = manager_of([Device(size, 0.0, 1)])
    with pytest.raises(ValueError, match=r"n_parameters of client '0', .* must be a divisor of 24, got"):
        strategy.configure_fit(1, strategy.initialize_parameters(manager), manager)


@pytest.mark.parametrize(
    ("arrays", "n_rows", "message"),
    [
        ([np.ones(7), np.ones(2)], 1, r"tables\[1\] must have one dimension and a divisor of 24"),
        ([np.full(6, np.nan), np.ones(2)], 1, r"tables\[1\] must be finite"),
        ([np.ones(6)], 1, r"client '1' must return a table and arrays of shapes \[\(2,\)\]"),
        ([np.ones(6), np.ones(3)], 1, r"client '1' must return a table and arrays of shapes \[\(2,\)\]"),
        ([np.ones(6), np.full(2, np.inf)], 1, "client '1' must return finite arrays"),
        ([np.ones(6), np.ones(2)], 0, "clients must have learnt from at least one row, got 0"),
    ],
)
def test_bad_results_are_refused_and_change_nothing(arrays: Any, n_rows: int, message: str) -> None:
    server = server_of()
    strategy = federated_tables_strategy(server, [np.zeros(2)])
    good = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([np.ones(24), np.ones(2)]), 5, {})
    bad = FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), n_rows, {})
    before = server.to_bytes()
    proxies = [Proxy(str(i), Device(24, 0.0, 1)) for i in range(2)]
    with pytest.raises(ValueError, match=message):
        strategy.aggregate_fit(1, [(proxies[0], good), (proxies[1], bad)], [])
    with pytest.raises(ValueError, match="clients must be named once, got '0' twice"):
        strategy.aggregate_fit(1, [(proxies[0], good), (proxies[0], good)], [])
    assert server.to_bytes() == before and not strategy.others[0].any()
    assert strategy.aggregate_fit(1, [], [RuntimeError()]) == (None, {})
    assert server.to_bytes() == before


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="server must be a FederatedTables, got int"):
        federated_tables_strategy(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"others\[0\] must have finite floats"):
        federated_tables_strategy(server_of(), [[1, 2]])
