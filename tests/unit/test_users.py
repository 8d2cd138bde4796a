"""Users and groups of an image whose files are hostile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.errors import InvalidSpec
from volt_core.images.users import Identity, find_identity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with users, one line of them damaged."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nbad:x:a:b:::\nshort:x\nwww:x:33:34:w:/srv:/x\n1000:x:5:5::/five:\n"
    )
    (root / "etc/group").write_text("root:x:0:\nstaff:x:50:www\n")
    return root


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, "/root")),
        ("root", (0, 0, "/root")),
        ("www", (33, 34, "/srv")),
        ("33", (33, 34, "/srv")),
        ("www:staff", (33, 50, "/srv")),
        ("www:77", (33, 77, "/srv")),
        ("4711", (4711, 0, "/")),
        ("4711:staff", (4711, 50, "/")),
    ],
)
def test_names_and_numbers(root: Path, user: str, expected: tuple[int, int, str]) -> None:
    assert find_identity(root, user) == Identity(*expected)


@pytest.mark.parametrize("user", ["nobody-here", "bad", "short", "www:no-group", "4294967295", "-1", "1.5", "w\nw"])
def test_what_the_image_does_not_know_is_refused(root: Path, user: str) -> None:
    with pytest.raises(InvalidSpec):
        find_identity(root, user)


def test_numbers_of_any_length_are_refused_or_passed_over(root: Path) -> None:
    with (root / "etc/passwd").open("a") as file:
        file.write(f"long:x:{'1' * 5000}:0::/long:\n")
    with pytest.raises(InvalidSpec):
        find_identity(root, "long")
    with pytest.raises(InvalidSpec):
        find_identity(root, "1" * 5000)


def test_a_line_with_a_nul_is_passed_over(root: Path) -> None:
    with (root / "etc/passwd").open("a") as file:
        file.write("nul:x:44:44::/ho\0me:\n")
    with pytest.raises(InvalidSpec):
        find_identity(root, "nul")
    assert find_identity(root, "44") == Identity(44, 0, "/")


def test_an_image_without_users_has_root(tmp_path: Path) -> None:
    assert find_identity(tmp_path, "") == Identity(0, 0, "/root")
    assert find_identity(tmp_path, "12:34") == Identity(12, 34, "/")


@pytest.mark.parametrize("target", ["/etc/passwd.real", "../../../../etc/passwd.real", "passwd.real"])
def test_links_are_followed_inside_the_image_only(root: Path, target: str) -> None:
    (root / "etc/passwd").rename(root / "etc/passwd.real")
    (root / "etc/passwd").symlink_to(target)
    assert find_identity(root, "www").uid == 33


def test_a_link_to_the_hosts_users_leads_nowhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts-passwd").write_text("www:x:1:1::/host:\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(tmp_path / "hosts-passwd")
    with pytest.raises(InvalidSpec):
        find_identity(root, "www")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_one_is_passed_over(root: Path, make: Callable[[Path], None]) -> None:
    (root / "etc/passwd").unlink()
    make(root / "etc/passwd")
    assert find_identity(root, "").uid == 0


@pytest.mark.parametrize("user", ["99999999999", "4294967295", "www:99999999999"])
def test_a_number_that_is_no_id(root: Path, user: str) -> None:
    with pytest.raises(InvalidSpec, match=r"The id '\d+' is out of range"):
        find_identity(root, user)
