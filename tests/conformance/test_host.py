"""The helpers that tests stand on: they skip with a reason, fail where promised, and keep the caller out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core import run
from volt_core.paths import VoltPaths
from volt_core.testing import host, roots
from volt_core.testing.pytest_plugin import AsUser

MMDEBSTRAP = """#!/bin/sh
echo run >>"$0.log"
for last; do case $last in *.partial) target=$last;; esac; done
echo half >"$target"
[ ! -e "$0.hang" ] || { echo $$ >"$0.pid"; mv "$0.pid" "$0.hangs"; exec sleep 60; }
sleep 0.2
echo whole >"$target"
"""


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host.PROBES, "wings", lambda: "nobody here can fly")


@pytest.mark.usefixtures("lacking")
def test_a_missing_capability_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(host.REQUIRE_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs wings: nobody here can fly"):
        host.require("wings")


@pytest.mark.usefixtures("lacking")
def test_a_promised_capability_fails_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(host.REQUIRE_VARIABLE, "root, wings")
    with pytest.raises(pytest.fail.Exception, match="names 'wings', but nobody here can fly"):
        host.require("wings")


def test_a_misspelt_promise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(host.REQUIRE_VARIABLE, "proot,systmd")
    with pytest.raises(ValueError, match="systmd"):
        host.required()


def test_markers_and_header_and_environment(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest("""
        from volt_core.testing import host
        pytest_plugins = ["volt_core.testing.pytest_plugin"]
        host.PROBES["wings"] = lambda: "nobody here can fly"
    """)
    pytester.makepyfile("""
        import os
        import pytest

        @pytest.fixture
        def costly():
            open("made", "w").close()

        @pytest.mark.needs_wings
        def test_wings(costly):
            pass

        def test_environment(paths):
            assert "VOLT_ROOT" not in os.environ
            assert "XDG_DATA_HOME" not in os.environ
            assert os.environ["HOME"] != os.environ["VOLT_TEST_HOME"]
            assert os.path.isdir(os.environ["HOME"])
            assert paths.lib.is_dir()
    """)
    for name, value in {"VOLT_ROOT": "/x", "XDG_DATA_HOME": "/y", "VOLT_TEST_HOME": os.environ["HOME"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(host.REQUIRE_VARIABLE, "")
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    assert not pytester.path.joinpath("made").exists(), "fixtures come after the marker"
    result.stdout.fnmatch_lines(["host:", "  root: *"])


def test_a_loop_image_is_mounted_and_gone_afterwards() -> None:
    host.require("loop_mount")
    with host.loop_mounted("ext4", 8) as target:
        assert target.is_mount()
        (target / "file").write_text("x")
    assert not target.exists()


def test_an_ordinary_user_is_no_root_and_has_a_home(as_user: AsUser, user_directory: Path) -> None:
    script = "id -u; id -G; pwd; cd; pwd; grep CapPrm /proc/self/status; touch made"
    uid, groups, here, home, capabilities = as_user(["sh", "-c", script]).stdout.decode().splitlines()
    assert uid != "0"
    assert "0" not in groups.split()
    assert here == home == str(user_directory)
    assert int(capabilities.split()[1], 16) == 0
    assert (user_directory / "made").exists()


def test_an_ordinary_user_has_a_python_that_starts_itself_again(as_user: AsUser) -> None:
    again = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import volt_core.run, msgspec'], check=True)"
    )
    as_user([sys.executable, "-c", again])


def test_the_busybox_root_runs(busybox_root: Path) -> None:
    host.require("root")
    said = run.run(["chroot", str(busybox_root), "/bin/sh", "-c", "id -un; ls -d /tmp"], timeout=10).stdout
    assert said == b"root\n/tmp\n"


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bootstrap that takes a moment, and writes down that it was called."""
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_two_runs_make_the_debian_tar_once(mmdebstrap: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda _: roots.debian_tar(tmp_path / "cache"), range(3)))
    assert [path.read_text() for path in made] == ["whole\n"]
    assert Path(f"{mmdebstrap}.log").read_text() == "run\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_half_a_tar(mmdebstrap: Path, tmp_path: Path, number: int) -> None:
    hang, hangs = Path(f"{mmdebstrap}.hang"), Path(f"{mmdebstrap}.hangs")
    hang.touch()
    script = f"from pathlib import Path; from volt_core.testing import roots; roots.debian_tar(Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as other:
        while not hangs.exists():
            assert other.poll() is None
            time.sleep(0.01)
        other.send_signal(number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(hangs.read_text()), signal.SIGKILL)
    assert not list(tmp_path.glob("*.tar"))
    hang.unlink()
    assert roots.debian_tar(tmp_path).read_text() == "whole\n"
    assert not list(tmp_path.glob("*.partial"))


def test_paths_are_below_the_test(paths: VoltPaths, tmp_path: Path) -> None:
    assert paths.lib.is_relative_to(tmp_path)
    assert paths.instance
