"""Images by bootstrap: what is asked of the tool, and what becomes of its failures."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from pathlib import Path

import pytest

from volt_core import run
from volt_core.contracts import ImageRequest, Ref
from volt_core.contracts.progress import SILENT
from volt_core.errors import (
    ArchiveInvalid,
    BackendError,
    BackendUnavailable,
    CommandFailed,
    StoreFull,
    TimedOut,
    UsageError,
)
from volt_core.images import bootstrap
from volt_core.images.bootstrap import BootstrapSource, build_debootstrap_argv, build_mmdebstrap_argv
from volt_core.images.mirrors import AptSource
from volt_core.testing.fakes import MemoryStore

REQUEST = ImageRequest(scheme="debian", reference="bookworm")
REF = Ref(name="images/debian:bookworm", digest="")


def test_the_plain_command():
    assert build_mmdebstrap_argv(REQUEST, []) == [
        "mmdebstrap",
        "--format=tar",
        "--variant=minbase",
        "--skip=output/dev",
        "bookworm",
        "-",
    ]


def test_all_options():
    request = ImageRequest(scheme="debian", reference="sid", variant="apt", include=("vim", "libc6:i386"))
    argv = build_mmdebstrap_argv(request, ["deb http://deb.example.org/debian sid main"])
    assert argv[2:] == [
        "--variant=apt",
        "--skip=output/dev",
        "--include=vim,libc6:i386",
        "sid",
        "-",
        "deb http://deb.example.org/debian sid main",
    ]


def test_the_fallback():
    assert build_debootstrap_argv(REQUEST, "/t", "") == ["debootstrap", "--variant=minbase", "bookworm", "/t"]
    request = ImageRequest(scheme="debian", reference="sid", variant="buildd", include=("vim", "less"))
    argv = build_debootstrap_argv(request, "/t", "http://deb.example.org/debian")
    assert argv[1:3] == ["--variant=buildd", "--include=vim,less"]
    assert argv[3:] == ["sid", "/t", "http://deb.example.org/debian"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "--help"}, "Invalid suite '--help'"),
        ({"reference": "Bookworm"}, "Invalid suite"),
        ({"reference": "book worm"}, "Invalid suite"),
        ({"reference": "a\n"}, "Invalid suite"),
        ({"variant": "huge"}, "Unknown variant 'huge'"),
        ({"include": ("--hook",)}, "Invalid package name '--hook'"),
        ({"include": ("a b",)}, "Invalid package name"),
        ({"mirror": "--option"}, "Invalid mirror"),
        ({"mirror": "http://a.example.org/ b"}, "Invalid mirror"),
    ],
)
def test_what_is_refused_before_anything_runs(tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(run, "start", None)
    request = ImageRequest(**{"scheme": "debian", "reference": "bookworm", **options})
    with pytest.raises(UsageError, match=message):
        BootstrapSource().fetch(request, REF, MemoryStore(tmp_path), SILENT)


@pytest.mark.parametrize(
    ("request_", "host", "lines"),
    [
        (REQUEST, {"ID": "debian", "VERSION_CODENAME": "trixie"}, ["deb http://deb.example.org/debian bookworm main"]),
        (REQUEST, {"ID": "ubuntu", "VERSION_CODENAME": "trixie"}, []),
        (REQUEST, {}, []),
        (ImageRequest(scheme="debian", reference="sid", mirror="file:/m"), {"ID": "debian"}, ["file:/m"]),
    ],
)
def test_mirrors_are_the_users_or_the_hosts(monkeypatch, request_, host, lines):
    source = AptSource(uri="http://deb.example.org/debian", suite="trixie", components=("main",), file="sources.list")
    monkeypatch.setattr(bootstrap, "os_release", lambda: host)
    ppa = AptSource(uri="http://ppa.example.org/debian", suite="trixie", components=("main",), file="ppa.sources")
    monkeypatch.setattr(bootstrap, "host_sources", lambda: [ppa, source])
    assert bootstrap._sources(request_) == lines


@pytest.fixture
def store(tmp_path):
    return MemoryStore(tmp_path / "store")


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a program of the given name first on the path; its body is shell."""

    def make(body, name="mmdebstrap"):
        tree = tmp_path / "tree"
        (tree / "etc").mkdir(parents=True, exist_ok=True)
        (tree / "etc/motd").write_bytes(os.urandom(300_000))
        (tree / "usr/lib").mkdir(parents=True, exist_ok=True)
        (tree / "usr/lib/os-release").write_text('PRETTY_NAME="Debian"\nID=debian\n')
        (tree / "etc/os-release").unlink(missing_ok=True)
        (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
        run.run(["tar", "-C", str(tree), "-cf", str(tmp_path / "good.tar"), "."], timeout=20)
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\ntar={tmp_path}/good.tar\necho $$ > {tmp_path}/pid\n{textwrap.dedent(body)}")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        return tmp_path / "pid"

    return make


def fetch(store):
    return BootstrapSource().fetch(REQUEST, REF, store, SILENT)


def test_a_good_tool(tool, store):
    tool("cat $tar; echo warned >&2")
    fetched = fetch(store)
    assert fetched.source == "debian:bookworm by mmdebstrap, minbase"
    ref = store.find_ref(REF.name)
    assert ref.digest == fetched.result.digest
    assert len(store.read_file(ref.digest, b"etc/motd")) == 300_000


def test_another_distribution_than_was_asked_for(tool, store):
    """A Debian's mmdebstrap finds a suite of that name at Debian's mirrors."""
    tool("cat $tar")
    request = ImageRequest(scheme="ubuntu", reference="bookworm")
    ref = Ref(name="images/ubuntu:bookworm", digest="")
    with pytest.raises(BackendError, match=r"Cannot pull 'ubuntu:bookworm': what was fetched is 'debian'.*--mirror"):
        BootstrapSource().fetch(request, ref, store, SILENT)
    assert store.find_ref(ref.name) is None


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("head -c 200000 $tar; echo E: no network >&2; exit 1", "ended with status 1"),
        ("head -c 200000 $tar; echo E: no network >&2; kill -9 $$", "was killed by SIGKILL"),
        ("cat $tar; echo E: no network >&2; exit 25", "ended with status 25"),
        ("cat $tar; echo E: no network >&2; kill -9 $$", "was killed by SIGKILL"),
        ("echo E: no network >&2; exit 1", "ended with status 1"),
        ("echo this is no tar; echo E: no network >&2; exit 1", "ended with status 1"),
    ],
)
def test_a_tool_that_fails_leaves_no_ref_and_is_quoted(tool, store, body, how):
    tool(body)
    with pytest.raises(CommandFailed, match=f"'mmdebstrap' {how}") as caught:
        fetch(store)
    assert "E: no network" in caught.value.details
    assert "The command was: mmdebstrap --format=tar" in caught.value.details
    assert caught.value.exit_code == 5
    assert store.find_ref(REF.name) is None


def test_only_the_end_of_what_it_said_is_quoted(tool, store):
    tool("i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; exit 1")
    with pytest.raises(CommandFailed) as caught:
        fetch(store)
    assert "line 499" in caught.value.details
    assert len(caught.value.details.splitlines()) < 20


def test_a_tar_that_the_store_refuses_is_not_the_tools_fault(tool, store):
    tool("printf 'no tar at all %2000s'; cat $tar")
    with pytest.raises(ArchiveInvalid):
        fetch(store)
    assert store.find_ref(REF.name) is None


def test_a_full_store_ends_the_tool_at_once(tool, store, monkeypatch):
    pid_file = tool("cat $tar; sleep 1000")

    def full(stream, **options):
        stream.read(1000)
        raise StoreFull("No room")

    monkeypatch.setattr(store, "put_tar", full)
    begin = time.monotonic()
    with pytest.raises(StoreFull):
        fetch(store)
    assert time.monotonic() - begin < 20
    assert_gone(int(pid_file.read_text()))


@pytest.mark.parametrize("body", ["sleep 1000", "head -c 200000 $tar; sleep 1000", "cat $tar; exec sleep 1000"])
def test_a_tool_that_hangs_is_ended(tool, store, monkeypatch, body):
    monkeypatch.setattr(bootstrap, "_TIME_LIMIT", 0.5)
    pid_file = tool(body)
    with pytest.raises(TimedOut, match=r"'mmdebstrap' has written nothing for \S+ minutes") as caught:
        fetch(store)
    assert "--mirror" in str(caught.value.hint)
    assert_gone(int(pid_file.read_text()))
    assert store.find_ref(REF.name) is None


def test_an_interrupt_ends_the_tool(tool, store):
    pid_file = tool("head -c 1000 $tar; sleep 1000")

    def interrupt():
        while not pid_file.exists() or not pid_file.read_text().strip():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        fetch(store)
    thread.join()
    assert_gone(int(pid_file.read_text()))
    assert store.find_ref(REF.name) is None


def assert_gone(pid):
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def debootstrap(tool, monkeypatch):
    """Only debootstrap is there; it notes its arguments."""
    tool("echo $@ > ${0%/bin/*}/argv; mkdir -p $3/etc $3/var/cache/apt/archives\n"
         "echo x > $3/var/cache/apt/archives/a.deb; echo hi > $3/etc/motd", name="debootstrap")  # fmt: skip
    found = run.find_program
    monkeypatch.setattr(run, "find_program", lambda name: None if name == "mmdebstrap" else found(name))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


SECURITY_FIRST = [
    "deb [signed-by=/k.gpg] http://sec.example.org/debian-security bookworm-security main",
    "deb mirror+file:/etc/apt/mirrors.list bookworm main",
    "deb [signed-by=/k.gpg] http://deb.example.org/debian bookworm main",
]


@pytest.mark.parametrize(
    ("sources", "mirror"),
    [
        (SECURITY_FIRST, "http://deb.example.org/debian"),
        (SECURITY_FIRST[:1], ""),
        (["file:/mirror"], "file:/mirror"),
        ([], ""),
    ],
)
def test_debootstrap_as_the_fallback(debootstrap, tmp_path, store, monkeypatch, sources, mirror):
    monkeypatch.setattr(bootstrap, "_sources", lambda request: sources)
    digest = fetch(store).result.digest
    paths = {entry.path for entry in store.entries(digest)}
    assert {b"etc/motd", b"dev", b"var/cache/apt/archives"} <= paths
    assert b"var/cache/apt/archives/a.deb" not in paths
    _, suite, target, *rest = (tmp_path / "argv").read_text().split()
    assert (suite, rest) == ("bookworm", [mirror] if mirror else [])
    assert Path(target).parent.parent == store.path.parent, "not where the store is"
    assert not Path(target).parent.exists()


def test_what_a_killed_debootstrap_left_is_cleared_away(debootstrap, store, monkeypatch):
    old, new = (store.path.parent / f".bootstrap-{name}" for name in ("old", "new"))
    for folder in (old, new):
        (folder / "root/etc").mkdir(parents=True)
    os.utime(old, (1, 1))
    monkeypatch.setattr(bootstrap, "_sources", lambda request: [])
    fetch(store)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize(
    ("present", "uid", "reason"),
    [
        (("debootstrap",), 1000, "debootstrap needs root"),
        ((), 0, "neither mmdebstrap nor debootstrap is installed"),
    ],
)
def test_without_a_tool_it_says_what_to_install(monkeypatch, store, present, uid, reason):
    monkeypatch.setattr(run, "find_program", lambda name: f"/usr/sbin/{name}" if name in present else None)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(BackendUnavailable, match=f"Cannot pull 'debian:bookworm': {reason}.*mmdebstrap"):
        fetch(store)
