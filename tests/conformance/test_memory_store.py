"""The store in memory keeps the contract; with that, the kit has been run."""

from __future__ import annotations

from volt_core.testing.fakes import MemoryStore
from volt_core.testing.store_kit import StoreConformance


class TestMemoryStore(StoreConformance):
    store_class = MemoryStore

    def damage(self, store: MemoryStore, digest: str) -> None:
        store.damage(digest)

    def lose(self, store: MemoryStore, digest: str) -> None:
        store.lose(digest)
