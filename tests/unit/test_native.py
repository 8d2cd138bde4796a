"""Walk and hash: the same cases for the C calls and for their Python twins, and both against each other."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from volt_core import native
from volt_core.native import twin
from volt_core.testing import host

EMPTY = hashlib.sha256(b"").digest()
ABC = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
DEEP_LEVELS = 2000


@pytest.fixture(params=["c", "python"])
def impl(request):
    if request.param == "python":
        return native.PythonImplementation()
    host.require("native")
    return native.CImplementation()


@pytest.fixture
def root(tmp_path):
    """A directory: its path and a descriptor of it."""
    path = tmp_path / "root"
    path.mkdir(mode=0o755)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, fd
    os.close(fd)
    # pytest's own removal gives up at the depth of some of these trees.
    subprocess.run(["rm", "-rf", "--", path], check=True)


def make_deep(fd: int, name: bytes, levels: int, *, beside: bytes | None = None) -> None:
    """Make `levels` nested directories, with a file beside each: longer paths than the kernel takes at once."""
    fd = os.dup(fd)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        if beside is not None:
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd))
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd))
    os.close(fd)


def bind_socket(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path`/socket, by a name short enough for any `path`."""
    with socket.socket(socket.AF_UNIX) as unix, monkeypatch.context() as context:
        context.chdir(path)
        unix.bind("socket")


def make_awkward(path: Path, fd: int) -> None:
    base = os.fsencode(path)
    for name in (b"line\nfeed", b"\x01", b"\xff\xfe\x80", b"'\"$ \\", b"a-", b"...", b" ", b"n" * 255, b"\xc3\xa9"):
        (path / os.fsdecode(name)).write_bytes(name)
    (path / "a").mkdir()
    (path / "a" / "b").write_bytes(b"b")
    (path / "empty").mkdir(mode=0o2711)
    os.symlink(b"nowhere\xff", base + b"/link")
    os.symlink(b"a", base + b"/dirlink")
    os.symlink(b".", base + b"/loop")
    os.mkfifo(base + b"/fifo", 0o640)
    os.link(path / "a" / "b", path / "hard")
    with (path / "sparse").open("wb") as file:
        file.truncate(1 << 33)
    os.utime(path / "a" / "b", ns=(0, -1_500_000_000))
    os.utime(path / "hard", ns=(0, 10_413_792_000_123_456_789))
    make_deep(fd, b"d" * 250, 40, beside=b"z")
    os.mkdir(b"many", dir_fd=fd)
    for number in range(3000):
        (path / "many" / f"{number * 7919 % 3000}-{'x' * (number % 200)}").touch()


def paths_of(impl, fd, **options):
    return [entry.path for entry in impl.walk(fd, **options)]


def test_root_alone(impl, root):
    path, fd = root
    status = path.stat()
    (entry,) = impl.walk(fd)
    assert entry == native.WalkEntry(
        path=b"",
        mode=stat.S_IFDIR | 0o755,
        uid=os.geteuid(),
        gid=status.st_gid,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        dev=status.st_dev,
        ino=status.st_ino,
        nlink=status.st_nlink,
        rdev=status.st_rdev,
        blocks=status.st_blocks,
    )


def test_order_is_depth_first_in_byte_order(impl, root):
    path, fd = root
    (path / "a" / "a").mkdir(parents=True)
    for name in ("a/a/z", "a/b", "a-", "B", "\udcff", "é"):
        (path / name).touch()
    assert paths_of(impl, fd) == [b"", b"B", b"a", b"a/a", b"a/a/z", b"a/b", b"a-", b"\xc3\xa9", b"\xff"]


def test_links_are_not_followed(impl, root):
    path, fd = root
    (path / "dir").mkdir()
    (path / "dir" / "file").touch()
    (path / "link").symlink_to("dir")
    (path / "up").symlink_to("..")
    entries = {entry.path: entry for entry in impl.walk(fd)}
    assert sorted(entries) == [b"", b"dir", b"dir/file", b"link", b"up"]
    assert stat.S_ISLNK(entries[b"link"].mode)
    assert entries[b"link"].size == 3


def test_both_see_the_same_in_an_awkward_tree(root, monkeypatch):
    host.require("native")
    path, fd = root
    make_awkward(path, fd)
    bind_socket(path, monkeypatch)
    ours = list(native.CImplementation().walk(fd))
    assert ours == list(native.PythonImplementation().walk(fd))
    assert len(ours) > 3080
    assert max(len(entry.path) for entry in ours) > 10_000
    types = {stat.S_IFMT(entry.mode) for entry in ours}
    assert types == {stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK}

    files = [entry.path for entry in ours if stat.S_ISREG(entry.mode) and entry.path != b"sparse"]
    digests = native.CImplementation().hash_files(fd, files, threads=2)
    assert digests == native.PythonImplementation().hash_files(fd, files, threads=2)
    assert digests[files.index(b"line\nfeed")] == hashlib.sha256(b"line\nfeed").digest()
    assert all(isinstance(digest, bytes) for digest in digests)


@pytest.mark.needs_root
def test_both_see_the_same_device_nodes(root):
    host.require("native")
    path, fd = root
    os.mknod(path / "char", 0o600 | stat.S_IFCHR, os.makedev(259, 70000))
    os.mknod(path / "block", 0o600 | stat.S_IFBLK, os.makedev(7, 300))
    os.chown(path / "char", 2**32 - 2, 70000)
    ours = list(native.CImplementation().walk(fd))
    assert ours == list(native.PythonImplementation().walk(fd))
    assert [(entry.path, entry.rdev, entry.uid) for entry in ours[1:]] == [
        (b"block", os.makedev(7, 300), 0),
        (b"char", os.makedev(259, 70000), 2**32 - 2),
    ]


def test_deep_tree_needs_few_descriptors(impl, root):
    _, fd = root
    make_deep(fd, b"deep-directory-name", DEEP_LEVELS, beside=b"z")
    most = 0
    depths = []
    for entry in impl.walk(fd):
        depths.append(entry.path.count(b"/") + 1 if entry.path else 0)
        most = max(most, len(os.listdir("/proc/self/fd"))) if len(depths) % 100 == 0 else most
    # Down to the bottom, then up again past every file that lies beside a directory.
    assert depths == [*range(DEEP_LEVELS + 2), *range(DEEP_LEVELS, 0, -1)]
    assert most < 200


def test_walk_leaves_no_descriptor_behind(impl, root):
    path, fd = root
    (path / "a" / "b").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    walk = impl.walk(fd)
    next(walk)
    next(walk)
    del walk
    list(impl.walk(fd))
    assert os.listdir("/proc/self/fd") == before
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0


def test_walk_of_a_file_names_the_root(impl, root):
    path, _ = root
    (path / "file").touch()
    fd = os.open(path / "file", os.O_RDONLY)
    with pytest.raises(NotADirectoryError) as caught:
        list(impl.walk(fd))
    assert caught.value.filename == "."
    os.close(fd)


def test_walk_of_a_closed_descriptor(impl):
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        list(impl.walk(-1))
    assert caught.value.errno == errno.EBADF


def test_unreadable_directory_is_named(impl, root):
    path, fd = root
    (path / "outer" / "shut\udcff").mkdir(parents=True)
    (path / "outer" / "shut\udcff").chmod(0)
    became = os.geteuid() == 0
    if became:
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError) as caught:
            list(impl.walk(fd))
    finally:
        if became:
            os.seteuid(0)
    assert caught.value.filename == "outer/shut\udcff"
    assert caught.value.errno == errno.EACCES


def test_what_vanishes_is_left_out(root):
    path, fd = root
    for name in ("a", "b", "c/d", "e"):
        (path / name).mkdir(parents=True)
    walk = native.PythonImplementation().walk(fd)
    assert [next(walk).path, next(walk).path] == [b"", b"a"]
    (path / "b").rmdir()
    assert next(walk).path == b"c"
    (path / "c" / "d").rmdir()
    (path / "c").rmdir()
    assert [entry.path for entry in walk] == [b"e"]


def test_directory_moved_while_the_walk_is_deep_inside(root):
    path, fd = root
    make_deep(fd, b"d", 100, beside=b"z")
    walk = native.PythonImplementation().walk(fd)
    for _ in range(102):
        entry = next(walk)
    assert entry.path.endswith(b"/d/bottom")
    (path / "elsewhere").mkdir()
    (path / "d/d/d").rename(path / "elsewhere" / "moved")
    with pytest.raises(OSError, match="Stale") as caught:
        list(walk)
    assert caught.value.errno == errno.ESTALE


@pytest.mark.needs_root
def test_one_file_system(impl, root):
    path, fd = root
    (path / "mnt").mkdir()
    (path / "zzz").touch()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0751", "none", path / "mnt"], check=True)
    try:
        (path / "mnt" / "inside").touch()
        assert paths_of(impl, fd) == [b"", b"mnt", b"mnt/inside", b"zzz"]
        entries = list(impl.walk(fd, one_file_system=True))
        assert [entry.path for entry in entries] == [b"", b"mnt", b"zzz"]
        # The mounted directory is what is seen there, as with lstat().
        assert stat.S_IMODE(entries[1].mode) == 0o751
        assert entries[1].dev == os.lstat(path / "mnt").st_dev
    finally:
        subprocess.run(["umount", path / "mnt"], check=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", b"x" * twin.READ_SIZE, b"y" * (twin.READ_SIZE + 1), os.urandom(1) * (3 * twin.READ_SIZE - 5)],
    ids=["empty", "abc", "one-buffer", "one-byte-more", "three-buffers"],
)
def test_hash_file(impl, tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    with file.open("rb") as stream:
        assert impl.hash_file(stream.fileno()) == (hashlib.sha256(content).digest(), len(content))
        assert impl.hash_file(stream.fileno()) == (EMPTY, 0)


def test_hash_file_begins_at_the_offset(impl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"skip abc")
    with file.open("rb") as stream:
        os.lseek(stream.fileno(), 5, os.SEEK_SET)
        assert impl.hash_file(stream.fileno()) == (ABC, 3)
        os.lseek(stream.fileno(), 100, os.SEEK_SET)
        assert impl.hash_file(stream.fileno()) == (EMPTY, 0)


def test_hash_file_of_a_pipe(impl):
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    assert impl.hash_file(reader) == (ABC, 3)
    os.close(reader)


def test_hash_file_of_a_directory(impl, root):
    with pytest.raises(IsADirectoryError):
        impl.hash_file(root[1])


def test_hash_files_in_the_order_asked(impl, root):
    path, fd = root
    wanted = []
    for number in range(500):
        name = f"{number % 7}/{number % 3}/{number}"
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
        wanted.append(name.encode())
    results = [impl.hash_files(fd, wanted, threads=threads) for threads in (1, 2, 16)]
    assert results[0] == [hashlib.sha256(name).digest() for name in wanted]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("threads", [1, 4])
def test_hash_files_keeps_each_error_apart(impl, root, threads, monkeypatch):
    path, fd = root
    (path / "dir").mkdir()
    (path / "abc").write_bytes(b"abc")
    (path / "dir" / "abc").write_bytes(b"abc")
    (path / "link").symlink_to("abc")
    (path / "dirlink").symlink_to("dir")
    os.mkfifo(path / "fifo")
    bind_socket(path, monkeypatch)
    wanted: dict[bytes, bytes | int] = {
        b"abc": ABC,
        b"missing\xff": errno.ENOENT,
        b"dir/abc": ABC,
        b"dir/missing": errno.ENOENT,
        b"missing/abc": errno.ENOENT,
        b"abc/abc": errno.ENOTDIR,
        b"link": errno.EINVAL,
        b"dirlink/abc": errno.ENOTDIR,
        b"dir": errno.EINVAL,
        b"fifo": errno.EINVAL,
        b"socket": errno.EINVAL,
        b"": errno.EINVAL,
        b"/": errno.EINVAL,
        b"/etc/passwd": errno.EINVAL,
        b"..": errno.EINVAL,
        b"dir/../abc": errno.EINVAL,
        b"./abc": errno.EINVAL,
        b"dir//abc": errno.EINVAL,
        b"dir/abc/": errno.EINVAL,
        b"abc\0": errno.EINVAL,
        b"n" * 256: errno.ENAMETOOLONG,
        b"n" * 256 + b"/abc": errno.ENAMETOOLONG,
    }
    results = impl.hash_files(fd, list(wanted), threads=threads)
    seen = {}
    for name, result in zip(wanted, results, strict=True):
        seen[name] = result.errno if isinstance(result, OSError) else result
        if isinstance(result, OSError):
            assert result.filename == os.fsdecode(name or b".")
            assert result.strerror == os.strerror(result.errno)
    assert seen == wanted


def test_unreadable_file_is_an_error(impl, root):
    path, fd = root
    (path / "secret").write_bytes(b"abc")
    (path / "secret").chmod(0)
    became = os.geteuid() == 0
    if became:
        os.seteuid(65534)
    try:
        (result,) = impl.hash_files(fd, [b"secret"], threads=1)
    finally:
        if became:
            os.seteuid(0)
    assert isinstance(result, PermissionError)


@pytest.mark.needs_root
def test_files_of_others_are_read_without_noatime(impl, root):
    path, fd = root
    (path / "others").write_bytes(b"abc")
    os.seteuid(65534)
    try:
        assert impl.hash_files(fd, [b"others"], threads=1) == [ABC]
        assert paths_of(impl, fd) == [b"", b"others"]
    finally:
        os.seteuid(0)


def test_access_times_stay(impl, root):
    path, fd = root
    (path / "file").write_bytes(b"abc")
    (path / "dir").mkdir()
    # Older than the mtime: what relatime would update.
    for name in (path, path / "file", path / "dir"):
        os.utime(name, ns=(10**9, 2 * 10**9))
    list(impl.walk(fd))
    impl.hash_files(fd, [b"file"], threads=1)
    assert [name.stat().st_atime_ns for name in (path, path / "file", path / "dir")] == [10**9] * 3


def test_hash_files_beyond_path_max(impl, root):
    _, fd = root
    make_deep(fd, b"d" * 250, 30)
    bottom = b"/".join([b"d" * 250] * 30 + [b"bottom"])
    assert impl.hash_files(fd, [bottom], threads=1) == [EMPTY]


def test_hash_files_of_nothing(impl, root):
    assert impl.hash_files(root[1], [], threads=1) == []


@pytest.mark.parametrize("wanted", ["c", "python"])
def test_public_functions(root, monkeypatch, wanted):
    if wanted == "c":
        host.require("native")
    monkeypatch.setenv("VOLT_NATIVE", wanted)
    monkeypatch.setattr(native, "_chosen", functools.cache(native._chosen.__wrapped__))
    path, fd = root
    (path / "abc").write_bytes(b"abc")
    assert native.implementation() == wanted
    assert [entry.path for entry in native.walk(fd)] == [b"", b"abc"]
    assert native.hash_files(fd, [b"abc"] * 100) == [ABC] * 100
    assert native.hash_files(fd, []) == []
    with (path / "abc").open("rb") as file:
        assert native.hash_file(file.fileno()) == (ABC, 3)
    with pytest.raises(ValueError, match="threads"):
        native.hash_files(fd, [b"abc"], threads=0)


def choose(value: str | None, *, extension: bool = True) -> subprocess.CompletedProcess[str]:
    hide = "" if extension else "import sys; sys.modules['volt_core._native'] = None; "
    environment = {name: text for name, text in os.environ.items() if name != "VOLT_NATIVE"}
    return subprocess.run(
        [sys.executable, "-c", f"{hide}from volt_core import native; print(native.implementation())"],
        env=environment | ({} if value is None else {"VOLT_NATIVE": value}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.needs_native
def test_c_serves_where_it_was_built():
    assert choose(None).stdout == choose("c").stdout == "c\n"
    assert choose("python").stdout == "python\n"


def test_python_serves_without_the_extension():
    assert choose(None, extension=False).stdout == "python\n"


def test_c_that_was_not_built_is_an_error_of_the_configuration():
    assert (
        "InvalidConfig: VOLT_NATIVE is 'c', but the C extension cannot be loaded" in choose("c", extension=False).stderr
    )


def test_unknown_choice_is_refused():
    assert "InvalidConfig: VOLT_NATIVE must be 'c' or 'python', not 'rust'" in choose("rust").stderr


@pytest.mark.parametrize("wanted", ["rust", "C", "c ", "c,python", "python\n", "\udcff"])
@pytest.mark.parametrize("words", [("info",), ("info", "--json"), ("cas", "build", ".")])
def test_a_wrong_choice_is_one_line_at_the_command_line(tmp_path, wanted, words):
    (tmp_path / "file").write_bytes(b"abc")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "volt_core", *words],
        cwd=tmp_path,
        env=os.environ | {"VOLT_NATIVE": wanted, "VOLT_ROOT": str(tmp_path / "root")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: VOLT_NATIVE must be 'c' or 'python', not ")
    assert done.stderr.endswith("(Unset it to have what is best here.)\n")
    assert done.stderr.count("\n") == 1


def test_doctor_names_a_wrong_choice(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "volt_core", "doctor"],
        env=os.environ | {"VOLT_NATIVE": "rust", "VOLT_ROOT": str(tmp_path / "root")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "MISSING  core: VOLT_NATIVE must be 'c' or 'python', not 'rust'\n" in done.stdout
