"""Buckets of bounded size from which ids are removed."""

from __future__ import annotations

from dataclasses import dataclass, field

from naive.words import mix13


@dataclass
class SlowBucket:
    """The ids kept, the number of ids dropped, and the room: None as long as no id has been dropped."""

    kept: list[int] = field(default_factory=list)
    dropped: int = 0
    room: int | None = None


class SlowIndex:
    """An index whose buckets keep the ids of least priority, as many as their room."""

    def __init__(self, keys: list[int], capacity: int) -> None:
        self.keys, self.capacity = keys, capacity
        self.buckets: dict[tuple[int, int], SlowBucket] = {}
        self.rows: dict[int, list[int]] = {}

    def _cut(self, table: int, bucket: SlowBucket) -> None:
        """Drop the ids that have no room, those of greatest priority."""
        bucket.kept.sort(key=lambda i: mix13((i + 1) ^ self.keys[table]))
        if bucket.room is None and len(bucket.kept) > self.capacity:
            bucket.room = self.capacity
        if bucket.room is not None:
            bucket.dropped += len(bucket.kept) - bucket.room
            del bucket.kept[bucket.room :]

    def _insert(self, number: int, table: int, code: int) -> None:
        bucket = self.buckets.setdefault((table, code), SlowBucket())
        bucket.kept.append(number)
        self._cut(table, bucket)

    def _take_out(self, number: int, table: int, code: int) -> None:
        bucket = self.buckets[table, code]
        if number in bucket.kept:
            bucket.kept.remove(number)
            if bucket.room is not None:
                bucket.room -= 1
        else:
            bucket.dropped -= 1
            if not bucket.dropped:
                bucket.room = None

    def contains(self, number: int) -> bool:
        """Tell whether an id is in any bucket."""
        return any(number in bucket.kept for bucket in self.buckets.values())

    def add(self, number: int, codes: list[int]) -> None:
        self.rows[number] = codes
        for table, code in enumerate(codes):
            self._insert(number, table, code)

    def find(self, number: int) -> list[bool]:
        """Tell for each table whether an id is in a bucket."""
        return [number in self.buckets[place].kept for place in enumerate(self.rows[number])]

    def change(self, number: int, codes: list[int] | None, known: list[bool]) -> None:
        """Remove an id, or move it to other codes; `known` are the tables in which its bucket is known."""
        old = self.rows.pop(number)
        for table, code in enumerate(old):
            if codes is not None and known[table] and codes[table] == code:
                continue
            if known[table]:
                self._take_out(number, table, code)
            if codes is not None:
                self._insert(number, table, codes[table])
        if codes is not None:
            self.rows[number] = codes

    def complete(self) -> None:
        """Note for a table whose buckets have all rows that no bucket has dropped any."""
        for table in range(len(self.keys)):
            buckets = [bucket for (t, _), bucket in self.buckets.items() if t == table]
            if sum(len(bucket.kept) for bucket in buckets) == len(self.rows):
                for bucket in buckets:
                    bucket.dropped, bucket.room = 0, None

    def merge(self, other: SlowIndex) -> None:
        self.rows |= other.rows
        for (table, code), theirs in other.buckets.items():
            bucket = self.buckets.setdefault((table, code), SlowBucket())
            rooms = [room for room in (bucket.room, theirs.room) if room is not None]
            bucket.room = min(rooms) if rooms else None
            bucket.kept += theirs.kept
            bucket.dropped += theirs.dropped
            self._cut(table, bucket)
