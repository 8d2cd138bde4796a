"""A host: booted, used, stopped or cut off from its power, and taken away without a trace."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from volt_core import fs, run
from volt_core.errors import BackendError, TimedOut
from volt_core.systemd.machine import find_leader
from volt_core.testing.census import Census
from volt_core.testing.hosts import SUITE_VARIABLE, cgroup
from volt_core.testing.hosts.site import VENV

PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT_SECONDS = 60.0
_STOP_SECONDS = 60.0
_KILL_SECONDS = 30.0
_POLL = 0.02
_READY_SOCKET = "run/systemd/private"
# The cgroups first, then a mount namespace of its own: nobody outside sees the overlay, which is gone with the last
# process inside.
JOIN = 'for procs in $1; do echo $$ >"$procs" || exit 1; done; shift; exec "$@"'
_MOUNT = """
mount -t overlay volt-host -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" || exit 1
shift 2
exec systemd-nspawn "$@"
"""


class Host:
    """A machine of which this process is the power supply.

    Args:
        folder: an empty directory, or one of a host that was stopped; its files belong to the host until it is gone.
        layers: the trees that make the root file system, the topmost first; never written to.
        suite: the release of Debian, which those inside find in the environment.
        binds, writable: directories of ours that the host sees, by their path there. ``/var/lib/volt`` is always
            ``folder/data``: an overlay cannot lie on another one.
        env: what the commands that are run in it find in their environment.
    """

    def __init__(
        self,
        folder: Path,
        layers: Sequence[Path],
        suite: str,
        *,
        binds: Mapping[str, Path] | None = None,
        writable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.suite = suite
        self._layers = layers
        self._binds = binds or {}
        self._writable = writable or {}
        own = {"PATH": PATH, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", SUITE_VARIABLE: suite}
        self._env = {**own, **(env or {})}
        # Of its machine and of its cgroup: at most 64 characters for nspawn, and no two hosts alike.
        self.name = f"vh-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
        self._process: run.Process[bytes] | None = None
        self._leader: int | None = None
        self._cgroups: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.destroy()

    @property
    def data(self) -> Path:
        """What the host has as /var/lib/volt."""
        return self.folder / "data"

    @property
    def is_up(self) -> bool:
        """Whether it was booted and runs."""
        return self._leader is not None and self._process is not None and self._process.poll() is None

    def boot(self, timeout: float = _BOOT_SECONDS) -> Self:
        """Switch it on, and wait until systemd has started everything. Raises :class:`BackendError`."""
        if self.is_up:
            return self
        for name in ("upper", "work", "root", "data"):
            (self.folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        self._cgroups = cgroup.make_cgroups(self.name)
        procs = [str(path / "cgroup.procs") for path in self._cgroups]
        # TERM asks nspawn to power off: a host does not outlive the thread that booted it.
        outer = ["setpriv", "--pdeathsig", "TERM", "--", "unshare", "--mount", "--propagation", "slave"]
        inner = ["sh", "-c", _MOUNT, "host", ":".join(map(str, self._layers)), str(self.folder), *self._nspawn()]
        environment = run.child_environment({"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"})
        with (self.folder / "console.log").open("wb") as console:
            self._process = run.spawn(
                ["sh", "-c", JOIN, "host", " ".join(procs), *outer, *inner],
                env=environment,
                stdin=run.DEVNULL,
                stdout=console.fileno(),
                stderr=console.fileno(),
            )
        try:
            self._leader = self._await_boot(time.monotonic() + timeout)
        except BaseException:
            self.cut_power()
            raise
        return self

    def argv(self, words: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/root") -> list[str]:
        """Return the command line that runs `words` in the host, with the caller's streams and its exit status."""
        if not self.is_up:
            raise BackendError(f"Host '{self.folder}' is not up", details=self.console())
        assignments = [f"{name}={value}" for name, value in {**self._env, **(env or {})}.items()]
        # nsenter changes namespaces and not the cgroup: outside of the host's it would outlive the host.
        group = self._cgroups[0] / "payload/init.scope/cgroup.procs"
        enter = ["nsenter", "-t", str(self._leader), "-a", f"--wd=/proc/{self._leader}/root{cwd}"]
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group), *enter, "env", "-i", *assignments, *words]

    def run(
        self,
        *words: str,
        timeout: float = 60.0,
        ok: Sequence[int] = (0,),
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
    ) -> run.Completed:
        """Run a command in the host; see :func:`volt_core.run.run`."""
        return run.run(self.argv(words, env=env, cwd=cwd), timeout=timeout, ok=ok, stdin=stdin)

    def text(self, *words: str, timeout: float = 60.0, ok: Sequence[int] = (0,)) -> str:
        """Run a command in the host and return what it wrote, without the last line feed."""
        return self.run(*words, timeout=timeout, ok=ok).stdout.decode("utf-8", "backslashreplace").removesuffix("\n")

    def census(self, *folders: str) -> Census:
        """Count what there is on the host, and below these folders; of cgroups those that Volt made."""
        counted = self.run(f"{VENV}/bin/python", "-m", "volt_core.testing.census", "*volt*", *folders)
        return msgspec.json.decode(counted.stdout, type=Census)

    def stop(self) -> None:
        """Power it off in order; what does not end in a minute is cut off. Not up is success."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(run.Expired):
                self._process.wait(_STOP_SECONDS)
        self.cut_power()

    def cut_power(self) -> None:
        """End all of it at once, as when somebody pulls the plug. Its disk stays, with what was written."""
        if self._process is not None:
            self._process.kill()
        cgroup.end_cgroups(self.name, _KILL_SECONDS)
        if self._process is not None:
            self._process.wait(_KILL_SECONDS)
        self._process, self._leader = None, None
        with contextlib.suppress(OSError):
            Path("/run/systemd/nspawn/propagate", self.name).rmdir()

    def destroy(self) -> None:
        """Switch it off and remove its disk."""
        self.cut_power()
        if self.folder.exists():
            fs.remove_tree(self.folder)

    def journal(self, *options: str) -> str:
        """Return the host's journal, which is there after its end too; options are those of journalctl."""
        folder = self.folder / "upper/var/log/journal"
        argv = ["journalctl", "--quiet", "--no-pager", f"--directory={folder}", *options]
        return run.run(argv, timeout=_KILL_SECONDS).stdout.decode("utf-8", "replace") if folder.is_dir() else ""

    def last_words(self) -> str:
        """Return the end of the journal."""
        return self.journal("--lines=60", "--output=short-precise")

    def console(self) -> str:
        """Return what nspawn, and the host before it has a journal, said."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "console.log").read_text("utf-8", "replace")
        return ""

    def _nspawn(self) -> list[str]:
        return [
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--boot",
            f"--directory={self.folder / 'root'}",
            f"--machine={self.name}",
            "--capability=all",
            "--private-network",
            "--link-journal=no",
            # Filters add up: without this no container inside could use Landlock or keyctl, however its own is set.
            "--system-call-filter=@known",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=pipe",
            f"--bind={self.data}:/var/lib/volt",
            *(f"--bind={source}:{target}" for target, source in self._writable.items()),
            *(f"--bind-ro={source}:{target}" for target, source in self._binds.items()),
        ]

    def _await_boot(self, deadline: float) -> int:
        assert self._process is not None
        while True:
            if self._process.poll() is not None:
                raise BackendError(f"Host '{self.folder}' ended while it booted", details=self.console())
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(f"Host '{self.folder}' is not up in time", details=self.console())
            leader = find_leader(self._process.pid)
            # Until PID 1 has opened its socket, systemctl fails rather than waits.
            if leader is not None and Path(f"/proc/{leader}/root", _READY_SOCKET).exists():
                wait = ["nsenter", "-t", str(leader), "-a", "systemctl", "is-system-running", "--wait"]
                done = run.run(wait, timeout=left, ok=range(256))
                state = done.stdout.decode().strip()
                if state == "running":
                    return leader
                if state == "degraded":
                    failed = run.run([*wait[:4], "systemctl", "list-units", "--failed", "--no-legend"], timeout=left)
                    raise BackendError(f"Host '{self.folder}' is degraded", details=failed.stdout.decode())
            time.sleep(_POLL)
