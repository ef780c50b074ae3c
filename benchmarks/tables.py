"""Turn results/*.json into the tables and figures of the documentation, between their markers.

python benchmarks/tables.py           # after new results, or a new marker in a page; see `figures.py`
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from figures import FIGURES, TABLES
from measure import RESULTS, cell
from summary import summary

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]
MODEL = ROOT / "examples" / "scale_on_paper.py"
#: A table of more rows is folded; except those of a page that is about the table.
LONG = 8
OPEN = ("choose",)
MARKER = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
FIGURE = re.compile(r"(<!-- figure: (\w+) -->)[^<]*(<!-- end -->)")


def table(name: str) -> str:
    """Return the rows of one result file as Markdown with the machine, or another table of that name."""
    if name in TABLES:
        return TABLES[name]()
    if name == MODEL.stem:
        made = subprocess.run([sys.executable, str(MODEL)], check=True, capture_output=True, text=True)
        return f"\n```text\n{made.stdout}```\n"
    if name == "summary":
        return f"\n{summary()}"
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
    measured = (
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), "
        f"Python {machine['python']}; {versions}."
    )
    if len(rows) > LONG and name not in OPEN:
        title = f"All {len(rows)} measurements, of {machine['date']}"
        lines = ["", f"<details>\n<summary>{title}</summary>", *lines, "", measured, "", "</details>", ""]
    else:
        lines += ["", measured, ""]
    return "\n".join(lines)


def filled(text: str) -> str:
    """Return the text of a page with everything between its markers made anew."""
    text = MARKER.sub(lambda m: f"{m[1]}{table(m[2])}{m[3]}", text)
    return FIGURE.sub(lambda m: f"{m[1]}{FIGURES[m[2]]()}{m[3]}", text)


def main() -> None:
    for page in PAGES:
        text = page.read_text()
        if (made := filled(text)) != text:
            page.write_text(made)


if __name__ == "__main__":
    main()
