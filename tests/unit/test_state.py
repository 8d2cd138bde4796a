"""Versioned files: what is read, what is migrated, what is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.errors import StateCorrupt, StateTooNew
from volt_core.models.outcome import Outcome
from volt_core.models.workload import ServiceSpec, Workload
from volt_core.state import StateFile


class Pet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    schema: int = 3
    name: str
    legs: int = 4


def _second(document: dict[str, Any]) -> dict[str, Any]:
    return {"name": document["title"], "feet": document.get("feet", 4)}


def _third(document: dict[str, Any]) -> dict[str, Any]:
    return {"name": document["name"], "legs": document["feet"]}


PETS = StateFile(Pet, {1: _second, 2: _third}, hint="Call the vet.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pet.json"


def test_what_was_written_is_read(file: Path) -> None:
    PETS.write(file, Pet(name="rex", legs=3), mode=0o600)
    assert PETS.read(file) == Pet(name="rex", legs=3)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().endswith(b"}\n")


def test_the_version_is_written_though_it_is_a_default(file: Path) -> None:
    PETS.write(file, Pet(name="rex"))
    assert json.loads(file.read_bytes()) == {"schema": 3, "name": "rex"}


def test_equal_values_give_equal_bytes() -> None:
    labels = {"b": "2", "a": "1"}
    workload = Workload(
        name="web", id="0" * 32, kind="service", backend="b", spec=ServiceSpec(command=("x",)), created=1, labels=labels
    )  # type: ignore[arg-type]
    turned = msgspec.structs.replace(workload, labels=dict(reversed(labels.items())))
    assert StateFile(Workload).encode(workload) == StateFile(Workload).encode(turned)


@pytest.mark.parametrize(
    ("document", "legs"),
    [
        ({"title": "rex", "feet": 3}, 3),
        ({"schema": 1, "title": "rex"}, 4),
        ({"schema": 2, "name": "rex", "feet": 2}, 2),
    ],
)
def test_older_files_are_migrated_step_by_step(file: Path, document: dict[str, Any], legs: int) -> None:
    file.write_text(json.dumps(document))
    before = file.read_bytes()
    assert PETS.read(file) == Pet(name="rex", legs=legs)
    assert file.read_bytes() == before, "reading writes nothing"


def test_a_newer_file_is_refused_with_what_to_do(file: Path) -> None:
    file.write_text('{"schema": 4, "name": {"shape": "unknown"}}')
    with pytest.raises(StateTooNew, match=r"schema 4, this Volt knows 3.*upgrade"):
        PETS.find(file)


def test_unknown_fields_pass(file: Path) -> None:
    file.write_text('{"schema": 3, "name": "rex", "colour": "brown"}')
    assert PETS.read(file) == Pet(name="rex")


DAMAGE = {
    "empty": b"",
    "cut short": b'{"schema": 3, "na',
    "not json": b"\x00\x01\x02",
    "not text": b'{"schema": 3, "name": "\xff\xfe"}',
    "array": b"[]",
    "null": b"null",
    "missing field": b'{"schema": 3}',
    "wrong type": b'{"schema": 3, "name": 7}',
    "version as text": b'{"schema": "3", "name": "rex"}',
    "version before the first": b'{"schema": 0, "name": "rex"}',
    "version below zero": b'{"schema": -1, "name": "rex"}',
    "migration misses its field": b'{"schema": 1}',
    "nested deeply": b'{"schema": 3, "name": ' + b"[" * 100_000,
    "huge number": b'{"schema": 1e999}',
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_one_error_that_names_the_file(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(StateCorrupt, match="damaged") as caught:
        PETS.read(file)
    assert str(file) in caught.value.brief
    assert caught.value.hint == "Call the vet."


def test_a_rule_of_the_model_that_is_broken_is_damage_too(file: Path) -> None:
    spec = {"type": "service", "command": ["x"]}
    document = {"name": "../etc", "id": "1", "kind": "service", "backend": "b", "spec": spec, "created": 1}
    file.write_text(json.dumps(document))
    with pytest.raises(StateCorrupt, match="Invalid name"):
        StateFile(Workload).read(file)


def test_a_missing_file_is_told_apart_from_damage(file: Path) -> None:
    assert PETS.find(file) is None
    with pytest.raises(FileNotFoundError):
        PETS.read(file)


def test_every_flipped_byte_is_read_or_refused_and_never_anything_else(file: Path) -> None:
    outcomes = StateFile(Outcome)
    good = outcomes.encode(Outcome(code=7, started=1, finished=2, invocation="ab"))
    for position in range(len(good)):
        for bit in (1, 128):
            damaged = bytearray(good)
            damaged[position] ^= bit
            file.write_bytes(damaged)
            try:
                outcomes.read(file)
            except (StateCorrupt, StateTooNew):
                continue
