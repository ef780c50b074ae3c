"""Test that the site builds without a warning, names everything public, and has no dead link."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mergesketch
import pytest
from paths import ROOT

DOCS = ROOT / "docs"
PACKAGES = ("sphinx", "furo", "myst_parser", "numpydoc", "sphinx_copybutton", "sphinxext.opengraph")

#: What people search for, and the page that answers; it must be among the first three.
QUERIES = {
    "unique users": "structures/hyperloglog",
    "count distinct": "structures/hyperloglog",
    "hyperloglog": "structures/hyperloglog",
    "pandas frame": "guides/data_frames",
    "Docker": "faq",
    "dictionary compression": "structures/static_function",
    "lookup table": "structures/static_function",
    "outlier": "structures/ace",
    "anomaly detection": "structures/ace",
    "nearest neighbour": "structures/nearest_neighbours",
    "nearest neighbors": "structures/nearest_neighbours",
    "top-k": "structures/counting",
    "most frequent": "structures/top_k",
    "heavy hitters": "structures/top_k",
    "bloom filter": "structures/bloom_filter",
    "differential privacy": "structures/private_race",
    "near-duplicates": "structures/deduplication",
    "rensa": "compare",
    "quantile": "structures/quantiles",
    "percentile": "structures/quantiles",
    "latency p99": "structures/quantiles",
    "histogram": "structures/quantiles",
    "knn graph": "structures/neighbour_graph",
    "neighbor graph": "structures/neighbour_graph",
    "product quantization": "structures/product_quantizer",
    "product quantisation": "structures/product_quantizer",
    "RaBitQ": "structures/vector_codes",
    "lossless compression": "structures/compressed_floats",
    "safetensors": "guides/compress_a_model",
    "sparse attention": "structures/sparse_attention",
    "linear attention": "structures/race_attention",
    "negative sampling": "structures/lsh_sampler",
    "extreme classification": "structures/label_hash",
    "coreset": "structures/max_inner_product",
    "federated learning": "structures/label_hash",
}


def is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


needs_sphinx = pytest.mark.skipif(
    not all(map(is_there, PACKAGES)), reason="needs the packages of the extra docs"
)


class Page(HTMLParser):
    """Collect the links of a page, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is not None and name in ("href", "src"):
                self.links.append(value)
            elif value is not None and name in ("id", "name"):
                self.anchors.add(value)


def dead_links(site: Path) -> list[str]:
    """Return links between the pages, pictures and styles of `site` whose target or anchor is absent."""

    @cache
    def page(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    dead = []
    for path in sorted(site.rglob("*.html")):
        for link in page(path).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (
                anchor and target.suffix == ".html" and anchor not in page(target).anchors
            ):
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


def test_dead_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">1</a> <a href="b.html#there">2</a> <a href="c.html">3</a>'
        '<img src="no.svg"><a href="#gone">4</a><a href="https://example.org/x">5</a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="here">')
    assert dead_links(tmp_path) == [
        "a.html: b.html#there",
        "a.html: c.html",
        "a.html: no.svg",
        "a.html: #gone",
    ]


def structures_without_reference(site: Path) -> list[str]:
    """Return the pages of structures that have no link to the reference, or none back from it."""
    back = {
        link
        for page in (site / "api" / "generated").glob("*.html")
        for link in re.findall(r'href="\.\./\.\./structures/(\w+)\.html"', article(page))
    }
    lacking = []
    for page in (site / "structures").glob("*.html"):
        if "../api/generated/" not in article(page) or page.stem not in back:
            lacking.append(page.stem)
    return lacking


def article(page: Path) -> str:
    """Return the part of a page between its navigation and its footer."""
    return page.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]


@pytest.mark.slow
@needs_sphinx
def test_the_site_builds_and_leads_people_to_what_they_look_for(tmp_path: Path) -> None:
    # The sources are copied, because the pages of the reference are generated among them.
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "generated"))
    for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(DOCS.parent / page, tmp_path)
    done = subprocess.run(
        [sys.executable, *["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "html"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path / "html"
    assert dead_links(site) == []
    assert structures_without_reference(site) == []
    search = importlib.import_module("site_search").Search(site, DOCS / "_extensions" / "search_scorer.js")
    found = {query: search.find(query)[:3] for query in QUERIES}
    assert {query: pages for query, pages in found.items() if QUERIES[query] not in pages} == {}
    home = (site / "index.html").read_text(encoding="utf-8")
    assert home.count(">Get started<") == 1
    assert 'property="og:description"' in home and 'name="description"' in home
    assert (site / "_static" / "preview.png").read_bytes().startswith(b"\x89PNG")
    race = (site / "api" / "generated" / "mergesketch.Race.html").read_text(encoding="utf-8")
    assert "/edit/main/sketches/race/race.py" in race
    for page in {*(DOCS / "gallery").glob("*.md")} - {DOCS / "gallery" / "index.md"}:
        notebook = json.loads((site / "gallery" / f"{page.stem}.ipynb").read_text(encoding="utf-8"))
        code = [cell["source"] + "\n" for cell in notebook["cells"] if cell["cell_type"] == "code"]
        shown = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert code and code == shown


def test_all_files_name_one_repository() -> None:
    repository = re.search(r'^REPOSITORY = "(.*)"$', (DOCS / "conf.py").read_text(), flags=re.MULTILINE)[1]
    for name in ("pyproject.toml", "CITATION.cff"):
        for address in re.findall(r'https://github\.com/[^"\s]+', (DOCS.parent / name).read_text()):
            assert address.startswith(repository), name


def test_the_benchmarks_compare_with_peers_and_not_with_goals() -> None:
    assert "target" not in (DOCS / "benchmarks.md").read_text().lower()


@pytest.mark.parametrize(
    "module", ["mergesketch", "mergesketch.lsh", "mergesketch.distributed", "mergesketch.errors"]
)
def test_the_reference_names_everything_public(module: str) -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.rst"))
    named = set(re.findall(r"^   (\w+)$", text, flags=re.MULTILINE))
    public = {name for name in importlib.import_module(module).__all__ if not name.startswith("_")}
    assert public - {"lsh"} <= named


def test_every_page_is_in_the_table_of_contents() -> None:
    pages = {page for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    listed = {DOCS / "index.md"}
    for page in pages:
        for block in re.findall(
            r"^```\{toctree\}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE
        ):
            for entry in re.findall(r"^[\w*/-]+$", block, flags=re.MULTILINE):
                listed.update(page.parent.glob(f"{entry}.md"))
    assert pages - listed == set()


def test_every_picture_is_made_by_a_script_and_shown() -> None:
    text = "\n".join(page.read_text() for page in DOCS.rglob("*.md"))
    scripts = {path.stem for path in (DOCS / "plots").glob("*.py")} - {"picture", "learned_curves"}
    pictures = {
        path.relative_to(DOCS / "images").with_suffix("").as_posix()
        for path in (DOCS / "images").rglob("*.svg")
    }
    assert {name.split("/")[0] for name in pictures} == scripts
    for name in pictures:
        assert f"images/{name}.svg)" in text, name


def test_pictures_suit_light_and_dark_pages() -> None:
    for path in (DOCS / "images").rglob("*.svg"):
        text = path.read_text()
        assert not re.search(r"fill: (#ffffff|white)|stroke: #000000", text), path.name
        assert float(re.search(r'<svg [^>]*width="([\d.]+)pt"', text)[1]) <= 560, path.name


def test_the_first_table_of_the_benchmarks_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    summary = importlib.import_module("summary")
    assert summary.summary() in (DOCS / "benchmarks.md").read_text()
    ratio = summary.row("dedup", what="ours, 1 thread")["ratio"]
    for page in (DOCS / "index.md", DOCS.parent / "README.md"):
        shown = re.sub("<!--.*?-->", "", page.read_text())
        assert f"{ratio:.0f} times as fast as datasketch on one thread" in shown


def test_linked_names_of_structures_are_public() -> None:
    public = {*dir(mergesketch), *mergesketch.errors.__all__}
    found = {}
    for page in [ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]:
        for text, target in re.findall(r"\[(`[^\]]+`)\]\(([\w./-]+\.md)", page.read_text()):
            if (page.parent / target).resolve().parent == DOCS / "structures":
                found |= dict.fromkeys(re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", text), page.name)
    assert len(found) > 40
    assert {name: page for name, page in found.items() if name not in public} == {}
