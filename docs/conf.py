"""Configure Sphinx, which `make docs` runs with furo, MyST and numpydoc."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

# Imports of the reference must not wait for compilation, nor leave a cache behind.
os.environ.setdefault("NUMBA_DISABLE_PERFORMANCE_WARNINGS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import mergesketch

#: The address of the repository; the project URLs of pyproject.toml begin with it.
REPOSITORY = "https://github.com/mergesketch/mergesketch"
#: The address at which the built site will lie, for the tags that must name it in full.
SITE = os.environ.get("DOCS_URL", "")

project = "mergesketch"
author = "the mergesketch developers"
project_copyright = "the mergesketch developers, Apache-2.0"
release = version = mergesketch.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinxext.opengraph",
    # In docs/_extensions:
    "notebooks",
    "page_links",
    "preview",
    "reference_pages",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# Pages are read on the repository's page too: plain Markdown, links between files, and formulas in dollars.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath", "tasklist"]
myst_dmath_double_inline = True

autosummary_generate = True
#: The reference of layers is built without PyTorch, too.
autodoc_mock_imports = [] if find_spec("torch") else ["torch"]
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_use_plots = False
default_role = "py:obj"
python_maximum_signature_line_length = 88

# Prompts and outputs are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

ogp_site_url = SITE
ogp_site_name = project
ogp_image = "_static/preview.png"
ogp_image_alt = "mergesketch: two sketches that were built apart merge into one"
ogp_description_length = 160

html_theme = "furo"
html_title = f"mergesketch {release}"
html_baseurl = SITE
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_search_scorer = str(Path(__file__).parent / "_extensions" / "search_scorer.js")
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "light_logo": "logo.svg",
    "dark_logo": "logo.svg",
    "source_repository": f"{REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [{"name": "Repository", "url": REPOSITORY, "html": "Repository", "class": "repository"}],
}
highlight_language = "none"
pygments_style = "friendly"
pygments_dark_style = "monokai"
