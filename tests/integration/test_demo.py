"""The demo where systemd is PID 1: it takes nspawn, and shows that containers share their files."""

from __future__ import annotations

import re
from pathlib import Path

from volt_core.testing.hosts.machine import Host
from volt_core.testing.hosts.pool import DEBIAN, SOURCE

# Where a real machine has its home on a disk, this one has it on an overlay, on which no other can lie.
HOME = "/var/lib/volt/demo"
PLACES = ("/etc/systemd", "/run/systemd/system", "/run/systemd/transient", "/run/volt")


def test_the_demo_runs_under_systemd_and_leaves_nothing(host: Host) -> None:
    host.run("tar", "-C", DEBIAN, "-cf", "/var/lib/volt/debian.tar", ".")
    # A directory of systemd's own, which stays.
    host.run("mkdir", "-p", "/etc/systemd/nspawn")
    before = host.census(*PLACES)
    environment = {"VOLT": "/usr/local/bin/volt", "HOME": HOME}
    demo = ["sh", f"{SOURCE}/tools/demo.sh", "--image", "/var/lib/volt/debian.tar"]
    said = host.run(*demo, env=environment, timeout=300).stdout.decode()
    assert re.search(r"demo-web +container +nspawn +demo:latest +running", said)
    assert "hello from Debian GNU/Linux" in said
    assert "web: serving as root" in said
    web, db = re.findall(r"ls -i .*\n((?: *\d+ /.*\n){3})", said)
    assert web == db
    assert f"{inode_in_store(host, b'usr/bin/dpkg')} /usr/bin/dpkg" in web
    assert re.search(r"^Done in ", said, re.MULTILINE)
    assert before.left(host.census(*PLACES)) == {}
    host.run("sh", f"{SOURCE}/tools/demo.sh", "--clean", env=environment)
    assert not Path(host.data, "demo/.cache/volt-demo").exists()


def inode_in_store(host: Host, path: bytes) -> int:
    """Return the inode of a file in the image's linked tree, which all containers of the image have below them."""
    (found,) = host.data.glob(f"demo/.cache/volt-demo/lib/cas/links/**/{path.decode()}")
    return found.stat().st_ino
