"""The log of a workload: a text file in the format of the Kubernetes container runtime interface.

One line of output is ``TIME STREAM TAG CONTENT``: the time as RFC 3339 in UTC with nanoseconds, the stream's
name, and a tag. ``F`` says that a newline ended the content, ``P`` that it goes on in the stream's next line.
Content is kept byte for byte, so joining it, with a newline behind each ``F``, gives back the output.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final

from volt_core.supervisor.model import Stream

LINE_LIMIT: Final = 16 * 1024
"""Content bytes of one log line; longer lines are split."""
_BLOCK = 64 * 1024
_MOST_OF_A_LINE = LINE_LIMIT + 64  # bytes, with what stands before the content
_NOTE_GROWTH = 20  # bytes; the number in it gets longer


def format_time(nanoseconds: int) -> bytes:
    """Return a time since the epoch as RFC 3339 in UTC: always 30 bytes."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % fraction


class LogWriter:
    """Appends to a log; its only writer. Threads may share it.

    It never fails for want of room: what cannot be written is counted, and the log says how much was
    lost, at the place where it was lost.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._lock = threading.Lock()
        self._fragments: dict[Stream, bytes] = {}
        self._lost = 0
        self._note = b""
        self._full = 0
        self._end = _end_of_whole_lines(self._fd)

    def write(self, stream: Stream, data: bytes) -> None:
        """Add output. What does not end a line waits for the rest of it, or for :meth:`flush`."""
        with self._lock:
            *lines, fragment = (self._fragments.pop(stream, b"") + data).split(b"\n")
            prefix = format_time(time.time_ns()) + b" " + stream.encode()
            whole, partial = prefix + b" F ", prefix + b" P "
            if lines and max(map(len, lines)) > LINE_LIMIT:
                text = b"".join(_split_line(line, whole, partial) for line in lines)
            else:
                text = b"".join(whole + line + b"\n" for line in lines)
            while len(fragment) > LINE_LIMIT:
                text += partial + fragment[:LINE_LIMIT] + b"\n"
                fragment = fragment[LINE_LIMIT:]
            if fragment:
                self._fragments[stream] = fragment
            if text:
                self._append(text, len(data))

    def has_fragment(self, stream: Stream) -> bool:
        """Whether part of a line waits for the rest of it."""
        return stream in self._fragments

    def flush(self, stream: Stream) -> None:
        """Write what waits, marked as partial."""
        with self._lock:
            fragment = self._fragments.pop(stream, b"")
            if fragment:
                header = format_time(time.time_ns()) + b" " + stream.encode() + b" P "
                self._append(header + fragment + b"\n", len(fragment))

    def close(self) -> None:
        """Write what waits and close the file."""
        for stream in tuple(self._fragments):
            self.flush(stream)
        os.close(self._fd)

    def _append(self, text: bytes, content: int) -> None:
        # Somebody may have emptied the file to make room; going on behind the old end would leave a hole.
        self._end = min(self._end, os.fstat(self._fd).st_size)
        note = self._note if self._lost else b""
        try:
            if self._full > self._end:
                # What was taken back is room for the note alone: more must be there before lines go on.
                _write_at(self._fd, bytes(self._full - self._end), self._end)
            self._end += _write_at(self._fd, note + text, self._end)
            self._lost = self._full = 0
        except OSError as error:
            begins = not self._lost
            self._lost += content
            if not self._write_note(error) and begins:
                # The disk was filled to the last byte: the note takes the place of the last lines.
                self._full = self._end + len(text)
                self._take_back(len(self._note) + _NOTE_GROWTH)
                self._write_note(error)

    def _take_back(self, size: int) -> None:
        """Cut whole lines of at least `size` bytes off the end; their content is lost."""
        start = max(0, self._end - size - _MOST_OF_A_LINE)
        data = os.pread(self._fd, self._end - start, start)
        cut = data.rfind(b"\n", 0, max(0, len(data) - size)) + 1
        for line in data[cut:].split(b"\n")[:-1]:
            *_, tag, content = line.split(b" ", 3)
            self._lost += len(content) + (tag == b"F")
        self._end = start + cut
        os.ftruncate(self._fd, self._end)

    def _write_note(self, error: OSError) -> bool:
        """Say at the end of the log what is missing there; written over itself while more is lost."""
        self._note = b"%s stderr F [volt: %d bytes of output are missing here: %s]\n" % (
            format_time(time.time_ns()),
            self._lost,
            (error.strerror or "error").encode(),
        )
        try:
            _write_at(self._fd, self._note, self._end)
        except OSError:
            return False
        return True


def _split_line(line: bytes, whole: bytes, partial: bytes) -> bytes:
    pieces = [line[start : start + LINE_LIMIT] for start in range(0, len(line), LINE_LIMIT)] or [b""]
    return b"".join(partial + piece + b"\n" for piece in pieces[:-1]) + whole + pieces[-1] + b"\n"


def _write_at(fd: int, data: bytes, position: int) -> int:
    """Write all of it and cut the file behind it; on failure leave nothing of it."""
    view = memoryview(data)
    end = position
    try:
        while view:
            written = os.pwrite(fd, view, end)
            view = view[written:]
            end += written
    except OSError:
        os.ftruncate(fd, position)
        raise
    if os.fstat(fd).st_size > end:
        os.ftruncate(fd, end)
    return len(data)


def _end_of_whole_lines(fd: int) -> int:
    """Return where the last whole line ends: a writer that was killed may have left part of one."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(fd, end)
    return end
