"""The docs as a site: built without a warning, complete in itself, and a fault in a page is one in the build."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself: not links, which somebody has to click.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|object|embed|video|audio)\b[^>]*?\b(?:src|data|srcset)=["']?([^"'\s>]+)"""
    r"""|<link\b[^>]*?\bhref=["']?([^"'\s>]+)|\burl\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""",
    re.IGNORECASE,
)
SCRIPT_FETCHES = re.compile(r"""["'`]((?:https?:)?//[\w.-]+\.[a-z]+[^"'`\s]*)["'`]""")
NAMESPACE = "http://www.w3.org/"


def build(tree: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Make the site of a tree as ``./dev docs`` does."""
    argv = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "--no-color", "-c", "docs"]
    argv += ["-d", str(target / "read"), ".", str(target / "site")]
    return subprocess.run(argv, cwd=tree, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target / "site"


def find_requests(site: Path) -> Iterator[str]:
    """Yield what a browser that shows the site would ask other hosts for."""
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css", ".svg", ".js"):
            text = path.read_text("utf-8")
            scripts = text if path.suffix == ".js" else "".join(re.findall(r"<script.*?</script>", text, re.DOTALL))
            found = {next(filter(None, groups)) for groups in FETCHED.findall(text)} | {
                *SCRIPT_FETCHES.findall(scripts)
            }
            for address in sorted(found):
                if urlsplit(address).netloc and not address.startswith(NAMESPACE):
                    yield f"{path.relative_to(site)}: {address}"


def test_every_page_is_there_and_the_top_leads_to_the_first(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert {path.stem for path in (site / "docs").glob("*.html")} == pages
    assert "url=docs/index.html" in (site / "index.html").read_text()
    front = (site / "docs/index.html").read_text()
    assert [page for page in pages if f'href="{page}.html' not in front and page != "index"] == []


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    assert list(find_requests(site)) == []


def test_such_a_request_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel=stylesheet href="//fonts.example/a.css"><script src="https://cdn.example/a.js"></script>'
        '<script>fetch("https://count.example/1")</script><a href="https://github.com/x">read</a>'
    )
    (tmp_path / "b.css").write_text("@font-face {src: url(https://fonts.example/b.woff)}")
    assert len(list(find_requests(tmp_path))) == 4


@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("docs/install.md", "[a](nowhere.md)", "nowhere.md"),
        ("docs/install.md", "[a](hooks.md#no-such-heading)", "no-such-heading"),
        ("docs/install.md", "[a](#no-such-heading)", "no-such-heading"),
        ("docs/new.md", "# A page that no list has\n", "toctree"),
        ("docs/install.md", "```nolanguage\nx\n```", "nolanguage"),
    ],
)
def test_a_fault_in_a_page_fails_the_build(tmp_path: Path, page: str, text: str, complaint: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", tree)
    for folder in filter(Path.is_dir, ROOT.iterdir()):
        if folder.name in ("docs", "benchmarks", "plugins", "examples"):
            shutil.copytree(folder, tree / folder.name)
        else:
            (tree / folder.name).symlink_to(folder)
    with (tree / page).open("a") as file:
        file.write(f"\n{text}\n")
    done = build(tree, tmp_path)
    assert done.returncode != 0
    said, *others = done.stderr.strip().splitlines()
    assert others == [], "no other fault"
    assert said.startswith(str(tree / page))
    assert complaint in said
