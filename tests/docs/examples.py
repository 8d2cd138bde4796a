"""The examples of the docs: read from the fenced blocks of a page, checked each by itself, and run in sessions.

A comment says what is special about the block that follows it, or about all blocks up to the next such comment:

    <!-- test: parse (why it cannot run) -->         only checked
    <!-- test: file=PATH -->                         written to this file of the session
    <!-- test: run -->                               of Python: run in the session
    <!-- test: setup COMMAND -->                     what a session does here, and the page does not show
    <!-- test: session -->                           from here on another session
    <!-- test: session image -->                     one that has the image debian:bookworm, on this machine alone
    <!-- test: session containers -->                likewise, under proot here and under nspawn in hosts
    <!-- test: session systemd -->                   one that needs systemd and root besides
    <!-- test: session parse (why) -->               nothing that is run
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import re
import shlex
import site
import subprocess
import textwrap
import tomllib
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from ruamel.yaml import YAML
from typer.main import get_command

from volt_core.cli.app import app

TOKEN = re.compile(
    r"^ {0,3}(?P<fence>```+)(?P<language>\S*)\n(?P<body>(?:.*\n)*?)^ {0,3}(?P=fence)$"
    r"|^<!-- test: (?P<words>.*?)(?P<reason> \(.+\))? -->$"
    r"|(?<=\n\n)(?P<wrong> {4,}\S| {0,3}```)",
    re.MULTILINE,
)
WORDS = re.compile(r"(session( image| containers| systemd| parse)?|parse|run|file=\S+|setup .+)\Z")
PROGRAMS = {
    "volt": "python -P -m volt_core",
    "pip": "python -P -m pip",
    "pytest": "python -P -m pytest",
    # What installs packages on the machine of whoever runs the tests is only to parse.
    "apt": "false",
    "apt-get": "false",
}
SECONDS = 300.0


@dataclass(frozen=True)
class Block:
    """What one pair of fences has between it; `line` is that of the first fence."""

    page: Path
    line: int
    language: str
    text: str
    words: str = ""

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What a session does for this block: commands, each with the output that is shown."""
        if self.words == "run" or self.words.startswith("file="):
            path = self.words.partition("=")[2] or f"example_{self.line}.py"
            write = f"mkdir -p {os.path.dirname(path) or '.'} && printf %s {shlex.quote(self.text)} >{path}"
            return [(write, ""), *([(f"python {path}", "")] if self.words == "run" else [])]
        return list(commands(self.text)) if self.language == "console" and self.words != "parse" else []


@dataclass
class Session:
    """The blocks of a page that are run one after the other, in one shell."""

    page: Path
    kind: str = ""
    blocks: list[Block] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.blocks[0].line}"


def read(page: Path, text: str) -> Iterator[Session]:
    """Yield the sessions of a page. Raises ValueError for what is not written as the head of this file says."""
    session, words = Session(page), ""
    for match in TOKEN.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["fence"]:
            body = textwrap.dedent(match["body"])
            session.blocks.append(Block(page, line, match["language"], body, words))
            words = ""
        elif match["wrong"]:
            raise ValueError(f"{page}:{line}: a block without fences, or one that does not end")
        elif not WORDS.match(match["words"]) or ("parse" in match["words"]) > bool(match["reason"]):
            raise ValueError(f"{page}:{line}: what is '{match[0]}' to mean?")
        elif match["words"].startswith("setup "):
            session.blocks.append(Block(page, line, "console", f"$ {match['words'].removeprefix('setup ')}\n"))
        elif match["words"].startswith("session"):
            yield from [session] if session.blocks else []
            session = Session(page, match["words"].partition(" ")[2])
        else:
            words = match["words"]
    yield from [session] if session.blocks else []


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console and the output that is shown below each."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        first, *more = part.splitlines(keepends=True)
        while more and more[0].startswith("> "):
            first += more.pop(0)[2:]
        yield first.rstrip("\n"), "".join(more)


def check(block: Block) -> None:
    """Raise if a block is not what its language says; nothing of it is run."""
    match block.language:
        case "console":
            if not block.text.startswith("$ "):
                raise ValueError(f"{block.where}: a console begins with '$ '")
            for command, _ in commands(block.text):
                subprocess.run(["sh", "-n"], input=command, text=True, check=True, timeout=10)
                check_volt(command)
        case "python":
            for node in ast.walk(ast.parse(block.text)):
                if not block.words:
                    check_import(node)
        case "json":
            json.loads(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "yaml":
            YAML(typ="safe").load(block.text)
        case "sh":
            subprocess.run(["sh", "-n"], input=block.text, text=True, check=True, timeout=10)
        case "text":
            pass
        case other:
            raise ValueError(f"{block.where}: nobody checks the language '{other}'")


def check_import(node: ast.AST) -> None:
    """Raise if a module, or a name in it, is imported that does not exist."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            importlib.import_module(alias.name)
    elif isinstance(node, ast.ImportFrom):
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def check_volt(command: str) -> None:
    """Raise if Volt has no such command or option."""
    tokens = shlex.shlex(command, posix=True, punctuation_chars=True)
    tokens.whitespace_split = True
    simple: list[str] = []
    for token in [*tokens, ";"]:
        if token.strip("();<>|&"):
            # What stands before a command is none: sudo, and variables for it.
            simple += [token] if simple or not re.match(r"\w+=|sudo\Z", token) else []
        else:
            if simple[:1] == ["volt"]:
                parse(simple[1:])
            simple = []


def parse(words: list[str]) -> None:
    """Have the command line parse its arguments; nothing is called."""
    command: Any = get_command(app)
    context = None
    while hasattr(command, "get_command"):
        context = typer.Context(command, parent=context)
        _, rest, _ = command.make_parser(context).parse_args(words)
        if not rest:
            return
        command, words = command.get_command(context, rest[0]), rest[1:]
        if command is None:
            raise ValueError(f"volt has no command '{rest[0]}'")
    with contextlib.suppress(typer.Exit):  # --help
        command.make_context(command.name, words, parent=context)


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment of a session: its own instance, and its own Python, which sees what this one sees.

    So what a session installs by pip is in no other's way. Root needs no sudo, and has one.
    """
    (folder / "home").mkdir()
    python = folder / "python"
    venv.create(python, symlinks=True)
    (packages,) = python.glob("lib/python*/site-packages")
    seen = "".join(f"import site; site.addsitedir({it!r})\n" for it in site.getsitepackages())
    (packages / "seen.pth").write_text(seen)
    for name, program in {**PROGRAMS, **({"sudo": ""} if os.geteuid() == 0 else {})}.items():
        (python / "bin" / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (python / "bin" / name).chmod(0o755)
    own = {"PATH": f"{python}/bin:{os.environ['PATH']}", "HOME": f"{folder}/home", "VOLT_ROOT": f"{folder}/root"}
    # As on a terminal: what is said and what goes wrong in the order in which they come.
    return {**os.environ, **own, "LC_ALL": "C.UTF-8", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}


def run(session: Session, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a session in a folder. Raises AssertionError at the first command that fails or says other than is shown.

    A command may fail if the next one is ``echo $?``.
    """
    steps = [(block.where, *step) for block in session.blocks for step in block.steps]
    script = "status=0\n"
    for number, (_, command, _) in enumerate(steps):
        script += f"(exit $status)\n{{ {command}\n}} >{folder}/said.{number} 2>&1 </dev/null\n"
        script += f"status=$?; echo $status >{folder}/status.{number}\n"
    (folder / "script").write_text(script)
    # Unlike that of subprocess, this limit ends what the shell has started, too.
    argv = ["timeout", f"{SECONDS:g}", "sh", str(folder / "script")]
    subprocess.run(argv, cwd=folder / "home", env=environment, check=False)
    followers = [command for _, command, _ in steps[1:]] + [""]
    for number, ((where, command, shown), follower) in enumerate(zip(steps, followers, strict=True)):
        said = (folder / f"said.{number}").read_text("utf-8", "backslashreplace")
        done = folder / f"status.{number}"
        status = done.read_text().strip() if done.exists() else f"not within {SECONDS:g} s"
        complaint = f"{where}: $ {command}\n{said}(status {status})\n"
        assert status == "0" or follower == "echo $?", complaint
        assert not shown or matches(shown, said), f"{complaint}The page shows:\n{shown}"


def matches(shown: str, said: str) -> bool:
    """Tell whether output is what a page shows: ``…`` is any text in a line, alone in a line any lines.

    Blanks at the ends of lines and the width of gaps, as in tables, have no meaning.
    """
    pattern = ""
    for line in even(shown).splitlines():
        pattern += r"(.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, even(said)) is not None


def even(text: str) -> str:
    """Return text with one blank for many, none at the ends of lines, and a newline at its end."""
    return "".join(re.sub(r"[ \t]+", " ", line).rstrip() + "\n" for line in text.splitlines())
