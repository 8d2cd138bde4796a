"""The store in memory keeps the contract; with that, the kit has been run."""

from __future__ import annotations

from volt_core.testing.bundle_kit import BundleKit
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.store_kit import StoreKit


class TestMemoryStore(StoreKit):
    store_class = MemoryStore

    def damage(self, store: MemoryStore, digest: str) -> None:
        store.damage(digest)

    def lose(self, store: MemoryStore, digest: str) -> None:
        store.lose(digest)


class TestMemoryBundles(BundleKit):
    store_class = MemoryStore

    def damage(self, store: MemoryStore, digest: str) -> None:
        store.damage(digest)
