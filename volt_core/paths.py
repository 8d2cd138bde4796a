"""Where everything is: one object built from one root, handed to whoever needs a path.

Three kinds of instance exist. The system's (as root): ``/etc/volt``, ``/var/lib/volt``, ``/run/volt``; XDG
variables are ignored. A user's: the XDG folders, with ``volt`` under each. One below ``VOLT_ROOT`` or
``--root``: ``etc/``, ``lib/`` and ``run/`` in that directory, with an instance id so that names that are
global on a host (units, machines, tables, bridges) never meet those of another instance.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from volt_core.errors import UsageError
from volt_core.models.workload import Kind

ROOT_VARIABLE = "VOLT_ROOT"
_FOLDERS = {Kind.CONTAINER: "containers", Kind.VM: "vms", Kind.SERVICE: "services", Kind.TASK: "tasks"}
_TRUTHS = {Kind.VM: "config.yaml"}


class VoltPaths(msgspec.Struct, frozen=True, kw_only=True):
    """All paths of one instance. Building it touches nothing; :meth:`prepare` makes the directories."""

    etc: Path
    lib: Path
    run: Path
    instance: str = ""
    """Eight hex digits for an instance below a root of its own, else empty."""
    system: bool = False

    @classmethod
    def below(cls, root: Path) -> Self:
        """Return the paths of the instance that lives below `root`."""
        import hashlib

        # By its real path: whoever comes through a symlink must find the same units and machines.
        root = Path(os.path.realpath(root))
        instance = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
        return cls(etc=root / "etc", lib=root / "lib", run=root / "run", instance=instance)

    @classmethod
    def for_system(cls) -> Self:
        """Return the paths of the host's own instance."""
        return cls(etc=Path("/etc/volt"), lib=Path("/var/lib/volt"), run=Path("/run/volt"), system=True)

    @classmethod
    def for_user(cls, environ: Mapping[str, str], uid: int) -> Self:
        """Return the paths of a user's instance, by the XDG base directory specification."""
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            raise UsageError("Cannot find your home directory: HOME is not set", hint="Set HOME or VOLT_ROOT.")

        def xdg(variable: str, default: str) -> Path:
            value = environ.get(variable, "")
            return Path(value if value.startswith("/") else os.path.join(home, default)) / "volt"

        runtime = f"/run/user/{uid}"
        if not os.path.isdir(runtime):
            # Without logind (cron, su, containers) there is no runtime directory; what we keep there is
            # found again through the data folder alone, so that a later login sees the same state.
            return cls(
                etc=xdg("XDG_CONFIG_HOME", ".config"),
                lib=xdg("XDG_DATA_HOME", ".local/share"),
                run=xdg("XDG_DATA_HOME", ".local/share") / "run",
            )
        return cls(
            etc=xdg("XDG_CONFIG_HOME", ".config"), lib=xdg("XDG_DATA_HOME", ".local/share"), run=Path(runtime) / "volt"
        )

    @classmethod
    def find(cls, root: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Return the instance that a command means: `root`, else ``VOLT_ROOT``, else the system's or the user's."""
        environ = os.environ if environ is None else environ
        if root == "":
            raise UsageError("The root directory has an empty name", hint="Name one, or leave out --root.")
        chosen = root or environ.get(ROOT_VARIABLE)
        if chosen:
            return cls.below(Path(chosen))
        uid = os.geteuid()
        return cls.for_system() if uid == 0 else cls.for_user(environ, uid)

    def prepare(self) -> None:
        """Make the directories with their modes. Idempotent; a mode that somebody chose later stays."""
        # Whatever is written before (a cache, a store) makes its parents with the default mode.
        fresh = not self.locks.is_dir()
        for path, mode in ((self.lib, 0o711), (self.run, 0o755 if self.system else 0o700), (self.locks, 0o700)):
            if fresh or not path.is_dir():
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
                path.chmod(mode)

    @property
    def config_file(self) -> Path:
        """Configuration of this instance."""
        return self.etc / "config.yaml"

    @property
    def index(self) -> Path:
        """The workload index; rebuilt from the workloads' folders whenever it is missing or wrong."""
        return self.lib / "workload-state.json"

    @property
    def locks(self) -> Path:
        """Lock files; see :mod:`volt_core.fs` for their order and who may remove one."""
        return self.lib / "locks"

    @property
    def store(self) -> Path:
        """The content-addressed store (0700: it holds set-uid files)."""
        return self.lib / "cas"

    @property
    def cache(self) -> Path:
        """Whatever can be made again."""
        return self.lib / "cache"

    def workloads(self, kind: Kind) -> Path:
        """The folder that holds all workloads of a kind."""
        return self.lib / _FOLDERS[kind]

    def workload(self, kind: Kind, name: str) -> Path:
        """The folder of one workload."""
        return self.workloads(kind) / name

    def truth(self, kind: Kind, name: str) -> Path:
        """The file that says what the workload is; while it exists, the workload does."""
        return self.workload(kind, name) / _TRUTHS.get(kind, f"{kind.value}.json")
