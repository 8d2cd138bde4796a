"""Plugins as the user meets them: real metadata on the path of a real process, sound and broken."""

from __future__ import annotations

import json

BROKEN = "import module_that_is_nowhere"
RUNNER = """
    from volt_core.hookspecs import hookimpl
    from volt_core.models.extension import CommandGroup
    from volt_core.testing.fakes import DummyContainer, MemoryStore

    with open("{marker}", "a") as file:
        file.write("{name} ")

    class Runner(DummyContainer):
        NAME = "{name}"

    @hookimpl
    def volt_register_backends():
        return [Runner]

    @hookimpl
    def volt_register_commands():
        return [CommandGroup(name="{name}", help="Do {name}.", target="{target}")]
"""
COMMANDS = """
    from volt_core.cli.lazy import new_app
    app = new_app()

    @app.callback()
    def group(): "Do things."

    @app.command()
    def greet(): print("hello")
"""


def test_a_broken_plugin_is_shown_and_costs_only_itself(site):
    site.install("hurt", BROKEN)
    listed = site.volt("plugin", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    plugins = {item["name"]: item for item in json.loads(listed.stdout)["items"]}
    assert plugins["hurt"]["state"] == "broken"
    assert plugins["hurt"]["distribution"] == "acme-hurt"
    assert plugins["core"]["state"] == "ok"
    (row,) = [line for line in site.volt("plugin", "list").stdout.splitlines() if line.startswith("hurt")]
    assert "broken" in row
    assert "ModuleNotFoundError" in row
    inspected = site.volt("plugin", "inspect", "hurt")
    assert inspected.returncode == 9
    assert 'acme_hurt.py", line 1, in <module>' in inspected.stdout
    assert inspected.stderr == (
        "Error: Plugin 'hurt' of acme-hurt 1.0 is broken: ModuleNotFoundError: No module named "
        "'module_that_is_nowhere'. "
        "(See 'volt plugin inspect hurt', then update or remove acme-hurt.)\n"
    )
    for words in (("ps",), ("--help",), ("image", "list")):
        assert site.volt(*words).returncode == 0
    assert "MISSING  plugins: hurt of acme-hurt 1.0: ModuleNotFoundError" in site.volt("doctor").stdout
    done = site.volt("create", "--backend", "hurt", "image")
    assert done.returncode in (3, 9)


def test_two_plugins_with_one_command(site):
    """That name is refused, whoever comes last; everything else goes on, help included."""
    for name in ("one", "two"):
        source = RUNNER.format(name="acme", marker=site.root.with_name("imported"), target=f"acme_{name}_commands:app")
        site.install(name, source)
    done = site.volt("acme", "greet")
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr == (
        "Error: The command 'acme' is registered by 'one' of acme-one 1.0 and 'two' of acme-two 1.0. "
        "(Remove one, or name it in VOLT_DISABLE_PLUGINS.)\n"
    )
    assert site.volt("ps").returncode == 0
    assert "acme" not in site.volt("--help").stdout
    assert "Do acme." in site.volt("--help", env={"VOLT_DISABLE_PLUGINS": "two"}).stdout


def test_an_unknown_plugin(site):
    done = site.volt("plugin", "inspect", "ghost")
    assert done.returncode == 3
    assert done.stderr.startswith("Error: No plugin is named 'ghost'. (There are: ")


def test_a_sound_plugin_with_commands(site):
    marker = site.root.with_name("imported")
    site.install("acme", RUNNER.format(name="acme", marker=marker, target="acme_commands:app"))
    (site.folder / "acme_commands.py").write_text("\n".join(line[4:] for line in COMMANDS.splitlines()))
    inspected = site.volt("plugin", "inspect", "acme")
    assert inspected.returncode == 0, inspected.stderr
    assert "backends:     acme" in inspected.stdout
    assert "attach, exec, freeze" in inspected.stdout
    assert "acme Do acme." in " ".join(site.volt("--help").stdout.split())
    assert site.volt("acme", "greet").stdout == "hello\n"
    assert site.volt("acme").returncode == 2
    assert site.volt("--help", env={"VOLT_DISABLE_PLUGINS": "acme"}).stdout.count("acme") == 0


def test_commands_that_do_not_import_are_a_broken_plugin(site):
    site.install("acme", RUNNER.format(name="acme", marker="/dev/null", target="nowhere:app"))
    done = site.volt("acme", "greet")
    assert done.returncode == 9
    assert done.stderr.startswith("Error: Command 'acme' of a plugin cannot be loaded: ModuleNotFoundError")
    assert "Traceback" in done.stderr


def test_a_plugin_cannot_take_the_place_of_a_command(site):
    site.install("ps", RUNNER.format(name="ps", marker="/dev/null", target="nowhere:app"))
    assert site.volt("ps").stdout.startswith("NAME")


def test_ps_imports_only_the_backends_that_it_shows(site):
    """Both are known from a former command; only one of them has a workload."""
    marker = site.root.with_name("imported")
    for name in ("one", "two"):
        site.install(name, RUNNER.format(name=name, marker=marker, target="nowhere:app"))
    assert site.volt("plugin", "list").returncode == 0
    assert sorted(marker.read_text().split()) == ["one", "two"]
    folder = site.root / "lib/containers/web"
    folder.mkdir(parents=True)
    spec = {"type": "container", "image": "x", "root": "sha256:" + "0" * 64, "command": ["x"]}
    truth = {
        "schema": 1,
        "name": "web",
        "id": "0" * 32,
        "kind": "container",
        "backend": "two",
        "spec": spec,
        "created": 1,
    }
    (folder / "container.json").write_text(json.dumps(truth))
    for words in (("ps", "--all"), ("--help",), ("image", "list"), ("config", "list")):
        marker.write_text("")
        done = site.volt(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert marker.read_text() == ("two " if words[0] == "ps" else ""), words


def test_a_workload_whose_plugin_is_gone(site):
    folder = site.root / "lib/containers/web"
    folder.mkdir(parents=True)
    spec = {"type": "container", "image": "x", "root": "sha256:" + "0" * 64, "command": ["x"]}
    truth = {
        "schema": 1,
        "name": "web",
        "id": "0" * 32,
        "kind": "container",
        "backend": "lxc",
        "spec": spec,
        "created": 1,
    }
    (folder / "container.json").write_text(json.dumps(truth))
    shown = site.volt("ps", "--all")
    assert (shown.returncode, "failed" in shown.stdout) == (0, True)
    assert shown.stderr.startswith("Warning: web: Unknown backend 'lxc'. (Installed backends: ")
    assert site.volt("start", "web").returncode == 5
    for option in ([], ["--force"]):
        done = site.volt("delete", *option, "web")
        assert (done.returncode, done.stdout) == (5, "")
        assert "nobody can tell whether it runs: Unknown backend 'lxc'" in done.stderr
        assert f"if nothing of it runs, remove '{folder}' by hand.)" in done.stderr
    assert (folder / "container.json").exists()


def test_a_listener_that_fails_is_warned_of(site):
    site.install(
        "deaf",
        """
        from volt_core.hookspecs import hookimpl
        @hookimpl
        def volt_register_checks(paths):
            raise ValueError("cannot hear")
        """,
    )
    done = site.volt("doctor")
    assert "MISSING  plugins: deaf of acme-deaf 1.0 failed in a hook: ValueError: cannot hear" in done.stdout
    assert done.stderr == "Warning: Plugin 'deaf' of acme-deaf 1.0: ValueError: cannot hear, going on without it.\n"


def test_a_plugin_for_another_version_costs_only_itself(site):
    site.install("old", "VOLT_API_VERSION = (0, 99)")
    (row,) = [line for line in site.volt("plugin", "list").stdout.splitlines() if line.startswith("old")]
    assert "broken" in row
    inspected = site.volt("plugin", "inspect", "old")
    assert inspected.returncode == 9
    assert inspected.stderr == (
        "Error: Plugin 'old' of acme-old 1.0 is broken: it is written for version 0.99 of the plugin contract, "
        "and this Volt has 0.1. (Update volt-core, or install an older acme-old.)\n"
    )
    assert site.volt("ps").returncode == 0


def test_a_probe_that_hangs_is_a_no(site):
    """No command waits for ever, and the end of its process does not wait for it either."""
    hangs = "\n        @classmethod\n        def probe(cls): __import__('time').sleep(3600)\n"
    named = '        NAME = "{name}"\n'
    source = RUNNER.replace(named, named + hangs).format(name="stuck", marker="/dev/null", target="nowhere:app")
    site.install("stuck", source)
    listed = json.loads(site.volt("plugin", "list", "--json").stdout)["items"]
    (stuck,) = [item for item in listed if item["name"] == "stuck"]
    assert (stuck["state"], stuck["probes"]) == ("ok", {"stuck": "its probe gave no answer within 5 s"})
    done = site.volt("create", "--backend", "stuck", "--name", "web", "image")
    assert done.returncode in (3, 5)
    assert site.volt("ps").returncode == 0


def test_what_is_slow_to_load_is_shown_first(site):
    site.install("slow", "import time; time.sleep(0.3)")
    lines = site.volt("plugin", "list", "--timings").stdout.splitlines()
    assert lines[0].split() == ["PLUGIN", "DISTRIBUTION", "LOAD", "PROBES"]
    name, distribution, version, milliseconds, *_ = lines[1].split()
    assert (name, distribution, version) == ("slow", "acme-slow", "1.0")
    assert float(milliseconds) >= 300


def test_what_a_command_leaves_for_the_end_is_done(site):
    """The process does not wait for its objects to be taken down, but for its threads and what is registered."""
    site.install("late", RUNNER.format(name="late", marker="/dev/null", target="acme_late_app:app"))
    (site.folder / "acme_late_app.py").write_text(
        "import atexit, threading, time\n"
        "from volt_core.cli.lazy import new_app\n"
        "app = new_app()\n"
        "@app.callback()\n"
        "def group(): 'Be late.'\n"
        "@app.command()\n"
        "def end(): atexit.register(print, 'registered', flush=True)\n"
        "@app.command()\n"
        "def thread():\n"
        "    threading.Thread(target=lambda: (time.sleep(0.2), print('thread', flush=True))).start()\n"
    )
    done = site.volt("late", "end")
    assert (done.returncode, done.stdout, done.stderr) == (0, "registered\n", "")
    done = site.volt("late", "thread")
    assert (done.returncode, done.stdout, done.stderr) == (0, "thread\n", "")
