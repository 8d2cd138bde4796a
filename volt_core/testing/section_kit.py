"""Conformance of a compose section. A subclass gives the section, entries that mean something, and some that cannot::

    class TestMySection(ComposeSectionKit):
        section_class = MySection
        entries = {"web": {"command": ["httpd"]}}
        refused = {"no command": {"command": []}}

The numbers in the names of the cases are those of ``docs/source-contract.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from volt_core.contracts import ComposeSection
from volt_core.errors import ComposeError
from volt_core.models.workload import Workload
from volt_core.names import check_name

NAMES = ("w eb", "UPPER", "a.b", "a/b", "a\nb", "", "x" * 64, "\N{SNOWMAN}")
"""What a user may call an entry, and no workload can be called."""


class ComposeSectionKit:
    """All promises of the contract."""

    section_class: ClassVar[type[ComposeSection]]
    entries: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Entries by name, as they stand in a compose file."""
    refused: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Entries that MODEL takes and that mean nothing, by what is wrong with them."""

    def plan(self, entries: Mapping[str, Mapping[str, Any]], project: str = "shop") -> Sequence[Workload]:
        """Plan as the core does."""
        model = self.section_class.MODEL
        return self.section_class().plan(project, {name: msgspec.convert(it, model) for name, it in entries.items()})

    def test_c1_the_key_is_one_word(self) -> None:
        assert self.section_class.KEY.isidentifier()
        assert self.section_class.KEY.islower()

    def test_c1_a_misspelt_field_is_refused(self) -> None:
        for entry in self.entries.values():
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({**entry, "no_such_field": 1}, self.section_class.MODEL)

    def test_c2_each_entry_becomes_workloads(self) -> None:
        for name, entry in self.entries.items():
            assert self.plan({name: entry}), name
        assert list(self.plan({})) == []

    def test_c2_workloads_have_names_of_their_own(self) -> None:
        names = [workload.name for project in ("shop", "other") for workload in self.plan(self.entries, project)]
        assert len(set(names)) == len(names)
        assert all(check_name(name) for name in names)

    def test_c3_the_same_entries_mean_the_same(self) -> None:
        before = copy.deepcopy(dict(self.entries))
        first = list(self.plan(self.entries))
        assert list(self.plan(self.entries)) == first
        assert sorted(self.plan(dict(reversed(list(self.entries.items())))), key=_name) == sorted(first, key=_name)
        assert self.entries == before

    def test_c3_planning_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        self.plan(self.entries)
        assert list(tmp_path.iterdir()) == []

    def test_c4_what_cannot_be_is_a_compose_error_that_names_the_entry(self) -> None:
        for why, entry in self.refused.items():
            with pytest.raises(ComposeError) as caught:
                self.plan({"kit": entry})
            assert "'kit'" in str(caught.value), why

    @pytest.mark.parametrize("name", NAMES)
    def test_c4_a_name_that_cannot_be_is_a_compose_error(self, name: str) -> None:
        with pytest.raises(ComposeError):
            self.plan({name: next(iter(self.entries.values()))})


def _name(workload: Workload) -> str:
    return workload.name
