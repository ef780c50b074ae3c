"""Configure Sphinx, which `make docs` runs with furo, MyST and numpydoc."""

import contextlib
import io
import os
import re
from abc import ABC
from importlib import import_module

# Imports of the reference must not wait for compilation, nor leave a cache behind.
os.environ.setdefault("NUMBA_DISABLE_PERFORMANCE_WARNINGS", "1")

import mergesketch
from docutils import nodes
from mergesketch.distributed.cli.command import parser
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

project = "mergesketch"
author = "the mergesketch developers"
project_copyright = "the mergesketch developers, Apache-2.0"
release = version = mergesketch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# Pages are read on the repository's page too: plain Markdown, and links between files.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_use_plots = False
default_role = "py:obj"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"mergesketch {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
highlight_language = "none"
pygments_style = "friendly"
pygments_dark_style = "monokai"

#: The modules in which a bare name in a docstring, such as `Race`, is looked up.
_PREFIXES = ("mergesketch", "mergesketch.lsh", "mergesketch.distributed", "mergesketch.errors")


def _find_public_name(app, env, node, contnode):
    """Return a reference to a public object that a docstring names without its module."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domaindata["py"]["objects"]
    target = node["reftarget"].lstrip(".~")
    for prefix in _PREFIXES:
        entry = objects.get(f"{prefix}.{target}")
        if entry is not None:
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, f"{prefix}.{target}"
            )
    return None


def _skip_foreign(app, what, name, member, skip, options):
    """Skip members that scikit-learn documents, and fields of tuples, which Attributes describes."""
    foreign = (getattr(member, "__module__", None) or "").startswith("sklearn")
    bare = (getattr(member, "__doc__", None) or "").startswith("Alias for field number")
    return True if foreign or bare else None


def _show_public_bases(app, name, obj, options, bases):
    """Replace a base class without a page by the nearest of its own bases that has one."""
    public = {
        getattr(import_module(p), n) for p in _PREFIXES for n in getattr(import_module(p), "__all__", ())
    }
    for i, base in enumerate(bases):
        if base.__module__.startswith("mergesketch") and base not in public:
            bases[i] = next((b for b in base.__mro__ if b in public), object)
    named = [base for base in dict.fromkeys(bases) if base not in (object, ABC)]
    bases[:] = named or [object]


def _escape_bars(app, what, name, obj, options, lines):
    """Escape bars in docstrings: they are absolute values and sizes of sets, never substitutions."""
    text = "\n".join(lines)
    # Text in backquotes, and lines of examples, stay as they are.
    literal = r"(``.*?``|`[^`]*`|^[ ]*(?:>>>|\.\.\.)[^\n]*)"
    parts = re.split(literal, text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"(?<!\\)\|", r"\\|", part) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


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


def setup(app):
    app.add_directive("command-help", CommandHelp)
    app.connect("missing-reference", _find_public_name)
    app.connect("autodoc-skip-member", _skip_foreign)
    app.connect("autodoc-process-bases", _show_public_bases)
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
