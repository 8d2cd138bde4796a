"""The kit of all stores, on this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from volt_cas.layout import fan_out
from volt_cas.store import CasStore
from volt_core.testing.store_kit import StoreConformance


@pytest.mark.usefixtures("engine")
class TestStore(StoreConformance):
    store_class = CasStore

    def damage(self, store: Any, digest: str) -> None:
        damage(store, digest)

    def lose(self, store: Any, digest: str) -> None:
        object_path(store, digest).unlink()


def object_path(store: Any, digest: str) -> Path:
    return store.path / "objects" / fan_out(bytes.fromhex(digest.removeprefix("sha256:")))


def damage(store: Any, digest: str) -> None:
    path = object_path(store, digest)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
