"""Configuration of Sphinx; `python -m docsite` passes it."""

from importlib.metadata import version as _version

project = "tamrf-xr"
author = "The tamrf-xr developers"
project_copyright = author
version = release = _version("tamrf-xr")
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["files"]
default_role = "py:obj"
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80
napoleon_use_rtype = False
napoleon_use_ivar = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
html_theme = "furo"
html_title = "tamrf-xr"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
html_use_index = True
html_theme_options = {"navigation_with_keys": True}
