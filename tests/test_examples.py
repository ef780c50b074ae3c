"""The examples run, and say what their pages say of them."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def test_a_killed_monitor_goes_on_where_it_stood(tmp_path) -> None:
    """A file grows while the monitor is killed with signal 9 again and again: every line is counted once."""
    log, checkpoint = tmp_path / "access.log", tmp_path / "access.sketch"
    rng = np.random.default_rng(8)
    command = [sys.executable, str(EXAMPLES / "monitor_stream.py"), str(log), "--checkpoint", str(checkpoint)]
    written: list[str] = []
    for _ in range(3):
        lines = [f"/page/{page}" for page in rng.geometric(0.05, size=20_000)]
        written += lines
        with log.open("a") as file:
            file.write("\n".join(lines) + "\n/cut of")
        with subprocess.Popen([*command, "--every", "0.05"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # one checkpoint at least was written
            process.kill()
        with log.open("a") as file:
            file.write("f\n")
        written.append("/cut off")
    monitor = load("monitor_stream")
    monitor.main([str(log), "--checkpoint", str(checkpoint), "--once"])
    found = monitor.Monitor.load(checkpoint)
    assert found.offset == log.stat().st_size
    assert found.frequent == monitor.Monitor().frequent.update([line.encode() for line in written])
    assert found.seen == monitor.Monitor().seen.update([line.encode() for line in written])


def test_a_monitor_reads_a_socket(tmp_path) -> None:
    monitor = load("monitor_stream")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"a\nb\na\n")

        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(serve)
            monitor.main([f"tcp://127.0.0.1:{port}", "--checkpoint", str(tmp_path / "c"), "--once"])
            served.result()
    assert monitor.Monitor.load(tmp_path / "c").frequent.n_updates == 3
