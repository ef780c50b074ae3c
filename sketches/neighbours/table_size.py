"""The number of buckets of tables, for families with more codes than a table has room for."""

from __future__ import annotations

from ...lsh.family import HashFamily, family_from_config

__all__ = ["with_table_buckets"]

#: The largest number of codes of which each gets a bucket.
_MOST_BUCKETS = 1 << 28
#: Bytes of the tables of an index whose number of buckets is chosen here, and the fewest buckets.
_BYTES, _FEWEST_BUCKETS = 1 << 30, 1 << 10


def with_table_buckets(family: HashFamily, capacity: int, wide_ids: bool) -> HashFamily:
    """Return a family whose codes number the buckets of tables.

    A family of at most 2**28 codes is returned as it is, and so is a user's family without the parameter
    `n_buckets`. The codes of others are hashed to the largest power of two of buckets that takes at most one
    gibibyte in all tables, and at least 1,024.
    """
    config = family.config()
    if family.n_buckets <= _MOST_BUCKETS or "n_buckets" not in config:
        return family
    column = family.n_hashes * (capacity * (8 if wide_ids else 4) + 4)
    n_buckets = 1 << max(_FEWEST_BUCKETS.bit_length(), (_BYTES // column).bit_length()) - 1
    return family_from_config({**config, "n_buckets": n_buckets})
