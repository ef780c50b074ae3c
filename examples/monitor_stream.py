"""Watch a file that grows, or a socket, and never lose more than a few seconds of it.

    python examples/monitor_stream.py access.log --checkpoint access.sketch --every 5
    python examples/monitor_stream.py tcp://localhost:9999 --checkpoint feed.sketch

The program prints the most frequent keys (top-k, heavy hitters) and the number of distinct keys (count
distinct) at every checkpoint. Every line is a key, and only its first 1,024 bytes are used.

A checkpoint is one file, which is replaced in one step. It contains the two sketches. For a file, it also
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

from mergesketch import BloomFilter, HeavyHitters

#: Bytes that are read at a time, the bytes of a line that count, and the most bytes of a line.
CHUNK, KEY, LONGEST = 1 << 20, 1 << 10, 1 << 26
#: Seconds to wait where there is nothing new.
PAUSE = 0.1

#: The device and the number of a file, and the place in it up to which lines are counted.
Place = tuple[int, int, int]


class Monitor:
    """Two sketches of all lines so far, and the place in the source where they end."""

    def __init__(self) -> None:
        self.frequent = HeavyHitters(frequency=0.001, max_key_bytes=KEY, seed=1)
        self.seen = BloomFilter(capacity=10_000_000, error_rate=0.01, seed=1)
        self.place: Place | None = None

    def update(self, text: bytes, place: Place | None) -> None:
        """Count whole lines, which end at `place`."""
        lines = [line[:KEY] for line in text.splitlines()]
        self.frequent.update(lines)
        self.seen.update(lines)
        self.place = place

    def save(self, path: Path) -> None:
        """Replace the checkpoint, so that a reader sees either the old one or the new one."""
        parts = [self.frequent.to_bytes(), self.seen.to_bytes()]
        head = json.dumps({"place": self.place, "sizes": [len(part) for part in parts]}).encode()
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            file.write(head + b"\n" + b"".join(parts))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Monitor:
        """Return the monitor of a checkpoint, or a new one if there is no checkpoint."""
        monitor = cls()
        if path.exists():
            with path.open("rb") as file:
                try:
                    head = json.loads(file.readline())
                    first, second = head["sizes"]
                    monitor.place = None if head["place"] is None else tuple(head["place"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{path} is not a checkpoint of this program") from error
                monitor.frequent = HeavyHitters.from_bytes(file.read(first))
                monitor.seen = BloomFilter.from_bytes(file.read(second))
        return monitor

    def report(self) -> str:
        """Return one line of text about the keys so far."""
        named = ((key[:60].decode(errors="backslashreplace"), count) for key, count in self.frequent.top(3))
        top = ", ".join(f"{key} ({count:,})" for key, count in named)
        distinct = self.seen.cardinality()
        return f"{self.frequent.n_updates:,} lines, about {distinct:,.0f} distinct; most frequent: {top}"


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
        monitor = Monitor.load(options.checkpoint)
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


STOPPING = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> None:
    """Run until the program is interrupted, or with --once until the source has nothing new."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="a file, or tcp://host:port")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file of the sketches")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints (default: 5)")
    parser.add_argument("--once", action="store_true", help="stop at the end of the file")
    options = parser.parse_args(arguments)
    if not options.every >= 0:
        parser.error(f"argument --every: must be at least 0, got {options.every}")
    try:
        watch(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
