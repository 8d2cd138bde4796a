"""Every error that Volt raises on purpose, and the exit code each one ends the command with.

Plugins subclass these, so that a caller can catch ``WrongState`` whatever the backend is.
The exit codes are part of the interface and are listed in ``docs/cli.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class VoltError(Exception):
    """Base of all errors.

    Args:
        brief: one line without a final full stop: the act, the thing in quotes, the cause.
        details: more lines for whoever wants to know more, for example a child's stderr.
        hint: what to type or install next, a sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, brief: str, *, details: str | None = None, hint: str | None = None) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.brief}. ({self.hint})" if self.hint else f"{self.brief}."


class UsageError(VoltError):
    """The request itself is wrong; nothing was tried."""

    exit_code = 2


class InvalidName(UsageError):
    """A name that no workload, image or ref can have."""


class InvalidSpec(UsageError):
    """Options that contradict each other, or a value out of its range."""


class InvalidConfig(UsageError):
    """A configuration file or variable that cannot be understood."""


class NotFoundError(VoltError):
    """What was named does not exist."""

    exit_code = 3


class WorkloadNotFound(NotFoundError):
    """No workload of that name."""


class ImageNotFound(NotFoundError):
    """No image of that name or digest."""


class RefNotFound(NotFoundError):
    """The store has no ref of that name."""


class ConflictError(VoltError):
    """The request is sound but the present state forbids it."""

    exit_code = 4


class AlreadyExists(ConflictError):
    """The name is taken."""


class WrongState(ConflictError):
    """The workload is not in a state that allows this."""


class Locked(ConflictError):
    """Another process holds the lock and did not let go in time."""


class BackendError(VoltError):
    """A backend, or a program that it calls, failed."""

    exit_code = 5


class BackendUnavailable(BackendError):
    """This host cannot run that backend; the hint says what is missing."""


class CapabilityMissing(BackendError):
    """The backend has no such facet; the hint names one that has."""


class CommandFailed(BackendError):
    """A program ended badly.

    Attributes:
        argv: what was run.
        status: its exit code, or minus the signal number.
        stderr: the last lines of its standard error.
    """

    def __init__(self, brief: str, *, argv: Sequence[str], status: int, stderr: str, hint: str | None = None) -> None:
        super().__init__(brief, details=stderr or None, hint=hint)
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr


class TimedOut(BackendError):
    """Something did not happen within its time limit."""


class StoreError(VoltError):
    """The content-addressed store refused or failed."""

    exit_code = 6


class ObjectMissing(StoreError):
    """A record names an object that the store does not hold."""


class ObjectCorrupt(StoreError):
    """Stored bytes do not match their digest."""


class StoreFull(StoreError):
    """The file system of the store has no room left."""


class ArchiveInvalid(StoreError):
    """An archive that is damaged, hostile, or beyond the limits."""


class ComposeError(VoltError):
    """A compose project cannot be used."""

    exit_code = 7


class ComposeInvalid(ComposeError):
    """A compose file is wrong at one place."""

    def __init__(self, brief: str, *, path: str, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(f"{path}:{line}: {brief}" if line else f"{path}: {brief}", hint=hint)
        self.path = path
        self.line = line


class StateError(VoltError):
    """Volt's own files cannot be used as they are."""

    exit_code = 8


class StateCorrupt(StateError):
    """A state file does not decode."""


class StateTooNew(StateError):
    """A state file was written by a newer Volt."""


class PluginError(VoltError):
    """A plugin is at fault; the others go on working."""

    exit_code = 9


class PluginBroken(PluginError):
    """A plugin failed to import, to register, or broke its contract."""


class PluginClash(PluginError):
    """Two plugins register the same name."""
