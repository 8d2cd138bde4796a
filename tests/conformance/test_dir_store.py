"""The store of whole copies keeps the contract: it promises nothing that needs objects, variants or records."""

from __future__ import annotations

from typing import Any

from volt_core.testing.dir_store import DirStore
from volt_core.testing.store_kit import StoreConformance


class TestDirStore(StoreConformance):
    store_class = DirStore

    def damage(self, store: Any, digest: str) -> None:
        places = store.places(digest)
        data = places[0].read_bytes()
        for path in places:
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])

    def lose(self, store: Any, digest: str) -> None:
        for path in store.places(digest):
            path.unlink()
