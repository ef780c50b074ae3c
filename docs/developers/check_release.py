"""Check a release before it is tagged: its version, its date, the contents of the wheel, and its description.

Run it as ``python docs/developers/check_release.py dist``, which `make release-check` does after building
into ``dist``. It prints what is wrong, and exits with 1 if anything is. It needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

PROJECT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/mergesketch/mergesketch"
ROOMS = ("lsh", "sketches", "distributed", "gpu")
SHIPPED = (".py", ".npz", ".cu", ".cuh")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _found(pattern: str, path: Path) -> str:
    """Return the first group of a pattern in a file, or "" if it does not occur."""
    match = re.search(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return match[1] if match else ""


def version_of(root: Path) -> str:
    """Return the version in pyproject.toml."""
    with (root / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def check_tree(root: Path = PROJECT) -> list[str]:
    """Return what is wrong with versions, dates and links of the sources."""
    version = version_of(root)
    named = {
        "__init__.py": _found(r'^__version__ = "(.*)"$', root / "__init__.py"),
        "CITATION.cff": _found(r"^version: (.*)$", root / "CITATION.cff"),
        "docs/compare.md": _found(r"^\| mergesketch \| (\S+) \|", root / "docs" / "compare.md"),
        "CHANGELOG.md": _found(r"^## (\S+)", root / "CHANGELOG.md"),
    }
    wrong = [
        f"{name} has the version {found or 'nowhere'}, pyproject.toml {version}"
        for name, found in named.items()
        if found != version
    ]
    dated = _found(r"^## (.*)$", root / "CHANGELOG.md")
    date = re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)", dated)
    if date is None:
        wrong.append(f"CHANGELOG.md begins with {dated!r} and not with the version and its date")
    elif (cited := _found(r"^date-released: (.*)$", root / "CITATION.cff")) != date[1]:
        wrong.append(f"CITATION.cff has the date {cited or 'nowhere'}, CHANGELOG.md {date[1]}")
    text = (root / "README.md").read_text(encoding="utf-8")
    for link in LINK.findall(text):
        path = link.partition("#")[0]
        if path and "://" not in link and not (root / path).exists():
            wrong.append(f"README.md links to {link}, which does not exist")
    return wrong


def check_wheel(wheel: Path, root: Path = PROJECT) -> list[str]:
    """Return what is wrong with the contents of a wheel of the sources, and with its description."""
    version = version_of(root)
    with zipfile.ZipFile(wheel) as archive:
        own = f"mergesketch-{version}.dist-info/"
        names = {name for name in archive.namelist() if not name.startswith(own)}
        try:
            text = archive.read(f"{own}METADATA").decode()
        except KeyError:
            return [f"{wheel.name} is not of the version {version}"]
    paths = [path for room in ROOMS for path in (root / room).rglob("*") if path.suffix in SHIPPED]
    paths += [root / name for name in ("__init__.py", "errors.py", "py.typed")]
    expected = {f"mergesketch/{path.relative_to(root).as_posix()}" for path in paths}
    wrong = [f"{wheel.name} lacks {name}" for name in sorted(expected - names)]
    wrong += [f"{wheel.name} has {name}, which is not of the package" for name in sorted(names - expected)]
    return wrong + _check_metadata(wheel.name, text, version, root)


def _check_metadata(name: str, text: str, version: str, root: Path) -> list[str]:
    metadata = message_from_string(text)
    fields = ("Summary", "Author", "Project-URL")
    wrong = [f"{name} has no {field}" for field in fields if not metadata[field]]
    if metadata["Version"] != version:
        wrong.append(f"{name} has the version {metadata['Version']}, pyproject.toml {version}")
    if metadata["Description-Content-Type"] != "text/markdown":
        wrong.append(f"{name} has a description of the type {metadata['Description-Content-Type']}")
    links = LINK.findall(metadata.get_payload())
    if not links:
        wrong.append(f"{name} has a description without links")
    files = f"{REPOSITORY}/blob/v{version}/"
    for link in links:
        path = link.removeprefix(files).partition("#")[0]
        if not link.startswith(("https://", "#")):
            wrong.append(f"{name} has a description with the relative link {link}")
        elif link.startswith(files) and not (root / path).exists():
            wrong.append(f"{name} has a description with the link {link}, which leads to no file")
    return wrong


def main(folder: str) -> int:
    """Check the sources and what was built of them, and return the exit code."""
    version = version_of(PROJECT)
    wheel = Path(folder) / f"mergesketch-{version}-py3-none-any.whl"
    archive = Path(folder) / f"mergesketch-{version}.tar.gz"
    wrong = check_tree()
    wrong += [f"there is no {path}" for path in (wheel, archive) if not path.exists()]
    wrong += check_wheel(wheel) if wheel.exists() else []
    for problem in wrong:
        print(problem, file=sys.stderr)
    if not wrong:
        print(f"mergesketch {version} is ready: the tag is v{version}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
