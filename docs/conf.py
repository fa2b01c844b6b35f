"""Sphinx's settings for the site: ``nox -s docs`` builds it."""

import os

import gilcmp

project = "gilcmp"
author = "the gilcmp developers"
version = release = gilcmp.__version__
html_title = f"gilcmp {release}"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",  # for the role autolink
    "sphinx.ext.intersphinx",
    "sphinx_click",
]
nitpicky = True
default_role = "autolink"
exclude_patterns = ["build", "tutorial.md"]  # the tutorial is shown with what it measured: tutorial.ipynb

# ---- documents ----
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # docs/notebook.py has run it

# ---- the reference ----
autodoc_mock_imports = ["prometheus_client", "opentelemetry", "distributed"]  # what figures are exported to
autodoc_typehints = "none"  # the numpydoc sections say what is expected, in words
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"  # results are made by gilcmp: how is no concern of users
nitpick_ignore_regex = [
    # the standard library's names: its own inventory needs the network, and is used on Read the Docs only
    ("py:obj", r"(concurrent|sys)\..*"),
    ("py:obj", "held|time|stall|n|parallel_from|calls"),  # attributes of the class that is being described
]
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
numpydoc_class_members_toctree = False
intersphinx_mapping = {"python": ("https://docs.python.org/3", None)} if os.environ.get("READTHEDOCS") else {}

# ---- the pages ----
html_theme = "furo"
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}
