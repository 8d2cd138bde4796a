"""Exclude patterns: the extension matches what fnmatch does."""

from __future__ import annotations

import fnmatch
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volt_cas.exclude import compile_pattern
from volt_core.native.extension import CImplementation
from volt_core.native.ingest import glob_matches

pytestmark = pytest.mark.needs_native

PATTERNS = st.text(alphabet="ab-[]!*?/\\\u00e9\u20ac\U0001f600^&~|", max_size=12)
NAMES = st.binary(max_size=12) | st.text(alphabet="ab-[]!/\\\u00e9\u20ac\U0001f600^", max_size=12).map(str.encode)


@pytest.fixture(scope="module")
def extension():
    return CImplementation()


@settings(max_examples=3000, deadline=None)
@given(pattern=PATTERNS, name=NAMES)
def test_a_pattern_matches_what_fnmatch_does(extension, pattern, name):
    name = name.replace(b"\0", b"x")
    expected = fnmatch.fnmatchcase(os.fsdecode(name), pattern)
    assert glob_matches(extension, compile_pattern(pattern), name) == expected


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*" * 40 + "b", b"a" * 200, False),
        ("*a" * 40 + "*b", b"a" * 200, False),
        ("[]]", b"]", True),
        ("[!]]", b"]", False),
        ("[a-", b"[a-", True),
        ("[z-a]", b"m", False),
        ("[!z-a]", b"m", True),
        ("a[b-d-f]", b"a-", True),
        ("?", "\u20ac".encode(), True),
        ("?", b"\xe2\x82", False),
        ("??", b"\xe2\x82", True),
        ("x?", b"x\xe9", True),
    ],
)
def test_odd_patterns(extension, pattern, name, matches):
    assert fnmatch.fnmatchcase(os.fsdecode(name), pattern) == matches
    assert glob_matches(extension, compile_pattern(pattern), name) == matches
