"""Offer every page of the gallery as a notebook, which is written beside the built page.

A notebook has the text of the page as cells of Markdown, its blocks of Python as cells of code, and the block
of text after them as their output.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", flags=re.DOTALL | re.MULTILINE)
FOLDER = "gallery/"


def notebook(text: str, site: str) -> dict[str, Any]:
    """Return the notebook of a page in Markdown, in version 4.5 of Jupyter's format.

    Links to other pages lead to `site`, if it is given, and are plain text otherwise.
    """
    cells: list[dict[str, Any]] = []
    parts = BLOCK.split(re.sub(r"^<!--.*?-->\n", "", text, flags=re.MULTILINE))
    for words, code, output in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], None], strict=True):
        if words.strip():
            cells.append({"cell_type": "markdown", "source": plain_links(words.strip(), site)})
        if code:
            shown = [{"output_type": "stream", "name": "stdout", "text": output}] if output else []
            cells.append(
                {"cell_type": "code", "source": code.strip(), "execution_count": None, "outputs": shown}
            )
    for number, cell in enumerate(cells):
        cell |= {"id": f"cell-{number}", "metadata": {}}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def plain_links(text: str, site: str) -> str:
    """Return Markdown whose links to pages of the repository lead to the site."""
    made = r"[\1](" + site + r"\2.html\3)" if site else r"\1"
    return re.sub(r"\[([^]]+)\]\(\.\./([\w/]+)\.(?:md|rst)(#[\w-]+)?\)", made, text)


def is_in_gallery(document: str) -> bool:
    """Return whether a page becomes a notebook."""
    return document.startswith(FOLDER) and document != f"{FOLDER}index"


def add_link(app: Sphinx, doctree: nodes.document) -> None:
    """Add a link to the notebook below the title of a page of the gallery."""
    document = app.env.docname
    title = next(doctree.findall(nodes.title), None)
    if is_in_gallery(document) and title is not None:
        file = f"{document.removeprefix(FOLDER)}.ipynb"
        link = f'<p class="reference-links"><a href="{file}" download>Download as a notebook</a></p>'
        title.parent.insert(title.parent.index(title) + 1, nodes.raw("", link, format="html"))


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Write the notebooks at the end of a build of HTML."""
    if exception is None and app.builder.format == "html":
        for document in filter(is_in_gallery, app.env.found_docs):
            text = Path(app.env.doc2path(document)).read_text(encoding="utf-8")
            made = notebook(text, app.config.ogp_site_url)
            target = Path(app.outdir) / f"{document}.ipynb"
            target.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the notebooks with Sphinx."""
    app.connect("doctree-read", add_link)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
