"""What the kits let a workload run. A backend whose images have no POSIX shell gives a payload of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import ClassVar

Command = Sequence[str]


class ShellPayload:
    """Commands for an image with a POSIX shell and its usual tools, a file ``/etc/passwd``, a directory ``/home``."""

    tells_signals: ClassVar[bool] = True
    """Whether an outcome can say which signal ended it; a virtual machine's cannot."""
    parts_streams: ClassVar[bool] = True
    """Whether stdout and stderr are two; a console is one."""

    def exits(self, code: int) -> Command:
        """End at once with `code`."""
        return self._script(f"exit {code}")

    def dies_of(self, number: int) -> Command:
        """End at once of a signal."""
        return self._script(f"kill -{number} $$; sleep 60")

    def sleeps(self) -> Command:
        """Run until a signal ends it; any signal does, by its default action."""
        return ("sleep", "1000")

    def ignores(self, number: int) -> Command:
        """Print ``ready``, then run on whatever number of these signals come."""
        return self._script(f"trap '' {signal.Signals(number).name[3:]}; echo ready; while :; do sleep 0.1; done")

    def prints(self, *lines: str) -> Command:
        """Print lines, then end with 0."""
        return self._script('for line; do echo "$line"; done', *lines)

    def prints_then_sleeps(self, *lines: str) -> Command:
        """Print lines, then run until a signal ends it."""
        return self._script('for line; do echo "$line"; done; exec sleep 1000', *lines)

    def prints_slowly(self, *lines: str) -> Command:
        """Print lines, half a second after one another, then run until a signal ends it."""
        return self._script('for line; do echo "$line"; sleep 0.5; done; exec sleep 1000', *lines)

    def prints_error(self, line: str) -> Command:
        """Print a line to stderr, then end with 0."""
        return self._script('echo "$1" >&2', line)

    def writes(self, text: str) -> Command:
        """Print text without a newline, then end with 0."""
        return ("printf", "%s", text)

    def echoes_stdin(self) -> Command:
        """Copy stdin to stdout until its end, then end with 0."""
        return ("cat",)

    def prints_variable(self, name: str) -> Command:
        """Print the value of an environment variable, then end with 0."""
        return self._script(f"printf '%s\\n' \"${name}\"")

    def prints_words(self, *words: str) -> Command:
        """Print each word byte for byte and a newline, then end with 0."""
        return ("printf", "%s\\n", *words)

    def prints_bytes(self, data: bytes) -> Command:
        """Print bytes and no newline, then end with 0."""
        return ("printf", "".join(f"\\{byte:03o}" for byte in data))

    def adds_to_file(self, path: str, line: str) -> Command:
        """Add a line to a file and print all of it; end with 0, or with another code if it cannot."""
        return self._script('echo "$2" >> "$1" && cat "$1"', path, line)

    def reads_file(self, path: str) -> Command:
        """Print a file; end with 0, or with another code if it cannot."""
        return ("cat", path)

    def leaves_a_child(self, path: str) -> Command:
        """Run until a signal ends it; a child that heeds no SIGTERM adds to the file until it is killed."""
        child = "trap '' TERM INT HUP; while :; do echo tick >> \"$1\"; sleep 0.05; done"
        return self._script(f"({child}) & exec sleep 1000", path)

    def forks(self, count: int) -> Command:
        """Start children of a few seconds and count them, the number of all that could be started last."""
        fork = 'sleep 3 & n=$((n + 1)); echo "$n"'
        return self._script(f"n=0; while [ $n -lt {count} ]; do {fork}; done 2> /dev/null")

    def takes_memory(self, size: int) -> Command:
        """Use so many bytes of memory; end with 0, or not if it cannot."""
        return self._script(f"head -c {size} /dev/zero | tail -n 1 > /dev/null")

    def burns(self, seconds: int) -> Command:
        """Use all CPU time there is; print how much that was, and how long it took, in hundredths of a second."""
        begin = 'read -r begin idle < /proc/uptime; while :; do :; done & sleep "$1"'
        end = "read -r stat < /proc/$!/stat; read -r end idle < /proc/uptime; kill $!"
        result = "echo $((${14} + ${15})) $((${end%.*}${end#*.} - ${begin%.*}${begin#*.}))"
        return self._script(f"{begin}; {end}; set -- $stat; {result}", str(seconds))

    def prints_working_dir(self) -> Command:
        """Print the working directory, then end with 0."""
        return ("pwd",)

    def burns_in_a_child(self) -> Command:
        """Use CPU time in a child; print ``burned``, a second later ``ended`` when the child is gone, and run on."""
        count = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done"
        return self._script(f"({count}; echo burned; exec sleep 1); echo ended; exec sleep 1000")

    def missing(self) -> Command:
        """What does not exist."""
        return ("/no/such/program",)

    def unexecutable(self) -> Command:
        """What exists and cannot be executed."""
        return ("/etc/passwd",)

    @staticmethod
    def _script(text: str, *words: str) -> Command:
        return ("sh", "-c", text, "sh", *words)


class FakePayload(ShellPayload):
    """Commands in the language of :mod:`volt_core.testing.programs`, for the fakes."""

    def exits(self, code: int) -> Command:
        return ("exit", str(code))

    def dies_of(self, number: int) -> Command:
        return ("die", str(int(number)))

    def ignores(self, number: int) -> Command:
        return ("ignore", str(int(number)), ";", "echo", "ready", ";", "sleep", "1000")

    def prints(self, *lines: str) -> Command:
        return tuple(word for line in lines for word in ("echo", line, ";"))

    def prints_then_sleeps(self, *lines: str) -> Command:
        return (*self.prints(*lines), "sleep", "1000")

    def prints_slowly(self, *lines: str) -> Command:
        pauses = (word for line in lines for word in ("echo", line, ";", "sleep", "0.5", ";"))
        return (*pauses, "sleep", "1000")

    def prints_error(self, line: str) -> Command:
        return ("error", line)

    def writes(self, text: str) -> Command:
        return ("write", text)

    def prints_variable(self, name: str) -> Command:
        return ("env", name)

    def burns_in_a_child(self) -> Command:
        return ("echo", "burned", ";", "sleep", "0.1", ";", "echo", "ended", ";", "sleep", "1000")

    def unexecutable(self) -> Command:
        return ("unexecutable",)

    def prints_words(self, *words: str) -> Command:
        return self.prints(*words)

    def prints_bytes(self, data: bytes) -> Command:
        return ("write", os.fsdecode(data))

    def adds_to_file(self, path: str, line: str) -> Command:
        return ("add", path, line, ";", "get", path)

    def reads_file(self, path: str) -> Command:
        return ("get", path)

    def leaves_a_child(self, path: str) -> Command:
        return ("leave", path, ";", "sleep", "1000")

    def forks(self, count: int) -> Command:
        return ("fork", str(count))

    def takes_memory(self, size: int) -> Command:
        return ("take", str(size))

    def burns(self, seconds: int) -> Command:
        return ("burn", str(seconds))
