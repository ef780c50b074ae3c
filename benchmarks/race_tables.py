"""Make the tables of docs/structures/race.md from results of race.py and race_errors.py; see figures.py."""

from __future__ import annotations

import json
from typing import Any

from measure import RESULTS, cell

__all__ = ["densities", "ratios"]


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def ratios() -> str:
    """Return the least and largest ratio of a sample's error to that of a race, over all sizes."""
    rows = _rows("race_errors")
    for row in _rows("race"):
        if row["job"].startswith("error against memory"):
            about = {"rows": "50 generated clusters", "n": 60_000, "features": int(row["job"].split("=")[1])}
            rows.append({**row, **about, "sample / Race": row["sample of rows"] / row["Race"]})
    lines = [
        "| rows | number | features | bytes | error of a sample / error of Race |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, features in dict.fromkeys((row["rows"], row["features"]) for row in rows):
        here = [row for row in rows if (row["rows"], row["features"]) == (name, features)]
        over = [row["sample / Race"] for row in here]
        sizes = " to ".join(dict.fromkeys(cell(row["bytes"]) for row in (here[0], here[-1])))
        span = " to ".join(dict.fromkeys(f"{ratio:.1f}" for ratio in (min(over), max(over))))
        lines.append(f"| {name} | {cell(here[0]['n'])} | {features} | {sizes} | {span} |")
    return "\n".join(["", *lines, "", ""])


def densities() -> str:
    """Return the densities that a race, and exact computation, answer in a second."""
    lines = [
        "| | threads | densities/s | exact, by a matrix product | ratio | bytes | median error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in _rows("race"):
        if row["job"].startswith("density"):
            numbers = [cell(row[name]) for name in ("ours q/s", "exact q/s", "ratio", "bytes")]
            job = row["job"].removeprefix("density ")
            lines.append(
                f"| {job} | {row['threads']} | {' | '.join(numbers)} | {row['median relative error']:.1%} |"
            )
    rows = _rows("race")
    scikit = {row["scikit-learn q/s"] for row in rows if "scikit-learn q/s" in row}
    streams = {row["job"]: row for row in rows if row["job"].startswith("stream") and row["threads"] == 1}
    race = next(row for job, row in streams.items() if job.endswith("race"))
    scikit_rate = ", ".join(f"{rate:.0f}" for rate in scikit)
    after = (
        f"scikit-learn's `KernelDensity` answers {scikit_rate} queries a second on these rows. Updates from "
        f"Python take {race['ours rows/s'] / 1e6:.1f} million rows of 20 features a second into 100 "
        f"repetitions on one thread, DataSketches' `density_sketch` {race['density_sketch rows/s']:.0f}."
    )
    return "\n".join(["", *lines, "", after, "", ""])
