"""Turn results/*.json into the tables of the documentation, between their markers."""

import json
import re
import subprocess
import sys
from pathlib import Path

from measure import RESULTS, cell
from race_tables import densities, ratios
from summary import summary

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "benchmarks.md", DOCS / "choose.md", DOCS / "race.md", DOCS / "scale.md"]
MODEL = Path(__file__).parents[1] / "examples" / "scale_on_paper.py"
RACE = {"race_ratios": ratios, "race_densities": densities}
MARKER = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def table(name: str) -> str:
    """The rows of one result file as Markdown, and the machine; or what else the name stands for."""
    if name == MODEL.stem:
        made = subprocess.run([sys.executable, str(MODEL)], check=True, capture_output=True, text=True)
        return f"\n```text\n{made.stdout}```\n"
    if name == "summary":
        return f"\n{summary()}"
    if name in RACE:
        return RACE[name]()
    result = json.loads((RESULTS / f"{name}.json").read_text())
    rows, machine = result["rows"], result["machine"]
    lines: list[str] = []
    columns: tuple[str, ...] = ()
    for row in rows:
        # Rows that say other things make a table of their own; one that says less leaves a cell empty.
        if not columns or not row.keys() <= set(columns):
            columns = tuple(row)
            lines += ["", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
        lines.append(f"| {' | '.join(cell(row[c]) if c in row else '' for c in columns)} |")
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    lines += [
        "",
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), "
        f"Python {machine['python']}; {versions}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    for page in PAGES:
        text = page.read_text()
        page.write_text(MARKER.sub(lambda m: f"{m[1]}{table(m[2])}{m[3]}", text))


if __name__ == "__main__":
    main()
