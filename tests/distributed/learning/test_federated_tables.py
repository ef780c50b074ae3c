"""Test FederatedTables: the naive twin, folds, one client, ranks and failures."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import RobeMap, SharedParameters
from mergesketch.distributed import FederatedTables
from naive import federated_tables as naive
from ranks import Ranks, needs_mpi

few = settings(max_examples=20, deadline=None)
SIZES = (1, 2, 3, 4, 6, 12)
#: Small integers, whose means over 12 places and weighted means are exact to rounding.
tables = st.sampled_from(SIZES).flatmap(lambda m: st.lists(st.integers(-9, 9), min_size=m, max_size=m))


@few
@given(
    st.lists(st.integers(-9, 9), min_size=12, max_size=12),
    st.lists(st.lists(st.tuples(tables, st.integers(1, 50)), min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_equals_its_naive_twin(weights, rounds) -> None:
    server = FederatedTables.from_weights(np.array(weights, np.float64))
    exact = [Fraction(w) for w in weights]
    for clients in rounds:
        for size in SIZES:
            expected = [float(w) for w in naive.fold(exact, size)]
            np.testing.assert_allclose(server.fold(size), expected, rtol=0, atol=1e-12)
        arrays = [np.array(table, np.float64) for table, _ in clients]
        before = copy.deepcopy(arrays)
        assert server.update(arrays, [n for _, n in clients]) is server
        np.testing.assert_equal(arrays, before)
        exact = naive.round_of(
            exact, [[Fraction(v) for v in table] for table, _ in clients], [Fraction(n) for _, n in clients]
        )
        np.testing.assert_allclose(server.weights, [float(w) for w in exact], rtol=0, atol=1e-12)
    assert server.n_rounds == len(rounds)


def rows_named(name: str) -> np.ndarray:
    rng = np.random.default_rng(2)
    rows = np.zeros((40, 8))
    if name == "one-hot":
        rows[np.arange(40), rng.integers(0, 8, 40)] = 1
    elif name == "constant":
        rows[:] = 3
    elif name == "repeated":
        rows[:] = rng.standard_normal(8)
    else:
        rows[:] = rng.standard_normal((40, 8))
    return rows


def trained(weights: np.ndarray, name: str) -> SharedParameters:
    """Return shared parameters after gradient descent towards rows that a client has."""
    parameters = SharedParameters.from_weights(weights, RobeMap(4), seed=5)
    rows = rows_named(name)
    for start in range(0, 40, 8):
        ids = np.arange(start, start + 8)
        error = parameters.gather(ids, 8) - rows[start : start + 8]
        parameters.scatter_add(ids, error, scale=-0.1)
    return parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["normal", "one-hot", "constant", "repeated"])
def test_one_client_of_full_size_is_central_training_to_the_bit(name: str, dtype: str) -> None:
    weights = np.random.default_rng(0).standard_normal(96).astype(dtype)
    server = FederatedTables.from_weights(weights)
    central = weights
    for n_rows in (40, 0.1, 7e9):
        central = trained(central, name).weights
        server.update([trained(server.fold(96), name).weights], [n_rows])
        assert server.weights.dtype == dtype
        assert server.weights.tobytes() == central.tobytes()
    signs = np.array([0.0, -0.0, -1.5, 2.0], dtype)
    signed = FederatedTables.from_weights(np.ones(4, dtype)).update([signs], [3])
    assert signed.weights.tobytes() == signs.tobytes()


@pytest.mark.parametrize("name", ["normal", "one-hot", "constant"])
def test_one_small_client_learns_as_alone_and_changes_nothing_else(name: str) -> None:
    weights = np.random.default_rng(1).standard_normal(96)
    server = FederatedTables.from_weights(weights)
    hidden = weights - np.tile(server.fold(24), 4)
    central = server.fold(24)
    for _ in range(3):
        central = trained(central, name).weights
        server.update([trained(server.fold(24), name).weights], [40])
        np.testing.assert_allclose(server.fold(24), central, rtol=0, atol=1e-12)
    np.testing.assert_allclose(server.weights - np.tile(server.fold(24), 4), hidden, rtol=0, atol=1e-12)


def test_folds_of_one_array_read_the_same_entries() -> None:
    # Parameters that repeat after 24 places are read equally by devices with 24, 48 and 96 of them.
    server = FederatedTables.from_weights(np.tile(np.random.default_rng(3).standard_normal(24), 4))
    read = [
        SharedParameters.from_weights(server.fold(size), RobeMap(4), seed=5).gather(range(50), 16)
        for size in (24, 48, 96)
    ]
    np.testing.assert_allclose(read[1], read[0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(read[2], read[0], rtol=0, atol=1e-15)


def test_a_client_that_learns_nothing_changes_nothing() -> None:
    weights = np.random.default_rng(4).standard_normal(96).astype(np.float32)
    server = FederatedTables.from_weights(weights)
    for sizes in ((96,), (6,), (96, 24, 24, 8)):
        server.update([server.fold(size) for size in sizes], np.arange(1, len(sizes) + 1))
        np.testing.assert_array_equal(server.weights, weights)


def test_the_order_of_clients_and_how_they_are_passed_do_not_matter() -> None:
    start = np.arange(12.0)
    given = [np.arange(4), [1.5, 2.5], np.ones(12, np.float32), np.arange(4)[::-1]]
    expected = FederatedTables.from_weights(start).update(given, [1, 2, 4, 1]).weights
    for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
        server = FederatedTables.from_weights(start)
        server.update((given[i] for i in order), np.array([1, 2, 4, 1])[order], clients=order)
        np.testing.assert_allclose(server.weights, expected, rtol=1e-15)
    equal = FederatedTables.from_weights(start).update(np.array([given[0], given[3]]), [1, 3])
    other = FederatedTables.from_weights(start).update([given[0], given[3]], [2, 6])
    np.testing.assert_array_equal(equal.weights, other.weights)


def test_files_and_copies_go_on_with_the_same_rounds(tmp_path) -> None:
    server = FederatedTables.from_weights(np.arange(12, dtype=np.float32))
    server.update([server.fold(3) + 1], [5])
    server.save(tmp_path / "server")
    loaded, copied = FederatedTables.load(tmp_path / "server"), copy.copy(server)
    assert loaded == server == copied and loaded.n_rounds == 1
    server.update([np.ones(4)], [5])
    assert loaded == copied != server
    np.testing.assert_array_equal(loaded.update([np.ones(4)], [5]).weights, server.weights)
    with pytest.raises(ValueError, match="read-only"):
        server.weights[0] = 1
    folded = server.fold(12)
    folded[:] = 0
    assert server.weights.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FederatedTables(0), ValueError, "n_parameters must be an integer from 1"),
        (lambda: FederatedTables(2.0), TypeError, "n_parameters must be an integer"),  # type: ignore[arg-type]
        (lambda: FederatedTables(2, dtype="int8"), ValueError, "dtype must be one of"),
        (lambda: FederatedTables.from_weights([1, 2]), TypeError, "weights must be float32 or float64"),
        (lambda: FederatedTables.from_weights(np.ones((2, 2))), ValueError, r"weights must have shape \(n_p"),
        (lambda: FederatedTables.from_weights(np.ones(0)), ValueError, r"weights must have shape \(n_p"),
        (
            lambda: FederatedTables.from_weights([np.nan]),
            ValueError,
            "weights must be finite in float64, got",
        ),
        (lambda: FederatedTables(12).fold(5), ValueError, "n_parameters must be a divisor of 12, got 5"),
        (lambda: FederatedTables(12).fold(24), ValueError, "n_parameters must be an integer from 1 to 12"),
        (lambda: FederatedTables(12).fold(3.0), TypeError, "n_parameters must be an integer"),  # type: ignore[arg-type]
    ],
)
def test_bad_servers_and_folds_are_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


ONE, LARGE = np.ones(3), np.full(3, 3e38)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], []), ValueError, "tables must have at least one table, got none"),
        ((None, [1]), TypeError, "tables must be a sequence of arrays, got NoneType"),
        (("abc", [1]), TypeError, "tables must be a sequence of arrays, got str"),
        (({"a": ONE}, [1]), TypeError, "tables must be a sequence of arrays, got dict"),
        (
            ([ONE, np.ones(5)], [1, 1]),
            ValueError,
            r"tables\[1\] must have .* a divisor of 12 .* shape \(5,\)",
        ),
        (([np.ones(24)], [1]), ValueError, r"tables\[0\] must have .* a divisor of 12 .* shape \(24,\)"),
        (([np.ones((3, 1))], [1]), ValueError, r"tables\[0\] must have one dimension .* shape \(3, 1\)"),
        (([np.ones(0)], [1]), ValueError, r"tables\[0\] must have .* got shape \(0,\)"),
        ((ONE, [1]), ValueError, r"tables\[0\] must have one dimension .* shape \(\)"),
        (([ONE, [1, np.nan, 1]], [1, 1]), ValueError, r"tables\[1\] must be finite in float32, got nan at"),
        (([ONE * 1e39], [1]), ValueError, r"tables\[0\] must be finite in float32, got 1e\+39 at position 0"),
        (([ONE * 1j], [1]), TypeError, r"tables\[0\] must hold real numbers, got dtype complex128"),
        (([["a"] * 3], [1]), TypeError, r"tables\[0\] must hold real numbers"),
        (([ONE], None), TypeError, "n_rows must be an array of a number for each table, got None"),
        (([ONE], [1, 2]), ValueError, r"n_rows must have shape \(1,\)"),
        (([ONE], [0]), ValueError, "n_rows must be above 0, got 0"),
        (([ONE, ONE], [1, -2]), ValueError, "n_rows must be above 0, got -2"),
        (([ONE], [np.inf]), ValueError, "n_rows must be finite"),
        (([ONE, ONE], [1, 1], ["a", "a"]), ValueError, "clients must be named once, got 'a' twice"),
        (([ONE, ONE], [1, 1], "ab"), TypeError, "clients must be a sequence of names, got str"),
        (([ONE, ONE], [1, 1], ["a"]), ValueError, "clients must be 2 names, one a table, got 1"),
        (([ONE], [1], [[]]), TypeError, "clients must be names that can be compared, got list"),
        (([LARGE], [1]), OverflowError, "tables must have a mean within float32"),
    ],
)
def test_bad_rounds_are_refused_and_change_nothing(arguments: Any, error, message) -> None:
    weights = np.arange(12, dtype=np.float32)
    weights[0] = 3e38
    server = FederatedTables.from_weights(weights).update([weights], [1])
    before = server.to_bytes()
    with pytest.raises(error, match=message):
        server.update(*arguments)
    assert server.to_bytes() == before


# -- ranks ----------------------------------------------------------------------------------------------

RANKS = """
import numpy as np
from mergesketch.distributed import FederatedTables, communicator
from mergesketch.distributed.ranks.comm import Communicator
from mergesketch.errors import DistributedError

comm = communicator()
rank, size = comm.rank, comm.size
start = np.random.default_rng(0).standard_normal(24)

# Rank 0 has two clients, the last rank has none.
sizes, rows, owners = [24, 6, 12, 3], [1, 2, 3, 4], [0, 0, 1, 1]
ours = FederatedTables.from_weights(start)
alone = FederatedTables.from_weights(start)
for number in range(3):
    rng = np.random.default_rng(number)
    tables = [rng.standard_normal(size) for size in sizes]
    mine = [i for i, owner in enumerate(owners) if owner == rank]
    ours.update([tables[i] for i in mine], [rows[i] for i in mine], clients=mine, comm=comm)
    alone.update(tables, rows, comm=Communicator(None))
    np.testing.assert_allclose(ours.weights, alone.weights, rtol=0, atol=1e-13)
    words = comm.allgather(ours.to_bytes())
    assert words == words[:1] * size
ours.update([tables[0]] if rank == 1 else [], [5] if rank == 1 else [], comm=comm)
assert (ours.weights == tables[0]).all()

def refused(text, tables, n_rows, clients=None, server=ours):
    before = server.to_bytes()
    try:
        server.update(tables, n_rows, clients, comm)
    except DistributedError as raised:
        message = str(raised)
        assert text in message, raised
    except ValueError as raised:
        message = str(raised)
        assert text in message and "at least one" in text, raised
    else:
        raise AssertionError(text)
    assert server.to_bytes() == before
    assert comm.allgather(message) == [message] * size

good, last = np.ones(6), rank == size - 1
refused(f"rank {size - 1} failed: ValueError: tables[0] must be finite",
        [good * np.nan if last else good], [1])
refused(f"rank {size - 1} failed: ValueError: tables[0] must have one dimension and a divisor of 24",
        [good[1:] if last else good], [1])
refused("tables must have at least one table, got none", [], [])
refused("clients must be named once, got 'phone' twice on ranks 0 and 1", [good], [1], ["phone"])
refused("ranks must agree on the server", [good], [1], server=FederatedTables.from_weights(start + last))
print("done")
"""


@needs_mpi
def test_ranks_with_their_own_clients_have_the_same_server_and_fail_together(ranks: Ranks) -> None:
    run = ranks.run(3, RANKS)
    assert [out.strip() for out in run.stdout] == ["done"] * 3, run.stderr
