"""Unit files as data: quoting, parsing, and properties of transient units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt_core.errors import InvalidSpec
from volt_core.systemd.transient import build_properties, split_exec
from volt_core.systemd.unitfile import Section, Unit, escape_specifiers, parse_unit, quote_exec, render_unit

WORDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
UNIT = Unit((Section("Unit", (("Description", "one"),)), Section("Service", (("ExecStart", "/a"), ("After", "b")))))


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_a_command_line_is_read_back_as_it_was(argv: list[str]) -> None:
    line = quote_exec(argv)
    assert "\n" not in line
    assert split_exec(line) == argv


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("plain", "plain"), ("", '""'), ("a b", '"a b"'), ("100%", '"100%%"'), ("$HOME", '"$$HOME"'), (";", '";"')],
)
def test_what_means_something_to_systemd_is_escaped(word: str, quoted: str) -> None:
    assert quote_exec([word]) == quoted


def test_a_value_of_two_lines_is_refused() -> None:
    assert escape_specifiers("50%") == "50%%"
    with pytest.raises(InvalidSpec):
        escape_specifiers("a\nExecStart=/bin/sh")


def test_what_is_rendered_is_parsed_as_it_was() -> None:
    assert parse_unit(f"# a remark\n{render_unit(UNIT)}\n; another\n") == UNIT


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("ExecStart=/a \\\n  b\n", "/a  b"),
        ("ExecStart=/a \\\n# a remark\n  b\n", "/a  b"),
        ("ExecStart=/a \\", "/a"),
        ("ExecStart=/a \\\n", "/a"),
        ("ExecStart=/a \\ \nAfter=c", "/a \\"),
        ("ExecStart=/a b\\\\\nAfter=c", "/a b\\\\"),
    ],
)
def test_a_line_goes_on_after_a_backslash(lines: str, value: str) -> None:
    assert parse_unit(f"[Service]\n{lines}").values("Service", "ExecStart") == [value]


def test_properties_have_the_types_of_the_bus() -> None:
    service = (
        ("TimeoutStopSec", "2.5"),
        ("CPUQuota", "50%"),
        ("LogExtraFields", "A=1"),
        ("LogExtraFields", "B=2"),
        ("ExecStart", quote_exec(["/bin/echo", "$x", "%n"])),
    )
    properties = dict(build_properties(Unit((Section("Service", service), Section("Install", (("X", "y"),))))))
    assert properties["TimeoutStopUSec"] == ("t", 2_500_000)
    assert properties["CPUQuotaPerSecUSec"] == ("t", 500_000)
    assert properties["LogExtraFields"] == ("aay", [b"A=1", b"B=2"])
    # systemd expands variables in them when it executes, and no specifiers.
    assert properties["ExecStart"] == ("a(sasb)", [("/bin/echo", ["/bin/echo", "$$x", "%n"], False)])


def test_a_key_without_a_property_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="Frobnicate"):
        build_properties(Unit((Section("Service", (("Frobnicate", "1"),)),)))
