"""Command lines and paths, without a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from volt_bwrap.argv import build_bwrap_argv
from volt_bwrap.rootfs import resolve
from volt_core.errors import InvalidSpec
from volt_core.models.mount import Mount

ROOT, INIT = Path("/c/rootfs"), Path("/bin/init")


def build(**changes: object) -> list[str]:
    return build_bwrap_argv(ROOT, INIT, hostname="box", **changes)  # type: ignore[arg-type]


def values(argv: list[str], option: str) -> list[str]:
    return [argv[position + 1] for position, word in enumerate(argv) if word == option]


def added(**changes: object) -> list[str]:
    """What an option adds to the command line, in its order."""
    plain = build()
    return [word for word in build(**changes) if word not in plain]


def test_the_whole_command_line_of_root() -> None:
    argv = build()
    capabilities = [word for name in values(argv, "--cap-add") for word in ("--cap-add", name)]
    assert argv == [
        *("bwrap", "--die-with-parent", "--as-pid-1", "--unshare-pid", "--unshare-ipc", "--unshare-cgroup-try"),
        *("--unshare-uts", "--hostname", "box", "--chdir", "/", "--cap-drop", "ALL", *capabilities),
        *("--bind", "/c/rootfs", "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"),
        *("--perms", "1777", "--tmpfs", "/dev/shm", "--ro-bind", "/bin/init", "/dev/.volt-init", "--"),
    ]


def test_nothing_that_reaches_beyond_the_container_is_left_to_its_root() -> None:
    assert not {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_MKNOD"} & set(values(build(), "--cap-add"))


@pytest.mark.parametrize(("user", "has_some"), [((0, 0), True), ((7, 8), False)])
def test_an_ordinary_user_gets_a_namespace_in_which_root_alone_has_capabilities(
    user: tuple[int, int], has_some: bool
) -> None:
    argv = build(user=user)
    assert argv[argv.index("--unshare-user") :][:5] == ["--unshare-user", "--uid", str(user[0]), "--gid", str(user[1])]
    assert bool(values(argv, "--cap-add")) is has_some


def test_without_network() -> None:
    assert added(network=False) == ["--unshare-net"]


def test_mounts_come_in_their_order() -> None:
    argv = build(mounts=[Mount.parse("/x:/y"), Mount.parse("/x:/y/z:ro")])
    assert argv[-7:] == ["--bind", "/x", "/y", "--ro-bind", "/x", "/y/z", "--"]


def test_a_read_only_root_becomes_so_when_all_is_mounted() -> None:
    argv = build(read_only=True, tmpfs=["/tmp"], mounts=[Mount.parse("/x:/y")])
    assert argv[-10:] == ["--perms", "1777", "--tmpfs", "/tmp", "--bind", "/x", "/y", "--remount-ro", "/", "--"]


class TestResolve:
    @pytest.mark.parametrize(
        ("link", "leads"),
        [
            ("/etc", "/etc/hosts"),
            ("../../../etc", "/etc/hosts"),
            ("/oldroot/etc", "/oldroot/etc/hosts"),
            ("real/./deep//", "/real/deep/hosts"),
        ],
    )
    def test_a_link_is_followed_inside(self, tmp_path: Path, link: str, leads: str) -> None:
        (tmp_path / "link").symlink_to(link)
        assert resolve([tmp_path], "/link/hosts") == leads

    def test_the_upper_layer_hides_the_lower(self, tmp_path: Path) -> None:
        upper, lower = tmp_path / "upper", tmp_path / "lower"
        (upper / "etc").mkdir(parents=True)
        lower.mkdir()
        (lower / "etc").symlink_to("/elsewhere")
        (lower / "var").symlink_to("run")
        assert resolve([upper, lower], "/etc/hosts") == "/etc/hosts"
        assert resolve([upper, lower], "/var/x") == "/run/x"

    def test_a_loop_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(InvalidSpec, match="symlinks"):
            resolve([tmp_path], "/a/x")
