"""Settings of Sphinx, which makes a site of the pages: ``./dev docs``.

The pages are Markdown that is read in the repository too, with links relative to the file. So the repository itself is
the source, out of which the pages are picked, and what only the site needs, the order of the pages, stands here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

project = "Volt"
author = "The Volt authors"
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "plugins/*/README.md",
    "examples/*/README.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "CHANGELOG.md",
]
# Folders that are not even looked into.
exclude_patterns = [
    ".*",
    "build",
    "csrc",
    "examples/*/*/**",
    "newsfragments",
    "plugins/*/*/**",
    "tests",
    "tools",
    "volt_core",
]

extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_title = "Volt"
html_extra_path = ["site"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def named(pattern: str) -> list[str]:
    """Return the pages of this folder that are called so."""
    return sorted(page.stem for page in Path(__file__).parent.glob(f"{pattern}.md"))


NAVIGATION = {
    "Use": ["install", "tutorial", "concepts", "cli", "security"],
    "Backends and store": [f"/plugins/volt_{name}/README" for name in ("nspawn", "proot", "qemu", "cas")],
    "Extend": [*named("writing-*"), "hooks", *named("*-contract"), "/examples/volt_bwrap/README"],
    "Know": ["formats", "architecture"],
    "Work on it": ["testing", "/benchmarks/README", "/benchmarks/results/store", "dependencies", "/CHANGELOG"],
}
"""Every page, below the title of its part; a page that is missing here is a warning, and so an error."""


def add_navigation(_: object, name: str, source: list[str]) -> None:
    """Put the order of the pages behind the first one, whose readers in the repository have no use for it."""
    if name == root_doc:
        for title, pages in NAVIGATION.items():
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", *pages, "```", ""])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
