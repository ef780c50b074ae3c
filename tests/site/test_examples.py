"""Test that the examples run, and show what their pages say."""

from __future__ import annotations

import importlib.util
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from ranks import mpiexec, needs_mpi
from threadpoolctl import threadpool_limits

EXAMPLES = ROOT / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_adaptive_sampling_learns_redundant_rows_in_fewer_steps() -> None:
    example = load("adaptive_sampling")
    X, y = example.digits()
    assert X.shape == (10_000, 64)
    losses = {}
    for sketched in (False, True):
        # Products of small matrices on many threads wait for each other on a busy machine.
        with threadpool_limits(1):
            history = example.train(X, y, sketched=sketched, rounds=15)
        assert [step for step, _ in history] == [example.ROUND * (i + 1) for i in range(15)]
        losses[sketched] = history[-1][1]
        assert np.isfinite(losses[sketched])
        assert losses[sketched] < 0.5 * history[0][1]
    assert losses[True] < 0.5 * losses[False]


def test_signatures_halve_the_wrong_orders_of_a_graph_network() -> None:
    pytest.importorskip("torch", reason="the example needs PyTorch")
    example = load("link_prediction_pytorch")
    edges, X = example.nearby(n_nodes=1000)
    assert example.area(np.array([0.5, 0.5, 0.2, 0.9]), np.array([True, False, False, True])) == 0.875
    alone, both = (example.run(edges, X, signatures=s, epochs=60) for s in (False, True))
    assert 0.5 < alone < 1
    assert 1 - both < 0.5 * (1 - alone)


TRAINED = """
import importlib.util
import numpy as np
from mergesketch.distributed import communicator

spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
comm = communicator()
model, losses, sent = example.train(comm, 5000, 40)
assert len(set(comm.allgather(model.table.tobytes()))) == 1, "ranks have different tables"
assert losses[0] > 0.6 and np.mean(losses[-10:]) < 0.45, losses
assert 0 < sent < model.table.nbytes
print(losses[0], losses[-1])
"""


@needs_mpi
def test_ranks_train_one_table_and_send_the_touched_rows(ranks) -> None:
    ran = ranks.run(2, TRAINED, str(EXAMPLES / "train_on_ranks.py"))
    assert ran.returncode == 0, ran.stderr


HELP = """
import runpy, sys

for package in ("torch", "sklearn", "matplotlib", "cupy", "pyarrow", "mpi4py"):
    sys.modules[package] = None
sys.argv = [sys.argv[1], "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_help_needs_no_optional_package(path, tmp_path) -> None:
    command = [sys.executable, "-c", HELP, str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"usage: {path.name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adaptive_sampling", "--rounds", "0"], "argument --rounds: must be at least 1, got 0"),
        (["adaptive_sampling", "--data", "missing.npz"], "argument --data: [Errno 2] No such file"),
        (["train_on_ranks", "--steps", "0"], "argument --steps: must be at least 1, got 0"),
        (["scale_on_paper", "--cores", "0"], "argument --cores: must be above 0, got 0"),
        (["scale_on_paper", "--latency-us", "nan"], "argument --latency-us: must be above 0, got nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{arguments[0]}.py"), *arguments[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("link_prediction_pytorch", "torch", "this example needs PyTorch: pip install torch"),
        ("adaptive_sampling", "sklearn.datasets", "the digits need scikit-learn"),
    ],
)
def test_a_missing_package_is_named(name, package, message, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(SystemExit, match=message):
        load(name).main()


def lines_of(text: bytes) -> list[bytes]:
    """Return the keys of the lines of a log, which may be long."""
    return [line[:1024] for line in text.splitlines()]


def holds(checkpoint: Path, lines: list[bytes]) -> bool:
    """Check that the sketches of a checkpoint are those of these lines, each counted once."""
    monitor = load("monitor_stream")
    found, whole = monitor.Monitor.load(checkpoint), monitor.Monitor()
    return found.frequent == whole.frequent.update(lines) and found.users == whole.users.update(lines)


def test_a_monitor_counts_fields_and_merges(tmp_path, capsys) -> None:
    logs, options = [], ["--user", "1", "--page", "2", "--latency", "3", "--once"]
    rng = np.random.default_rng(0)
    users, pages = rng.integers(0, 500, 2000), rng.zipf(1.5, 2000) % 50
    seconds = rng.lognormal(size=2000).round(6)
    lines = [f"u{u} /p{p} {s}\n" for u, p, s in zip(users, pages, seconds, strict=True)]
    for part in range(2):
        log = tmp_path / f"{part}.log"
        log.write_text("".join(lines[part::2]) + "u1 /wrong\n" * (part == 1) + "u1 /nan nan\n" * (part == 1))
        logs.append(log)
    monitor = load("monitor_stream")
    for log in logs:
        monitor.main([str(log), "--checkpoint", str(log.with_suffix(".sketch")), *options])
    both = tmp_path / "both.sketch"
    monitor.main(["--merge", *(str(log.with_suffix(".sketch")) for log in logs), "--checkpoint", str(both)])
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed.startswith("2,002 lines, about ") and printed.endswith("; 2 latencies are no numbers")
    merged = monitor.Monitor.load(both)
    assert abs(merged.users.cardinality() / len(set(users)) - 1.0) < 6 * merged.users.standard_error
    assert dict(merged.frequent.top())[b"/p1"] == int((pages == 1).sum())
    for share, found in zip((0.5, 0.99), merged.latencies.quantile([0.5, 0.99]), strict=True):
        assert abs(found / np.quantile(seconds, share, method="lower") - 1.0) <= 0.01
    for wrong in (["a", "b"], ["a", "--user", "0"]):
        with pytest.raises(SystemExit):
            monitor.main([*wrong, "--checkpoint", str(both)])
    with pytest.raises(SystemExit):
        monitor.main(["--merge", str(tmp_path / "absent"), "--checkpoint", str(both)])


#: Lines of the Common Log Format, of nginx's `combined`, and of that with `$request_time`. A quote within a
#: field is \x22 in nginx's logs and \" in Apache's.
COMMON = b'10.0.0.%d - - [10/Oct/2000:13:55:36 -0700] "GET /page/%d?item=7 HTTP/1.0" 200 2326'
COMBINED = COMMON + b' "https://example.org/?q=\\x22a" "Mozilla/5.0 (X11; \\"Linux\\" x86_64)"'
TIMED = COMBINED + b" 0.%03d"
#: What nginx writes for requests that are none.
BROKEN = b'10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "%s" 400 150 "-" "-" 0.000\n'


@pytest.mark.parametrize(
    ("template", "latency"), [(COMMON, None), (COMBINED, None), (TIMED, -1), (TIMED, 10)]
)
def test_a_monitor_reads_the_logs_of_web_servers(template, latency) -> None:
    rng = np.random.default_rng(3)
    rows = [tuple(row) for row in rng.integers(0, [200, 9, 1000], (500, 3)).tolist()]
    filled = rows if latency else [row[:2] for row in rows]
    monitor = load("monitor_stream").Monitor(latency=latency, log=True)
    monitor.update(b"".join(template % row + b"\n" for row in filled), None)
    pages = np.bincount([page for _, page, _ in rows])
    assert dict(monitor.frequent.top()) == {b"/page/%d" % page: n for page, n in enumerate(pages.tolist())}
    n_users = len({user for user, _, _ in rows})
    assert abs(monitor.users.cardinality() / n_users - 1) < 6 * monitor.users.standard_error
    assert (monitor.latencies.n_updates, monitor.n_wrong) == (500 if latency else 0, 0)
    if latency:
        assert monitor.latencies.max == max(row[2] for row in rows) / 1000
    monitor.update(BROKEN % b"" + BROKEN % rb"\x16\x03", None)
    assert monitor.frequent.query([b"", rb"\x16\x03"]).tolist() == [1, 1]


IIS = b"""#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip sc-status
2024-01-01 00:00:01 10.0.0.1 GET /a - 80 - 1.2.3.%d 200
"""
LOAD_BALANCER = (
    b"https 2018-07-02T22:23:00.186641Z app/lb/5 1.2.3.%d:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "
    b'"GET https://a.b:443/a HTTP/1.1" "curl/7.46.0" - -\n'
)
CADDY = b'{"level":"info","request":{"remote_ip":"1.2.3.%d","method":"GET","uri":"/a"},"duration":0.1}\n'


@pytest.mark.parametrize(
    "log", [IIS, LOAD_BALANCER, CADDY, b'a.b:443 1.2.3.%d - - [1] "GET /a HTTP/1.1" 200 7\n']
)
def test_a_monitor_says_that_lines_are_of_another_format(log, tmp_path) -> None:
    monitor, path = load("monitor_stream").Monitor(log=True), tmp_path / "c"
    for _ in range(2):
        monitor.update(log % 4 + log % 5 + b"\r\n", None)
        monitor.save(path)
        monitor = monitor.load(path, log=True)
    assert [sketch.n_updates for sketch in monitor.sketches] == [0, 0, 0]
    assert "; 4 other lines are not in the Common Log Format" in monitor.report()
    monitor.merge(monitor.load(path))
    assert "\n           8  other lines are" in monitor.table(3)


def test_a_monitor_reports_no_more_users_than_lines() -> None:
    monitor = load("monitor_stream").Monitor()
    monitor.update(b"".join(b"%d\n" % i for i in range(5000)), None)
    assert monitor.users.cardinality() > 5000
    assert monitor.report().startswith("5,000 lines, about 5,000 distinct")


def test_a_monitor_takes_fields_of_other_logs() -> None:
    for log, fields, page in [
        (IIS, (5, 9, -1), b"/a"),
        (LOAD_BALANCER, (13, 4, 7), b"GET https://a.b:443/a HTTP/1.1"),
    ]:
        monitor = load("monitor_stream").Monitor(*fields, log=True)
        monitor.update(log % 4 + log % 5, None)
        assert monitor.frequent.top() == [(page, 2)] and round(monitor.users.cardinality()) == 2
        assert (monitor.latencies.n_updates, monitor.n_foreign, monitor.n_wrong) == (2, 0, 0)


def test_a_monitor_shows_a_table_and_draws(tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="--draw needs it")
    log, picture = tmp_path / "log", tmp_path / "seen.png"
    log.write_bytes(
        b"".join(TIMED % (user, user // 50, user) + b"\n" for user in range(99)) + BROKEN % b"$x$"
    )
    arguments = [str(log), "--checkpoint", str(tmp_path / "c"), "--once", "--log", "--latency", "10"]
    load("monitor_stream").main([*arguments, "--table", "--top", "2", "--draw", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["100", "lines"] and lines[1].split()[1] == "users"
    rows = [line.split() for line in lines[-3:]]
    assert rows == [["50", "50.0%", "/page/0"], ["49", "49.0%", "/page/1"], []]
    assert picture.read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 3


@needs_mpi
@pytest.mark.slow
def test_monitors_on_several_ranks_make_one_report(tmp_path) -> None:
    names = [tmp_path / "0.log", tmp_path / "1.log"]
    for rank in range(2):
        names[rank].write_bytes(
            b"".join(b"page %d of %d\n" % (i % 5, rank) for i in range(1000 * (rank + 1)))
        )

    def run(*sources):
        command = [mpiexec(), "-n", "2", sys.executable, EXAMPLES / "monitor_stream.py", *sources]
        command += ["--checkpoint", tmp_path / "c", "--once", "--every", "0.1"]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=100)

    done = run(*names)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("3,000 lines, about 10 distinct; most frequent: page ")
    assert holds(tmp_path / "c", [line for name in names for line in name.read_bytes().splitlines()])
    done = run(*names[::-1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "c.0 is a checkpoint of " in done.stderr or "c.1 is a checkpoint of " in done.stderr


@pytest.mark.slow
def test_a_killed_monitor_goes_on_where_it_stood(tmp_path) -> None:
    """A file grows and is rotated while the monitor is killed repeatedly; every line is counted once."""
    log, checkpoint = tmp_path / "access.log", tmp_path / "access.sketch"
    rng = np.random.default_rng(8)
    command = [sys.executable, str(EXAMPLES / "monitor_stream.py"), str(log), "--checkpoint", str(checkpoint)]
    written = b""
    for round_ in range(6):
        text = b"".join(b"/page/%d/\xff%s\n" % (page, b"x" * 90) for page in rng.geometric(0.05, size=20_000))
        with log.open("ab") as file:
            file.write(text + b"/cut of")
        with subprocess.Popen([*command, "--every", "0.05"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # at least one checkpoint was written
            process.kill()
        with log.open("ab") as file:
            file.write(b"f\n")
        written += text + b"/cut off\n"
        if round_ in (1, 4):
            log.rename(tmp_path / f"access.log.{round_}")
    load("monitor_stream").main([str(log), "--checkpoint", str(checkpoint), "--once"])
    assert holds(checkpoint, lines_of(written))


def test_a_monitor_follows_a_file_that_is_replaced_or_cut(tmp_path) -> None:
    monitor = load("monitor_stream")
    log = tmp_path / "log"
    log.write_bytes(b"a\nb\nc")
    chunks = monitor.follow(log, None)
    assert next(chunks)[0] == b"a\nb\n"
    assert next(chunks) is None
    log.rename(tmp_path / "log.1")
    assert next(chunks) is None, "there is no new file yet"
    with (tmp_path / "log.1").open("ab") as file:
        file.write(b"\nlate\nno end")
    log.write_bytes(b"new\n")
    assert [next(chunks)[0] for _ in range(3)] == [b"c\nlate\n", b"no end", b"new\n"]
    log.write_bytes(b"cut\n"[:3])
    assert next(chunks) is None
    log.write_bytes(b"cut\nand longer than before\n")
    assert next(chunks)[0] == b"cut\nand longer than before\n"
    chunks.close()


def test_a_monitor_that_starts_after_a_file_was_cut_or_exchanged(tmp_path, capsys) -> None:
    monitor = load("monitor_stream")
    log, checkpoint = tmp_path / "log", tmp_path / "c"
    arguments = [str(log), "--checkpoint", str(checkpoint), "--once"]
    log.write_bytes(b"a\nb\nc\n")
    monitor.main(arguments)
    assert capsys.readouterr().err == ""
    log.write_bytes(b"d\n")
    monitor.main(arguments)
    assert "was cut: read from its start" in capsys.readouterr().err
    assert holds(checkpoint, [b"a", b"b", b"c", b"d"])


def test_a_monitor_reads_lines_longer_than_its_buffer(tmp_path, monkeypatch) -> None:
    """A part of a line is not the end of the file."""
    monitor = load("monitor_stream")
    log, checkpoint = tmp_path / "log", tmp_path / "c"
    text = b"x" * (3 * monitor.CHUNK) + b"\na\n" + b"y" * monitor.CHUNK + b"\n"
    log.write_bytes(text)
    arguments = [str(log), "--checkpoint", str(checkpoint), "--once"]
    monitor.main(arguments)
    assert holds(checkpoint, lines_of(text))
    monkeypatch.setattr(monitor, "LONGEST", monitor.CHUNK)
    checkpoint.unlink()
    with pytest.raises(SystemExit):
        monitor.main(arguments)


class Pause:
    """Wait so long that the monitor looks at the socket in vain."""

    @staticmethod
    def wait(_: float) -> None:
        time.sleep(0.5)


def serving(*steps):
    """Yield the port of a server that sends bytes or waits for events, in order, and closes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            for step in steps:
                if isinstance(step, bytes):
                    connection.sendall(step)
                else:
                    step.wait(60)

    thread = threading.Thread(target=serve)
    thread.start()
    return server.getsockname()[1], thread


def test_a_monitor_reads_a_socket_to_its_end(tmp_path) -> None:
    """A pause within a line is not the end, and the last line needs none."""
    monitor = load("monitor_stream")
    port, thread = serving(b"a\nb", Pause, b"c\na\nlast")
    monitor.main([f"tcp://127.0.0.1:{port}", "--checkpoint", str(tmp_path / "c"), "--once"])
    thread.join()
    assert holds(tmp_path / "c", [b"a", b"bc", b"a", b"last"])


@pytest.mark.slow
def test_a_silent_socket_does_not_put_off_the_checkpoint(tmp_path) -> None:
    """Lines are saved at their time though none follows; then the monitor is killed."""
    killed = threading.Event()
    port, thread = serving(b"a\nb\na\n", killed)
    command = [sys.executable, str(EXAMPLES / "monitor_stream.py"), f"tcp://127.0.0.1:{port}"]
    command += ["--checkpoint", str(tmp_path / "c"), "--every", "0.3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready
        process.kill()
    killed.set()
    thread.join()
    assert holds(tmp_path / "c", [b"a", b"b", b"a"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_monitor_that_is_asked_to_end_saves_what_it_has(tmp_path, number) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\n")
    command = [sys.executable, str(EXAMPLES / "monitor_stream.py"), str(log), "--every", "0"]
    command += ["--checkpoint", str(tmp_path / "c")]
    # A shell's background jobs ignore interrupts, and so would this one.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(number)
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert holds(tmp_path / "c", [b"a"])


def test_a_monitor_names_what_is_wrong(tmp_path, monkeypatch, capsys) -> None:
    monitor = load("monitor_stream")
    monkeypatch.chdir(tmp_path)
    Path("log").write_bytes(b"a\n")
    Path("foreign").write_bytes(b"\x00\xff" * 50)
    with socket.create_server(("127.0.0.1", 0)) as server:
        unused = server.getsockname()[1]
    cannot_draw = "No such file or directory: 'nowhere/x.png.new'"
    if importlib.util.find_spec("matplotlib") is None:
        cannot_draw = "--draw needs matplotlib, which cannot be imported"
    for arguments, message in [
        (["missing", "--checkpoint", "c"], "No such file or directory: 'missing'"),
        (["log", "--checkpoint", "foreign"], "foreign is not a checkpoint of this program"),
        (["log", "--checkpoint", "nowhere/c"], "No such file or directory: 'nowhere/c.new'"),
        (["tcp://localhost", "--checkpoint", "c"], "source must be a file or tcp://host:port"),
        ([f"tcp://127.0.0.1:{unused}", "--checkpoint", "c"], "refused"),
        (["log", "--checkpoint", "c", "--every", "nan"], "argument --every: must be at least 0, got nan"),
        (["log", "--checkpoint", "c", "--draw", "x.jpeg"], "argument --draw: must end with .png, .svg"),
        (["log", "--checkpoint", "c", "--draw", "nowhere/x.png"], cannot_draw),
        (["log", "--checkpoint", "c.png", "--draw", "./c.png"], "--draw: must be another file than that of"),
        (["log", "log", "--checkpoint", "c"], "one source is watched by each process, got 2 for 1"),
    ]:
        with pytest.raises(SystemExit) as end:
            monitor.main([*arguments, "--once"])
        assert end.value.code in (1, 2) and message in capsys.readouterr().err


def test_a_monitor_says_that_a_merged_checkpoint_has_no_place(tmp_path, monkeypatch, capsys) -> None:
    monitor = load("monitor_stream")
    monkeypatch.chdir(tmp_path)
    Path("log").write_bytes(b"a\n")
    monitor.main(["log", "--checkpoint", "c", "--once"])
    monitor.main(["--merge", "c", "--checkpoint", "merged"])
    monitor.main(["log", "--checkpoint", "merged", "--once"])
    out, err = capsys.readouterr()
    assert err == "merged does not tell how far log was read: read from its start\n"
    assert out.splitlines()[-1].startswith("2 lines")
