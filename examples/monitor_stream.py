"""Watch a file that grows, or a socket, and never lose more than a few seconds of it.

    python examples/monitor_stream.py access.log --checkpoint access.sketch --every 5
    python examples/monitor_stream.py access.log --checkpoint access.sketch --user 1 --page 7 --latency 10
    python examples/monitor_stream.py tcp://localhost:9999 --checkpoint feed.sketch
    python examples/monitor_stream.py --merge one.sketch two.sketch --checkpoint both.sketch

The program prints the most frequent pages (top-k, heavy hitters), the number of distinct users (count
distinct), and quantiles of latencies at every checkpoint. Pages, users and latencies are fields of a line,
which white space separates. Without such options every line is a page and a user, and only its first 1,024
bytes are used. A latency that is no number is left out and counted.

Programs on several machines may watch files of their own. ``--merge`` makes one checkpoint of theirs: its
sketches are those of all lines.

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
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from mergesketch import DDSketch, HeavyHitters, HyperLogLog

#: Bytes that are read at a time, the bytes of a line that count, and the most bytes of a line.
CHUNK, KEY, LONGEST = 1 << 20, 1 << 10, 1 << 26
#: Seconds to wait where there is nothing new.
PAUSE = 0.1

#: The device and the number of a file, and the place in it up to which lines are counted.
Place = tuple[int, int, int]


class Monitor:
    """Sketches of all lines so far, and the place in the source where they end.

    Parameters
    ----------
    page, user, latency : int, optional
        The numbers of the fields of a line, the first of which is 1. Without a number, pages and users are
        whole lines, and there are no latencies.
    """

    def __init__(self, page: int | None = None, user: int | None = None, latency: int | None = None) -> None:
        self.fields = page, user, latency
        self.frequent = HeavyHitters(frequency=0.001, max_key_bytes=KEY, seed=1)
        self.users = HyperLogLog(precision=14, seed=1)
        self.latencies = DDSketch(relative_error=0.01)
        self.place: Place | None = None
        self.n_wrong = 0

    @property
    def sketches(self) -> tuple[HeavyHitters, HyperLogLog, DDSketch]:
        return self.frequent, self.users, self.latencies

    def update(self, text: bytes, place: Place | None) -> None:
        """Count whole lines, which end at `place`."""
        lines = text.splitlines()
        page, user, latency = self.fields
        split = [line.split() for line in lines] if any(self.fields) else []
        self.frequent.update(_column(lines, split, page))
        self.users.update(_column(lines, split, user))
        if latency is not None:
            numbers = _numbers(_column(lines, split, latency))
            right = np.isfinite(numbers)
            self.latencies.update(numbers[right])
            self.n_wrong += len(lines) - int(right.sum())
        self.place = place

    def merge(self, other: Monitor) -> None:
        """Add all lines of another monitor. The place in the source is no longer known."""
        for ours, theirs in zip(self.sketches, other.sketches, strict=True):
            ours.merge(theirs)
        self.place, self.n_wrong = None, self.n_wrong + other.n_wrong

    def save(self, path: Path) -> None:
        """Replace the checkpoint, so that a reader sees either the old one or the new one."""
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            file.write(json.dumps({"place": self.place, "wrong": self.n_wrong}).encode() + b"\n")
            for sketch in self.sketches:
                sketch.save(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, *fields: int | None) -> Monitor:
        """Return the monitor of a checkpoint, or a new one if there is no checkpoint."""
        monitor = cls(*fields)
        if path.exists():
            with path.open("rb") as file:
                try:
                    head = json.loads(file.readline())
                    monitor.place = None if head["place"] is None else tuple(head["place"])
                    monitor.n_wrong = int(head["wrong"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{path} is not a checkpoint of this program") from error
                monitor.frequent = HeavyHitters.load(file)
                monitor.users = HyperLogLog.load(file)
                monitor.latencies = DDSketch.load(file)
        return monitor

    def report(self) -> str:
        """Return one line of text about the lines so far."""
        named = ((key[:60].decode(errors="backslashreplace"), count) for key, count in self.frequent.top(3))
        top = ", ".join(f"{key} ({count:,})" for key, count in named)
        distinct = self.users.cardinality()
        text = f"{self.frequent.n_updates:,} lines, about {distinct:,.0f} distinct; most frequent: {top}"
        if self.latencies.n_updates:
            middle, high = self.latencies.quantile([0.5, 0.99]).tolist()
            text += f"; latency: half up to {middle:.4g}, 99 % up to {high:.4g}"
        return text + (f"; {self.n_wrong:,} latencies are no numbers" if self.n_wrong else "")


def _column(lines: list[bytes], split: list[list[bytes]], number: int | None) -> list[bytes]:
    """Return a field of every line, or whole lines; b"" where a line has fewer fields."""
    if number is None:
        return [line[:KEY] for line in lines]
    return [fields[number - 1][:KEY] if len(fields) >= number else b"" for fields in split]


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


def watch(options: argparse.Namespace) -> None:
    """Count the lines of the source until it ends, or a signal stops the program."""
    signals: list[int] = []
    before = {number: signal.signal(number, lambda number, _: signals.append(number)) for number in STOPPING}
    try:
        monitor = Monitor.load(options.checkpoint, options.page, options.user, options.latency)
        address = urlsplit(options.source) if options.source.startswith("tcp://") else None
        if address is None:
            source = follow(Path(options.source), monitor.place)
        elif address.hostname and address.port:
            source = receive(address.hostname, address.port)
        else:
            raise ValueError(f"source must be a file or tcp://host:port, got {options.source}")
        due, fresh = time.monotonic() + options.every, False
        for chunk in source:
            if chunk is not None:
                monitor.update(*chunk)
                fresh = True
            elif address is None and options.once:
                break
            elif address is None:
                time.sleep(min(PAUSE, options.every))
            if fresh and time.monotonic() >= due:
                monitor.save(options.checkpoint)
                print(monitor.report(), flush=True)
                due, fresh = time.monotonic() + options.every, False
            if signals:
                break
        monitor.save(options.checkpoint)
        print(monitor.report(), flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def merge(options: argparse.Namespace) -> None:
    """Write one checkpoint with the lines of all."""
    whole = Monitor()
    for name in options.source:
        if not Path(name).exists():
            raise FileNotFoundError(f"{name} does not exist")
        whole.merge(Monitor.load(Path(name)))
    whole.save(options.checkpoint)
    print(whole.report())


STOPPING = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> None:
    """Run until the program is interrupted, or with --once until the source has nothing new."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="+", help="a file, or tcp://host:port; several for --merge")
    parser.add_argument("--merge", action="store_true", help="merge the checkpoints that are given, and stop")
    for name, what in (("page", "counted"), ("user", "told apart"), ("latency", "summarised, a number")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"number of the field that is {what}")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file of the sketches")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints (default: 5)")
    parser.add_argument("--once", action="store_true", help="stop at the end of the file")
    options = parser.parse_args(arguments)
    if not options.every >= 0:
        parser.error(f"argument --every: must be at least 0, got {options.every}")
    for name in ("page", "user", "latency"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"argument --{name}: must be at least 1, got {getattr(options, name)}")
    if len(options.source) > 1 and not options.merge:
        parser.error(f"one source is watched, got {len(options.source)}")
    try:
        if options.merge:
            merge(options)
        else:
            options.source = options.source[0]
            watch(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
