"""Rules for every file of the tree: links that lead somewhere, nothing of one machine, modules of a readable size."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PRUNED = {"build", "dist", "__pycache__", "corpus", "node_modules"}
UNREAD = {"LICENSE", ".git"}  # in a second work tree .git is a file
LONGEST_MODULE = 400
KNOWN_HOSTS = {
    "github.com",
    "proot-me.github.io",
    "www.apache.org",
    "www.kernel.org",
    "www.w3.org",
    "localhost",
    "127.0.0.1",
}
RESERVED_DOMAINS = (".example", ".test", ".invalid", "example.com", "example.org", "example.net")

# Ann is the made-up user of the tests. In pieces, since this file is read by its own rules too.
MACHINE = re.compile("|".join(["/work" + "/(main|shared)", "/root" + r"/\.", "/home" + "/(?!ann\\b|user\\b)[a-z]+/"]))
OPEN_END = re.compile("|".join([r"\bTO" + "DO", r"\bFIX" + "ME", r"\bXX" + r"X\b"]) + r"(?!\([^)]+\))")
BARE_MIRROR = re.compile(r"\b[\w.-]*\b(?:deb\.debian|archive\.ubuntu|pypi|pythonhosted|npmjs)\.(?:org|com)\b")
URL = re.compile(r"\b(?:https?|ftp)://[^\s\"'<>)\]`]+")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def find_files(root: Path) -> Iterator[Path]:
    """Yield the files of the tree that people wrote."""
    for top, directories, names in os.walk(root):
        directories[:] = sorted(
            name
            for name in directories
            if name not in PRUNED and not name.endswith(".egg-info") and (name == ".ci" or not name.startswith("."))
        )
        yield from (Path(top, name) for name in sorted(names) if name not in UNREAD)


def find_lines(root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield file, number and text of each line of each text file."""
    for path in find_files(root):
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield path.relative_to(root).as_posix(), number, line


def find_dead_links(root: Path) -> list[str]:
    """Return the relative links of the docs that lead nowhere."""
    found = []
    for path in find_files(root):
        if path.suffix != ".md":
            continue
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for match in LINK.finditer(text):
            target = (match[1] or match[2]).split("#")[0]
            if target and not urlsplit(target).scheme and not (path.parent / target).exists():
                found.append(f"{path.relative_to(root)}: the link to '{target}' leads nowhere")
    return found


def find_machine_paths(root: Path) -> list[str]:
    """Return the lines that name a path of one machine."""
    return [f"{where}:{number}: {line.strip()}" for where, number, line in find_lines(root) if MACHINE.search(line)]


def find_foreign_hosts(root: Path) -> list[str]:
    """Return the lines with the host of a mirror or a registry, or any host that is not on the list."""
    found = []
    for where, number, line in find_lines(root):
        hosts = {urlsplit(url.rstrip(".,;")).hostname or "" for url in URL.findall(line)}
        # A format string or a shell variable in place of the host is the user's business.
        strange = [
            host for host in hosts if host not in KNOWN_HOSTS and not host.endswith(RESERVED_DOMAINS) and "." in host
        ]
        if strange or BARE_MIRROR.search(line):
            found.append(f"{where}:{number}: {line.strip()}")
    return found


def find_open_ends(root: Path) -> list[str]:
    """Return the lines that put work off without a reason in parentheses."""
    return [f"{where}:{number}: {line.strip()}" for where, number, line in find_lines(root) if OPEN_END.search(line)]


def find_long_modules(root: Path) -> list[str]:
    """Return the modules that are longer than a reader can hold."""
    found = []
    for path in find_files(root):
        where = path.relative_to(root).as_posix()
        if path.suffix in (".py", ".c", ".h", ".sh") and "tests/" not in where:
            lines = len(path.read_text().splitlines())
            if lines > LONGEST_MODULE:
                found.append(f"{where}: {lines} lines, more than {LONGEST_MODULE}: look for the seam")
    return found


RULES = [find_dead_links, find_machine_paths, find_foreign_hosts, find_open_ends, find_long_modules]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Callable[[Path], list[str]]):
    found = rule(ROOT)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (find_dead_links, "docs/a.md", "See [the design](design.md#stores)."),
        (find_dead_links, "README.md", "![picture](docs/picture.svg)"),
        (find_machine_paths, "volt_core/a.py", 'ROOT = "/work' + '/main"'),
        (find_machine_paths, "docs/a.md", "    cd /home" + "/alice/volt"),
        (find_foreign_hosts, "volt_core/a.py", 'MIRROR = "http' + '://ftp.de.debian.org/debian"'),
        (find_foreign_hosts, "tools/a.sh", "curl deb.debian" + ".org"),
        (find_open_ends, "volt_core/a.py", "# TO" + "DO: later"),
        (find_long_modules, "volt_core/a.py", "pass\n" * (LONGEST_MODULE + 1)),
    ],
)
def test_a_violation_is_found(tmp_path, rule, name, text):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (found,) = rule(tmp_path)
    assert found.startswith(name)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (find_dead_links, "[a](#here) [b](https://github.com/x) `[c](d.md)` [itself](a.md)\n```\n[e](f.md)\n```\n"),
        (find_foreign_hosts, "http://mirror.example/debian http://localhost:8080/ https://{host}/v2/"),
        (find_open_ends, "mktemp -d /tmp/volt-XXXXXX"),
        (find_long_modules, "text\n" * (LONGEST_MODULE + 1)),
    ],
)
def test_what_is_allowed_is_left_alone(tmp_path, rule, text):
    (tmp_path / "a.md").write_text(text)
    assert rule(tmp_path) == []


def shell_scripts() -> list[Path]:
    """Return the scripts that have a first line for a shell; what they source is checked through them."""
    found = []
    for path in find_files(ROOT):
        with path.open("rb") as file:
            if re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", file.readline()):
                found.append(path)
    return found


def check_shell(path: Path) -> str:
    """Return what the shells have to say against a script."""
    shell = "bash" if b"bash" in path.read_bytes().splitlines()[0] else "sh"
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0 and shutil.which("shellcheck"):
        argv = ["shellcheck", "--external-sources", "--severity=warning", path]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("path", shell_scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_script_is_sound(path):
    assert not (said := check_shell(path)), said


def test_the_scripts_are_found():
    assert {"dev", "run", "demo.sh"} <= {path.name for path in shell_scripts()}


def test_a_broken_script_is_found(tmp_path):
    script = tmp_path / "a.sh"
    script.write_text("#!/bin/sh\nif true; then echo\n")
    assert "a.sh" in check_shell(script)
