"""Every example of the docs is what it says that it is, and what can run does, with the output that is shown."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core.api import Volt
from volt_core.testing.hosts.pool import DEBIAN

from .examples import Block, Session, check, read, run, surroundings

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/*.md", "benchmarks/README.md", "plugins/*/README.md", "examples/*/README.md")
SESSIONS = [
    session
    for pattern in PAGES
    for path in sorted(ROOT.glob(pattern))
    for session in read(path.relative_to(ROOT), path.read_text("utf-8"))
]


def in_docstrings() -> Iterator[Block]:
    """Yield the examples at the heads of the public modules for tests, which begin after ``::``."""
    for path in sorted((ROOT / "volt_core/testing").glob("*.py")):
        head = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        for body in re.findall(r"::\n\n((?: {4}.*\n?|\n)+)", head):
            yield Block(path.relative_to(ROOT), 1, "python", textwrap.dedent(body))


BLOCKS = [*(block for it in SESSIONS for block in it.blocks), *in_docstrings()]


def test_examples_are_found() -> None:
    assert {block.page.as_posix() for block in BLOCKS} >= {
        "README.md",
        "docs/tutorial.md",
        "volt_core/testing/store_kit.py",
    }


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_is_what_it_says(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path))
    check(block)


def with_steps(kind: str) -> list[Session]:
    return [it for it in SESSIONS if it.kind == kind and any(block.steps for block in it.blocks)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a session runs; what it has left running ends."""
    yield tmp_path
    workloads = Volt(tmp_path / "root", environ={}).workloads
    for item in workloads.all():
        workloads.delete(item.workload.name, force=True)


@pytest.mark.parametrize("session", with_steps(""), ids=str)
def test_a_session_runs(session: Session, folder: Path) -> None:
    run(session, folder, surroundings(folder))


@pytest.mark.needs_busybox
@pytest.mark.needs_native
@pytest.mark.needs_user_namespaces
@pytest.mark.parametrize("session", with_steps("image"), ids=str)
def test_a_session_with_an_image_runs(session: Session, folder: Path, debian_tar: Path) -> None:
    Volt(folder / "root", environ={}).images.import_(str(debian_tar), "debian:bookworm")
    run(session, folder, surroundings(folder))


@pytest.mark.needs_proot
@pytest.mark.parametrize("session", with_steps("containers"), ids=str)
def test_a_session_with_containers_runs(session: Session, folder: Path, debian_tar: Path) -> None:
    Volt(folder / "root", environ={}).images.import_(str(debian_tar), "debian:bookworm")
    run(session, folder, surroundings(folder))


@pytest.mark.needs_systemd
@pytest.mark.needs_root
@pytest.mark.parametrize("session", with_steps("containers") + with_steps("systemd"), ids=str)
def test_a_session_runs_under_systemd(session: Session, folder: Path) -> None:
    Volt(folder / "root", environ={}).images.import_(DEBIAN, "debian:bookworm")
    run(session, folder, surroundings(folder))
