"""What plugins are promised: it only grows while the version of the contract stays, and every change is deliberate."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NEXT = "then say so in a news fragment"


@pytest.fixture(scope="module")
def api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_api", ROOT / "tools/api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_taken_from_plugins(api: ModuleType) -> None:
    gone = set(api.RECORD.read_text().splitlines()) - set(api.lines())
    assert not gone, "a plugin may rely on this; docs/hooks.md says how something goes"


def test_what_is_new_is_recorded(api: ModuleType) -> None:
    new = set(api.lines()) - set(api.RECORD.read_text().splitlines())
    assert not new, f"it is promised from now on: run tools/api.py --write, {NEXT}"


def test_the_docs_name_what_may_be_imported(api: ModuleType) -> None:
    text = (ROOT / "docs/hooks.md").read_text()
    assert [name for name in api.PUBLIC if f"`{name}`" not in text] == []


def test_to_record_is_to_add(api: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    record = tmp_path / "compat" / "api.txt"
    monkeypatch.setattr(api, "ROOT", tmp_path)
    monkeypatch.setattr(api, "RECORD", record)
    monkeypatch.setattr(sys, "argv", ["api.py", "--write"])
    assert api.main() == 0
    whole = record.read_text()
    record.write_text("".join(whole.splitlines(keepends=True)[1:]))
    assert api.main() == 0
    assert record.read_text() == whole
    record.write_text(f"{whole}function volt_core.gone()\n")
    assert api.main() == 1
    assert "  function volt_core.gone()\n" in capsys.readouterr().err
    assert "gone()" in record.read_text()
    monkeypatch.setattr(sys, "argv", ["api.py", "--write", "--drop"])
    assert api.main() == 0
    assert record.read_text() == whole
