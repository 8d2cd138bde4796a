"""Stores and digests of released versions: what was kept is found, and what is put again has the digest that it had."""

from __future__ import annotations

import lzma
from pathlib import Path

import msgspec
import pytest

from volt_core import run
from volt_core.api import Volt
from volt_core.contracts import CheckoutMode, Entry, MtimePolicy
from volt_core.testing.trees import differences

RELEASES = sorted(path.parent for path in Path(__file__).parent.glob("*/store.tar.xz"))
DIGESTS = {
    "0.1": {
        MtimePolicy.KEEP: "sha256:64ecf021cc9d964b908284ba8aeb0f77b49a49bd64b8a8e904efba8ff5a1d97c",
        MtimePolicy.CLAMP: "sha256:436def51f052cd65f6a9c5c7b40f8bd23e0eb6519f6eb74535848b7280905411",
    }
}


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def volt(tmp_path):
    return Volt(tmp_path / "root")


@pytest.fixture
def golden(release, volt):
    """The store that a release has left, with the tree of ``tree.tar.xz``."""
    volt.paths.store.mkdir(parents=True, mode=0o700)
    # Owners of what an ordinary user unpacks are that user; no object may lose its mode.
    run.run(["tar", "-C", str(volt.paths.store), "-xpf", str(release / "store.tar.xz")], timeout=30)
    return volt.store


def test_a_store_has_what_it_had(golden, release):
    kept, clamped = (DIGESTS[release.name][policy] for policy in (MtimePolicy.KEEP, MtimePolicy.CLAMP))
    assert {ref.name: ref.digest for ref in golden.refs()} == {"images/golden:1": kept, "old": clamped}
    image = golden.find_ref("images/golden:1")
    assert (image.kind, dict(image.meta)) == ("image", {"a": "c"})
    assert [change.digest for change in golden.ref_log("images/golden:1")] == [clamped, kept]
    assert [change.digest for change in golden.ref_log("gone")] == [kept, None]
    expected = msgspec.json.decode((release / "store-entries.json").read_bytes(), type=list[Entry])
    assert sorted(golden.entries(kept), key=lambda entry: entry.path) == expected
    assert golden.read_file(kept, b"bin/capable") == b"#!/bin/sh\n"
    assert golden.verify().damaged == ()
    assert golden.gc(grace=0).removed == ()


@pytest.mark.parametrize("policy", MtimePolicy)
def test_a_tree_has_the_digest_it_had(golden, release, volt, tmp_path, policy):
    digest = DIGESTS[release.name][policy]
    other = Volt(tmp_path / "other").store
    for store in (other, golden):
        with lzma.open(release / "tree.tar.xz") as stream:
            result = store.put_tar(stream, mtime=policy)
        assert result.digest == digest
    assert result.new_objects == 0


@pytest.mark.needs_root
def test_a_directory_has_the_digest_it_had(golden, release, tmp_path):
    digest = DIGESTS[release.name][MtimePolicy.KEEP]
    for mode in (CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK):
        golden.checkout(digest, tmp_path / mode, mode=mode)
    assert golden.put_directory(tmp_path / CheckoutMode.COPY).digest == digest
    assert differences(tmp_path / CheckoutMode.COPY, tmp_path / CheckoutMode.AUTO) == []
    assert differences(tmp_path / CheckoutMode.COPY, tmp_path / CheckoutMode.LINK, ignore={"hardlinks"}) == []
    assert golden.verify().damaged == ()
