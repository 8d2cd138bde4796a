"""The contracts: their promises are numbered alike in docstrings, docs and kits; facets are found by class."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core import contracts
from volt_core.contracts import Exec, Freeze
from volt_core.contracts import backend as backend_contract
from volt_core.contracts import bundle as bundle_contract
from volt_core.contracts import compose as compose_contract
from volt_core.contracts import image as image_contract
from volt_core.contracts import store as store_contract
from volt_core.contracts.backend import FACETS
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fakes import DummyContainer, DummyService, DummyVm, MemoryStore
from volt_core.testing.gate import facets_for
from volt_core.testing.section_kit import ComposeSectionKit
from volt_core.testing.source_kit import ImageSourceKit
from volt_core.testing.store_kit import StoreConformance

DOCS = Path(__file__).parents[2] / "docs"
AREAS = {
    "B": ((backend_contract,), DOCS / "backend-contract.md", BackendConformance),
    "S": ((store_contract, bundle_contract), DOCS / "store-contract.md", StoreConformance),
    "I": ((image_contract,), DOCS / "source-contract.md", ImageSourceKit),
    "C": ((compose_contract,), DOCS / "source-contract.md", ComposeSectionKit),
}


def in_docstrings(letter: str) -> list[str]:
    return [
        number
        for module in AREAS[letter][0]
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for number in re.findall(rf"\b({letter}-\d+):", ast.get_docstring(node) or "")
    ]


def in_docs(letter: str) -> list[str]:
    return re.findall(rf"^### ({letter}-\d+) \S", AREAS[letter][1].read_text(), re.MULTILINE)


def in_kits(letter: str) -> Iterator[str]:
    for name in dir(AREAS[letter][2]):
        if name.startswith("test"):
            numbers = re.match(rf"test((?:_{letter.lower()}\d+)+)_", name)
            assert numbers, f"{name} names no promise"
            yield from (f"{letter}-{number}" for number in re.findall(r"\d+", numbers[1]))


@pytest.mark.parametrize("letter", AREAS)
def test_promises_have_the_same_numbers_everywhere(letter: str) -> None:
    documented = in_docs(letter)
    assert documented == [f"{letter}-{number}" for number in range(1, len(documented) + 1)], "in order, without a gap"
    assert set(in_docstrings(letter)) == set(documented)
    assert set(in_kits(letter)) == set(documented)


@pytest.mark.parametrize("kit", [BackendConformance, StoreConformance])
def test_no_kit_hides_a_case_of_another(kit: type) -> None:
    cases = [name for base in kit.__mro__ for name in vars(base) if name.startswith("test_")]
    assert len(cases) == len(set(cases))


def test_a_case_is_for_who_has_what_its_own_kit_is_about() -> None:
    assert facets_for(BackendConformance, "test_b11_b13_a_frozen_one_takes_no_commands") == (Exec, Freeze)
    assert facets_for(BackendConformance, "test_b3_stop_is_idempotent") == ()

    class Mine(BackendConformance):
        def test_b13_freeze_and_thaw_are_idempotent(self) -> None:  # type: ignore[override]
            """Another way to try it."""

    assert facets_for(Mine, "test_b13_freeze_and_thaw_are_idempotent") == (Freeze,)


@pytest.mark.parametrize("contract", [contracts.Backend, contracts.Store, contracts.Bundles])
def test_every_abstract_method_of_a_contract_has_a_number(contract: type) -> None:
    for name in contract.__abstractmethods__:  # type: ignore[attr-defined]
        assert re.match(r"[BS]-\d+: ", inspect.getdoc(getattr(contract, name)) or ""), name


def test_the_example_in_the_docs_is_python() -> None:
    for path in DOCS.glob("*-contract.md"):
        blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        assert blocks
        for block in blocks:
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(str(node.module))
                    assert all(hasattr(module, alias.name) for alias in node.names)


def test_capabilities_are_the_facets_of_a_class() -> None:
    capability = contracts.Capability
    assert contracts.capabilities_of(DummyService) == frozenset()
    assert contracts.capabilities_of(DummyVm) == {capability.FREEZE}
    assert contracts.capabilities_of(DummyContainer) == set(capability) - {
        *(capability.LIMITS, capability.PORTS, capability.BOOT, capability.RESTART),
        *(capability.PRIVILEGED, capability.NETWORK),
    }


def test_every_capability_has_a_facet() -> None:
    assert set(FACETS) == set(contracts.Capability)
    assert len(set(FACETS.values())) == len(FACETS)


def test_a_backend_that_forgets_a_method_cannot_be_made(paths: VoltPaths) -> None:
    class Forgetful(DummyService):
        stop = contracts.Backend.stop

    with pytest.raises(TypeError, match="stop"):
        Forgetful(contracts.BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
