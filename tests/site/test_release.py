"""Test the check of a release on sources and wheels with faults."""

import importlib.util
import shutil
import zipfile

import pytest
from paths import ROOT

SCRIPT = ROOT / "docs" / "developers" / "check_release.py"
spec = importlib.util.spec_from_file_location("check_release", SCRIPT)
check_release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_release)

FILES = {
    "pyproject.toml": '[project]\nversion = "1.2.0"\n',
    "__init__.py": '__version__ = "1.2.0"\n',
    "CITATION.cff": "version: 1.2.0\ndate-released: 2026-11-29\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.0 (2026-11-29)\n\n## 1.1.0 (2026-01-01)\n",
    "README.md": "[a](docs/a.md#part) [b](https://example.org) [c](#here)\n",
    "docs/a.md": "",
    "docs/compare.md": "| mergesketch | 1.2.0 | 2026 |\n",
    "errors.py": "",
    "py.typed": "",
    "lsh/a.py": "",
    "gpu/a.cu": "",
}
METADATA = """\
Metadata-Version: 2.4
Name: mergesketch
Version: 1.2.0
Summary: Sketches
Author: Somebody
Project-URL: Homepage, https://example.org
Description-Content-Type: text/markdown

[a](https://github.com/mergesketch/mergesketch/blob/v1.2.0/docs/a.md#part) [b](https://example.org) [c](#here)
"""


@pytest.fixture
def tree(tmp_path):
    """Write sources without a fault."""
    for name, text in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert check_release.check_tree(tmp_path / "tree") == []
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("__init__.py", "1.2.0", "1.1.0", "__init__.py has the version 1.1.0, pyproject.toml 1.2.0"),
        ("docs/compare.md", "1.2.0", "1.1.0", "docs/compare.md has the version 1.1.0, pyproject.toml 1.2.0"),
        ("CITATION.cff", "version: 1.2.0", "", "CITATION.cff has the version nowhere, pyproject.toml 1.2.0"),
        ("CITATION.cff", "11-29", "11-28", "CITATION.cff has the date 2026-11-28, CHANGELOG.md 2026-11-29"),
        ("CHANGELOG.md", " (2026-11-29)", "", "begins with '1.2.0' and not with the version and its date"),
        ("CHANGELOG.md", "1.2.0", "Unreleased", "has the version Unreleased, pyproject.toml 1.2.0"),
        ("README.md", "docs/a.md", "docs/b.md", "README.md links to docs/b.md#part, which does not exist"),
    ],
)
def test_faults_of_the_sources(tree, name, old, new, problem) -> None:
    path = tree / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert any(problem in found for found in check_release.check_tree(tree))


def make_wheel(tree, metadata: str, *, without: str = "", more: list[str] | tuple[()] = ()):
    path = tree.parent / "mergesketch-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("__init__.py", "errors.py", "py.typed", "lsh/a.py", "gpu/a.cu", *more):
            if name != without:
                archive.writestr(f"mergesketch/{name}", "")
        archive.writestr("mergesketch-1.2.0.dist-info/METADATA", metadata)
    return path


def changed(old: str, new: str) -> dict[str, str]:
    assert old in METADATA
    return {"metadata": METADATA.replace(old, new)}


def test_faults_of_a_wheel(tree) -> None:
    name = "mergesketch-1.2.0-py3-none-any.whl"
    assert check_release.check_wheel(make_wheel(tree, METADATA), tree) == []
    for changes, problem in [
        ({"without": "gpu/a.cu"}, "lacks mergesketch/gpu/a.cu"),
        ({"more": ["setup.py"]}, "has mergesketch/setup.py, which is not of the package"),
        (changed("\nVersion: 1.2.0", "\nVersion: 1.1.0"), "has the version 1.1.0, pyproject.toml 1.2.0"),
        (changed("Author: Somebody\n", ""), "has no Author"),
        (changed("text/markdown", "text/plain"), "has a description of the type text/plain"),
        (changed("docs/a.md", "docs/b.md"), "which leads to no file"),
        (changed("https://example.org)", "docs/a.md)"), "with the relative link docs/a.md"),
        (changed(METADATA[METADATA.index("[a]") :], ""), "has a description without links"),
    ]:
        wheel = make_wheel(tree, **{"metadata": METADATA, **changes})
        (found,) = check_release.check_wheel(wheel, tree)
        assert found.startswith(name) and problem in found
    shutil.copy(make_wheel(tree, METADATA), tree / "other.whl")
    (tree / "pyproject.toml").write_text('[project]\nversion = "1.3.0"\n')
    assert check_release.check_wheel(tree / "other.whl", tree) == ["other.whl is not of the version 1.3.0"]


@pytest.mark.slow
def test_the_wheel_of_the_sources(wheel) -> None:
    assert check_release.check_wheel(wheel) == []
