"""The tree of errors: each has its meaning, its exit code, and a line in the docs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from volt_core import errors
from volt_core.errors import CommandFailed, ComposeInvalid, VoltError

CLI_DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
CODES = {
    "VoltError": 1,
    "UsageError": 2,
    "NotFoundError": 3,
    "ConflictError": 4,
    "BackendError": 5,
    "StoreError": 6,
    "ComposeError": 7,
    "StateError": 8,
    "PluginError": 9,
}
ALL = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, VoltError)]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_each_says_what_it_means(error: type[VoltError]) -> None:
    assert error.__doc__
    assert error.__doc__ != VoltError.__doc__ or error is VoltError
    assert error.__doc__.strip().splitlines()[0].endswith((".", ";"))


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_each_has_the_exit_code_of_its_family(error: type[VoltError]) -> None:
    family = next(ancestor for ancestor in error.__mro__ if ancestor.__name__ in CODES)
    assert error.exit_code == CODES[family.__name__]


def test_no_two_families_share_an_exit_code() -> None:
    set_here = [error for error in ALL if "exit_code" in vars(error)]
    assert {error.__name__: error.exit_code for error in set_here} == CODES


def test_the_docs_have_the_same_table() -> None:
    rows = re.findall(r"^\|\s*`?(\d+)`?\s*\|(.*)\|\s*$", CLI_DOCS.read_text(), re.MULTILINE)
    documented = {int(code): text for code, text in rows}
    assert {0, *CODES.values(), 125, 126, 127} <= set(documented)


def test_the_text_is_what_happened_and_what_to_do() -> None:
    assert str(VoltError("Cannot start 'web': no kernel")) == "Cannot start 'web': no kernel."
    assert str(VoltError("Cannot start 'web'", hint="Install one.")) == "Cannot start 'web'. (Install one.)"
    assert VoltError("a", details="b").details == "b"


def test_errors_with_facts_keep_them() -> None:
    failed = CommandFailed("brief", argv=["a", "b"], status=-9, stderr="said")
    assert (failed.argv, failed.status, failed.stderr, failed.details) == (("a", "b"), -9, "said", "said")
    assert ComposeInvalid("wrong", path="f.yaml", line=3).brief == "f.yaml:3: wrong"
    assert ComposeInvalid("wrong", path="f.yaml").brief == "f.yaml: wrong"
