"""./dev on hosts that lack something, and what ./dev install does to the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import volt_core

from .conftest import PATIENCE, call, clean_environment

pytestmark = pytest.mark.packaging

# What a bare Debian has and ./dev uses.
BARE = (
    "sh cat chmod cut date dirname env find flock getent grep head id ln ls mkdir mktemp mv "
    "readlink rm sed sha256sum sort stat tail tar true uname"
).split()


class BareHost:
    """A PATH with what a bare Debian has, for an ordinary user without sudo."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        programs.mkdir()
        for name in BARE:
            self.link(name, shutil.which(name) or pytest.fail(f"this host has no {name}"))
        self.link("python3", sys.executable)
        self.script("id", "case $1 in -un) echo somebody;; *) echo 1000;; esac")
        self.script("apt-get", 'echo "apt-get was called" >&2; exit 9')

    def link(self, name: str, target: str) -> None:
        (self.programs / name).symlink_to(target)

    def script(self, name: str, text: str) -> None:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def dev(self, tree: Path, *arguments: str, ok: bool = False) -> str:
        return call(["sh", tree / "dev", *arguments], ok=ok, PATH=str(self.programs))


@pytest.fixture
def bare_host(tmp_path: Path) -> BareHost:
    return BareHost(tmp_path / "programs")


def test_without_root_one_message_names_all_that_is_missing(bare_host, tree):
    said = bare_host.dev(tree, "demo")
    (command,) = (line for line in said.splitlines() if "apt-get install" in line)
    missing = command.split("--no-install-recommends")[1].split()
    assert {"proot", "mmdebstrap", "gcc"} <= set(missing)
    assert "apt-get was called" not in said
    assert "./dev demo --image FILE.tar needs only proot." in said
    assert not (tree / ".venv").exists()


def test_demo_of_an_image_wants_proot_all_the_same(bare_host, tree, tmp_path):
    (tmp_path / "image.tar").touch()
    said = bare_host.dev(tree, "demo", "--image", str(tmp_path / "image.tar"))
    assert "missing: proot" in said


def test_demo_of_an_unreadable_image_is_refused_first(bare_host, tree):
    assert "cannot read the image '/no/such.tar'" in bare_host.dev(tree, "demo", "--image", "/no/such.tar")


def test_sudo_that_works_without_a_password_is_used(bare_host, tree):
    bare_host.script("sudo", '[ "$1" != -n ] || shift; echo "sudo $*"; exec "$@"')
    said = bare_host.dev(tree, "demo")
    assert "installing with apt: " in said
    assert "apt-get was called" in said


def test_sudo_that_asks_is_not_used_without_a_terminal(bare_host, tree):
    bare_host.script("sudo", '[ "$1" = -n ] && exit 1; echo "sudo asked"; exit 9')
    said = bare_host.dev(tree, "setup")
    assert "As root, type:" in said
    assert "sudo asked" not in said


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("demo", "--frobnicate"), ("demo", "--image"), ("setup", "now"), ("docs", "now")]
)
def test_unknown_arguments_are_a_usage_error(tree, arguments):
    done = subprocess.run(["sh", tree / "dev", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "./dev help" in done.stderr


def test_setup_repairs_waits_and_then_does_nothing(tree):
    """A half-made .venv is made anew, a second ./dev waits for the first, and a third has nothing to do."""
    (tree / ".venv/bin").mkdir(parents=True)
    (tree / ".venv/bin/python").symlink_to("/no/such/python")
    environment = clean_environment(VOLT_BUILD_NATIVE="0")
    argv = ["sh", tree / "dev", "setup"]
    both = [
        subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("making .venv" in text for text in said) == 1
    assert sum("another ./dev is setting up" in text for text in said) == 1

    again = call(argv, VOLT_BUILD_NATIVE="0")
    assert "==>" not in again
    version = call([tree / ".venv/bin/volt", "--version"])
    assert volt_core.__version__ in version

    changed = tree / "plugins/volt_qemu/pyproject.toml"
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert "installing Volt" in call(argv, VOLT_BUILD_NATIVE="0")

    assert f"{tree}/build/site/index.html" in call(["sh", tree / "dev", "docs"], VOLT_BUILD_NATIVE="0")
    assert (tree / "build/site/docs/tutorial.html").exists()


@pytest.fixture
def system(tmp_path: Path) -> dict[str, str]:
    """Where install puts its link and completions, in place of /usr/local."""
    return {"VOLT_LINK_DIR": str(tmp_path / "bin"), "VOLT_SHARE_DIR": str(tmp_path / "share")}


@pytest.mark.needs_root
def test_install_works_without_the_tree_and_uninstall_removes_it_all(tree, tmp_path, system):
    prefix = tmp_path / "opt/volt"
    dev = ["sh", tree / "dev"]
    before = sorted(path.relative_to(tree) for path in tree.rglob("*"))
    # What an install that was interrupted early leaves is carried on with.
    (prefix / "bin").mkdir(parents=True)
    (prefix / ".volt-install").touch()
    said = call([*dev, "install", "--prefix", prefix], **system)
    assert [line for line in said.splitlines() if not line.startswith(("==> ", "    "))] == []
    left = sorted(path.relative_to(tree) for path in tree.rglob("*") if ".cache" not in path.parts)
    assert left == before, "root left files in the tree"

    aside = tree.rename(tmp_path / "aside")
    volt = tmp_path / "bin/volt"
    assert volt_core.__version__ in call([volt, "--version"])
    assert "proot" in call([volt, "plugin", "list"])
    assert str(tree) not in call(
        [prefix / "bin/python", "-c", "import sys, volt_cas; print(sys.path, volt_cas.__file__)"]
    )
    aside.rename(tree)

    assert (tmp_path / "share/bash-completion/completions/volt").read_text()
    said = call([*dev, "uninstall", "--prefix", prefix], **system)
    assert "/var/lib/volt" in said
    assert not prefix.exists()
    assert list(tmp_path.joinpath("bin").iterdir()) == []
    assert [path for path in tmp_path.joinpath("share").rglob("*") if not path.is_dir()] == []
    assert "no Volt at" in call([*dev, "uninstall", "--prefix", prefix], ok=False, **system)


@pytest.mark.needs_root
def test_install_overwrites_nothing_of_others(tree, tmp_path, system):
    prefix = tmp_path / "theirs"
    prefix.mkdir()
    (prefix / "file").write_text("precious")
    dev = ["sh", tree / "dev"]
    assert "was not made by ./dev install" in call([*dev, "install", "--prefix", prefix], ok=False, **system)
    assert "no Volt at" in call([*dev, "uninstall", "--prefix", prefix], ok=False, **system)
    assert (prefix / "file").read_text() == "precious"

    link = tmp_path / "bin/volt"
    link.parent.mkdir()
    link.write_text("another volt")
    assert "does not belong to" in call([*dev, "install", "--prefix", tmp_path / "new"], ok=False, **system)
    assert link.read_text() == "another volt"
    assert not (tmp_path / "new").exists()


def test_install_without_root_says_so(bare_host, tree):
    assert "needs root: sudo ./dev install" in bare_host.dev(tree, "install")


def test_demo_clean_without_a_demo_says_so(tree, tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HOME": os.environ.get("HOME", "/")}
    assert "There is no demo to clean up" in call(["sh", tree / "dev", "demo", "--clean"], **environment)


def test_demo_leaves_a_folder_of_others_alone(tree, tmp_path):
    (tmp_path / "volt-demo").mkdir()
    (tmp_path / "volt-demo/file").write_text("precious")
    call(["sh", tree / "tools/demo.sh", "--clean"], XDG_CACHE_HOME=str(tmp_path))
    assert "not made by the demo" in call(["sh", tree / "tools/demo.sh"], ok=False, XDG_CACHE_HOME=str(tmp_path))
    assert (tmp_path / "volt-demo/file").read_text() == "precious"


@pytest.mark.needs_proot
def test_demo_does_the_main_job_and_leaves_nothing_running(tree, tmp_path, debian_tar):
    (tree / ".venv").symlink_to(sys.prefix)
    demo = ["sh", tree / "tools/demo.sh", "--image", debian_tar]
    said = call(demo, XDG_CACHE_HOME=str(tmp_path))
    for shown in ("hello from Debian", "web: serving as root", "use/container/demo-db", "Done in"):
        assert shown in said
    root = tmp_path / "volt-demo"
    volt = Path(sys.prefix, "bin/volt")
    assert call([volt, "ps", "--all", "--quiet"], VOLT_ROOT=str(root)) == ""
    assert "demo:latest" in call([volt, "image", "list"], VOLT_ROOT=str(root))
    call(["sh", tree / "tools/demo.sh", "--clean"], XDG_CACHE_HOME=str(tmp_path))
    assert not root.exists()
