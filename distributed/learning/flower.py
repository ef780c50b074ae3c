"""FederatedTables as a strategy of Flower, which brings the tables to the devices and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.install import how_to_install
from ...lsh.support.public import publish
from .federated_tables import FederatedTables

__all__ = ["federated_tables_strategy"]


def federated_tables_strategy(
    server: FederatedTables, others: Sequence[ArrayLike] = (), **options: Any
) -> Any:
    """Return a strategy of Flower that trains `FederatedTables` on clients of different memory.

    Parameters
    ----------
    server : FederatedTables
        It begins with the parameters that it has, and changes in each round.
    others : sequence of arrays of floats, optional
        The first values of the other parameters of the model, such as those of dense layers. All clients get
        them in full, and their weighted mean is taken.
    **options
        Arguments of ``flwr.server.strategy.FedAvg``, such as `fraction_fit` and `min_available_clients`.

    Returns
    -------
    flwr.server.strategy.FedAvg
        A subclass. Its attribute `others` has the other parameters after each round.

    Raises
    ------
    ImportError
        If Flower is not installed.
    TypeError, ValueError
        If `server` is no FederatedTables, or others are not finite floats.

    Notes
    -----
    A client is any ``flwr.client.NumPyClient`` whose ``get_properties(config)`` returns
    ``{"n_parameters": m}``: the number of parameters that it has memory for, which divides that of the
    server. The first time that a client is chosen, it is asked. Its `fit` and `evaluate` then get the list
    ``[table, *others]``, with a table of m parameters, and `fit` returns such a list, the number of its
    examples, and metrics, as in Flower.

    Results with another number of arrays, other shapes, NaN or infinity raise ValueError, and nothing
    changes. A round in which all clients fail changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.distributed import FederatedTables
    >>> from mergesketch.distributed.learning.flower import federated_tables_strategy
    >>> server = FederatedTables.from_weights(np.random.default_rng(0).standard_normal(1024))
    >>> strategy = federated_tables_strategy(server, min_available_clients=3)  # doctest: +SKIP
    """
    try:
        from flwr.server.strategy import FedAvg
    except ImportError as error:
        raise ImportError(f"federated_tables_strategy needs Flower: {how_to_install('flower')}") from error
    if not isinstance(server, FederatedTables):
        raise TypeError(f"server must be a FederatedTables, got {type(server).__name__}")
    strategy = type("FederatedTablesStrategy", (_Rounds, FedAvg), {})(**options)
    strategy.server = server
    strategy.others = [_read_other(f"others[{i}]", value) for i, value in enumerate(others)]
    strategy.sizes = {}
    return strategy


class _Rounds:
    """Send each client the fold of its size, and average the changes in the full array.

    It is a base of the strategy beside ``FedAvg``, so that this module can be imported without Flower.
    """

    server: FederatedTables
    others: list[NDArray[Any]]
    #: The number of parameters of each client that was asked.
    sizes: dict[str, int]
    accept_failures: bool
    fit_metrics_aggregation_fn: Callable[..., dict[str, Any]] | None

    def initialize_parameters(self, client_manager: Any) -> Any:
        return self._parameters(self.server.weights)

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        chosen = super().configure_fit(server_round, parameters, client_manager)  # type: ignore[misc]
        return self._with_folds(server_round, chosen)

    def configure_evaluate(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        chosen = super().configure_evaluate(server_round, parameters, client_manager)  # type: ignore[misc]
        return self._with_folds(server_round, chosen)

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        from flwr.common import parameters_to_ndarrays

        if not results or (failures and not self.accept_failures):
            return None, {}
        arrays = [parameters_to_ndarrays(result.parameters) for _, result in results]
        n_rows = [result.num_examples for _, result in results]
        names = [client.cid for client, _ in results]
        means = _mean_others(self.others, arrays, n_rows, names)
        self.server.update([given[0] for given in arrays], n_rows, clients=names)
        self.others = means
        metrics: dict[str, Any] = {}
        if self.fit_metrics_aggregation_fn:
            metrics = self.fit_metrics_aggregation_fn([(r.num_examples, r.metrics) for _, r in results])
        return self._parameters(self.server.weights), metrics

    def _parameters(self, table: NDArray[Any]) -> Any:
        from flwr.common import ndarrays_to_parameters

        return ndarrays_to_parameters([table, *self.others])

    def _with_folds(self, server_round: int, chosen: Any) -> Any:
        """Return instructions with the fold of each client in place of the full array."""
        folds: dict[int, Any] = {}
        made = []
        for client, instructions in chosen:
            size = self._size_of(client, server_round)
            if size not in folds:
                folds[size] = self._parameters(self.server.fold(size))
            made.append((client, type(instructions)(folds[size], instructions.config)))
        return made

    def _size_of(self, client: Any, server_round: int) -> int:
        from flwr.common import GetPropertiesIns

        if client.cid not in self.sizes:
            asked = client.get_properties(GetPropertiesIns({}), timeout=None, group_id=server_round)
            size, n_parameters = asked.properties.get("n_parameters"), self.server.n_parameters
            if type(size) is not int or size < 1 or n_parameters % size:
                raise ValueError(
                    f"n_parameters of client {client.cid!r}, from its get_properties, must be a divisor of "
                    f"{n_parameters}, got {size!r}"
                )
            self.sizes[client.cid] = size
        return self.sizes[client.cid]


def _read_other(name: str, value: Any) -> NDArray[Any]:
    array = check_array(name, value)
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{name} must have finite floats, got dtype {array.dtype} or NaN or infinity")
    return array.copy()


def _mean_others(
    others: list[NDArray[Any]], arrays: list[list[NDArray[Any]]], n_rows: list[int], names: list[str]
) -> list[NDArray[Any]]:
    """Return the weighted means of all arrays but the first ones; ValueError if clients return others."""
    shapes = [array.shape for array in others]
    for given, name in zip(arrays, names, strict=True):
        if len(given) != 1 + len(others) or [array.shape for array in given[1:]] != shapes:
            raise ValueError(
                f"client {name!r} must return a table and arrays of shapes {shapes}, got shapes "
                f"{[array.shape for array in given]}"
            )
        if not all(np.isfinite(array).all() for array in given[1:]):
            raise ValueError(f"client {name!r} must return finite arrays, got NaN or infinity")
    if min(n_rows) <= 0:
        raise ValueError(f"clients must have learnt from at least one row, got {min(n_rows)}")
    shares = np.array(n_rows) / sum(n_rows)
    means = []
    for i, array in enumerate(others, 1):
        mean = np.zeros(array.shape)
        for share, given in zip(shares, arrays, strict=True):
            mean += share * given[i].astype(np.float64)
        means.append(mean.astype(array.dtype))
    return means


publish("mergesketch.distributed", __all__, globals())
