"""Command lines and layouts, without a host."""

from __future__ import annotations

from pathlib import Path

from volt_core.models.mount import Mount
from volt_core.models.workload import ContainerSpec
from volt_core.supervisor.model import STATUS_FD, PrivateMount
from volt_proot.argv import Bind, build_proot_argv, split_environment
from volt_proot.binds import plan_layout

ROOT = Path("/c/rootfs")
FOLDER = Path("/c")


def spec(**changes: object) -> ContainerSpec:
    return ContainerSpec(image="i", root="sha256:", command=("true",), **changes)  # type: ignore[arg-type]


def test_the_command_runs_under_init_which_is_bound_where_it_leaves_nothing() -> None:
    argv = build_proot_argv(
        ROOT, ["ls", "-l"], identity=(7, 8), binds=[Bind("/a", "/b")], working_dir="/w", init=Path("/bin/init")
    )
    assert argv == [
        *("proot", "-v", "-1", "-r", "/c/rootfs", "-i", "7:8", "-w", "/w", "-b", "/a:/b"),
        *(
            "-b",
            "/bin/init:/proc/.volt-init",
            "/proc/.volt-init",
            "--status-fd",
            STATUS_FD,
            "--pdeathsig",
            "--deny-untranslated",
            "--workdir",
            "/w",
            "--",
            "ls",
            "-l",
        ),
    ]


def test_only_a_terminal_makes_a_session() -> None:
    with_tty = build_proot_argv(ROOT, ["sh"], tty=True, init=Path("/bin/init"))
    without = build_proot_argv(ROOT, ["sh"], init=Path("/bin/init"))
    assert [part for part in with_tty if part not in without] == ["--setsid-tty"]


def test_what_would_act_on_proot_is_kept_for_the_payload() -> None:
    outer, inner = split_environment({"A": "1", "LD_PRELOAD": "/x.so", "PROOT_NO_SECCOMP": "1"}, Path("/c/tmp"))
    assert outer == {"A": "1", "PROOT_TMP_DIR": "/c/tmp"}
    assert inner == ["PROOT_TMP_DIR", "LD_PRELOAD=/x.so", "PROOT_NO_SECCOMP=1"]
    assert split_environment({"PROOT_TMP_DIR": "/mine"}, Path("/c/tmp"))[1] == ["PROOT_TMP_DIR=/mine"]


def test_without_init_the_images_shell_reports() -> None:
    argv = build_proot_argv(ROOT, ["ls", "-l"], working_dir="/w")
    assert argv[-7:-5] == ["/bin/sh", "-c"]
    assert argv[-3:] == [STATUS_FD, "ls", "-l"]
    assert argv[argv.index("-w") + 1] == "/w"


def test_a_container_sees_devices_and_network_files() -> None:
    layout = plan_layout(FOLDER, spec())
    assert [bind.target for bind in layout.binds] == [
        *("/dev", "/proc", "/sys", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
    ]
    # Copies: root in a container must not write the host's own.
    assert all(bind.source.startswith("/c/") for bind in layout.binds if bind.target.startswith("/etc/"))
    assert layout.mounts == []


def test_mounts_come_last_and_read_only_ones_from_a_place_of_their_own() -> None:
    layout = plan_layout(FOLDER, spec(mounts=(Mount.parse("/x:/y"), Mount.parse("/x:/z:ro"))))
    assert layout.binds[-2:] == [Bind("/x", "/y"), Bind("/c/places/mount-1", "/z")]
    assert layout.mounts == [PrivateMount(type="bind-ro", source="/x", target="/c/places/mount-1")]


def test_a_read_only_root_keeps_writable_places_in_memory() -> None:
    layout = plan_layout(FOLDER, spec(read_only=True))
    assert layout.mounts[0] == PrivateMount(type="bind-ro", source="/c/rootfs", target="/c/rootfs")
    assert [mount.type for mount in layout.mounts[1:]] == ["tmpfs"] * 3
    assert {bind.target for bind in layout.binds} >= {"/tmp", "/run", "/var/tmp"}
