"""Watch a file that grows, or a socket, and never lose more than a few seconds of it.

    python examples/monitor_stream.py access.log --log --checkpoint access.sketch --every 5
    python examples/monitor_stream.py access.log --log --latency -1 --checkpoint access.sketch --table
    python examples/monitor_stream.py access.log --log --checkpoint access.sketch --draw access.png
    python examples/monitor_stream.py iis.log --log --user 9 --page 5 --latency -1 --checkpoint iis.sketch
    python examples/monitor_stream.py times.txt --user 1 --page 2 --latency 3 --checkpoint times.sketch
    python examples/monitor_stream.py tcp://localhost:9999 --checkpoint feed.sketch
    python examples/monitor_stream.py --merge one.sketch two.sketch --checkpoint both.sketch
    mpiexec -n 2 python examples/monitor_stream.py one.log two.log --log --checkpoint both.sketch

The program reports the most frequent pages (top-k, heavy hitters), the number of distinct users (count
distinct), and quantiles of latencies at every checkpoint: in one line, in a table that refreshes
(``--table``), and in a picture (``--draw``).

Pages, users and latencies are fields of a line. Fields have numbers from 1, or from -1 if they are counted
from the end. With ``--log``, lines are those of web servers, in the Common Log Format or one that begins like
it, such as nginx's ``combined``: text in quotes or brackets is one field. Users are then the addresses (field
1), and pages the paths of the requests (field 5), unless ``--user`` and ``--page`` say otherwise. Without
``--page``, lines of other formats are left out, and their number is reported. Empty lines and those that
begin with #, such as the headers of IIS's logs, are no requests. The time that a request took is in the log
only if the server is told to write it: nginx by ``$request_time`` at the end of ``log_format``, Apache by
``%D``. Without ``--log``, white space separates fields; without any option,
every line is a page and a user. Only the first 1,024 bytes of a field are used. A latency that is no number
is left out and counted.

Programs on several machines may watch files of their own. ``--merge`` makes one checkpoint of theirs: its
sketches are those of all lines. Under ``mpiexec``, each rank watches a source of its own, rank 0 reports on
all lines and writes the merged checkpoint, and rank r has its own checkpoint, whose name ends with ``.r``. An
interrupt there ends the ranks without a last checkpoint; the next start continues from the ones before.

A checkpoint is one file, which is replaced in one step. It contains the three sketches. For a file, it also
contains the identity of the file and the position up to which it was read. If the program is killed (by
``kill -9`` or a power cut), the next start continues from the checkpoint. Lines of a file are then read
again and counted once. Lines of a socket that arrived after the checkpoint are lost.

A file may be renamed and replaced by a new one, as ``logrotate`` does. The program first reads the old file
to its end. It also does this after a restart, if the old file is still in the same folder and was renamed
once. A file that has become shorter is read from its beginning, unless it has grown beyond the old position
while the program did not run. If the last line has no line end, it is not counted until the file is
replaced, or until the other side of the socket closes the connection.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from mergesketch import DDSketch, HyperLogLog, TopK
from mergesketch.distributed import Communicator, merge_over_ranks, run_main

#: Bytes that are read at a time, the bytes of a line that count, and the most bytes of a line.
CHUNK, KEY, LONGEST = 1 << 20, 1 << 10, 1 << 26
#: Seconds to wait where there is nothing new.
PAUSE = 0.1

#: A field of a web server's log: text in quotes (in which a backslash protects a quote), text in brackets, or
#: a word.
FIELD = re.compile(rb'"((?:[^"\\]|\\.)*)"|\[([^\]]*)\]|(\S+)')
#: The beginning of a line in the Common Log Format: three words, the time and the request.
COMMON = re.compile(rb'\S+ \S+ \S+ \[[^\]]*\] "')
#: The quantiles that are shown.
SHARES = [0.5, 0.9, 0.99]

#: The device and the number of a file, and the place in it up to which lines are counted.
Place = tuple[int, int, int]


class Monitor:
    """Sketches of all lines so far, and the place in the source where they end.

    Parameters
    ----------
    page, user, latency : int, optional
        The numbers of the fields of a line, from 1, or from -1 at the end. Without a number, pages and users
        are whole lines, and there are no latencies.
    log : bool, default False
        True for lines of web servers, which have pages and users without a number, too.
    """

    def __init__(
        self,
        page: int | None = None,
        user: int | None = None,
        latency: int | None = None,
        *,
        log: bool = False,
    ) -> None:
        self.page, self.user, self.latency, self.log = page, user, latency, log
        self.frequent = TopK(max_key_bytes=KEY, seed=1)
        self.users = HyperLogLog(precision=14, seed=1)
        self.latencies = DDSketch(relative_error=0.01)
        self.source: str | None = None
        self.place: Place | None = None
        self.n_wrong = self.n_foreign = 0

    @property
    def sketches(self) -> tuple[TopK, HyperLogLog, DDSketch]:
        return self.frequent, self.users, self.latencies

    def update(self, text: bytes, place: Place | None) -> None:
        """Count whole lines, which end at `place`."""
        lines = text.splitlines()
        if self.log:
            lines = [line for line in lines if line.strip() and not line.startswith(b"#")]
            if self.page is None:
                n, lines = len(lines), [line for line in lines if COMMON.match(line)]
                self.n_foreign += n - len(lines)
        split = [FIELD.findall(line) if self.log else line.split() for line in lines]
        if self.log:
            split = [[b"".join(groups) for groups in fields] for fields in split]
        pages, users = (_column(lines, split, number) for number in (self.page, self.user))
        if self.log:
            pages = [_path(line) for line in _column(lines, split, 5)] if self.page is None else pages
            users = _column(lines, split, 1) if self.user is None else users
        self.frequent.update(pages)
        self.users.update(users)
        if self.latency is not None:
            numbers = _numbers(_column(lines, split, self.latency))
            right = np.isfinite(numbers)
            self.latencies.update(numbers[right])
            self.n_wrong += len(lines) - int(right.sum())
        self.place = place

    def merged(self, comm: Communicator) -> Monitor:
        """Return a monitor of the lines of all ranks; a collective call."""
        if comm.size == 1:
            return self
        whole = Monitor(log=self.log)
        whole.frequent, whole.users, whole.latencies = (
            merge_over_ranks(sketch.copy(), comm) for sketch in self.sketches
        )
        whole.n_wrong, whole.n_foreign = comm.sum(self.n_wrong), comm.sum(self.n_foreign)
        return whole

    def merge(self, other: Monitor) -> None:
        """Add all lines of another monitor. The place in the source is no longer known."""
        for ours, theirs in zip(self.sketches, other.sketches, strict=True):
            ours.merge(theirs)
        self.place, self.n_wrong = None, self.n_wrong + other.n_wrong
        self.n_foreign += other.n_foreign

    def save(self, path: Path) -> None:
        """Replace the checkpoint, so that a reader sees either the old one or the new one."""
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            head = {"source": self.source, "place": self.place, "wrong": self.n_wrong}
            head["foreign"] = self.n_foreign
            file.write(json.dumps(head).encode() + b"\n")
            for sketch in self.sketches:
                sketch.save(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, *fields: int | None, log: bool = False) -> Monitor:
        """Return the monitor of a checkpoint, or a new one if there is no checkpoint."""
        monitor = cls(*fields, log=log)
        if path.exists():
            with path.open("rb") as file:
                try:
                    head = json.loads(file.readline())
                    monitor.place = None if head["place"] is None else tuple(head["place"])
                    monitor.source, monitor.n_wrong = head.get("source"), int(head["wrong"])
                    monitor.n_foreign = int(head.get("foreign", 0))
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{path} is not a checkpoint of this program") from error
                monitor.frequent = TopK.load(file)
                monitor.users = HyperLogLog.load(file)
                monitor.latencies = DDSketch.load(file)
        return monitor

    def top(self, k: int) -> list[tuple[str, int]]:
        """Return the k most frequent pages as text, and their counts."""
        return [
            (key.decode(errors="backslashreplace") if isinstance(key, bytes) else key, count)
            for key, count in self.frequent.top(k)
        ]

    def n_users(self) -> float:
        """Return the estimated number of distinct users, which is at most that of all lines."""
        return min(self.users.cardinality(), self.users.n_updates)

    def report(self, k: int = 3) -> str:
        """Return one line of text about the lines so far."""
        top = ", ".join(f"{key[:60]} ({count:,})" for key, count in self.top(k))
        text = (
            f"{self.frequent.n_updates:,} lines, about {self.n_users():,.0f} distinct; most frequent: {top}"
        )
        if self.latencies.n_updates:
            middle, high = self.latencies.quantile([0.5, 0.99]).tolist()
            text += f"; latency: half up to {middle:.4g}, 99 % up to {high:.4g}"
        return "; ".join([text, *(f"{n:,} {what}" for n, what in self._left_out())])

    def _left_out(self) -> list[tuple[int, str]]:
        """Return the numbers of lines and of latencies that are not counted, if there are any."""
        found = [
            (self.n_foreign, "other lines are not in the Common Log Format: see --help"),
            (self.n_wrong, "latencies are no numbers"),
        ]
        return [(n, what) for n, what in found if n]

    def table(self, k: int) -> str:
        """Return a table about the lines so far."""
        n, (low, high) = self.frequent.n_updates, self.users.bounds()
        rows = [f"{n:>12,}  lines", f"{self.n_users():>12,.0f}  users ({low:,} to {high:,})"]
        if self.latencies.n_updates:
            values = self.latencies.quantile(SHARES).tolist()
            rows += [
                f"{value:>12.4g}  latency, quantile {q:g}" for q, value in zip(SHARES, values, strict=True)
            ]
            rows.append(f"{self.latencies.max:>12.4g}  latency, largest")
        rows += [f"{n:>12,}  {what}" for n, what in self._left_out()]
        rows += [f"{count:>12,}  {count / n:>6.1%}  {key[:90]}" for key, count in self.top(k)]
        return "\n".join(rows)


class Picture:
    """A picture of the reports so far, in a file that is replaced at each report.

    Parameters
    ----------
    path : Path
        A name that ends with .png, .svg or .pdf.
    k : int
        The number of the most frequent pages.
    """

    def __init__(self, path: Path, k: int) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ValueError(f"--draw needs matplotlib, which cannot be imported: {error}") from error
        self.new_figure, self.path, self.k = Figure, path, k
        self.seconds: list[float] = []
        self.users: list[float] = []
        self.quantiles: list[list[float]] = []

    def draw(self, monitor: Monitor) -> None:
        """Add the numbers of this moment, and replace the file."""
        self.seconds.append(time.monotonic())
        self.users.append(monitor.n_users())
        self.quantiles.append(monitor.latencies.quantile(SHARES).tolist())
        figure = self.new_figure(figsize=(10, 6), layout="constrained")
        pages, users, latencies = figure.subplot_mosaic([["pages", "users"], ["pages", "latencies"]]).values()
        top = monitor.top(self.k)[::-1]
        # A dollar sign would begin a formula.
        pages.barh(range(len(top)), [count for _, count in top])
        pages.set_yticks(range(len(top)), [key[:40].replace("$", r"\$") for key, _ in top])
        pages.set_title(f"the most frequent pages of {monitor.frequent.n_updates:,} lines")
        since = [second - self.seconds[0] for second in self.seconds]
        users.plot(since, self.users, marker=".")
        users.set_title(f"distinct users: about {self.users[-1]:,.0f}")
        latencies.plot(since, self.quantiles, marker=".", label=[f"quantile {q:g}" for q in SHARES])
        latencies.set_title("latencies" if monitor.latencies.n_updates else "no latencies")
        latencies.set_xlabel("seconds since the first report")
        latencies.legend()
        temporary = self.path.with_name(self.path.name + ".new")
        figure.savefig(temporary, format=self.path.suffix[1:])
        temporary.replace(self.path)


def _path(request: bytes) -> bytes:
    """Return the path of a request such as b"GET /cart?item=7 HTTP/1.1"; other text stays as it is."""
    words = request.split()
    return words[1].partition(b"?")[0] if len(words) > 1 else request


def _column(lines: list[bytes], split: list[list[bytes]], number: int | None) -> list[bytes]:
    """Return a field of every line, or whole lines; b"" where a line has fewer fields."""
    if number is None:
        return [line[:KEY] for line in lines]
    place = number - 1 if number > 0 else number
    return [fields[place][:KEY] if len(fields) >= abs(number) else b"" for fields in split]


def _numbers(fields: list[bytes]) -> np.ndarray:
    """Return the numbers of fields, with NaN in place of what is none."""
    found = np.full(len(fields), np.nan)
    for place, field in enumerate(fields):
        try:
            found[place] = float(field)
        except ValueError:
            continue
    return found


#: Whole lines and the place after them, or None when there is nothing new.
Chunks = Iterator[tuple[bytes, Place | None] | None]


def whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """Return the lines that have ended, and the beginning of the next line."""
    end = data.rfind(b"\n") + 1
    if len(data) - end > LONGEST:
        raise ValueError(f"a line is longer than {LONGEST:,} bytes: is this text?")
    return data[:end], data[end:]


def find(path: Path, place: Place) -> Path | None:
    """Return the path of the checkpoint's file, which may have been renamed since, or None."""
    for candidate in (path, *path.parent.iterdir()):
        try:
            status = candidate.stat()
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == place[:2] and status.st_size >= place[2]:
            return candidate
    return None


def follow(path: Path, place: Place | None) -> Chunks:
    """Yield the lines of a file as it grows, and then those of the file that replaces it."""
    found, start = path, 0
    if place is not None:
        if known := find(path, place):
            found, start = known, place[2]
        else:
            print(
                f"{path} is not the file of the checkpoint, or was cut: read from its start", file=sys.stderr
            )
    while True:
        with found.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            own = status.st_dev, status.st_ino
            file.seek(start)
            rest, replaced, cut = b"", False, False
            while not cut:
                if new := file.read(CHUNK):
                    lines, rest = whole_lines(rest + new)
                    start += len(lines)
                    if lines:
                        yield lines, (*own, start)
                    continue
                if replaced:
                    break  # The old file did not grow after the renaming.
                try:
                    now = path.stat()
                    replaced = (now.st_dev, now.st_ino) != own
                    cut = not replaced and now.st_size < start + len(rest)
                except FileNotFoundError:
                    pass  # The file was renamed, and there is no new one yet.
                if not replaced and not cut:
                    yield None
            if rest and replaced:
                yield rest, (*own, start + len(rest))
        found, start = path, 0


def receive(host: str, port: int) -> Chunks:
    """Yield the lines that arrive over a connection, until the other side closes it."""
    with socket.create_connection((host, port)) as connection:
        connection.settimeout(PAUSE)  # Checkpoints are due even if nothing arrives.
        rest = b""
        while True:
            try:
                new = connection.recv(CHUNK)
            except TimeoutError:
                yield None
                continue
            except ConnectionError:
                new = b""
            if not new:
                break
            lines, rest = whole_lines(rest + new)
            if lines:
                yield lines, None
        if rest:
            yield rest, None


def open_source(name: str, place: Place | None) -> Chunks:
    """Return the lines of a file or of a socket."""
    if not name.startswith("tcp://"):
        return follow(Path(name), place)
    address = urlsplit(name)
    if not (address.hostname and address.port):
        raise ValueError(f"source must be a file or tcp://host:port, got {name}")
    return receive(address.hostname, address.port)


def collect(
    monitor: Monitor, source: Chunks, options: argparse.Namespace, stops: list[int]
) -> tuple[bool, bool]:
    """Count lines until a report is due; return whether there were any, and whether the source has ended.

    Without new lines, a report is due on several ranks only: others may have some.
    """
    due, fresh = time.monotonic() + options.every, False
    for chunk in source:
        if chunk is not None:
            monitor.update(*chunk)
            fresh = True
        elif options.is_file and options.once:
            return fresh, True
        elif options.is_file:
            time.sleep(min(PAUSE, options.every))
        if stops:
            return fresh, True
        if time.monotonic() >= due and (fresh or options.is_shared):
            return fresh, False
    return fresh, True


def watch(options: argparse.Namespace, comm: Communicator) -> None:
    """Count the lines of this rank's source until all sources end, or a signal stops the program."""
    stops: list[int] = []
    before = {number: signal.signal(number, lambda number, _: stops.append(number)) for number in STOPPING}
    try:
        name, own, picture = options.source[comm.rank], options.checkpoint, None
        if comm.size > 1:
            own = own.with_name(f"{own.name}.{comm.rank}")
        options.is_file, options.is_shared = not name.startswith("tcp://"), comm.size > 1
        with comm.agree():
            monitor = Monitor.load(own, options.page, options.user, options.latency, log=options.log)
            if comm.size > 1 and monitor.source not in (None, name):
                raise ValueError(f"{own} is a checkpoint of {monitor.source}, and not of {name}")
            monitor.source = name
            if options.is_file and monitor.place is None and monitor.frequent.n_updates:
                print(f"{own} does not tell how far {name} was read: read from its start", file=sys.stderr)
            source = open_source(name, monitor.place)
            if options.draw is not None and comm.rank == 0:
                picture = Picture(options.draw, options.top)
        while True:
            with comm.agree():
                fresh, ended = collect(monitor, source, options, stops)
                monitor.save(own)
            ends = comm.sum(bool(stops)) > 0 or comm.sum(ended) == comm.size
            if comm.sum(fresh) or ends:
                whole = monitor.merged(comm)
                with comm.agree():
                    if comm.rank == 0:
                        if comm.size > 1:
                            whole.save(options.checkpoint)
                        show(whole, options, picture)
            if ends:
                return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(monitor: Monitor, options: argparse.Namespace, picture: Picture | None) -> None:
    """Report on all lines so far."""
    if picture is not None:
        picture.draw(monitor)
    if options.table:
        # On a terminal, the new table takes the place of the old one.
        clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
        print(f"{clear}{monitor.table(options.top)}\n", flush=True)
    else:
        print(monitor.report(options.top), flush=True)


def merge(options: argparse.Namespace) -> None:
    """Write one checkpoint with the lines of all."""
    whole = Monitor()
    for name in options.source:
        if not Path(name).exists():
            raise FileNotFoundError(f"{name} does not exist")
        whole.merge(Monitor.load(Path(name)))
    whole.save(options.checkpoint)
    show(whole, options, None if options.draw is None else Picture(options.draw, options.top))


def run(options: argparse.Namespace, comm: Communicator) -> None:
    """Watch one source on each rank, or merge checkpoints on rank 0."""
    if not options.merge:
        if len(options.source) != comm.size:
            with comm.agree():
                raise ValueError(
                    f"one source is watched by each process, got {len(options.source)} for {comm.size}"
                )
        watch(options, comm)
        return
    with comm.agree():
        if comm.rank == 0:
            merge(options)


STOPPING = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> None:
    """Run until the program is interrupted, or with --once until the source has nothing new."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="+", help="a file, or tcp://host:port; several for --merge, or ranks")
    parser.add_argument("--merge", action="store_true", help="merge the checkpoints that are given, and stop")
    parser.add_argument("--log", action="store_true", help="lines are those of a web server's log")
    for name, what in (("page", "counted"), ("user", "told apart"), ("latency", "summarised, a number")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"number of the field that is {what}")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file of the sketches")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints (default: 5)")
    parser.add_argument("--once", action="store_true", help="stop at the end of the file")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="number of pages shown (default: 3)")
    parser.add_argument("--table", action="store_true", help="report in a table that refreshes")
    parser.add_argument(
        "--draw", type=Path, metavar="FILE", help="draw each report into a .png, .svg or .pdf"
    )
    options = parser.parse_args(arguments)
    if not options.every >= 0:
        parser.error(f"argument --every: must be at least 0, got {options.every}")
    if options.top < 0:
        parser.error(f"argument --top: must be at least 0, got {options.top}")
    if options.draw is not None and options.draw.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"argument --draw: must end with .png, .svg or .pdf, got {options.draw}")
    if options.draw is not None and options.draw.resolve() == options.checkpoint.resolve():
        parser.error(f"argument --draw: must be another file than that of --checkpoint, got {options.draw}")
    for name in ("page", "user", "latency"):
        if getattr(options, name) == 0:
            parser.error(f"argument --{name}: must be a number from 1, or from -1 at the end, got 0")
    if code := run_main(lambda comm: run(options, comm), name=parser.prog):
        sys.exit(code)


if __name__ == "__main__":
    main()
