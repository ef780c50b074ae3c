"""Make tables of the pages about sparse_all_reduce from its results; see figures.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from markdown_parts import percent, short, table
from summary import rows

__all__ = ["TABLES"]

WAYS = ("ours", "dense", "by range", "all-gather")
#: Bytes a second of networks.
NETWORKS = {"1 Gb/s": 1e9 / 8, "10 Gb/s": 1e10 / 8, "100 Gb/s": 1e11 / 8}

Row = dict[str, Any]


def _groups() -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """Yield the rows of each number of ranks, way of drawing ids and number of columns."""
    found = rows("sparse_all_reduce")
    for key in dict.fromkeys((r["ranks"], r["ids"], r["columns"]) for r in found):
        names = (str(key[0]), f"{key[1]}, {key[2]} column{'s' if key[2] > 1 else ''}")
        yield names, [r for r in found if (r["ranks"], r["ids"], r["columns"]) == key]


def sent() -> str:
    """Return the bytes of the busiest rank."""
    return table(
        ("ranks", "ids", "density", "of the sum", *(f"{way}, MB" for way in WAYS)),
        (
            (
                *names,
                percent(r["density"]),
                percent(r["density of the sum"]),
                *(short(r[f"{w}, MB"]) for w in WAYS),
            )
            for names, found in _groups()
            for r in found
            if "Zipf" in names[1]
        ),
    )


def times() -> str:
    """Return the processor milliseconds of a rank."""
    names = ("ours", "ours without messages", *WAYS[1:])
    return table(
        ("ranks", "ids", "density", *(f"{name}, ms" for name in names)),
        (
            (*group, percent(r["density"]), *(short(r[f"{name}, ms"]) for name in names))
            for group, found in _groups()
            for r in found
            if "Zipf" in group[1]
        ),
    )


def crossovers() -> str:
    """Return the largest measured density at which ours has fewer bytes, or takes less time, than dense."""

    def largest(found: list[Row], is_better: Callable[[Row], bool]) -> str:
        better = [r["density"] for r in found if is_better(r)]
        return percent(max(better)) if better else "none"

    def faster_at(speed: float) -> Callable[[Row], bool]:
        # In favour of the dense all-reduce, its adding counts nothing: here it cannot be told from waiting.
        return lambda r: (
            r["ours without messages, ms"] / 1e3 + r["ours, MB"] * 1e6 / speed < r["dense, MB"] * 1e6 / speed
        )

    return table(
        ("ranks", "ids", "fewer bytes up to", *(f"less time at {name} up to" for name in NETWORKS)),
        (
            (
                *names,
                largest(found, lambda r: r["ours, MB"] < r["dense, MB"]),
                *(largest(found, faster_at(speed)) for speed in NETWORKS.values()),
            )
            for names, found in _groups()
        ),
    )


def loads() -> str:
    """Return the largest over the mean load of owners, for real words."""
    ways = ("largest over mean load", "each id hashed alone", "by range")
    return table(
        ("ids", "ranks", *(f"{name}, {way}" for way in ("to", "back") for name in ("ours", *ways[1:]))),
        (
            (
                r["ids"],
                r["ranks"],
                *(short(r[f"{name}, {way}"], 3) for way in ("to", "back") for name in ways),
            )
            for r in rows("sparse_all_reduce_scale")
        ),
    )


def scale() -> str:
    """Return the computed milliseconds of an exchange on many ranks."""
    return table(
        ("ids", "ranks", "density of a rank", "of the sum", *(f"{way}, ms" for way in WAYS)),
        (
            (
                f"{r['number of ids']:,} {r['ids']}",
                r["ranks"],
                percent(r["density of a rank"]),
                percent(r["density of the sum"]),
                *(short(r[f"{way}, ms"]) for way in WAYS),
            )
            for r in rows("sparse_all_reduce_scale")
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "sparse_all_reduce_sent": sent,
    "sparse_all_reduce_times": times,
    "sparse_all_reduce_crossovers": crossovers,
    "sparse_all_reduce_loads": loads,
    "sparse_all_reduce_model": scale,
}
