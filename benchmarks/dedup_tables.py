"""Make tables about de-duplication from results of benchmarks/dedup_*.py; see figures.py."""

from __future__ import annotations

from typing import Any

from measure import cell
from summary import row, rows

__all__ = [
    "containment",
    "containment_figure",
    "files",
    "large",
    "large_figure",
    "processes",
    "published",
    "rate",
]


def _table(columns: tuple[str, ...], lines: list[tuple[Any, ...]]) -> str:
    written = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    written += [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join(["", *written, "", ""])


def _corpus() -> dict[str, Any]:
    return next(r for r in rows("dedup_formats") if "dollars a core-hour" in r)


def _ours(name: str) -> dict[str, Any]:
    return row("dedup_formats", input=name, what="all", threads=1)


def rate(name: str) -> str:
    """Return the megabytes of text for a CPU second, from one input to the groups."""
    return f"{_ours(name)['MB/s a core']:.0f}"


def files() -> str:
    """Return the rates from files of each format."""
    lines = []
    for name in dict.fromkeys(r["input"] for r in rows("dedup_formats") if r.get("what") == "all"):
        ours = _ours(name)
        read = [r for r in rows("dedup_formats") if r.get("input") == name and r["what"] == "reading alone"]
        lines.append(
            (
                name,
                f"{ours['MB stored']:.0f}",
                f"{read[0]['MB/s a core']:.0f}" if read else "",
                f"{ours['MB/s a core']:.0f}",
                cell(round(ours["documents/s a core"])),
                f"{ours['dollars a million documents']:.4f}",
            )
        )
    columns = ("input", "MB stored", "reading alone, MB/s a core", "all, MB/s a core", "documents/s a core")
    return _table((*columns, "dollars a million documents"), lines)


def processes() -> str:
    """Return the CPU seconds of whole processes, ours beside the peers."""
    lines = [
        (
            r["process"],
            f"{r['CPU seconds']:.1f}",
            f"{r['times the CPU seconds of ours']:.1f}",
            f"{r['MB/s a core']:.1f}",
            cell(r["removed"]),
            f"{r['dollars a million documents']:.3f}",
        )
        for r in rows("dedup_formats")
        if "process" in r
    ]
    columns = ("process", "CPU seconds", "times ours", "MB/s a core", "documents removed")
    return _table((*columns, "dollars a million documents"), lines)


def published() -> str:
    """Return what others have published beside our rates from JSON lines."""
    ours, corpus = _ours("jsonl"), _corpus()
    mean = f"{corpus['MB'] * 1e3 / corpus['documents']:.0f}"
    lines = [
        (
            "mergesketch, JSON lines",
            f"{ours['MB/s a core']:.0f} MB/s a core; {cell(round(ours['documents/s a core']))} documents/s",
            f"{ours['dollars a million documents']:.4f} at {corpus['dollars a core-hour']:.2f} a core-hour",
            f"one process, files in the page cache, documents of {mean} KB, groups but no cleaned files",
        ),
        (
            "datatrove",
            "0.8 to 0.9 MB/s a core",
            "",
            "published",
        ),
        (
            "NeMo Curator",
            "139 MB/s an H100",
            "",
            "published: 8 TB in half an hour on 32 H100",
        ),
        (
            "distributed-curator",
            "77 to 163 documents/s a virtual processor",
            "0.20 to 0.25",
            "published",
        ),
    ]
    return _table(("what", "rate", "dollars a million documents", "conditions"), lines)


def containment() -> str:
    """Return the share of contained documents that are found, by the ratio of sizes."""
    found = rows("dedup_containment")
    few, many = sorted({r["hashes"] for r in found})
    lines = []
    for r in (r for r in found if r["hashes"] == few):
        more = row("dedup_containment", **{"hashes": many, "times as long": r["times as long"]})
        shares = [f"{100 * x[what]:.1f} %" for x in (r, more) for what in ("found", "by the formula")]
        lines.append((r["times as long"], r["pairs"], *shares))
    named = [f"{what}, {n} hashes" for n in (few, many) for what in ("found", "formula")]
    return _table(("container, times as long", "pairs", *named), lines)


def containment_figure(name: str) -> str:
    return cell(rows("dedup_containment")[0][name])


def large() -> str:
    """Return the runs over a large corpus."""
    lines = [
        (
            r["threshold"],
            r["grouping"] + (", all pairs" if r["pairs"] == "all" else ""),
            f"{100 * r['removed']:.1f} %",
            cell(r["largest group"]),
            f"{r['least similarity to the kept']:.2f}",
            f"{100 * r['precision']:.3g} %",
            f"{100 * r['recall']:.2f} %" if "recall" in r else "",
            f"{r['CPU seconds']:.0f}",
            f"{r['MB/s a core']:.0f}",
            cell(round(r["measured MB"])),
        )
        for r in rows("dedup_large")
    ]
    columns = (
        "threshold",
        "grouping",
        "removed",
        "largest group",
        "least similarity to the kept",
        "precision",
    )
    return _table((*columns, "recall", "CPU seconds", "MB/s a core", "memory, MB"), lines)


def large_figure(name: str) -> float:
    """Return an entry that all runs over the large corpus have."""
    return float(rows("dedup_large")[0][name])
