"""Without root, also where the tests run as root: the command lines, and a Python that works there."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import site
import sys
import tempfile
from pathlib import Path

from volt_core import run
from volt_core.errors import VoltError

ORDINARY_USER = "nobody"
# In a shell, because setpriv still has root's rights when it executes its program.
_TRY = 'exec "$0" -c "import volt_core.errors"'


def as_user_argv(*argv: str) -> list[str]:
    """Return the command line that runs `argv` without root: as it is, or as ``nobody`` when the tests are root's.

    The Python that runs the tests is replaced by one that such a user can start.
    """
    if os.geteuid() != 0:
        return list(argv)
    program = user_python() if argv[0] == sys.executable else argv[0]
    return _as_nobody(program, *argv[1:])


@functools.cache
def user_python() -> str:
    """Return a Python with the packages of this one that an ordinary user can start.

    The tests' own may lie below a closed home directory; then it is an environment of the system's Python
    of the same version that sees the same packages. Whether that works is for the probe to find out.
    """
    if is_usable(sys.executable):
        return sys.executable
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.mkdtemp(prefix="volt-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(f"/usr/bin/{version}")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    # Not as plain paths: editable installations are .pth files, which are read in site directories alone.
    lines = [f"import site; site.addsitedir({directory!r})\n" for directory in site.getsitepackages()]
    (packages / "tests.pth").write_text("".join(lines))
    return str(folder / "bin" / "python")


def is_usable(python: str) -> bool:
    """Tell whether an ordinary user can start this Python, and it has Volt."""
    argv = ["sh", "-c", _TRY, python]
    try:
        run.run(_as_nobody(*argv) if os.geteuid() == 0 else argv, timeout=20, cwd="/")
    except VoltError:
        return False
    return True


def _as_nobody(*argv: str) -> list[str]:
    user = pwd.getpwnam(ORDINARY_USER)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--inh-caps=-all", "--", *argv]
