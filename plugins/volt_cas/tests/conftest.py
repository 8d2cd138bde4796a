"""Fixtures of the store's tests."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_cas.store import CasStore
from volt_core import fs, native
from volt_core.cli.exits import run_app
from volt_core.contracts import CheckoutMode, Ref
from volt_core.testing import host
from volt_core.testing.trees import awkward_tree

_FOLDERS = ("objects", "variants", "trees", "refs", "links", "cache", "tmp", "quarantine")
_KNOWN = {"format.json", "lock", "refs.lock", *_FOLDERS}


@pytest.fixture(params=["c", "python"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of the twins serves, in this process and in those that it starts."""
    chosen: str = request.param
    if chosen == "c":
        host.require("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOLT_NATIVE", chosen)
        native._chosen.cache_clear()
        yield chosen
    native._chosen.cache_clear()


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Python code serves: for tests that reach into it."""
    monkeypatch.setenv("VOLT_NATIVE", "python")
    native._chosen.cache_clear()
    yield
    native._chosen.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> CasStore:
    """An empty store at ``cas``."""
    return CasStore(tmp_path / "cas")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """An empty directory in memory: for tests that make many a small store, and have it synced each time."""
    shared = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="volt-", dir=shared if os.access(shared, os.W_OK) else None))
    yield path
    fs.remove_tree(path)


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that is hard to keep; shared, so never write to it."""
    path = tmp_path_factory.mktemp("awkward") / "tree"
    awkward_tree(path)
    return path


@pytest.fixture
def held() -> Callable[[Path], dict[str, int]]:
    """Return what a store holds: the files of everything that counts, with their sizes."""

    def look(path: Path) -> dict[str, int]:
        return {
            os.path.relpath(os.path.join(folder, name), path): os.lstat(os.path.join(folder, name)).st_size
            for top in ("objects", "trees", "variants", "refs", "links", "tmp")
            for folder, _, names in os.walk(path / top)
            for name in names
        }

    return look


@pytest.fixture
def what_writes() -> Callable[..., list[Callable[[], object]]]:
    """Return one call of each kind that writes to a store; `out` is where there is to be no checkout."""

    def acts(store: CasStore, source: Path, digest: str, out: Path) -> list[Callable[[], object]]:
        return [
            lambda: store.put_directory(source),
            lambda: store.put_tar(io.BytesIO(bytes(10240))),
            lambda: store.set_ref(Ref(name="y", digest=digest)),
            lambda: store.delete_ref("x"),
            lambda: store.linked_tree(digest),
            lambda: store.checkout(digest, out, mode=CheckoutMode.LINK),
            lambda: store.gc(grace=0),
        ]

    return acts


@pytest.fixture
def half_used() -> Callable[[Path], CasStore]:
    """Make an empty store where half of the folders are there, as in one that has had content."""

    def make(path: Path) -> CasStore:
        store = CasStore(path)
        store._layout.prepare()
        for kind, first in itertools.product(("objects", "trees"), range(0, 256, 2)):
            (path / kind / f"{first:02x}").mkdir(0o700)
        return store

    return make


@pytest.fixture
def left_over() -> Callable[[CasStore], list[str]]:
    """Return what is in a store that no ref reaches, or that nobody can name; for a store that gc has just cleaned."""

    def look(store: CasStore) -> list[str]:
        top = store.path
        wanted = {entry.digest for ref in store.refs() for entry in store.entries(ref.digest) if entry.size}
        objects = {f"sha256:{p.parent.name}{p.name}" for p in (top / "objects").rglob("*") if p.is_file()}
        found = [path.name for path in top.iterdir() if path.name not in _KNOWN]
        found += [str(path) for path in (top / "tmp").rglob("*")]
        found += [str(path) for path in (top / "cache").iterdir() if path.suffix != ".stat"]
        found += [str(path) for path in (top / "refs").rglob("*") if path.is_file() and path.suffix != ".json"]
        return [*found, *(objects - wanted), *store.gc(dry_run=True, grace=0).removed]

    return look


@pytest.fixture
def call(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[str, str]]:
    """Run a command of volt in this process, on the store of the fixture ``shop``; returns stdout and stderr."""

    def run_it(*words: object, ok: int = 0) -> tuple[str, str]:
        capfdbinary.readouterr()
        status = run_app(["--root", str(tmp_path / "root"), "cas", *map(str, words)])
        out, err = (part.decode() for part in capfdbinary.readouterr())
        assert status == ok, err
        assert "Traceback" not in err
        return out, err

    return run_it


@pytest.fixture
def shop(tmp_path: Path) -> CasStore:
    """The store of the instance that ``call`` works on."""
    return CasStore(tmp_path / "root" / "lib" / "cas")


@pytest.fixture
def grow(shop: CasStore, tmp_path: Path) -> Callable[..., str]:
    """Put a tree with one file, ``sub/file``, under a name; returns the digest of the tree."""

    def put(content: str, name: str = "", **more: str) -> str:
        top = tmp_path / "grown"
        (top / "sub").mkdir(parents=True, exist_ok=True)
        (top / "sub/file").write_text(content)
        for path in (top / "sub/file", top / "sub", top):
            os.utime(path, ns=(10**18, 10**18))
        ref = Ref(name=name, digest="", **more) if name else None  # type: ignore[arg-type]
        return shop.put_directory(top, ref=ref).digest

    return put
