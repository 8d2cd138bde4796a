"""A host that is a virtual machine: slow, with a kernel of its own and so with all cgroup controllers.

It boots the trees of the other hosts, which virtiofsd shows it. QEMU emulates the processor, always: there are machines
where ``/dev/kvm`` opens and every guest hangs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from volt_core import fs, run
from volt_core.testing.hosts import SUITE_VARIABLE, cgroup
from volt_core.testing.hosts.kernel import ROOT_TAG, Kernel
from volt_core.testing.hosts.machine import JOIN, PATH

QEMU = "qemu-system-x86_64"
_VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
NO_STATUS = 125
"""How a command ends of which the machine has told no status: it did not come up, or went down."""
_MEMORY = "1024M"
_KILL_SECONDS = 30.0
_LAST_LINES = 60
_PORTS = {"out": "/dev/fd/1", "err": "/dev/fd/2", "status": "status"}
_UNIT = """[Service]
ExecStart=/bin/sh /var/lib/volt/command.sh
"""
_UNIT_FILE = "etc/systemd/system/volt-command.service"
# Kernel and journal both write to the console: what it shows last is there however the machine ends.
_KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=-1 systemd.show_status=0 systemd.log_color=0 systemd.journald.forward_to_console=1 "
    "systemd.mask=serial-getty@ttyS0.service systemd.wants=volt-command.service"
)
_COMMAND = """
for port in /sys/class/virtio-ports/*; do ln -s "/dev/${{port##*/}}" "/dev/volt.$(cat "$port/name")"; done
{{
    state=$(systemctl is-system-running --wait)
    if [ "$state" = running ]; then
        cd /root && {words}
    else
        echo "This machine is $state" >&2
        systemctl list-units --failed --no-legend >&2
        (exit {failed})
    fi
}} </dev/null >/dev/volt.out 2>/dev/volt.err
echo $? >/dev/volt.status
systemctl poweroff --force --force
"""
_RUN = """
cd {folder} || exit
mount -t overlay volt-host -o {overlay} root || exit
{binds}
{virtiofsd} >virtiofsd.log 2>&1 &
until [ -S virtiofs ]; do
    kill -0 $! || {{ cat virtiofsd.log >&2; exit {failed}; }}
    sleep 0.02
done
{{ {{ {qemu} 2>&1 >&3 3>&- | cat >&2; }} 3>&1; }} | cat
[ -s status ] || {{ tail -n {lines} console.log >&2; exit {failed}; }}
exit "$(cat status)"
"""


class VirtualHost:
    """A machine that is switched on for one command, and off after it.

    Args:
        folder: an empty directory; its files belong to the host until it is gone.
        layers: the trees that make the root file system, the topmost first; never written to.
        suite: what those inside find in the environment as their suite.
        kernel: of :func:`~volt_core.testing.hosts.kernel.make_kernel`.
        binds, writable: directories of ours that the host sees, by their path there. ``/var/lib/volt`` is always
            ``folder/data``.
        env: what commands find in their environment.
    """

    def __init__(
        self,
        folder: Path,
        layers: Sequence[Path],
        suite: str,
        kernel: Kernel,
        *,
        binds: Mapping[str, Path] | None = None,
        writable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.suite = suite
        self._layers = layers
        self._kernel = kernel
        self._binds = binds or {}
        self._writable = {"/var/lib/volt": self.data, **(writable or {})}
        own = {"PATH": PATH, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", SUITE_VARIABLE: suite}
        self._env = {**own, **(env or {})}
        self.name = f"vh-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
        for name in ("upper", "work", "root", "data"):
            (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        """What the host has as /var/lib/volt."""
        return self.folder / "data"

    def argv(self, words: Sequence[str], *, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the command line that boots the host, runs `words` in it and switches it off: once, one at a time.

        The command has no input; its output and its exit status are passed on. If there is none, the status is
        :data:`NO_STATUS`, and the end of what the console said stands on stderr. All of it ends when the thread ends
        that starts it.
        """
        assignments = [f"{name}={value}" for name, value in {**self._env, **(env or {})}.items()]
        command = shlex.join(["env", "-i", *assignments, *words])
        unit = self.folder / "upper" / _UNIT_FILE
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(_UNIT)
        (self.data / "command.sh").write_text(_COMMAND.format(words=command, failed=NO_STATUS))
        procs = [str(path / "cgroup.procs") for path in cgroup.make_cgroups(self.name)]
        # The first process of a pid namespace, so that with it all others end.
        alone = ["unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"]
        script = ["sh", "-c", self._script()]
        return ["sh", "-c", JOIN, "host", " ".join(procs), "setpriv", "--pdeathsig", "KILL", "--", *alone, *script]

    def last_words(self) -> str:
        """Return the end of what the console said, which has the journal too."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "console.log").read_text("utf-8", "replace").splitlines()
            return "\n".join(lines[-_LAST_LINES:])
        return ""

    def cut_power(self) -> None:
        """End all of it at once."""
        cgroup.end_cgroups(self.name, _KILL_SECONDS)

    def destroy(self) -> None:
        """Switch it off and remove its files."""
        self.cut_power()
        if self.folder.exists():
            fs.remove_tree(self.folder)

    def _script(self) -> str:
        binds = [(source, target, "rw") for target, source in self._writable.items()]
        binds += [(source, target, "ro") for target, source in self._binds.items()]
        layers = ":".join(map(str, self._layers))
        return _RUN.format(
            folder=shlex.quote(str(self.folder)),
            overlay=shlex.quote(f"lowerdir={layers},upperdir={self.folder}/upper,workdir={self.folder}/work"),
            binds="\n".join(_bind(*bind) for bind in binds),
            virtiofsd=shlex.join(build_virtiofsd_argv(find_virtiofsd() or "virtiofsd", self.folder / "root")),
            qemu=shlex.join(build_qemu_argv(self._kernel)),
            lines=_LAST_LINES,
            failed=NO_STATUS,
        )


def find_virtiofsd() -> str | None:
    """Return the path of virtiofsd, which is on nobody's PATH, or None."""
    return next((path for path in _VIRTIOFSD if os.access(path, os.X_OK)), run.find_program("virtiofsd"))


def build_virtiofsd_argv(program: str, tree: Path) -> list[str]:
    """Return the command line that shows a machine a tree by the socket ``virtiofs`` in the working directory."""
    # Nobody else writes to the tree, so what was read once needs not be asked for again.
    return [program, "--socket-path=virtiofs", "-o", f"source={tree}", "-o", "sandbox=chroot,xattr,cache=always"]


def build_qemu_argv(kernel: Kernel) -> list[str]:
    """Return the command line of a machine whose files are in the working directory.

    What a command writes comes out on stdout and stderr, which are to be pipes; its status is written to ``status``.
    """
    argv = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    # One processor: two cost half as much again for the same work, since each keeps the other waiting.
    argv += ["-machine", "q35,memory-backend=memory", "-cpu", "max", "-smp", "1", "-m", _MEMORY]
    # Without a size for its cache QEMU takes a gigabyte more.
    argv += ["-accel", "tcg,tb-size=256"]
    argv += ["-object", f"memory-backend-memfd,id=memory,size={_MEMORY},share=on"]
    argv += ["-kernel", str(kernel.image), "-initrd", str(kernel.initrd), "-append", _KERNEL_OPTIONS]
    argv += ["-serial", "file:console.log"]
    argv += ["-chardev", "socket,id=root,path=virtiofs", "-device", f"vhost-user-fs-pci,chardev=root,tag={ROOT_TAG}"]
    argv += ["-device", "virtio-serial-pci"]
    for name, path in _PORTS.items():
        argv += ["-chardev", f"file,id={name},path={path}", "-device", f"virtserialport,chardev={name},name={name}"]
    return argv


def _bind(source: Path, target: str, mode: str) -> str:
    place = shlex.quote(f"root{target}")
    return f"mkdir -p {place} && mount -o bind,{mode} {shlex.quote(str(source))} {place} || exit"
