"""Make the pages of the reference: names, bases, the index, the help of commands, and links to sources."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
from abc import ABC
from importlib import import_module
from pathlib import Path

import mergesketch
from docutils import nodes
from docutils.statemachine import StringList
from mergesketch.distributed.cli.command import parser
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

PACKAGE = Path(mergesketch.__file__).parent
#: The modules in which a bare name in a docstring, such as `Race`, is looked up.
PREFIXES = ("mergesketch", "mergesketch.lsh", "mergesketch.distributed", "mergesketch.errors")


def find_public_name(app, env, node, contnode):
    """Return a reference to a public object that a docstring names without its module."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domaindata["py"]["objects"]
    target = node["reftarget"].lstrip(".~")
    for prefix in PREFIXES:
        entry = objects.get(f"{prefix}.{target}")
        if entry is not None:
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, f"{prefix}.{target}"
            )
    return None


def skip_foreign(app, what, name, member, skip, options):
    """Skip members that scikit-learn documents, and fields of tuples, which Attributes describes."""
    foreign = (getattr(member, "__module__", None) or "").startswith("sklearn")
    bare = (getattr(member, "__doc__", None) or "").startswith("Alias for field number")
    return True if foreign or bare else None


def show_public_bases(app, name, obj, options, bases):
    """Replace a base class without a page by the nearest of its own bases that has one."""
    public = {
        getattr(import_module(p), n) for p in PREFIXES for n in getattr(import_module(p), "__all__", ())
    }
    for i, base in enumerate(bases):
        if base.__module__.startswith("mergesketch") and base not in public:
            bases[i] = next((b for b in base.__mro__ if b in public), object)
    named = [base for base in dict.fromkeys(bases) if base not in (object, ABC)]
    bases[:] = named or [object]


def escape_bars(app, what, name, obj, options, lines):
    """Escape bars in docstrings: they are absolute values and sizes of sets, never substitutions."""
    text = "\n".join(lines)
    # Text in backquotes, and lines of examples, stay as they are.
    literal = r"(``.*?``|`[^`]*`|^[ ]*(?:>>>|\.\.\.)[^\n]*)"
    parts = re.split(literal, text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"(?<!\\)\|", r"\\|", part) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def public_object(page):
    """Return the class or function of a page of the reference, and None for other pages."""
    if not page.startswith("api/generated/"):
        return None
    module, _, attribute = page.rpartition("/")[2].rpartition(".")
    return inspect.unwrap(getattr(import_module(module), attribute))


def describe(app, doctree):
    """Describe a page of the reference, for search engines and previews, by the summary of the docstring."""
    described = public_object(app.env.docname)
    if described is not None:
        summary = inspect.getdoc(described).partition("\n")[0].replace("`", "")
        app.env.metadata[app.env.docname]["og:description"] = summary
        doctree.insert(0, nodes.meta(name="description", content=summary))


def link_to_source(app, page, template, context, doctree):
    """Lead the links "edit" and "view" of a page of the reference to the file with the docstring."""
    described = public_object(page)
    if described is not None:
        repository = app.config.html_theme_options["source_repository"]
        branch = app.config.html_theme_options["source_branch"]
        # Public classes name the module that users import them from.
        module = import_module(getattr(described, "_defined_in", described.__module__))
        file = Path(module.__file__).relative_to(PACKAGE).as_posix()
        context["theme_source_edit_link"] = f"{repository}edit/{branch}/{file}"
        context["theme_source_view_link"] = f"{repository}blob/{branch}/{file}"


class CommandHelp(SphinxDirective):
    """Make a section that shows what ``mergesketch COMMAND --help`` prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        command = self.arguments[0]
        os.environ["COLUMNS"] = "88"
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            parser().parse_args([*command.split(), "--help"])
        section = nodes.section(ids=[nodes.make_id(command)])
        section += nodes.title(text=f"mergesketch {command}")
        section += nodes.literal_block(out.getvalue(), out.getvalue(), language="none")
        return [section]


class ReferenceTables(SphinxDirective):
    """Show the tables of other pages of the reference, with one line for each class and function."""

    has_content = True

    def run(self):
        made: list[nodes.Node] = []
        for page in self.content:
            path = Path(self.env.srcdir) / "api" / f"{page}.rst"
            self.env.note_dependency(str(path))
            text = path.read_text(encoding="utf-8").replace("   :toctree: generated\n", "")
            title, _, rest = text.partition("\n")
            section = nodes.section(ids=[nodes.make_id(f"all {title}")])
            section += nodes.title(text=title)
            # Titles of sections become plain headings, and the text between the tables is left out.
            parts = re.findall(
                r"^(\.\. currentmodule::.*)$|^([^\n.]+)\n--+$|^(\.\. autosummary::\n(?:(?:   .*)?\n)+)",
                rest + "\n",
                flags=re.MULTILINE,
            )
            lines = "\n\n".join(
                module or table or f".. rubric:: {heading}" for module, heading, table in parts
            )
            self.state.nested_parse(StringList(lines.split("\n"), str(path)), 0, section)
            made.append(section)
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives and the changes of pages with Sphinx."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("reference-tables", ReferenceTables)
    app.connect("missing-reference", find_public_name)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
    app.connect("doctree-read", describe)
    app.connect("html-page-context", link_to_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
