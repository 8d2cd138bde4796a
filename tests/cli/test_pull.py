"""A real Debian, pulled and run; and pulls that fail."""

from __future__ import annotations

import json
import os

import pytest

from volt_core.images.mirrors import os_release


def fake_tool(tmp_path, monkeypatch, body):
    script = tmp_path / "bin/mmdebstrap"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize("ending", ["exit 1", "kill -9 $$"])
def test_a_pull_that_fails_shows_why(volt, tmp_path, monkeypatch, ending):
    fake_tool(
        tmp_path, monkeypatch, f"head -c 5000 /dev/zero; echo 'E: cannot resolve mirror.example.org' >&2; {ending}"
    )
    said = volt("image", "pull", "debian:bookworm", "--mirror", "http://mirror.example.org/debian")
    assert (said.status, said.out) == (5, "")
    first, *rest = said.err.splitlines()
    assert first.startswith("Error: 'mmdebstrap' ")
    assert "  E: cannot resolve mirror.example.org" in rest
    assert rest[-1].endswith("bookworm - http://mirror.example.org/debian")
    assert volt.ok("image", "list", "-q") == ""


def test_what_is_there_is_not_pulled_again(volt, tmp_path, monkeypatch):
    (tmp_path / "tree").mkdir()
    volt.ok("image", "import", str(tmp_path / "tree"), "debian:bookworm")
    fake_tool(tmp_path, monkeypatch, "exit 1")
    assert volt.ok("image", "pull", "debian:bookworm").startswith("debian:bookworm is there already, since ")
    assert volt("image", "pull", "--refresh", "debian:bookworm").status == 5
    assert volt.ok("image", "list", "-q") == "debian:bookworm\n"


@pytest.mark.needs_proot
@pytest.mark.needs_mmdebstrap
def test_a_real_debian(volt):
    """Goes through the host's mirror, about half a minute; all other tests take the tar that the first one kept."""
    source = f"debian:{host_suite()}"
    assert volt.ok("image", "pull", "--quiet", "--variant", "essential", source) == f"{source}\n"
    script = ". /etc/os-release; echo $ID; dpkg-query -W -f '${Status}' dpkg"
    done = volt.process("run", "--rm", source, "sh", "-c", script)
    assert done.stdout == b"debian\ninstall ok installed"
    (image,) = json.loads(volt.ok("image", "list", "--json"))["items"]
    assert image["source"] == f"{source} by mmdebstrap, essential"
    assert image["files"] > 1000


def host_suite():
    release = os_release()
    return release.get("VERSION_CODENAME", "bookworm") if release.get("ID") == "debian" else "bookworm"
