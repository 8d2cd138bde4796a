"""Images: names, imports, tags, deletion and what holds it up."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import threading

import msgspec
import pytest
import zstandard

from volt_core.contracts import FetchedImage, ImageRequest, ImageSource, Probe, Ref
from volt_core.errors import (
    AlreadyExists,
    ArchiveInvalid,
    BackendError,
    ConflictError,
    ImageNotFound,
    InvalidName,
    NotFoundError,
    UsageError,
)
from volt_core.images import records
from volt_core.images.manager import Images, _name_from
from volt_core.models.image import ImageConfig
from volt_core.testing.fakes import MemoryStore

CODECS = {
    "app.tar": bytes,
    "app.tar.gz": gzip.compress,
    "app.tgz": gzip.compress,
    "app.tar.xz": lzma.compress,
    "app.tar.zst": zstandard.ZstdCompressor().compress,
    "app.tar.bz2": bz2.compress,
    "app": gzip.compress,
    "app.tar.lies.xz.gz": bz2.compress,
}


class FakeSource(ImageSource):
    NAME, SCHEMES = "fake", ("fake",)
    calls = 0

    def probe(self):
        return Probe.yes()

    def fetch(self, request, ref, store, progress):
        type(self).calls += 1
        if request.reference == "down":
            raise BackendError("No network")
        result = store.put_tar(io.BytesIO(tar(str(self.calls))))
        config = ImageConfig(cmd=("fetched",))
        store.set_ref(records.complete(ref, result, config, "from fake"))
        return FetchedImage(result=result, config=config, source="from fake")


def tar(text="hello"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("etc/motd")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def store(tmp_path):
    return MemoryStore(tmp_path / "store")


@pytest.fixture
def images(store, make_plugins, monkeypatch):
    monkeypatch.setattr(FakeSource, "calls", 0)
    return Images(lambda: store, make_plugins(sources=[FakeSource]))


@pytest.fixture
def app(images, tmp_path):
    (tmp_path / "app.tar").write_bytes(tar())
    return images.import_(str(tmp_path / "app.tar"))[0]


def names(images):
    return [image.name for image in images.all()]


@pytest.mark.parametrize(("name", "codec"), CODECS.items(), ids=CODECS)
def test_import_of_a_tar_in_any_compression(images, store, tmp_path, name, codec):
    (tmp_path / name).write_bytes(codec(tar()))
    image, result = images.import_(str(tmp_path / name))
    assert image.name.startswith("app")
    assert image.name.endswith(":latest")
    assert (image.digest, image.files, image.source) == (result.digest, 1, f"imported from {tmp_path / name}")
    assert image.config.cmd == ("/bin/sh",)
    assert store.read_file(image.digest, b"etc/motd") == b"hello"


def test_equal_trees_have_one_digest_whatever_they_came_in(images, tmp_path):
    digests = set()
    for name, codec in CODECS.items():
        (tmp_path / name).write_bytes(codec(tar()))
        digests.add(images.import_(str(tmp_path / name), "one")[0].digest)
    assert len(digests) == 1
    assert names(images) == ["one:latest"]


def test_import_of_a_directory(images, store, tmp_path):
    (tmp_path / "My Root").mkdir()
    (tmp_path / "My Root" / "file").write_text("x")
    image, _ = images.import_(str(tmp_path / "My Root"))
    assert image.name == "my-root:latest"
    assert store.read_file(image.digest, b"file") == b"x"


@pytest.mark.parametrize("content", ["a directory", "a tar"])
def test_a_tree_without_a_file_is_noted(images, tmp_path, content):
    path = tmp_path / "none"
    if content == "a directory":
        (path / "etc").mkdir(parents=True)
    else:
        path.write_bytes(bytes(10240))
    assert images.import_(str(path))[1].notes == ("it holds no file: nothing can run from it",)


def test_import_from_stdin(images):
    image, _ = images.import_("-", "piped:1.0", stdin=io.BytesIO(gzip.compress(tar())))
    assert image.name == "piped:1.0"
    with pytest.raises(UsageError, match="An image from stdin needs a name"):
        images.import_("-", stdin=io.BytesIO(tar()))


def test_import_from_a_named_pipe(images, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(tar(),))
    thread.start()
    assert images.import_(str(path))[0].name == "pipe:latest"
    thread.join()


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/nowhere/app.tar", NotFoundError, "Cannot read '/nowhere/app.tar': No such file"),
        ("/dev/null", NotFoundError, "'/dev/null' is neither a file nor a directory"),
        ("", UsageError, "An empty path names nothing"),
    ],
)
def test_import_of_what_is_no_archive(images, path, error, message):
    with pytest.raises(error, match=message):
        images.import_(path)


@pytest.mark.parametrize("data", [b"not a tar" * 100, gzip.compress(tar())[:-9], gzip.compress(tar()[:700])])
def test_a_damaged_archive_moves_no_ref(images, store, tmp_path, data):
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ArchiveInvalid):
        images.import_(str(tmp_path / "bad"))
    assert names(images) == []
    assert list(store.refs()) == []


def test_a_path_of_any_bytes(images, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tar")
    with open(path, "wb") as file:
        file.write(tar())
    image, _ = images.import_(path)
    assert image.name == "image:latest"
    assert image.source.endswith("/\N{REPLACEMENT CHARACTER}.tar")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tmp/App.tar.xz", "app"),
        ("rootfs.TGZ", "rootfs"),
        ("a/b/c/", "c"),
        ("debian-12.5.tar", "debian-12.5"),
        ("my app (1).tar", "my-app-1"),
        ("_x_.tar", "x"),
        (".tar", "image"),
        ("ä.tar", "image"),
        ("/", "image"),
    ],
)
def test_the_name_from_the_path(path, name):
    assert _name_from(path) == name


def test_get_by_name_tag_and_digest(images, app):
    assert images.get("app") == images.get("app:latest") == images.get(f"app@{app.digest}") == app
    with pytest.raises(ImageNotFound, match=r"No image is named 'app:2'\. \(There are: app:latest\.\)"):
        images.get("app:2")
    with pytest.raises(ImageNotFound):
        images.get(f"other@{app.digest}")
    with pytest.raises(InvalidName):
        images.get("App")


def test_a_hint_that_names_some_images_says_that_there_are_more(images, app):
    for number in range(5):
        images.tag("app", f"copy:{number}")
    hint = r"There are: app:latest, copy:0, copy:1, copy:2, copy:3, …\."
    with pytest.raises(ImageNotFound, match=hint):
        images.get("none")


def test_without_images_the_hint_says_how_to_get_one(images):
    with pytest.raises(ImageNotFound, match="Fetch one: volt image pull debian:bookworm"):
        images.get("app")


def test_tags(images, app):
    other = images.tag("app", "team/app:v1")
    assert other.digest == app.digest
    assert names(images) == ["app:latest", "team/app:v1"]
    with pytest.raises(UsageError, match="names an image by its content"):
        images.tag("app", f"x@{app.digest}")
    with pytest.raises(InvalidName):
        images.tag("app", "../x")


def test_the_hint_for_a_new_name_offers_no_digest(images, app):
    with pytest.raises(InvalidName, match="Invalid image name 'X'") as caught:
        images.tag("app", "X")
    assert "DIGEST" not in caught.value.hint


def test_a_tag_keeps_what_a_source_added(images, store, app):
    ref = store.find_ref("images/app:latest")
    store.set_ref(msgspec.structs.replace(ref, meta={**ref.meta, "snapshot": "20260101"}))
    images.tag("app", "other")
    assert store.find_ref("images/other:latest").meta["snapshot"] == "20260101"


def test_delete(images, app):
    images.delete("app")
    assert names(images) == []
    with pytest.raises(ImageNotFound):
        images.delete("app")


def test_an_image_in_use_is_kept_unless_forced(images, store, app):
    store.set_ref(Ref(name="use/container/web", digest=app.digest, kind="use"))
    with pytest.raises(ConflictError, match="Cannot delete image 'app:latest': used by container/web"):
        images.delete("app")
    images.tag("app", "second")
    images.delete("app")
    with pytest.raises(ConflictError):
        images.delete("second")
    images.delete("second", force=True)
    assert names(images) == []
    store.gc(grace=0)
    assert store.read_file(app.digest, b"etc/motd") == b"hello"


def test_export_gives_the_tree_back(images, store, app):
    out = io.BytesIO()
    images.export("app", out)
    again, _ = images.import_("-", "again", stdin=io.BytesIO(out.getvalue()))
    assert again.digest == app.digest


class TestExportToAFile:
    def test_the_file_is_the_tar_and_has_the_usual_mode(self, images, app, tmp_path):
        out = io.BytesIO()
        images.export("app", out)
        images.export_file("app", tmp_path / "out.tar")
        assert (tmp_path / "out.tar").read_bytes() == out.getvalue()
        assert (tmp_path / "out.tar").stat().st_mode & 0o777 == 0o666 & ~self.umask()

    def umask(self):
        mask = os.umask(0)
        os.umask(mask)
        return mask

    @pytest.mark.parametrize("name", ["app", "none"])
    def test_what_lies_beside_it_stays(self, images, app, tmp_path, name):
        """Not even a file that looks like a half export, nor what a symlink of such a name points at."""
        (tmp_path / "precious").write_text("mine")
        (tmp_path / "out.tar.part").symlink_to(tmp_path / "precious")
        with contextlib.suppress(ImageNotFound):
            images.export_file(name, tmp_path / "out.tar")
        assert (tmp_path / "precious").read_text() == "mine"
        assert (tmp_path / "out.tar.part").is_symlink()
        assert (tmp_path / "out.tar").exists() == (name == "app")

    @pytest.mark.parametrize("links", [True, False], ids=["hard-links", "fat"])
    def test_who_takes_the_name_meanwhile_keeps_it(self, images, store, app, tmp_path, monkeypatch, links):
        def refuse(*arguments, **options):
            raise PermissionError(1, "Operation not permitted")

        def slow(digest, stream, *, progress):
            (tmp_path / "out/out.tar").write_text("the other's")

        if not links:
            monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "out").mkdir()
        monkeypatch.setattr(store, "export_tar", slow)
        with pytest.raises(AlreadyExists, match="it exists"):
            images.export_file("app", tmp_path / "out/out.tar")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.tar"]
        assert (tmp_path / "out/out.tar").read_text() == "the other's"
        monkeypatch.undo()

    def test_without_hard_links(self, images, app, tmp_path, monkeypatch):
        def refuse(*arguments, **options):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "out").mkdir()
        images.export_file("app", tmp_path / "out/out.tar")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.tar"]

    @pytest.mark.parametrize("folder", ["missing", "app.tar"])
    def test_into_no_directory(self, images, app, tmp_path, folder):
        with pytest.raises(NotFoundError, match=rf"there is no directory '{tmp_path}/{folder}'"):
            images.export_file("app", tmp_path / folder / "out")

    def test_a_dangling_symlink_is_a_taken_name(self, images, app, tmp_path):
        (tmp_path / "out.tar").symlink_to("nowhere")
        with pytest.raises(AlreadyExists):
            images.export_file("app", tmp_path / "out.tar")

    def test_a_failure_leaves_nothing(self, images, store, app, tmp_path, monkeypatch):
        def fail(digest, stream, *, progress):
            stream.write(b"half")
            raise BackendError("No")

        (tmp_path / "out").mkdir()
        monkeypatch.setattr(store, "export_tar", fail)
        with pytest.raises(BackendError):
            images.export_file("app", tmp_path / "out/out.tar")
        assert list((tmp_path / "out").iterdir()) == []


class TestPull:
    def request(self, reference="x"):
        return ImageRequest(scheme="fake", reference=reference)

    def test_what_is_there_is_left_as_it_is(self, images):
        image, fetched = images.pull("fake:x", self.request())
        assert (image.name, image.config.cmd, image.source) == ("fake:x", ("fetched",), "from fake")
        assert fetched is not None
        assert images.pull("fake:x", self.request()) == (image, None)

    def test_refresh_fetches_it_anew(self, images):
        first, _ = images.pull("fake:x", self.request())
        second, fetched = images.pull("fake:x", self.request(), refresh=True)
        assert fetched is not None
        assert second.digest != first.digest
        assert images.get("fake:x") == second

    def test_a_failure_keeps_the_old_one(self, images):
        first, _ = images.pull("mine", self.request())
        with pytest.raises(BackendError):
            images.pull("mine", self.request("down"), refresh=True)
        assert images.get("mine") == first

    def test_bad_names_and_schemes(self, images):
        with pytest.raises(InvalidName):
            images.pull("Mine", self.request())
        with pytest.raises(UsageError, match=r"No image source for 'oci:' is installed\. \(Known sources: fake\.\)"):
            images.pull("x", ImageRequest(scheme="oci", reference="x"))
        assert FakeSource.calls == 0


def test_a_ref_set_by_hand_is_an_image_without_configuration(images, store, tmp_path):
    digest = store.put_tar(io.BytesIO(tar())).digest
    store.set_ref(Ref(name="images/byhand:1", digest=digest))
    image = images.get("byhand:1")
    assert (image.digest, image.config, image.size) == (digest, ImageConfig(), 0)


def test_a_ref_that_no_image_can_have_as_its_name_does_no_harm(images, store, app):
    store.set_ref(Ref(name="images/NotAName", digest=app.digest))
    assert len(images.all()) == 2
    assert images.get(f"app@{app.digest}") == app
