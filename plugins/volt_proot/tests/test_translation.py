"""System calls that proot lets through untranslated must not reach the host's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from volt_core import run
from volt_core.testing.workbench import Pipes, Workbench
from volt_proot.backend import ProotBackend

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox, pytest.mark.needs_native]

# As libc does it: the new call first, the old one where the kernel has none.
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
        struct open_how how = { .flags = O_RDONLY };
        struct statx st;
        const char *path = argv[argc - 1];

        if (statx(AT_FDCWD, path, 0, STATX_SIZE, &st) == 0)
                printf("size %d\n", (int) st.stx_size);
        if (syscall(SYS_statx, AT_FDCWD, path, 0, STATX_SIZE, &st) == 0)
                printf("statx passed\n");
        if (syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how) >= 0)
                printf("openat2 passed\n");
        if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
                printf("accessible\n");
        return 0;
}
"""


@pytest.fixture
def probing(backend: ProotBackend, bench: Workbench, busybox_root: Path, tmp_path: Path) -> Workbench:
    """Containers of an image with the probe in it."""
    source, root = tmp_path / "probe.c", tmp_path / "root"
    source.write_text(PROBE)
    run.run(["cp", "-a", str(busybox_root), str(root)], timeout=60)
    run.run(["cc", "-static", "-o", str(root / "bin/probe"), str(source)], timeout=60)
    bench.image = backend.store.put_directory(root).digest
    return bench


@pytest.mark.needs_c_compiler
def test_a_file_of_the_host_is_not_seen_by_a_newer_call(probing: Workbench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    workload = probing.create(("probe", str(secret)))
    with Pipes() as pipes:
        assert probing.backend.run_attached(workload, pipes.streams, lambda: None).code == 0
        assert pipes.output() == b""


@pytest.mark.needs_c_compiler
def test_a_file_of_the_container_is_seen_by_the_older_call(probing: Workbench) -> None:
    workload = probing.create(("sh", "-c", "printf 12345 > /own; probe /own"))
    with Pipes() as pipes:
        assert probing.backend.run_attached(workload, pipes.streams, lambda: None).code == 0
        assert pipes.output() == b"size 5\naccessible\n"
