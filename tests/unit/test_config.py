"""Configuration: which layer wins, where a value comes from, and files that people edit by hand."""

from __future__ import annotations

import threading

import pytest

from volt_core import config
from volt_core.config import Config, change
from volt_core.errors import InvalidConfig
from volt_core.paths import VoltPaths


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user's instance whose system has a file of its own."""
    system = VoltPaths(etc=tmp_path / "etc", lib=tmp_path / "l", run=tmp_path / "r", system=True)
    system.etc.mkdir()
    monkeypatch.setattr(VoltPaths, "for_system", classmethod(lambda cls: system))
    paths = VoltPaths(etc=tmp_path / "home", lib=tmp_path / "hl", run=tmp_path / "hr")
    paths.etc.mkdir()
    return paths


def write(paths, text):
    paths.etc.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(text)


def test_without_anything_the_defaults_hold(paths):
    setting = Config(paths, {}).setting("stop_timeout")
    assert (setting.value, setting.origin) == (10.0, "default")


def test_each_layer_wins_over_the_one_before(user):
    system = VoltPaths.for_system()
    flags, environ = {"store": "flagged"}, {"VOLT_STORE": "environ"}

    def store(environ=None, flags=None):
        setting = Config(user, environ or {}, flags).setting("store")
        return setting.value, setting.origin

    assert store() == ("cas", "default")
    write(system, "store: system\nbackend: b\n")
    assert store() == ("system", str(system.config_file))
    write(user, "store: user\n")
    assert store() == ("user", str(user.config_file))
    assert store(environ) == ("environ", "environment variable VOLT_STORE")
    assert store(environ, flags) == ("flagged", "flag")
    assert store(environ, {"store": None}) == ("environ", "environment variable VOLT_STORE")
    assert Config(user, environ, flags).setting("backend").origin == str(system.config_file)


def test_the_system_and_an_instance_of_its_own_have_one_file(user, paths):
    system = VoltPaths.for_system()
    write(system, "store: system\n")
    write(user, "store: user\n")
    assert Config(system, {}).setting("store").value == "system"
    assert Config(paths, {}).setting("store").value == "cas"


def test_the_environment_is_converted_and_names_the_variable(paths):
    assert Config(paths, {"VOLT_STOP_TIMEOUT": "2.5"}).values.stop_timeout == 2.5
    with pytest.raises(InvalidConfig, match="'stop_timeout' in environment variable VOLT_STOP_TIMEOUT"):
        Config(paths, {"VOLT_STOP_TIMEOUT": "soon"})


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e9"])
def test_a_time_has_an_end(paths, value):
    with pytest.raises(InvalidConfig, match="'stop_timeout' in environment variable VOLT_STOP_TIMEOUT"):
        Config(paths, {"VOLT_STOP_TIMEOUT": value})


def test_variables_that_are_no_settings_are_left_alone(paths):
    environ = {"VOLT_ROOT": "/x", "VOLT_NATIVE": "c", "VOLT_DISABLE_PLUGINS": "a", "VOLT_SOMETHING": "1", "VOLT_": ""}
    assert all(setting.origin == "default" for setting in Config(paths, environ).settings())


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("stor: cas\n", "Unknown setting 'stor' in ", "Did you mean 'store'?"),
        ("xyz: 1\n", "Unknown setting 'xyz' in ", "Known settings: backend, gc_grace, mirror"),
        ("stop_timeout: soon\n", "Bad value for 'stop_timeout' in ", "Given was 'soon'."),
        ("stop_timeout: -1\n", "Bad value for 'stop_timeout' in ", "Given was '-1'."),
        ("stop_timeout: .inf\n", "Bad value for 'stop_timeout' in ", "Given was 'inf'."),
        ("gc_grace: 1e300\n", "Bad value for 'gc_grace' in ", "Given was '1e+300'."),
        ("stop_timeout: .nan\n", "Bad value for 'stop_timeout' in ", "Given was 'nan'."),
        ("stop_timeout: [1]\n", "Bad value for 'stop_timeout' in ", "Given was '[1]'."),
        ("backend: 5\n", "Bad value for 'backend' in ", "Given was '5'."),
        ("backend:\n", "Bad value for 'backend' in ", "Given was 'None'."),
        ("mtime: now\n", "Bad value for 'mtime' in ", "Given was 'now'."),
        ("store: [\n", "' is not valid YAML", "Mend the line it names."),
        ("store: a\nstore: b\n", "' is not valid YAML", "Mend the line it names."),
        ("a: !!python/object:os.system x\n", "' is not valid YAML", "Mend the line it names."),
        ("[" * 5000, "' is not valid YAML", "Mend the line it names."),
        ("- store\n", "' must hold settings", "Known settings: "),
        ("1: x\n", "' must hold settings", "Known settings: "),
    ],
)
def test_a_bad_file_is_refused_with_the_next_step(paths, text, message, hint):
    write(paths, text)
    with pytest.raises(InvalidConfig) as caught:
        Config(paths, {})
    assert message in caught.value.brief
    assert str(paths.config_file) in caught.value.brief
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_file_of_other_bytes_is_refused(paths):
    paths.etc.mkdir()
    paths.config_file.write_bytes(b"store: \xff\xfe\n")
    with pytest.raises(InvalidConfig, match="Cannot read"):
        Config(paths, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}\n"])
def test_an_empty_file_has_no_settings(paths, text):
    write(paths, text)
    assert Config(paths, {}).setting("store").origin == "default"


def test_an_unknown_name_on_the_command_line(paths):
    with pytest.raises(InvalidConfig, match=r"Unknown setting 'miror' in the command line\. \(Did you mean 'mirror'\?"):
        Config(paths, {}).setting("miror")  # codespell:ignore miror


COMMENTED = """\
# Ours.

# Where things run
backend: proot # no root here
# Where things are
store: 'cas'

# The end.
"""


def test_setting_keeps_comments_order_and_quotes(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    change(path, "backend", "nspawn")
    assert path.read_text() == COMMENTED.replace("proot", "nspawn")
    change(path, "mirror", "http://mirror.example/debian")
    assert path.read_text() == COMMENTED.replace("proot", "nspawn") + "mirror: http://mirror.example/debian\n"


def test_unsetting_takes_its_own_line_only(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    change(path, "backend", None)
    assert path.read_text() == COMMENTED.replace("backend: proot # no root here\n", "")
    change(path, "store", None)
    assert path.read_text() == "# Ours.\n\n# Where things run\n# Where things are\n\n# The end.\n"
    change(path, "store", None)
    change(path, "store", "cas")
    assert path.read_text().startswith("# Ours.\n\n# Where things run\n")
    assert Config(VoltPaths(etc=tmp_path, lib=tmp_path, run=tmp_path, instance="x"), {}).values.store == "cas"


@pytest.mark.parametrize("value", ["mirror: |\n  a\n  # b\n", "mirror: 'a\n\n  b'\n", "mirror: >-\n  a\n  b\n"])
def test_unsetting_takes_all_lines_of_a_long_value(tmp_path, value):
    path = tmp_path / "config.yaml"
    path.write_text(f"store: cas\n{value}# kept\nbackend: b\n")
    change(path, "mirror", None)
    assert path.read_text() == "store: cas\n# kept\nbackend: b\n"


def test_a_bad_value_leaves_the_file_alone(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    for name, value in (("stop_timeout", "soon"), ("stor", "x")):
        with pytest.raises(InvalidConfig):
            change(path, name, value)
    with pytest.raises(InvalidConfig):
        change(tmp_path / "none" / "config.yaml", "mtime", "x")
    assert path.read_text() == COMMENTED
    assert [found.name for found in tmp_path.iterdir()] == ["config.yaml"]


def test_a_damaged_file_is_not_overwritten(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("store: [\n")
    with pytest.raises(InvalidConfig, match="not valid YAML"):
        change(path, "store", "cas")
    assert path.read_text() == "store: [\n"


def test_a_symlink_stays_one(tmp_path):
    target = tmp_path / "dotfiles"
    target.write_text("store: cas\n")
    path = tmp_path / "config.yaml"
    path.symlink_to(target)
    change(path, "store", "memory")
    assert path.is_symlink()
    assert target.read_text() == "store: memory\n"


def test_changes_at_once_are_all_kept(tmp_path):
    path = tmp_path / "config.yaml"
    values = {"backend": "b", "store": "s", "mirror": "m", "mtime": "clamp", "gc_grace": "1"}
    threads = [threading.Thread(target=change, args=(path, *pair)) for pair in values.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(config._read(path)) == set(values)
    assert [found.name for found in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_change_keeps_the_mode(paths, mode):
    write(paths, "mirror: http://user:password@example.org/\n")
    paths.config_file.chmod(mode)
    change(paths.config_file, "store", "cas")
    change(paths.config_file, "store", None)
    assert paths.config_file.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("store: &a cas\nbackend: *a\n", "store", None),
        ("stop_timeout: soon\n", "store", "cas"),
        ("stop_timeout: soon\nstore: cas\n", "store", None),
    ],
    ids=["anchor", "set-beside-a-bad-value", "unset-beside-a-bad-value"],
)
def test_a_change_whose_result_could_not_be_read_is_refused(paths, text, name, value):
    write(paths, text)
    with pytest.raises(InvalidConfig, match=r"Cannot change '.*config\.yaml': it would not be valid"):
        change(paths.config_file, name, value)
    assert paths.config_file.read_text() == text


@pytest.mark.parametrize("value", ["5", None])
def test_a_bad_value_can_be_changed_and_taken_out(paths, value):
    write(paths, "stop_timeout: soon\nstore: cas\n")
    change(paths.config_file, "stop_timeout", value)
    assert Config(paths, {}).values.stop_timeout == float(value or 10)
