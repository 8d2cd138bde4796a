"""What a virtual host is started with: modules in an order in which they load, and command lines."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from volt_core.testing.hosts.kernel import Kernel, load_order
from volt_core.testing.hosts.virtual import build_qemu_argv, build_virtiofsd_argv

_COLLECT = """
import sys
import pytest
from volt_core.testing import host
host.PROBES["systemd"] = lambda: None
host.PROBES["virtual_host"] = lambda: sys.argv[1] or None
sys.exit(pytest.main(["--collect-only", "-q", "-k", "b15", "plugins/volt_nspawn/tests/test_conformance.py"]))
"""
DEPENDENCIES = """\
kernel/fs/fuse/virtiofs.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko kernel/fs/fuse/fuse.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/fs/fuse/fuse.ko:
kernel/fs/overlayfs/overlay.ko.xz:
kernel/crypto/a-dashed.ko:
"""


def test_modules_are_loaded_after_what_they_need() -> None:
    files = load_order(DEPENDENCIES, ["overlay", "virtiofs", "virtio"])
    assert [Path(file).name for file in files] == [
        "overlay.ko.xz",
        "fuse.ko",
        "virtio_ring.ko",
        "virtio.ko",
        "virtiofs.ko",
    ]


def test_modules_are_named_as_the_kernel_names_them() -> None:
    assert load_order(DEPENDENCIES, ["a_dashed"]) == ["kernel/crypto/a-dashed.ko"]
    with pytest.raises(KeyError):
        load_order(DEPENDENCIES, ["xfs"])


def test_the_processor_is_emulated_and_the_console_kept() -> None:
    argv = build_qemu_argv(Kernel(Path("/k/vmlinuz"), Path("/k/initrd")))
    options = list(itertools.pairwise(argv))
    assert [value.partition(",")[0] for option, value in options if option == "-accel"] == ["tcg"]
    assert ("-kernel", "/k/vmlinuz") in options
    assert ("-initrd", "/k/initrd") in options
    assert ("-serial", "file:console.log") in options
    ports = [value for option, value in options if option == "-device" and value.startswith("virtserialport")]
    assert [port.rpartition("=")[2] for port in ports] == ["out", "err", "status"]


def test_virtiofsd_shows_the_tree_by_the_socket_that_the_machine_opens() -> None:
    argv = build_virtiofsd_argv("/usr/libexec/virtiofsd", Path("/h/root"))
    assert argv[:4] == ["/usr/libexec/virtiofsd", "--socket-path=virtiofs", "-o", "source=/h/root"]
    machine = build_qemu_argv(Kernel(Path("/k"), Path("/i")))
    assert "socket,id=root,path=virtiofs" in machine


@pytest.mark.parametrize(("lack", "suites"), [("", {"bookworm-vm"}), ("no QEMU", {"bookworm", "trixie"})])
def test_limits_are_tried_where_the_controllers_are(lack: str, suites: set[str]) -> None:
    argv = [sys.executable, "-c", _COLLECT, lack]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    cases = [line.partition("::TestNspawn::")[2] for line in done.stdout.splitlines() if "::" in line]
    limited = {case for case in cases if "are_limited" in case or "is_limited" in case}
    assert {case.partition("[")[2].rstrip("]") for case in limited} == suites
    assert len(limited) == 3 * len(suites)
    assert {"test_b15_b24_limits_are_taken_or_refused[bookworm]"} <= set(cases), "that needs no controllers"
