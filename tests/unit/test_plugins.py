"""Loading plugins one by one: whatever one of them does wrong stays with it."""

from __future__ import annotations

import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from volt_core.contracts import Capability, Probe, capabilities_of
from volt_core.errors import BackendUnavailable, PluginBroken, PluginClash, StoreError, UsageError
from volt_core.models.extension import Verdict
from volt_core.plugins import Plugins
from volt_core.plugins.discovery import PluginInfo
from volt_core.plugins.loader import Failure, Loaded
from volt_core.plugins.manager import hook_names

BACKEND = """
    from volt_core.hookspecs import hookimpl
    from volt_core.models.workload import Kind
    from volt_core.testing.fakes import DummyContainer

    class Acme(DummyContainer):
        NAME = "{name}"

    @hookimpl
    def volt_register_backends():
        return [Acme]
"""
WORKING = BACKEND.format(name="works")


def test_threads_that_ask_at_once_load_a_plugin_once(shelf):
    for name in ("one", "two"):
        shelf.add(name, f"    import time\n\n    time.sleep(0.1)\n{BACKEND.format(name=name)}")
    plugins = shelf.plugins()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(plugins.backend, ["one", "two"] * 4))
    assert [backend.NAME for backend in found] == ["one", "two"] * 4
    assert len(set(found)) == 2


BROKEN = {
    "import error": ("import module_that_is_nowhere", "ModuleNotFoundError"),
    "syntax error": ("def (", "SyntaxError"),
    "null bytes": ("x = 1\0", ""),
    "sys.exit at import": ("import sys; sys.exit('no')", "SystemExit: no"),
    "a base exception of its own": ("class E(BaseException): pass\nraise E('odd')", "E: odd"),
    "endless recursion": ("def f(): f()\nf()", "RecursionError"),
    "unknown hook": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backend(): return []",
        "unknown hook",
    ),
    "wrong argument": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backends(host): return []",
        "host",
    ),
    "hook raises": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backends(): raise KeyError('gone')",
        "KeyError: 'gone'",
    ),
    "hook exits": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backends(): raise SystemExit(3)",
        "SystemExit: 3",
    ),
    "hook gives no list": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backends(): return 5",
        "not iterable",
    ),
    "hook gives an object": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_backends(): return [object()]",
        "not a subclass of Backend",
    ),
    "hook gives another class": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_stores(): return [dict]",
        "not a subclass of Store",
    ),
    "abstract class": (
        """
        from volt_core.contracts import Backend, Probe
        from volt_core.hookspecs import hookimpl
        class Half(Backend):
            NAME = "half"
            @classmethod
            def probe(cls): return Probe.yes()
        @hookimpl
        def volt_register_backends(): return [Half]
        """,
        "Half does not define create, delete, kill, logs, start, status, stop, wait, KIND",
    ),
    "class without a name": (
        """
        from volt_core.hookspecs import hookimpl
        from volt_core.testing.fakes import FakeBackend
        class Nameless(FakeBackend):
            def command(self, workload): return [], {}, "/"
        @hookimpl
        def volt_register_backends(): return [Nameless]
        """,
        "Nameless does not define KIND, NAME",
    ),
    "command that is none": (
        "from volt_core.hookspecs import hookimpl\n@hookimpl\ndef volt_register_commands(): return ['x']",
        "not a CommandGroup",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_costs_only_itself(shelf, source, reason):
    shelf.add("a-broken", source)
    shelf.add("works", WORKING)
    plugins = shelf.plugins()
    assert list(plugins.backends()) == ["works"]
    failure = plugins.load("a-broken")
    assert isinstance(failure, Failure)
    assert reason in failure.reason
    assert "Traceback" in failure.traceback
    assert plugins.backend("works").NAME == "works"


def test_ctrl_c_during_an_import_is_no_fault_of_the_plugin(shelf):
    shelf.add("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        shelf.plugins().load_all()


INTERRUPTED = """
    from volt_core.hookspecs import hookimpl

    asked = []

    @hookimpl
    def volt_register_backends():
        asked.append(1)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return []
"""


def test_ctrl_c_in_a_hook_leaves_nothing_registered(shelf):
    shelf.add("slow", INTERRUPTED)
    plugins = shelf.plugins()
    with pytest.raises(KeyboardInterrupt):
        plugins.load("slow")
    assert isinstance(plugins.load("slow"), Loaded)


def test_an_entry_point_without_its_attribute_is_broken(shelf):
    module = shelf.add("works", WORKING)
    shelf.infos = [PluginInfo(name="works", target=f"{module}:nowhere.at", distribution="d", version="1")]
    assert "nowhere" in shelf.plugins().load("works").reason


def test_a_broken_plugin_leaves_no_hook_behind(shelf):
    shelf.add(
        "broken",
        """
        from volt_core.hookspecs import hookimpl
        @hookimpl
        def volt_register_checks(paths): return [1]
        @hookimpl
        def volt_register_stores(): raise ValueError
        """,
    )
    plugins = shelf.plugins()
    plugins.load_all()
    assert plugins.call("volt_register_checks", paths=None) == []


def test_asking_for_what_a_broken_plugin_would_bring_shows_its_fault(shelf):
    shelf.add("acme", "import module_that_is_nowhere", distribution="acme-dist")
    with pytest.raises(PluginBroken, match=r"'acme' of acme-dist 1.0 is broken: ModuleNotFoundError") as caught:
        shelf.plugins().backend("acme")
    assert "module_that_is_nowhere" in caught.value.details
    assert "volt plugin inspect acme" in caught.value.hint


def test_a_plugin_that_has_broken_since_shows_its_fault(shelf, monkeypatch):
    module = shelf.add("acme", BACKEND.format(name="runner"))
    assert shelf.plugins().backend("runner")
    (shelf.folder / f"{module}.py").write_text("raise RuntimeError('since yesterday')")
    monkeypatch.delitem(__import__("sys").modules, module)
    plugins = shelf.plugins()
    with pytest.raises(PluginBroken, match="since yesterday"):
        plugins.backend("runner")
    assert plugins.backends() == {}


def test_a_plugin_that_no_longer_has_a_backend(shelf, monkeypatch):
    module = shelf.add("acme", BACKEND.format(name="runner"))
    assert shelf.plugins().backend("runner")
    (shelf.folder / f"{module}.py").write_text(textwrap.dedent(BACKEND.format(name="renamed")))
    monkeypatch.delitem(__import__("sys").modules, module)
    plugins = shelf.plugins()
    with pytest.raises(BackendUnavailable, match=r"Unknown backend 'runner'\. \(Installed backends: renamed\.\)"):
        plugins.backend("runner")
    assert shelf.plugins().infos()["acme"].provides.backends == ("renamed",)


def test_a_backend_added_to_a_known_plugin_is_found(shelf, monkeypatch):
    module = shelf.add("acme", "")
    shelf.plugins().load_all()
    (shelf.folder / f"{module}.py").write_text(textwrap.dedent(BACKEND.format(name="fresh")))
    monkeypatch.delitem(__import__("sys").modules, module)
    assert shelf.plugins().backend("fresh").NAME == "fresh"


def test_an_unknown_backend_names_the_known_and_the_broken(shelf):
    shelf.add("works", WORKING)
    shelf.add("hurt", "raise ValueError")
    with pytest.raises(BackendUnavailable) as caught:
        shelf.plugins().backend("lxc")
    assert str(caught.value) == "Unknown backend 'lxc'. (Installed backends: works. Broken plugins: hurt.)"


def test_unknown_stores_and_sources_say_what_to_do(shelf):
    plugins = shelf.plugins()
    with pytest.raises(StoreError, match="Install the distribution volt-cas"):
        plugins.store("cas")
    with pytest.raises(UsageError, match="No image source for 'oci:'"):
        plugins.image_source("oci")


def test_two_plugins_with_one_backend_clash(shelf):
    shelf.add("first", WORKING, distribution="acme-one")
    shelf.add("second", WORKING, distribution="acme-two")
    shelf.add("third", BACKEND.format(name="other"))
    plugins = shelf.plugins()
    with pytest.raises(PluginClash) as caught:
        plugins.backend("works")
    message = "The backend 'works' is registered by 'first' of acme-one 1.0 and 'second' of acme-two 1.0"
    assert caught.value.brief == message
    assert list(plugins.backends()) == ["other"]


def test_a_clash_ends_when_one_is_switched_off(shelf):
    shelf.add("first", WORKING)
    second = shelf.add("second", WORKING)
    assert shelf.plugins(VOLT_DISABLE_PLUGINS="first").backend("works").__module__ == second


def test_two_distributions_with_one_plugin_name_both_work(shelf):
    shelf.add("acme", BACKEND.format(name="one"), distribution="dist-a")
    shelf.add("acme", BACKEND.format(name="two"), distribution="dist-b")
    plugins = shelf.plugins()
    assert list(plugins.infos()) == ["acme", "acme@dist-b"]
    assert list(plugins.backends()) == ["one", "two"]
    assert list(shelf.plugins(VOLT_DISABLE_PLUGINS="acme@dist-b").backends()) == ["one"]


def test_the_core_keeps_its_own_plugin(shelf, tmp_path):
    shelf.add("core", "raise ValueError")
    plugins = Plugins(tmp_path / "c", {}, discover=lambda: tuple(shelf.infos))
    assert plugins.schemes() == ("debian", "ubuntu")


def test_switched_off_plugins_are_not_imported(shelf):
    shelf.add("one", "raise AssertionError('imported')")
    shelf.add("two", WORKING)
    plugins = shelf.plugins(VOLT_DISABLE_PLUGINS="one, ghost")
    assert set(plugins.load_all()) == {"two"}
    assert plugins.disabled == {"one", "ghost"}


def test_switching_off_does_not_reach_the_cache(shelf):
    shelf.add("one", BACKEND.format(name="one"))
    assert list(shelf.plugins(VOLT_DISABLE_PLUGINS="one").backends()) == []
    assert list(shelf.plugins().backends()) == ["one"]


def test_hook_calls_are_traced(shelf, capsys):
    shelf.add("works", WORKING)
    shelf.plugins(VOLT_TRACE_HOOKS="1").load_all()
    traced = capsys.readouterr().err
    assert "volt_register_backends" in traced
    shelf.plugins().load_all()
    assert capsys.readouterr().err == ""


def test_only_what_is_asked_for_is_imported(shelf):
    marker = shelf.cache.with_name("imported")
    mark = f"with open({str(marker)!r}, 'a') as file: file.write('x')\n"
    shelf.add("loud", mark + textwrap.dedent(BACKEND.format(name="loud")))
    shelf.add("quiet", WORKING)
    shelf.plugins().load_all()
    assert marker.read_text() == "x"
    plugins = shelf.plugins()
    plugins.backend("works")
    plugins.call("volt_after_event", event="start", workload=None)
    assert plugins.command_groups() == ()
    assert set(plugins._loaded) == {"quiet"}


def test_answers_of_a_hook_come_in_the_order_of_names(shelf):
    for name in ("b", "c", "a"):
        shelf.add(
            name,
            f"""
            from volt_core.hookspecs import hookimpl
            @hookimpl
            def volt_register_checks(paths): return ["{name}"]
            """,
        )
    assert shelf.plugins().call("volt_register_checks", paths=None) == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [("raise OSError('disk')", "OSError: disk"), ("import sys; sys.exit('no')", "SystemExit: no")],
)
def test_a_hook_that_raises_does_not_cost_the_others_theirs(shelf, body, reason):
    for name, code in (("bad", body), ("good", "return [1]")):
        shelf.add(
            name,
            f"""
            from volt_core.hookspecs import hookimpl
            @hookimpl
            def volt_register_checks(): {code}
            """,
        )
    plugins = shelf.plugins()
    assert plugins.call("volt_register_checks", paths=None) == [[1]]
    (fault,) = plugins.faults
    assert (fault.info.name, fault.reason) == ("bad", reason)


def test_an_interrupt_in_a_hook_interrupts(shelf):
    shelf.add(
        "slow",
        """
        from volt_core.hookspecs import hookimpl
        @hookimpl
        def volt_register_checks(): raise KeyboardInterrupt
        """,
    )
    with pytest.raises(KeyboardInterrupt):
        shelf.plugins().call("volt_register_checks", paths=None)


def test_everything_a_plugin_provides_is_known_afterwards(shelf):
    shelf.add(
        "rich",
        """
        from volt_core.contracts import ComposeSection, ImageSource
        from volt_core.hookspecs import hookimpl
        from volt_core.models.extension import CommandGroup
        from volt_core.testing.fakes import DummyVm, MemoryStore
        class Source(ImageSource):
            NAME, SCHEMES = "s", ("sch", "eme")
            def probe(self): raise NotImplementedError
            def fetch(self, request, ref, store, progress): raise NotImplementedError
        class Section(ComposeSection):
            KEY, MODEL = "boxes", int
            def plan(self, project, entries): return []
        @hookimpl
        def volt_register_backends(): return [DummyVm]
        @hookimpl
        def volt_register_stores(): return [MemoryStore]
        @hookimpl
        def volt_register_image_sources(): return [Source]
        @hookimpl
        def volt_register_compose_sections(): return [Section]
        @hookimpl
        def volt_register_commands(): return [CommandGroup(name="rich", help="R.", target="nowhere:app")]
        """,
    )
    plugins = shelf.plugins()
    assert isinstance(plugins.load("rich"), Loaded)
    assert capabilities_of(plugins.backend("dummy-vm")) == {Capability.FREEZE}
    assert plugins.store("memory").NAME == "memory"
    assert plugins.image_source("eme").NAME == "s"
    assert list(plugins.sections()) == ["boxes"]
    again = shelf.plugins()
    assert again.schemes() == ("eme", "sch")
    assert [group.name for group in again.command_groups()] == ["rich"]
    assert set(again.infos()["rich"].provides.hooks) == set(hook_names()) - {"volt_after_event", "volt_register_checks"}


def test_doctor_misses_nothing_where_one_backend_runs_containers(make_plugins, paths):
    from volt_core.health import core_checks
    from volt_core.testing.fakes import DummyContainer, DummyVm

    class Absent(DummyContainer):
        NAME = "absent"

        @classmethod
        def probe(cls):
            return Probe.no("not yet", "")

    class AbsentVm(DummyVm):
        NAME = "absent-vm"
        probe = Absent.probe

    def verdicts(*backends):
        checks = core_checks(paths, make_plugins(backends=backends))
        return {check.what: check.verdict for check in checks if check.area == "backends"}

    some = verdicts(DummyContainer, Absent, AbsentVm)
    assert (some["absent: not yet"], some["absent-vm: not yet"]) == (Verdict.WARNING, Verdict.WARNING)
    assert Verdict.MISSING not in some.values()
    assert verdicts(Absent)["absent: not yet"] is Verdict.MISSING
    assert verdicts(DummyVm)["no backend for containers is installed"] is Verdict.MISSING


def test_doctor_shows_what_is_wrong_with_plugins(shelf, paths):
    from volt_core.health import core_checks

    shelf.add("hurt", "raise ValueError('ouch')")
    shelf.add("one", WORKING)
    shelf.add("two", WORKING)
    shelf.add(
        "unsure",
        BACKEND.format(name="unsure") + "\n    Acme.probe = classmethod(lambda cls: 1 / 0)\n",
    )
    said = {(check.what, check.verdict) for check in core_checks(paths, shelf.plugins(VOLT_DISABLE_PLUGINS="ghost"))}
    assert ("hurt of acme-hurt 1.0: ValueError: ouch", Verdict.MISSING) in said
    assert ("ghost: switched off by VOLT_DISABLE_PLUGINS", Verdict.WARNING) in said
    assert ("unsure: its probe failed: ZeroDivisionError: division by zero", Verdict.MISSING) in said
    assert any("'works' is registered by" in what for what, _ in said)
