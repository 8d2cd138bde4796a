"""The kit of all stores, on this one."""

from __future__ import annotations

from typing import Any

import pytest

from volt_cas.layout import fan_out
from volt_cas.store import CasStore
from volt_core.testing.store_kit import StoreKit


@pytest.mark.usefixtures("engine")
class TestStore(StoreKit):
    store_class = CasStore

    def damage(self, store: Any, digest: str) -> None:
        path = store.path / "objects" / fan_out(bytes.fromhex(digest.removeprefix("sha256:")))
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])

    def lose(self, store: Any, digest: str) -> None:
        (store.path / "objects" / fan_out(bytes.fromhex(digest.removeprefix("sha256:")))).unlink()
