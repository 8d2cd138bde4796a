"""What a container needs is missing, hostile or full: an error that says what to do next, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core.systemd.bus import Systemd
from volt_core.testing.command import Command

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

NothingLeft = Callable[[], None]
AllIsWell = Callable[[], None]
UnitOf = Callable[[str], str]
MakeImage = Callable[..., str]
SLEEPS = ("box", "sleep", "1000")


@contextlib.contextmanager
def mounted(*options: str | Path) -> Iterator[None]:
    """Have something mounted for the length of the block; the last option is where."""
    subprocess.run(["mount", *options], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", options[-1]], check=True)


@contextlib.contextmanager
def moved_away(path: Path, where: Path) -> Iterator[None]:
    """Have something elsewhere for the length of the block."""
    shutil.move(path, where)
    try:
        yield
    finally:
        shutil.move(where, path)


def refused(volt: Command, status: int, *words: str) -> str:
    """Run a command as a process that must fail so, without a traceback, and return what it says."""
    done = volt.process(*words)
    said = done.stderr.decode()
    assert (done.returncode, "Error: " in said) == (status, True), done
    assert "Traceback" not in said
    return said


def test_nspawn_was_removed(volt: Command, all_is_well: AllIsWell, tmp_path: Path) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    with moved_away(Path("/usr/bin/systemd-nspawn"), tmp_path / "nspawn"):
        said = refused(volt, 5, "start", "web")
        assert "systemd-nspawn is not installed. (Install the package systemd-container.)" in said
        assert volt.process("ps", "--all").returncode == 0
    all_is_well()


@pytest.mark.parametrize("name", ["upper", "work", "rootfs"])
def test_a_layer_was_removed(volt: Command, all_is_well: AllIsWell, name: str) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    folder = volt.root / "lib/containers/web" / name
    folder.rmdir()
    said = refused(volt, 5, "start", "web")
    assert "rootfs: cannot mount the container's root: No such file or directory" in said
    folder.mkdir()
    all_is_well()


def test_a_file_of_the_linked_tree_was_removed(volt: Command, all_is_well: AllIsWell) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    links = volt.root / "lib/cas/links"
    for tree in links.iterdir():
        (tree / "root/bin/busybox").unlink()
    assert "Cannot start 'web': sleep: No such file" in refused(volt, 5, "start", "web")
    assert volt.state("web")["status"] == "failed"
    shutil.rmtree(links)
    all_is_well()


@pytest.mark.parametrize("options", [("--rm",), ("--detach",)], ids=" ".join)
def test_an_image_without_a_shell(
    volt: Command, make_image: MakeImage, nothing_left: NothingLeft, options: tuple[str, ...]
) -> None:
    image = make_image()
    assert volt("run", "--rm", "--name", "web", image, "busybox", "true").status == 0
    assert "sh: No such file" in refused(volt, 127, "run", *options, "--name", "web", image, "sh")
    if options == ("--detach",):
        volt.ok("delete", "web")
    nothing_left()


def test_what_nspawn_says_is_said(volt: Command, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    volt.ok("create", "--name", "web", "-v", f"{source}:/data", *SLEEPS)
    source.rmdir()
    said = refused(volt, 5, "start", "web")
    assert "Error: Cannot start 'web': " in said
    assert str(source) in said
    assert "No such file or directory" in said


@pytest.mark.parametrize("name", ["dev", "proc", "run", "sys", "usr"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "dangling", "loop", "file"])
def test_no_image_leads_nspawn_out_onto_the_host(
    volt: Command, make_image: MakeImage, tmp_path: Path, name: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    targets = {
        "absolute": str(outside),
        "relative": "../" * 40 + str(outside).lstrip("/"),
        "dangling": str(outside / "nothing"),
        "loop": name,
    }

    def change(tree: Path) -> None:
        (tree / name).rmdir()
        if kind == "file":
            (tree / name).touch()
        else:
            (tree / name).symlink_to(targets[kind])

    said = refused(volt, 125, "run", "--rm", make_image(change), "busybox", "true")
    assert f"/{name}" in said
    assert list(outside.iterdir()) == []


def test_a_full_disk(volt: Command, busybox_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16m", "none", small):
        monkeypatch.setenv("VOLT_ROOT", str(small))
        volt.ok("image", "import", "--quiet", str(busybox_root), "box")
        fills = "dd if=/dev/zero of=/big bs=64k 2>/dev/null; echo end >/more; exit 3"
        assert volt("run", "--name", "full", "box", "sh", "-c", fills).status == 3
        assert os.statvfs(small).f_bavail == 0
        # The end was kept, and what needs no room works.
        outcome = volt.state("full")["outcome"]
        assert outcome["code"] == 3
        assert volt("ps", "--all").status == 0
        said = volt("create", "--name", "web", *SLEEPS)
        assert said.status != 0
        assert "no space left" in said.err.lower()
        assert "volt cas gc" in said.err
        assert volt.ok("ps", "--all", "--quiet") == "full\n"
        said = volt("start", "full")
        assert said.status == 5
        assert "rootfs: cannot write 'run': No space left on device" in said.err
        # It is not the end of the run before.
        assert volt.state("full")["outcome"].get("code") is None
        volt.ok("delete", "full")
        volt.ok("run", "--detach", "--name", "web", *SLEEPS)
        volt.ok("delete", "--force", "web")
        assert list((small / "lib/containers").iterdir()) == []


def test_etc_is_read_only(volt: Command, all_is_well: AllIsWell) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    with mounted("--bind", "-o", "ro", "/etc", "/etc"):
        for words in (("create", "--name", "other", *SLEEPS), ("delete", "web")):
            said = refused(volt, 1, *words)
            assert "Read-only file system: '/etc/systemd/" in said
            assert "Make that file system writable" in said
        # What has its unit already runs, and what needs none.
        volt.ok("start", "web")
        volt.ok("stop", "web")
        assert volt("run", "--rm", "box", "echo", "hi") == (0, "hi\n", "")
    assert volt.ok("ps", "--all", "--quiet") == "web\n"
    all_is_well()


def test_something_is_mounted_on_the_root(volt: Command, all_is_well: AllIsWell) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    root = volt.root / "lib/containers/web/rootfs"
    with mounted("-t", "tmpfs", "none", root):
        volt.ok("start", "web")
        assert "busybox" in volt.process("exec", "web", "ls", "/bin").stdout.decode()
        said = refused(volt, 4, "delete", "--force", "web")
        assert f"(Unmount it first: umount {root})" in said
        assert volt.state("web")["status"] != "running"
    all_is_well()


def test_the_settings_file_was_removed(volt: Command, nothing_left: NothingLeft) -> None:
    before = set(Path("/etc/systemd/nspawn").iterdir())
    volt.ok("create", "--name", "web", *SLEEPS)
    (settings,) = set(Path("/etc/systemd/nspawn").iterdir()) - before
    text = settings.read_text()
    settings.unlink()
    volt.ok("start", "web")
    assert settings.read_text() == text
    volt.ok("stop", "web")
    settings.unlink()
    volt.ok("delete", "web")
    nothing_left()


@pytest.mark.parametrize("running", [True, False])
def test_the_unit_was_removed(volt: Command, nothing_left: NothingLeft, unit_of: UnitOf, running: bool) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    if running:
        volt.ok("start", "web")
    Path("/etc/systemd/system", unit_of("web")).unlink()
    with Systemd() as systemd:
        systemd.reload()
    shown = volt("ps", "--all")
    assert shown.status == 0
    assert "its unit is missing" in shown.err
    assert volt.state("web")["status"] == ("running" if running else "created")
    volt.ok("stop", "web")
    assert volt.state("web")["status"] == ("failed" if running else "created")
    volt.ok("start", "web")
    assert volt("ps", "--all").err == ""
    Path("/etc/systemd/system", unit_of("web")).unlink()
    volt.ok("delete", "--force", "web")
    nothing_left()


def test_the_folder_was_moved_away(volt: Command, all_is_well: AllIsWell, unit_of: UnitOf, tmp_path: Path) -> None:
    volt.ok("run", "--detach", "--name", "web", *SLEEPS)
    shutil.move(volt.root / "lib/containers/web", tmp_path / "web")
    assert volt.ok("ps", "--all", "--quiet") == ""
    assert "No workload is named 'web'" in refused(volt, 3, "start", "web")
    # What has the name next is not met by the other.
    volt.ok("create", "--name", "web", *SLEEPS)
    with Systemd() as systemd:
        assert not systemd.show(unit_of("web")).is_active
    all_is_well()


def test_the_bus_is_stopped(volt: Command, all_is_well: AllIsWell) -> None:
    volt.ok("create", "--name", "stopped", *SLEEPS)
    volt.ok("run", "--detach", "--name", "web", *SLEEPS)
    subprocess.run(["systemctl", "stop", "dbus.socket", "dbus.service"], check=True)
    try:
        for words in (("start", "stopped"), ("stop", "web"), ("restart", "web"), ("delete", "--force", "web")):
            said = refused(volt, 5, *words)
            assert "Cannot reach the system bus" in said
            assert "systemctl status dbus" in said
        assert volt("ps", "--all").status == 0
    finally:
        subprocess.run(["systemctl", "start", "dbus.socket", "dbus.service"], check=True)
    assert volt.state("web")["status"] == "running"
    volt.ok("delete", "stopped")
    volt.ok("stop", "web")
    all_is_well()
