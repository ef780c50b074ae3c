"""Tables of counters of keys: Count-Min and Count-Sketch."""

from __future__ import annotations


def table_row(key: int, words: list[int], n_buckets: int) -> tuple[int, int]:
    """Return the bucket and the sign of a 64-bit key in the row with the words (a, b, c)."""
    a, b, c = words
    low, high = key % 2**32, key // 2**32
    h = ((a + low) * (b + high) + c) % 2**64 // 2**32
    return h * n_buckets // 2**32, 1 if h % 2 == 1 else -1


def count_table(
    words: list[list[int]], n_buckets: int, keys: list[int], weights: list[int], *, signed: bool
) -> list[list[int]]:
    """Build the table of Count-Min or, signed, of Count-Sketch."""
    table = [[0] * n_buckets for _ in words]
    for key, weight in zip(keys, weights, strict=True):
        for row, w in zip(table, words, strict=True):
            bucket, sign = table_row(key, w, n_buckets)
            row[bucket] += weight * sign if signed else weight
    return table


def conservative_table(
    words: list[list[int]], n_buckets: int, keys: list[int], weights: list[int]
) -> list[list[int]]:
    """Build the table of Count-Min under conservative update."""
    table = [[0] * n_buckets for _ in words]
    for key, weight in zip(keys, weights, strict=True):
        buckets = [table_row(key, w, n_buckets)[0] for w in words]
        wanted = min(row[bucket] for row, bucket in zip(table, buckets, strict=True)) + weight
        for row, bucket in zip(table, buckets, strict=True):
            row[bucket] = max(row[bucket], wanted)
    return table


def table_estimates(words: list[list[int]], table: list[list[int]], key: int, *, signed: bool) -> list[int]:
    """Return each row's estimate of the key's count."""
    found = [table_row(key, w, len(row)) for row, w in zip(table, words, strict=True)]
    return [row[at] * (sign if signed else 1) for row, (at, sign) in zip(table, found, strict=True)]
