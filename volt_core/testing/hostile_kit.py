"""Conformance of a backend: words, names, output and images that are awkward on purpose; see :mod:`.backend_kit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from volt_core import fs
from volt_core.contracts import CheckoutMode, Exec, Ref
from volt_core.errors import VoltError
from volt_core.loglines import lines_of
from volt_core.models.workload import ContainerSpec, Status, Workload
from volt_core.testing.workbench import GRACE, BackendKit, Pipes, Workbench

WORDS = {
    "empty": "",
    "newlines": "\n\nfirst\nsecond\n",
    "blanks": "  a \t b  ",
    "shell": "$HOME `id` $(id) ; | & > * ? ~ ! # ' \" \\",
    "percent": "%s %n %% %i %h ${A} $A",
    "backslash": "\\n \\x41 \\\\ \\",
    "options": "--help",
    "quotes": "\"'\"'",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "unicode": "äöü \u202e \U0001f600 \ufeff",
    "long": "x" * 100_000,
}
"""What an argument or a value may be: it is text, and ends in a process without having been read by anybody."""
BYTES = os.fsdecode(bytes(range(128, 256)))
ALL_BYTES = bytes(byte for byte in range(1, 256) if byte != ord("\n"))
_HUGE = 1 << 20


def _huge(path: Path) -> None:
    lines = (f"user{number}:x:{number}:0:somebody:/:/bin/sh\n" for number in range(1000, 1000 + _HUGE // 36))
    path.write_text("root:x:0:0:root:/root:/bin/sh\n" + "".join(lines))


PASSWD: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("/no/such/place"),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "huge": _huge,
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 16),
}
"""What an image may have in the place of ``/etc/passwd``."""


class BackendHostileKit(BackendKit):
    """What a user may say, or an image may be, means something to the payload alone."""

    @pytest.mark.parametrize("word", WORDS)
    def test_b26_arguments_arrive_as_they_are(self, bench: Workbench, word: str) -> None:
        workload = bench.start(self.payload.prints_words("<", WORDS[word], ">"))
        assert bench.backend.wait(workload, bench.patience).code == 0
        assert self._printed(bench, workload) == _kept(f"<\n{WORDS[word]}\n>\n")

    @pytest.mark.parametrize("word", WORDS)
    def test_b26_variables_arrive_as_they_are(self, bench: Workbench, word: str) -> None:
        if not hasattr(self.make_spec(bench.image, self.payload.sleeps()), "env"):
            pytest.skip("the specification of this kind has no environment")
        workload = bench.start(self.payload.prints_variable("WORD"), env={"WORD": f"<{WORDS[word]}>"})
        assert bench.backend.wait(workload, bench.patience).code == 0
        assert self._printed(bench, workload) == _kept(f"<{WORDS[word]}>\n")

    @pytest.mark.parametrize("length", [1, 63])
    def test_b26_any_name_that_the_core_takes_will_do(self, bench: Workbench, length: int) -> None:
        workload = bench.start(self.payload.prints_then_sleeps("here"), name="n" * length)
        bench.wait_for("the first line", lambda: bench.lines(workload) == [b"here"])
        assert bench.backend.status(workload).status is Status.RUNNING
        bench.backend.stop(workload, GRACE)
        bench.delete(workload)
        assert bench.backend.status(workload).outcome is None

    def test_b8_output_is_bytes(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints_bytes(ALL_BYTES))
        assert bench.backend.wait(workload, bench.patience).code == 0
        assert b"".join(bench.lines(workload)) == ALL_BYTES

    def _printed(self, bench: Workbench, workload: Workload) -> list[bytes]:
        lines = lines_of(bench.backend.logs(workload))
        return [line.rstrip() for line in (b"".join(record.data for record in line) for line in lines) if line.rstrip()]


class BackendHostileExecKit(BackendKit, facets=(Exec,)):
    """The same for commands in it, which are in no file of the core's and so may be any bytes."""

    def exec_(self, bench: Workbench, command: Sequence[str], **options: Any) -> bytes:
        """Run a command in a new workload; return what it printed."""
        assert isinstance(bench.backend, Exec)
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            assert bench.backend.exec(workload, command, pipes.streams, **options).code == 0
            return pipes.output()

    @pytest.mark.parametrize("word", [*WORDS, "bytes"])
    def test_b11_b26_arguments_arrive_as_they_are(self, bench: Workbench, word: str) -> None:
        text = WORDS.get(word, BYTES)
        assert self.exec_(bench, self.payload.prints_words("<", text, ">")) == os.fsencode(f"<\n{text}\n>\n")

    @pytest.mark.parametrize("word", [*WORDS, "bytes"])
    def test_b11_b26_variables_arrive_as_they_are(self, bench: Workbench, word: str) -> None:
        text = WORDS.get(word, BYTES)
        printed = self.exec_(bench, self.payload.prints_variable("WORD"), env={"WORD": text})
        assert printed == os.fsencode(f"{text}\n")


class BackendHostileImageKit(BackendKit):
    """Images that are not what a distribution would make."""

    @pytest.fixture(params=PASSWD)
    def hostile(self, request: pytest.FixtureRequest, bench: Workbench, tmp_path: Path) -> str:
        """The image with something else in the place of its users; what it is."""
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec):
            pytest.skip("this kind of workload has no users")
        root = tmp_path / "hostile"
        bench.backend.store.checkout(bench.image, root, mode=CheckoutMode.COPY)
        (root / "etc").mkdir(exist_ok=True)
        passwd = root / "etc/passwd"
        passwd.unlink(missing_ok=True)
        PASSWD[request.param](passwd)
        bench.image = bench.backend.store.put_directory(root, ref=Ref(name="images/hostile:1", digest="")).digest
        fs.remove_tree(root)
        return str(request.param)

    def test_b27_an_image_without_sound_users_runs(self, bench: Workbench, hostile: str) -> None:
        workload = bench.start(self.payload.prints("here"))
        assert bench.backend.wait(workload, bench.patience).code == 0
        assert bench.lines(workload) == [b"here"], hostile

    def test_b27_a_user_that_it_does_not_have_is_an_error(self, bench: Workbench, hostile: str) -> None:
        if not self.KNOWS_USERS:
            pytest.skip("what this backend runs belongs to nobody")
        workload = bench.plan(self.payload.sleeps(), user="no-such-user")
        with pytest.raises(VoltError):
            self._create_and_start(bench, workload)
        assert not bench.backend.status(workload).status.active, hostile
        bench.delete(workload)

    def _create_and_start(self, bench: Workbench, workload: Workload) -> None:
        bench.backend.create(workload)
        bench.backend.start(workload)


def _kept(text: str) -> list[bytes]:
    """Return what every log keeps of it: no empty lines, and no blanks at the end of one."""
    return [line.rstrip() for line in text.encode().split(b"\n") if line.rstrip()]
