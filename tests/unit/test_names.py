"""Names: what passes is safe in a path, a unit, a command line and a message."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt_core import names
from volt_core.errors import InvalidName

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["a", "web", "web-1", "a" * 63, "a--b", "x0"])
def test_good_names_come_back(name: str) -> None:
    assert names.check_name(name) == name


BAD_NAMES = [
    "", "-a", "a-", "1a", "A", "Web", "a_b", "a.b", "a b", "a" * 64, "a" * 200, "a\n", "\na", "a\nb", "a/b", "/", "..",
    ".", "a\0", "ä", "web\u0430", "\u2028", "a\r", "-", "--force", "$(id)", "a;b", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_bad_names_are_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        names.check_name(name)
    assert str(caught.value).isprintable()
    assert len(caught.value.brief) < 120


@given(st.text(max_size=80))
def test_whatever_passes_keeps_to_the_rule(text: str) -> None:
    try:
        names.check_name(text)
    except InvalidName:
        return
    assert 1 <= len(text) <= 63
    assert set(text) <= set(string.ascii_lowercase + string.digits + "-")
    assert text[0] in string.ascii_lowercase
    assert text[-1] != "-"


@given(st.from_regex(names.NAME_PATTERN))
def test_the_published_pattern_is_the_rule(text: str) -> None:
    assert names.check_name(text) == text


def test_fresh_names_are_good_and_differ() -> None:
    fresh = {names.check_name(names.new_name()) for _ in range(100)}
    assert len(fresh) == 100


@given(st.text(max_size=300))
def test_shown_text_is_one_short_printable_line(text: str) -> None:
    shown = names.shown(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 82


def test_digests() -> None:
    assert names.check_digest(DIGEST) == DIGEST
    for bad in ("", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST + "\n", DIGEST[7:], "sha512:" + DIGEST[7:]):
        assert not names.is_digest(bad)
        with pytest.raises(InvalidName):
            names.check_digest(bad)


@pytest.mark.parametrize("ref", ["a", "images/debian:bookworm", "use/container/web", "A.b_c@d+e-f", "1/2/3", "x" * 200])
def test_good_refs_come_back(ref: str) -> None:
    assert names.check_ref(ref) == ref


BAD_REFS = [
    "", "/", "/a", "a/", "a//b", "..", "a/..", "a/../b", ".a", "a/.b", "-a", "a b", "a\n", "a\0b", "x" * 201,
    "/".join("a" * 300), "a.lock", "refs/a.lock", "ä", "a\\b", "~", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("ref", BAD_REFS, ids=ascii)
def test_bad_refs_are_refused(ref: str) -> None:
    with pytest.raises(InvalidName) as caught:
        names.check_ref(ref)
    assert str(caught.value).isprintable()


@given(st.text(alphabet="ab.:/@_-+ \n~", max_size=30))
def test_a_ref_that_passes_stays_below_its_directory(ref: str) -> None:
    try:
        names.check_ref(ref)
    except InvalidName:
        return
    assert not ref.startswith("/")
    assert all(part and not part.startswith((".", "-")) for part in ref.split("/"))


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("debian", "debian", "latest", None),
        ("debian:bookworm", "debian", "bookworm", None),
        ("library/a-b_c.d:1.0", "library/a-b_c.d", "1.0", None),
        (f"debian@{DIGEST}", "debian", None, DIGEST),
    ],
)
def test_image_names_are_parsed(text: str, repository: str, tag: str | None, digest: str | None) -> None:
    assert names.parse_image_name(text) == (repository, tag, digest)


def test_a_tagged_image_has_a_ref_that_refs_accept() -> None:
    image = names.parse_image_name("library/debian:bookworm")
    assert image.ref == "images/library/debian:bookworm"
    assert names.check_ref(image.ref) == image.ref


BAD_IMAGES = [
    "", ":", "a:", ":tag", "A", "a/", "/a", "a//b", "a:b:c", "a@", f"@{DIGEST}", f"a:b@{DIGEST}", f"a@{DIGEST[:-1]}",
    "a b", "a\n", "a:b\n", "../a", "a/../b", "-a", "a:-b", "a" * 256, "a:" + "b" * 129, "host:5000/a", "ä",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_IMAGES, ids=ascii)
def test_bad_image_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        names.parse_image_name(text)


@given(st.text(alphabet="ab1./:@-_", max_size=40))
def test_an_image_name_survives_printing(text: str) -> None:
    try:
        image = names.parse_image_name(text)
    except InvalidName:
        return
    assert names.parse_image_name(str(image)) == image
    assert (image.tag is None) != (image.digest is None)
    if image.tag:
        assert names.check_ref(image.ref)


def test_a_long_name_is_judged_quickly() -> None:
    for text in ("a." * 5000, "a" * 100_000, "-" * 100_000):
        with pytest.raises(InvalidName):
            names.parse_image_name(text)
    assert re.compile(names.NAME_PATTERN).match("a" * 63)


@pytest.mark.parametrize("text", ["a:b.lock", "a" * 201, "x/" + "a" * 196 + ":tags", "a/" * 122 + "abcd:tag"])
def test_an_image_name_that_no_ref_can_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="Invalid image name"):
        names.parse_image_name(text)


@pytest.mark.parametrize("text", ["a.lock", "a" * 193, "a/" * 121 + "a:tag", "a.lock@sha256:" + "0" * 64])
def test_a_long_image_name_is_a_ref(text: str) -> None:
    name = names.parse_image_name(text)
    assert name.digest or names.check_ref(name.ref) == name.ref
