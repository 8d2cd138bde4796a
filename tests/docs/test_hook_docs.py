"""The page on hooks says what the specs say."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from volt_core.plugins.manager import hook_names

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hook_docs", ROOT / "tools/hook_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_specs(docs: ModuleType) -> None:
    page = docs.TARGET.read_text()
    assert page == docs.renewed(page), "run: python tools/hook_docs.py"
    assert all(f"### {name}\n" in page for name in hook_names())


def volt_register_cases(place: str) -> Iterable[int]:  # type: ignore[empty-body]
    """Return ``cases`` of a :class:`~a.Case`.

    Collecting hook, called once.

    .. versionadded:: 0.7
    """


def test_what_a_spec_says_is_on_the_page(docs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "SPECS", (SimpleNamespace(volt_register_cases=volt_register_cases, other=1),))
    assert docs.renewed(f"# Hooks\n{docs.BEGIN}\nstale\n{docs.END}\n## More\n") == (
        f"# Hooks\n{docs.BEGIN}\n\n"
        "| hook | kind | arguments | since |\n|---|---|---|---|\n"
        "| [`volt_register_cases`](#volt_register_cases) | collecting | `place` | 0.7 |\n\n"
        "### volt_register_cases\n\n`volt_register_cases(place: str) -> Iterable[int]`\n\n"
        "Return `cases` of a `a.Case`.\n\nCollecting hook, called once.\n\n"
        f"{docs.END}\n## More\n"
    )


def test_a_spec_must_say_what_it_is(docs: ModuleType) -> None:
    with pytest.raises(ValueError, match="volt_silent has no"):
        docs.kind(SimpleNamespace(__name__="volt_silent", __doc__="Does things."))
