"""The contract of a section of a compose file that a plugin owns."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from volt_core.models.workload import Workload


class ComposeSection(abc.ABC):
    """One top-level key of a compose file, for example ``vms``.

    C-1: KEY is one word in lower case; MODEL forbids unknown fields, so that a misspelt one is told.
    """

    KEY: ClassVar[str]
    MODEL: ClassVar[type]
    """The msgspec type that each entry of the section must convert to."""

    @abc.abstractmethod
    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        """C-2: Return the workloads that the entries (instances of MODEL, by name) mean, at least one of each.

        C-3: Pure: the same entries mean equal workloads, in whatever order they come, and nothing changes.

        C-4: Raises :class:`~volt_core.errors.ComposeError`, which names the entry.
        """
