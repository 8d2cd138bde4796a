"""Checkouts by both engines: the same tree, the same result, the same errors."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import sys
from collections.abc import Callable

import pytest

from volt_cas.layout import digest_bytes, fan_out
from volt_cas.metadata import Applier
from volt_cas.objects import read_directory, read_tree
from volt_cas.record import DirectoryEntry, DirectoryRecord, Metadata, TreeRecord, address, encode
from volt_cas.store import CasStore
from volt_core import native
from volt_core.contracts import SILENT, CheckoutMode
from volt_core.errors import ObjectCorrupt, ObjectMissing, StoreError, StoreFull
from volt_core.native.checkout import fill_tree
from volt_core.testing import host
from volt_core.testing.trees import differences

AS_USER = """
import io, os, tarfile
from pathlib import Path
from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode

modes = (0o000, 0o111, 0o333, 0o500, 0o555, 0o700, 0o2755, 0o3775)
folders = [(path.format(mode), mode) for mode in modes for path in ("{0:o}", "{0:o}/x", "{0:o}/x/y")]
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    for path, mode in [(".", 0o700), *folders]:
        folder, file = tarfile.TarInfo(path), tarfile.TarInfo(path + "/file")
        folder.type, folder.mode, file.size = tarfile.DIRTYPE, mode, 1
        for info in (folder, file):
            info.uid, info.gid, info.mtime = os.geteuid(), os.getegid(), 7
        tar.addfile(folder)
        tar.addfile(file, io.BytesIO(b"c"))
archive.seek(0)
store = CasStore(Path("cas"))
digest = store.put_tar(archive).digest

for number, umask in enumerate((0o022, 0o077, 0, 0)):
    os.umask(umask)
    out = Path(f"out{number}")
    if number == 3:
        out.mkdir(mode=0o2775)
    assert store.checkout(digest, out, mode=CheckoutMode.LINK).notes == ()
    for path, mode in folders:
        info = os.stat(out / path)
        assert (info.st_mode & 0o7777, info.st_mtime) == (mode, 7), (path, oct(info.st_mode))
        os.chmod(out / path, 0o700)
        assert Path(out, path, "file").read_text() == "c"
"""


@pytest.fixture
def source(tmp_path):
    """Some directories, three levels deep, some with what needs a variant or more than one name."""
    top = tmp_path / "source"
    for number in range(64):
        folder = top.joinpath(*(str(number // 4**level % 4) for level in range(3)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text(str(number % 20))
        (folder / "file").chmod(0o600 if number % 20 == 7 else 0o644)
        os.utime(folder / "file", ns=(0, 10**18))
        (folder / "empty").touch()
        (folder / "link").symlink_to(str(number))
        if number % 20 == 5:
            os.mkfifo(folder / "fifo")
            for name in ("empty", "fifo", "link"):
                os.link(folder / name, top / f"{name}-{number}", follow_symlinks=False)
    return top


def by_c(monkeypatch: pytest.MonkeyPatch) -> None:
    host.require("native")
    monkeypatch.setattr("volt_cas.checkout.find_extension", native.CImplementation)


def by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volt_cas.checkout.find_extension", lambda: None)


@pytest.fixture
def both(monkeypatch):
    """Run a checkout by either engine; returns what came of it, or the message of the error."""

    def run(store: CasStore, digest: str, mode: CheckoutMode = CheckoutMode.LINK) -> list[object]:
        outcomes: list[object] = []
        for name, use in (("c", by_c), ("python", by_python)):
            use(monkeypatch)
            target = store.path.parent / f"by-{name}"
            try:
                outcomes.append(store.checkout(digest, target, mode=mode))
            except StoreError as error:
                outcomes.append((type(error), str(error).replace(str(target), "")))
                assert not target.exists()
        return outcomes

    return run


def test_both_make_the_same_copies(store, source, both, tmp_path, awkward):
    for number, tree in enumerate((source, awkward)):
        digest = store.put_directory(tree).digest
        c, python = both(store, digest, CheckoutMode.COPY)
        assert c == python
        for name in ("c", "python"):
            assert differences(tree, tmp_path / f"by-{name}") == []
            (tmp_path / f"by-{name}").rename(tmp_path / f"{number}-{name}")


@pytest.mark.parametrize("again", [False, True], ids=["the first", "a later one"])
def test_both_make_the_same_links(store, source, both, tmp_path, awkward, again):
    for number, tree in enumerate((source, awkward)):
        digest = store.put_directory(tree).digest
        if again:
            store.checkout(digest, tmp_path / f"warm{number}", mode=CheckoutMode.LINK)
        c, python = both(store, digest)
        assert c == python
        assert differences(tmp_path / "by-c", tmp_path / "by-python") == []
        assert differences(tree, tmp_path / "by-c", ignore={"hardlinks"}) == []
        for name in ("c", "python"):
            (tmp_path / f"by-{name}").rename(tmp_path / f"{number}-{name}")
    assert not list((store.path / "tmp").iterdir())


def test_what_has_several_names_and_no_content_keeps_them(store, source, tmp_path, monkeypatch):
    digest = store.put_directory(source).digest
    by_c(monkeypatch)
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    for name in ("empty", "fifo", "link"):
        one, other = tmp_path / "out/1/1/0" / name, tmp_path / "out" / f"{name}-5"
        assert os.path.samestat(os.lstat(one), os.lstat(other))
        assert os.lstat(one).st_nlink == 2
    assert os.lstat(tmp_path / "out/0/0/0/empty").st_nlink == 1


META = Metadata(0o755, 0, 0, 0, 0)
NOTHING = address(b"")


def damage_record(store: CasStore, digest: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change the record of the last directory of the root."""
    entries = read_directory(store._layout, read_tree(store._layout, digest_bytes(digest)).digest).entries
    last = [entry for entry in entries if isinstance(entry, DirectoryEntry)][-1]
    path = store._layout.tree_path(last.digest)
    data = change(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)


def objects_of(store: CasStore, content: bytes):
    return store._layout.object_path(address(content))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda store, digest: damage_record(store, digest, lambda data: None), ObjectMissing),
        (lambda store, digest: damage_record(store, digest, lambda data: data[:-3]), ObjectCorrupt),
        (lambda store, digest: damage_record(store, digest, lambda data: b""), ObjectCorrupt),
        (
            lambda store, digest: damage_record(store, digest, lambda data: encode(TreeRecord(META, NOTHING))),
            ObjectCorrupt,
        ),
        (lambda store, digest: objects_of(store, b"3").unlink(), ObjectMissing),
        (lambda store, digest: shutil.rmtree(store.path / "objects"), ObjectMissing),
        (lambda store, digest: os.truncate(objects_of(store, b"3"), 2), ObjectCorrupt),
        (lambda store, digest: (objects_of(store, b"3").unlink(), objects_of(store, b"3").mkdir()), ObjectCorrupt),
    ],
    ids=[
        "no record",
        "half a record",
        "an empty record",
        "another record",
        "no object",
        "no objects",
        "a longer object",
        "a directory",
    ],
)
def test_what_is_missing_or_damaged_is_told_alike(memory_path, source, both, damage, error):
    store = CasStore(memory_path / "cas")
    digest = store.put_directory(source).digest
    damage(store, digest)
    for mode in (CheckoutMode.LINK, CheckoutMode.COPY):
        c, python = both(store, digest, mode)
        assert c == python
        assert c[0] is error


def forge(store: CasStore, value: DirectoryRecord | TreeRecord) -> bytes:
    data = encode(value)
    path = store.path / "trees" / fan_out(address(data))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return address(data)


def test_too_deep_a_tree_is_told_alike(memory_path, both):
    store = CasStore(memory_path / "cas")
    store._layout.prepare()
    digest = forge(store, DirectoryRecord(()))
    for _ in range(4096):
        digest = forge(store, DirectoryRecord((DirectoryEntry(b"d", META, digest),)))
    c, python = both(store, "sha256:" + forge(store, TreeRecord(META, digest)).hex())
    assert c == python
    assert c[0] is ObjectCorrupt
    assert "too deep" in c[1]


def test_a_deep_tree_takes_few_descriptors_and_may_need_variants_at_the_bottom(store, tmp_path, both):
    top = tmp_path / "source"
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for number in range(150):
        for name, mode in (("a", 0o644), ("b", 0o600)):
            with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
                file.write("same" if number == 149 else name)
                os.fchmod(file.fileno(), mode)
        os.mkdir("beside", dir_fd=folder)
        os.mkdir("d" * 100, dir_fd=folder)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    digest = store.put_directory(top).digest
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
    try:
        c, python = both(store, digest)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert c == python
    assert c.linked == 300
    for name in ("c", "python"):
        assert store.put_directory(tmp_path / f"by-{name}").digest == digest


@pytest.mark.needs_ordinary_user
@pytest.mark.usefixtures("engine")
def test_directories_that_are_closed_to_their_owner_are_filled(as_user):
    as_user([sys.executable, "-c", AS_USER])


def test_what_is_in_the_way_is_named(store, source, tmp_path):
    host.require("native")
    digest = digest_bytes(store.put_directory(source).digest)
    (tmp_path / "out/3").mkdir(parents=True)
    with pytest.raises(FileExistsError) as caught:
        run_fill_tree(store, digest, tmp_path / "out")
    assert caught.value.filename == "3"


def run_fill_tree(store: CasStore, digest: bytes, target, advance=SILENT.advance):
    descriptors = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (store.path, target)]
    try:
        return fill_tree(
            native.CImplementation(),
            *descriptors,
            digest,
            mode=CheckoutMode.LINK,
            owner=Applier().owner,
            grouped=(),
            max_links=None,
            advance=advance,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


class Stop(BaseException):
    """As an interrupt is."""


def test_an_interrupt_leaves_nothing(store, source, tmp_path, monkeypatch):
    by_c(monkeypatch)
    digest = store.put_directory(source).digest

    class Interrupted:
        begin = note = staticmethod(lambda *_: None)

        @staticmethod
        def advance(byte_count: int, file_count: int = 0) -> None:
            raise Stop

    with pytest.raises(Stop):
        store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK, progress=Interrupted())
    assert not (tmp_path / "out").exists()
    assert not list((store.path / "tmp").iterdir())


def test_progress_is_of_what_is_made(store, source, tmp_path):
    host.require("native")
    digest = digest_bytes(store.put_directory(source).digest)
    (tmp_path / "out").mkdir()
    told: list[tuple[int, int]] = []
    report = run_fill_tree(store, digest, tmp_path / "out", lambda *counts: told.append(counts))
    assert tuple(map(sum, zip(*told, strict=True))) == (report.bytes, report.files)


@pytest.mark.needs_loop_mount
@pytest.mark.usefixtures("engine")
def test_no_room_for_directories_is_an_error_of_its_own(source):
    with host.loop_mounted("ext4", 8, "-N", "800") as disk:
        store = CasStore(disk / "cas")
        digest = store.put_directory(source).digest
        fill = disk / "fill"
        fill.mkdir()
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (fill / str(number)).touch()
        for number in range(20):
            (fill / str(number)).unlink()
        with pytest.raises(StoreFull):
            store.checkout(digest, disk / "out", mode=CheckoutMode.LINK)
        assert not (disk / "out").exists()
