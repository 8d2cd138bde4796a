"""Unit files that are installed: renewed, edited by hand, put out of the way by hand, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from volt_core.errors import ConflictError
from volt_core.systemd.unitfile import Section, Unit, parse_unit, render_unit
from volt_core.systemd.units import HEADER, KEPT, UnitFiles, changes_between, header_of, sign_unit

NAME = "volt-x.service"


def unit(*service: tuple[str, str]) -> Unit:
    return Unit((Section("Unit", (("Description", "one"),)), Section("Service", service)))


def signed(renderer: int, *service: tuple[str, str]) -> str:
    return sign_unit(unit(*service), {"Renderer": str(renderer)})


OLD = signed(1, ("ExecStart", "/a"), ("After", "b"), ("TimeoutStopSec", "10"))
NEW = signed(2, ("ExecStart", "/new"), ("After", "b"), ("TimeoutStopSec", "10"))
NEWEST = signed(3, ("ExecStart", "/newest"), ("After", "b"), ("TimeoutStopSec", "10"))


@pytest.fixture
def files(tmp_path: Path) -> UnitFiles:
    return UnitFiles(tmp_path / "etc", others=(tmp_path / "run",))


def edit(files: UnitFiles, old: str, new: str) -> None:
    """Replace text in the unit, as an editor would."""
    text = files.path(NAME).read_text()
    assert old in text
    files.path(NAME).write_text(text.replace(old, new))


def kept(files: UnitFiles) -> Unit:
    return parse_unit((files.path(f"{NAME}.d") / KEPT).read_text())


def effective(files: UnitFiles, key: str) -> list[str]:
    """Return what systemd makes of unit and drop-in: an empty assignment drops those before it."""
    values: list[str] = []
    for value in (parse_unit(files.path(NAME).read_text())).values("Service", key) + kept(files).values("Service", key):
        values = [*values, value] if value else []
    return values


def test_a_unit_is_written_once(files: UnitFiles) -> None:
    assert files.install(NAME, OLD)
    assert not files.install(NAME, OLD)
    assert files.install(NAME, NEW, OLD)
    assert files.find(NAME) == NEW
    assert files.remove(NAME)
    assert not files.remove(NAME)
    assert list(files.path("").iterdir()) == []


def test_a_renderer_of_another_number_renews_the_unit(files: UnitFiles) -> None:
    same = [sign_unit(unit(("After", "b")), {"Renderer": number}) for number in ("1", "2", "1")]
    for former, text in zip(["", *same[:-1]], same, strict=True):
        assert not files.is_current(NAME, text)
        assert files.install(NAME, text, former)
        assert files.is_current(NAME, text)


def test_a_hand_edit_becomes_a_drop_in(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "After=b", "After=b\nAfter=c")
    assert files.is_current(NAME, OLD), "edited, and yet not old"
    assert files.install(NAME, NEW, former=OLD)
    assert kept(files).values("Service", "After") == ["c"]
    assert files.find(NAME) == NEW
    assert effective(files, "ExecStart") == ["/new"]


def test_a_second_hand_edit_keeps_the_first(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "After=b", "After=b\nAfter=c\nNice=5")
    files.install(NAME, NEW, OLD)
    edit(files, "TimeoutStopSec=10", "TimeoutStopSec=20\nAfter=d")
    files.install(NAME, NEWEST, NEW)
    assert effective(files, "After") == ["b", "d", "c"]
    assert effective(files, "Nice") == ["5"]
    assert effective(files, "TimeoutStopSec") == ["20"]
    assert effective(files, "ExecStart") == ["/newest"]


def test_what_was_in_effect_stays_so(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "ExecStart=/a", "ExecStart=/mine")
    files.install(NAME, NEW, OLD)
    # The drop-in hides this one, before as well as after.
    edit(files, "ExecStart=/new", "ExecStart=/hidden")
    edit(files, "After=b", "")
    files.install(NAME, NEWEST, NEW)
    assert effective(files, "ExecStart") == ["/mine"]
    assert effective(files, "After") == []


def test_an_edit_that_was_undone_leaves_no_drop_in(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "After=b", "After=b\nNice=5")
    files.install(NAME, NEW, OLD)
    edit(files, "After=b", "After=b\nNice=0")
    (files.path(f"{NAME}.d") / KEPT).write_text("[Service]\nNice=\n")
    files.install(NAME, NEWEST, NEW)
    assert not (files.path(f"{NAME}.d") / KEPT).exists()


def test_an_edit_is_kept_once_when_the_first_attempt_was_cut_short(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "After=b", "After=b\nAfter=c")
    edited = files.path(NAME).read_text()
    files.install(NAME, NEW, OLD)
    files.path(NAME).write_text(edited)  # killed between the drop-in and the unit
    files.install(NAME, NEW, OLD)
    assert effective(files, "After") == ["b", "c"]


def test_an_edit_of_an_unknown_original_is_laid_aside(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "After=b", "After=b\nAfter=c")
    edited = files.path(NAME).read_text()
    files.install(NAME, NEW, former=None)
    assert files.find(NAME) == NEW
    (aside,) = files.laid_aside(NAME)
    assert aside.read_text() == edited
    assert aside.suffix != ".conf", "systemd reads it as a drop-in"
    files.install(NAME, NEWEST, former=NEW)
    assert files.laid_aside(NAME) == [aside]
    files.remove(NAME)
    assert files.laid_aside(NAME) == []


def test_a_copy_that_is_not_the_original_is_no_base(files: UnitFiles) -> None:
    """What Volt itself has changed since the copy was made is no hand edit."""
    files.install(NAME, NEW)
    files.install(NAME, NEWEST, former=OLD)
    assert not files.path(f"{NAME}.d").exists()
    edit(files, "After=b", "After=c")
    files.install(NAME, OLD, former=NEW)
    assert len(files.laid_aside(NAME)) == 1
    assert not (files.path(f"{NAME}.d") / KEPT).exists()


def test_a_unit_without_its_header_is_edited_too(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    body = "\n".join(line for line in OLD.splitlines() if not line.startswith(("#", "[X-", "Renderer", "Digest")))
    files.path(NAME).write_text(f"{body}\nAfter=c\n")
    assert not files.is_current(NAME, OLD)
    assert files.install(NAME, OLD, OLD)
    assert files.find(NAME) == OLD
    assert effective(files, "After") == ["b", "c"]


def test_a_drop_in_of_a_hand_is_left_alone_until_the_unit_goes(files: UnitFiles, tmp_path: Path) -> None:
    files.install(NAME, OLD)
    override = files.path(f"{NAME}.d") / "override.conf"
    override.parent.mkdir()
    override.write_text("[Service]\nNice=3\n")
    at_runtime = tmp_path / "run" / f"{NAME}.d" / "50-MemoryMax.conf"
    at_runtime.parent.mkdir(parents=True)
    at_runtime.write_text("[Service]\nMemoryMax=1G\n")
    edit(files, "After=b", "After=c")
    files.install(NAME, NEW, OLD)
    assert override.read_text() == "[Service]\nNice=3\n"
    assert at_runtime.exists()
    files.remove(NAME)
    assert not override.parent.exists()
    assert not at_runtime.parent.exists(), "a new unit of that name would have its limits"


def test_what_enabling_left_goes_with_the_unit(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    files.install("volt-other.service", OLD)
    for kind in ("multi-user.target.wants", "shop.target.requires", "a.target.upholds"):
        for name in (NAME, "volt-other.service"):
            link = files.path(kind) / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(files.path(name))
    files.path("alias.service").symlink_to(files.path(NAME))
    files.remove(NAME)
    left = {path.relative_to(files.path("")).as_posix() for path in files.path("").rglob("*.service")}
    assert left == {
        "volt-other.service",
        "multi-user.target.wants/volt-other.service",
        "shop.target.requires/volt-other.service",
        "a.target.upholds/volt-other.service",
    }


def test_a_masked_unit_is_not_unmasked(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    files.path(NAME).unlink()
    files.path(NAME).symlink_to("/dev/null")
    assert files.find(NAME) is None
    assert not files.is_current(NAME, OLD)
    with pytest.raises(ConflictError, match="masked") as refused:
        files.install(NAME, NEW, OLD)
    assert refused.value.hint == f"Unmask it: systemctl unmask {NAME}"
    assert files.remove(NAME)
    assert not files.path(NAME).is_symlink()


def test_a_unit_that_is_a_link_is_not_replaced(files: UnitFiles, tmp_path: Path) -> None:
    files.install(NAME, OLD)
    other = tmp_path / NAME
    files.path(NAME).rename(other)
    files.path(NAME).symlink_to(other)
    with pytest.raises(ConflictError, match=f"a link to '{other}'"):
        files.install(NAME, NEW, OLD)
    assert files.remove(NAME)
    assert other.read_text() == OLD


def test_a_directory_where_the_unit_should_be_is_said(files: UnitFiles) -> None:
    files.path(NAME).mkdir(parents=True)
    assert files.find(NAME) is None
    for act in (lambda: files.install(NAME, NEW, OLD), lambda: files.remove(NAME)):
        with pytest.raises(ConflictError, match="a directory is in its place"):
            act()


def test_the_texts_are_those_of_units_and_of_their_drop_ins(files: UnitFiles) -> None:
    files.install(NAME, OLD)
    edit(files, "ExecStart=/a", "ExecStart=/mine")
    files.install(NAME, NEW, OLD)
    files.path("volt-masked.service").symlink_to("/dev/null")
    texts = list(files.texts("volt-*.service"))
    assert NEW in texts
    assert any("ExecStart=/mine" in text for text in texts)


def test_the_header_is_no_change() -> None:
    one, other = (parse_unit(sign_unit(unit(("After", "b")), {"Id": number})) for number in "12")
    assert one.values(HEADER, "Id") != other.values(HEADER, "Id")
    assert changes_between(one, other) == Unit(())


def test_the_header_tells_what_was_said_of_the_unit() -> None:
    assert header_of(OLD)["Renderer"] == "1"
    assert header_of(render_unit(unit())) == {}
