"""Test the advice on how to install what is missing."""

import importlib.metadata

import pytest
from mergesketch.lsh.support.install import how_to_install
from paths import ROOT

FOLDER = 'pip install ".[arrow]" in the folder of the repository'


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        (None, 'pip install "mergesketch[arrow]"'),
        ('{"dir_info": {"editable": true}, "url": "file:///home/me/mergesketch"}', FOLDER),
        ('{"archive_info": {}, "url": "file:///tmp/mergesketch-0.2.0-py3-none-any.whl"}', FOLDER),
    ],
)
def test_an_index_is_named_if_the_package_is_from_one(origin, advice, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "mergesketch-0.2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mergesketch\nVersion: 0.2.0\n")
    (folder / "INSTALLER").write_text("pip\n")
    if origin is not None:
        (folder / "direct_url.json").write_text(origin)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert how_to_install("arrow") == advice


def test_metadata_that_a_build_left_beside_the_sources_is_no_installation(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "mergesketch.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mergesketch\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert how_to_install("arrow") == FOLDER


def test_a_package_that_is_not_installed(monkeypatch) -> None:
    def find(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", find)
    assert how_to_install("arrow") == FOLDER


def test_all_messages_use_the_advice() -> None:
    if not (ROOT / "sketches").is_dir():
        pytest.skip("needs the sources")
    sources = [
        ROOT / "__init__.py",
        *(p for room in ("lsh", "sketches", "distributed", "gpu") for p in (ROOT / room).rglob("*.py")),
    ]
    assert len(sources) > 200
    named = [path.name for path in sources if "mergesketch[" in path.read_text()]
    assert named == ["install.py"]
