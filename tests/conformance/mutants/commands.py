"""Backends that break a promise about commands and what they find: B-11, B-12, and B-25 to B-27."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from volt_core import fs
from volt_core.contracts import LogRecord, Streams
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Workload
from volt_core.testing.fakes import DummyContainer
from volt_core.testing.programs import Place


class ExecsInTheFrozen(DummyContainer):
    BREAKS = "B-11"

    def exec(self, workload: Workload, *args: Any, **options: Any) -> Outcome:
        run = self._active(workload, "exec in")
        frozen, run.frozen = run.frozen, False
        try:
            return super().exec(workload, *args, **options)
        finally:
            run.frozen = frozen


class ExecIsLogged(DummyContainer):
    BREAKS = "B-11"

    def exec(self, workload: Workload, *args: Any, **options: Any) -> Outcome:
        self._log(workload).write("stdout", b"exec\n")
        return super().exec(workload, *args, **options)


class SaysTooLateThatItStarted(DummyContainer):
    BREAKS = "B-12"

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        try:
            return super().run_attached(workload, streams, lambda: None)
        finally:
            started()


class AttachedIsNotLogged(DummyContainer):
    BREAKS = "B-12"

    def logs(self, workload: Workload, **options: Any) -> Iterator[LogRecord]:
        return iter(())


class ChangedPlace(DummyContainer):
    """Gives commands other surroundings."""

    def change(self, workload: Workload, place: Place) -> Place:
        raise NotImplementedError

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return command, self.change(workload, place)


class ExecReplacesTheEnvironment(ChangedPlace):
    BREAKS = "B-11"

    def change(self, workload: Workload, place: Place) -> Place:
        # At the start the first program has it.
        return place._replace(env={}) if self._find_run(workload) else place


class SharesTheRoot(ChangedPlace):
    BREAKS = "B-25"

    def change(self, workload: Workload, place: Place) -> Place:
        return place._replace(root=self.store.linked_tree(workload.spec.root))  # type: ignore[union-attr]


class BindsAreWritable(ChangedPlace):
    BREAKS = "B-25"

    def change(self, workload: Workload, place: Place) -> Place:
        return place._replace(mounts=tuple(msgspec.structs.replace(it, read_only=False) for it in place.mounts))


class CutsValuesAtNewlines(ChangedPlace):
    BREAKS = "B-26"

    def change(self, workload: Workload, place: Place) -> Place:
        return place._replace(env={name: value.split("\n")[0] for name, value in place.env.items()})


class ReadsTheWords(DummyContainer):
    """As whatever is written to a unit file without quotes."""

    BREAKS = "B-26"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return [word.replace("%%", "%") for word in command], place


class StartsFromTheImage(DummyContainer):
    """Each run has the image as it was."""

    BREAKS = "B-25"

    def start(self, workload: Workload) -> None:
        root = self._folder(workload) / "rootfs"
        fs.remove_tree(root)
        self.store.checkout(workload.spec.root, root)  # type: ignore[union-attr]
        super().start(workload)


class ReadsTheUsers(DummyContainer):
    BREAKS = "B-27"

    def start(self, workload: Workload) -> None:
        passwd = self._folder(workload) / "rootfs/etc/passwd"
        if not passwd.is_fifo():
            passwd.read_text()
        super().start(workload)
