"""Bad input: a clear error with the next step, the exit code by the table, and nothing half made."""

from __future__ import annotations

import pytest

from volt_core import run
from volt_core.errors import CommandFailed
from volt_core.testing.host import loop_mounted

NAMES = ["a\nb", "a/b", "../b", "a" * 200, "A", "1a", "a-", "a_b", "a b", "ä"]


@pytest.mark.needs_proot
class TestContainers:
    def test_an_unknown_image(self, box):
        assert box("create", "nothing:1", "true") == (
            3,
            "",
            "Error: No image is named 'nothing:1'. (There are: box:latest.)\n",
        )

    def test_an_unknown_image_where_there_is_none(self, volt):
        said = volt("create", "nothing", "true")
        assert said.err == "Error: No image is named 'nothing'. (Fetch one: volt image pull debian:bookworm.)\n"

    def test_a_name_that_is_taken(self, box):
        box.ok("create", "--name", "web", "box", "true")
        assert box("create", "--name", "web", "box", "true") == (
            4,
            "",
            "Error: Cannot create container 'web': a container of that name exists. "
            "(Choose another name, or delete it: volt delete web.)\n",
        )
        assert box.ok("ps", "-aq") == "web\n"

    @pytest.mark.parametrize("name", NAMES, ids=repr)
    @pytest.mark.parametrize("verb", ["create", "start", "delete", "inspect", "logs"])
    def test_a_bad_name(self, box, verb, name):
        words = [verb, "--name", name, "box", "true"] if verb == "create" else [verb, name]
        said = box(*words)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("Error: Invalid name '")
        assert said.err.endswith(
            "(Use 1 to 63 lower-case letters, digits and dashes, starting with a letter, not ending in a dash.)\n"
        )
        assert said.err.count("\n") == 1
        assert len(said.err) < 250

    def test_starting_what_runs(self, box):
        box.ok("run", "-d", "--name", "web", "box", "sleep", "1000")
        assert box("start", "web") == (
            4,
            "",
            "Error: Cannot start container 'web': it is already running. (Use 'volt restart web' to start it anew.)\n",
        )

    def test_deleting_what_runs(self, box):
        box.ok("run", "-d", "--name", "web", "box", "sleep", "1000")
        assert box("delete", "web") == (
            4,
            "",
            "Error: Cannot delete container 'web': it is running. (Stop it first: volt stop web; or use --force.)\n",
        )
        assert box("delete", "--force", "web") == (0, "web\n", "")

    def test_a_mount_whose_source_is_missing(self, box):
        said = box("create", "--name", "web", "-v", "/nowhere:/x", "box", "true")
        assert said.status in (2, 3)
        assert "'/nowhere'" in said.err
        assert box.ok("ps", "-aq") == ""


class TestImages:
    @pytest.mark.parametrize("name", ["App", "a:b:c", "../a", "a@sha256:1", "a" * 300, "a\nb", ":1", ""], ids=repr)
    def test_a_bad_image_name(self, volt, tmp_path, name):
        (tmp_path / "tree").mkdir()
        said = volt("image", "inspect", name)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("Error: Invalid image name '")
        if name:
            assert volt("image", "import", str(tmp_path / "tree"), name).status == 2

    @pytest.mark.parametrize(
        ("words", "status", "message"),
        [
            (("pull", "debian"), 2, "Invalid source 'debian'. (Write SCHEME:REFERENCE, for example debian:bookworm.)"),
            (("pull", "debian:"), 2, "Invalid source 'debian:'"),
            (("pull", "oci:x"), 2, "No image source for 'oci:' is installed. (Known sources: debian, ubuntu.)"),
            (("pull", "debian:--help"), 2, "Invalid"),
            (("import", "/nowhere.tar"), 3, "Cannot read '/nowhere.tar': No such file or directory. (Check the path.)"),
            (("import", "/dev/null"), 3, "'/dev/null' is neither a file nor a directory"),
            (("import", "-"), 2, "An image from stdin needs a name. (volt image import - NAME[:TAG].)"),
            (("tag", "none", "other"), 3, "No image is named 'none'"),
            (("delete", "none"), 3, "No image is named 'none'"),
            (("export", "none", "/tmp/never"), 3, "No image is named 'none'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_cannot_be_done(self, volt, words, status, message):
        said = volt("image", *words)
        assert (said.status, said.out) == (status, "")
        assert said.err.startswith(f"Error: {message}")
        assert said.err.count("\n") == 1

    def test_archives_that_are_none(self, volt, tmp_path):
        for data in (b"", b"text", b"\x1f\x8b", b"\x28\xb5\x2f\xfd" + b"x" * 50, bytes(100)):
            (tmp_path / "bad.tar").write_bytes(data)
            said = volt("image", "import", str(tmp_path / "bad.tar"))
            assert said.status == 6, data
            assert said.err.startswith("Error: ")
            assert "Traceback" not in said.err
        assert volt.ok("image", "list", "-q") == ""


@pytest.mark.needs_root
@pytest.mark.needs_proot
class TestFullDisk:
    @pytest.fixture
    def small(self, volt, busybox_root):
        """An instance on a file system with room for one image and little more."""
        volt.root.mkdir()
        run.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(volt.root)], timeout=10)
        try:
            volt.ok("image", "import", str(busybox_root), "box")
            yield volt
        finally:
            run.run(["umount", "-l", str(volt.root)], timeout=10)

    def fill(self, volt):
        with open(volt.root / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def test_create(self, small):
        self.fill(small)
        said = small("create", "--name", "web", "box", "true")
        assert said.status in (1, 6)
        assert said.err.startswith("Error: ")
        assert "space" in said.err or "room" in said.err
        assert "Traceback" not in said.err
        assert small.ok("ps", "-aq") == ""
        (small.root / "filler").unlink()
        assert small.ok("create", "--name", "web", "box", "true") == "web\n"
        assert small.ok("delete", "web") == "web\n"

    def test_run_ends_with_125(self, small):
        self.fill(small)
        said = small("run", "--rm", "box", "true")
        assert said.status == 125
        assert small.ok("ps", "-aq") == ""

    def test_delete_works(self, small):
        small.ok("create", "--name", "web", "box", "true")
        self.fill(small)
        assert small("delete", "web") == (0, "web\n", "")
        assert small.ok("ps", "-aq") == ""

    def test_import(self, small, tmp_path):
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/big").write_bytes(b"x" * (6 << 20))
        said = small("image", "import", str(tmp_path / "tree"), "big")
        assert said.status == 6
        assert "(" in said.err
        assert small.ok("image", "list", "-q") == "box:latest\n"
        small.ok("cas", "gc", "--grace", "0")
        assert small("cas", "verify").status == 0

    def test_config(self, small):
        self.fill(small)
        said = small("config", "set", "store", "cas")
        assert said.status == 1
        assert said.err.startswith("Error: No space left on device")


@pytest.mark.needs_loop_mount
def test_a_file_system_without_inodes(volt, tmp_path):
    with loop_mounted("ext4", 16, "-N", "64") as mounted:
        (tmp_path / "tree").mkdir()
        for number in range(100):
            (tmp_path / f"tree/{number}").write_text(str(number))
        said = volt("--root", str(mounted / "root"), "image", "import", str(tmp_path / "tree"), "many")
        assert said.status == 6
        assert "Traceback" not in said.err


@pytest.mark.needs_root
def test_somebody_elses_instance(volt, as_user, user_directory):
    """A user who may not write there is told so, and what to do."""
    root = user_directory / "root"
    root.mkdir(mode=0o755)
    with pytest.raises(CommandFailed) as caught:
        as_user(volt.argv("--root", str(root), "start", "web"))
    assert caught.value.status == 1
    said = f"Error: Permission denied: '{root}/lib'. (Run as the owner of that path, or with sudo.)"
    assert said in caught.value.stderr.splitlines()


@pytest.mark.parametrize("words", [["--rm=1", "bb"], ["--name"], ["--bogus", "bb"], ["--env-file", "", "bb"]], ids=str)
def test_wrong_options_of_run_are_all_its_own(volt, words):
    said = volt("run", *words)
    assert (said.status, said.out) == (125, "")
    assert said.err.endswith("(See 'volt run --help'.)\n")


def test_a_setting_that_names_what_no_plugin_provides(volt):
    for key in ("backend", "store"):
        said = volt("config", "set", key, "nope")
        assert (said.status, said.out) == (0, "")
        assert said.err.startswith("Warning: ")
        assert f"{key} 'nope'" in said.err
    volt.ok("config", "unset", "store")
    assert volt("config", "set", "backend", "proot") == (0, "", "")
