"""Watch a file that grows, or a socket, and never lose more than a few seconds of it.

    python examples/monitor_stream.py access.log --checkpoint access.sketch --every 5
    python examples/monitor_stream.py tcp://localhost:9999 --checkpoint feed.sketch

Every line is a key. The most frequent keys, and how many distinct ones there are, are printed at every
checkpoint. A checkpoint is one file, replaced in one step: the two sketches, and for a file how far it was
read. Whatever kills the program (``kill -9``, a power cut), the next start goes on from there: lines of a
file are read again and counted once, of a socket what came since the last checkpoint is lost.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from mergesketch import BloomFilter, HeavyHitters

#: Bytes that are read at a time.
CHUNK = 1 << 20


class Monitor:
    """Two sketches of all lines so far, and how many bytes of the source they hold."""

    def __init__(self) -> None:
        self.frequent = HeavyHitters(frequency=0.001, seed=1)
        self.seen = BloomFilter(capacity=10_000_000, error_rate=0.01, seed=1)
        self.offset = 0

    def update(self, chunk: bytes) -> None:
        """Take in whole lines."""
        lines = chunk.splitlines()
        self.frequent.update(lines)
        self.seen.update(lines)
        self.offset += len(chunk)

    def save(self, path: Path) -> None:
        """Replace the checkpoint: a reader sees the old one or the new one, never a part."""
        parts = [self.frequent.to_bytes(), self.seen.to_bytes()]
        head = json.dumps({"offset": self.offset, "sizes": [len(part) for part in parts]}).encode()
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            file.write(head + b"\n" + b"".join(parts))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Monitor:
        """Go on where the checkpoint stands; from the start if there is none."""
        monitor = cls()
        if path.exists():
            with path.open("rb") as file:
                head = json.loads(file.readline())
                first, second = head["sizes"]
                monitor.frequent = HeavyHitters.from_bytes(file.read(first))
                monitor.seen = BloomFilter.from_bytes(file.read(second))
                monitor.offset = head["offset"]
        return monitor

    def report(self) -> str:
        """One line for people."""
        named = ((key.decode(errors="replace"), count) for key, count in self.frequent.top(3))
        top = ", ".join(f"{key} ({count:,})" for key, count in named)
        distinct = self.seen.cardinality()
        return f"{self.frequent.n_updates:,} lines, about {distinct:,.0f} distinct; most frequent: {top}"


def chunks(source: str, offset: int) -> Iterator[bytes]:
    """Whole lines as they come; an empty chunk whenever there is nothing new."""
    rest = b""
    if source.startswith("tcp://"):
        host, port = source.removeprefix("tcp://").rsplit(":", 1)
        stream: io.RawIOBase = socket.create_connection((host, int(port))).makefile("rb", buffering=0)
    else:
        stream = open(source, "rb", buffering=0)  # noqa: SIM115 - closed below
        stream.seek(offset)
    with stream:
        while True:
            new = stream.read(CHUNK) or b""
            if not new and source.startswith("tcp://"):
                return  # the other side hung up
            data = rest + new
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            yield data[:end]


def main(arguments: list[str] | None = None) -> None:
    """Run until interrupted, or with --once until the source has nothing new."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a file, or tcp://host:port")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file that keeps the sketches")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints")
    parser.add_argument("--once", action="store_true", help="stop at the end of the source")
    options = parser.parse_args(arguments)
    monitor = Monitor.load(options.checkpoint)
    due = time.monotonic() + options.every
    for chunk in chunks(options.source, monitor.offset):
        if chunk:
            monitor.update(chunk)
        elif options.once:
            break
        else:
            time.sleep(min(0.1, options.every))
        if time.monotonic() >= due:
            monitor.save(options.checkpoint)
            print(monitor.report(), flush=True)
            due = time.monotonic() + options.every
    monitor.save(options.checkpoint)
    print(monitor.report(), flush=True)


if __name__ == "__main__":
    main()
