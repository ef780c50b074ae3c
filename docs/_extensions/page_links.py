"""Link each page to the reference of what it describes, and back, as docs/developers/map.md lists them.

A page of `structures` begins with the names of its classes and functions, and the page of a class in the
reference begins with the page that explains it. The links are added to the built site only, because the
pages of the reference do not exist in the repository.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

#: A row of the map: public names in the first cell, and links to pages in the one before the last.
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|(?:[^|]*\|){5} (\[[^|]*) \|[^|]*\|$", flags=re.MULTILINE)
#: The folders whose pages explain something; pages of the reference do not need a link to one another.
EXPLANATIONS = ("structures/", "guides/")
#: Pages that the map does not list, because no module has their name.
MORE = [("HashFamily", "structures/families"), ("family_from_config", "structures/families")]


def pairs(text: str) -> list[tuple[str, str]]:
    """Return the public names in the text of the map, each with the page that explains it."""
    found = [*MORE]
    for names, links in ROW.findall(text):
        for page in re.findall(r"\]\(\.\./([\w/]+)\.md\)", links):
            if page.startswith(EXPLANATIONS):
                found += [(name, page) for name in re.findall(r"`(\w+)`", names)]
    return found


def paragraph(text: str, references: list[nodes.Node]) -> nodes.paragraph:
    """Return a paragraph of a text and references with commas between them."""
    made = nodes.paragraph("", text, classes=["reference-links"])
    for number, reference in enumerate(references):
        made += [nodes.Text(", ")] * bool(number)
        made += reference
    return made


def to_object(name: str, document: str) -> addnodes.pending_xref:
    """Return a link to a public class or function in the reference."""
    link = addnodes.pending_xref(
        "", refdomain="py", reftype="obj", reftarget=name, refdoc=document, refexplicit=False, refwarn=True
    )
    link += nodes.literal(name, name, classes=["xref", "py"])
    return link


def to_page(page: str, document: str) -> addnodes.pending_xref:
    """Return a link to a page, which shows its title."""
    link = addnodes.pending_xref(
        "",
        refdomain="std",
        reftype="doc",
        reftarget=f"/{page}",
        refdoc=document,
        refexplicit=False,
        refwarn=True,
    )
    link += nodes.inline()
    return link


def add_links(app: Sphinx, doctree: nodes.document) -> None:
    """Add a line of links to a page: below its first paragraph, or below its title in the reference."""
    document = app.env.docname
    known = pairs((Path(app.srcdir) / "developers" / "map.md").read_text(encoding="utf-8"))
    if document.startswith("structures/"):
        names = [name for name, page in known if page == document]
        line = paragraph("In the reference: ", [to_object(name, document) for name in names])
        before = next(doctree.findall(nodes.paragraph), None)
    elif document.startswith("api/generated/"):
        name = document.rpartition(".")[2]
        pages = [page for other, page in known if other == name]
        line = paragraph("Explained in: ", [to_page(page, document) for page in pages])
        before = next(doctree.findall(nodes.title), None)
    else:
        return
    if len(line.children) > 1 and before is not None:
        # A paragraph that ends with a colon belongs to the table or the block that follows it.
        after = 2 if before.astext().endswith(":") else 1
        before.parent.insert(before.parent.index(before) + after, line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the links with Sphinx."""
    app.connect("doctree-read", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
