"""The life cycle over any backend: what is allowed when, and what is left when something fails."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time

import msgspec
import pytest

from volt_core import fs, run
from volt_core.contracts import Exec, Freeze, Limits, Ports, Probe, Ref
from volt_core.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    CapabilityMissing,
    ConflictError,
    InvalidName,
    InvalidSpec,
    ObjectMissing,
    StateCorrupt,
    StateError,
    StateTooNew,
    TimedOut,
    WorkloadNotFound,
    WrongState,
)
from volt_core.models.network import PublishedPort
from volt_core.models.resources import Resources
from volt_core.models.workload import ContainerSpec, Kind, ServiceSpec, Status, VmSpec
from volt_core.testing.fakes import DummyContainer, DummyService, DummyVm, MemoryStore
from volt_core.testing.runs import Host
from volt_core.testing.workbench import Pipes, background
from volt_core.workloads import Workloads, folder_checks

FAKES = (DummyContainer, DummyVm, DummyService)


@pytest.fixture
def store(paths):
    return MemoryStore(paths.store)


@pytest.fixture
def root(store, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "hello").write_text("world")
    return store.put_directory(tree).digest


@pytest.fixture
def make(paths, store, make_plugins):
    """Make the workloads of one instance with these backends."""

    def workloads(*backends, preferred="", **options):
        return Workloads(paths, make_plugins(backends=backends or FAKES, **options), lambda: store, preferred)

    return workloads


@pytest.fixture
def workloads(make):
    return make()


@pytest.fixture
def spec(root):
    def container(*command, **options):
        return ContainerSpec(image="tree:latest", root=root, command=command or ("sleep", "1000"), **options)

    return container


def left(paths, store):
    """Everything of workloads that exists: folders, lock files, use refs, names in the index."""
    folders = [path.relative_to(paths.lib) for kind in Kind for path in paths.workloads(kind).glob("*")]
    locks = [path.name for path in paths.locks.iterdir() if path.name != "index"]
    refs = [ref.name for ref in store.refs("use/")]
    index = json.loads(paths.index.read_bytes())["workloads"] if paths.index.exists() else []
    return [*map(str, folders), *locks, *refs, *(entry["name"] for entry in index)]


def left_of_one(name):
    """What a sound container leaves in :func:`left`."""
    return [f"containers/{name}", f"workload-{name}", f"use/container/{name}", name]


class TestCreate:
    def test_all_traces_of_a_container(self, workloads, paths, store, spec):
        made = workloads.create("web", spec(), labels={"a": "b"})
        assert (made.name, made.kind, made.backend) == ("web", Kind.CONTAINER, "dummy-container")
        assert workloads.get("web").workload == made
        assert workloads.get("web").status.status is Status.CREATED
        assert left(paths, store) == left_of_one("web")
        assert store.find_ref("use/container/web").digest == made.spec.root

    def test_every_kind(self, workloads, spec, root):
        workloads.create("box", spec())
        workloads.create("guest", VmSpec(image="sleep 1000", root=root), kind=Kind.VM)
        workloads.create("daemon", ServiceSpec(command=("sleep", "1000")), kind=Kind.SERVICE)
        assert [item.workload.name for item in workloads.all()] == ["box", "daemon", "guest"]

    def test_env_is_in_its_own_file_that_others_cannot_read(self, workloads, paths, spec):
        workloads.create("web", spec(env={"TOKEN": "s3cr3t"}))
        folder = paths.workload(Kind.CONTAINER, "web")
        assert b"s3cr3t" not in paths.truth(Kind.CONTAINER, "web").read_bytes() + paths.index.read_bytes()
        assert stat.S_IMODE((folder / "env").stat().st_mode) == 0o600
        assert workloads.get("web").workload.spec.env == {"TOKEN": "s3cr3t"}
        assert workloads.all()[0].workload.spec.env == {}

    def test_others_get_into_nothing_of_it(self, workloads, paths, spec):
        workloads.create("web", spec())
        folder, truth = paths.workload(Kind.CONTAINER, "web"), paths.truth(Kind.CONTAINER, "web")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, truth, paths.index)}
        assert modes == {"web": 0o700, "container.json": 0o600, "workload-state.json": 0o600}

    @pytest.mark.parametrize("name", ["", "Web", "a/b", "..", "a\n", "a" * 64, "-a", "a-", "ä"])
    def test_a_bad_name_is_refused(self, workloads, paths, store, spec, name):
        with pytest.raises(InvalidName):
            workloads.create(name, spec())
        assert left(paths, store) == []

    def test_one_name_for_all_kinds(self, workloads, paths, store, spec, root):
        workloads.create("web", spec())
        before = left(paths, store)
        with pytest.raises(
            AlreadyExists, match=r"Cannot create vm 'web': a container of that name exists.*volt delete"
        ):
            workloads.create("web", VmSpec(image="x", root=root), kind=Kind.VM)
        assert left(paths, store) == before

    def test_an_image_that_is_gone_leaves_nothing(self, workloads, paths, store, spec):
        with pytest.raises(ObjectMissing):
            workloads.create("web", msgspec.structs.replace(spec(), root="sha256:" + "0" * 64))
        assert left(paths, store) == []

    @pytest.mark.parametrize("error", [BackendError("no"), OSError(28, "full"), ValueError("bug"), KeyboardInterrupt()])
    def test_a_backend_that_fails_leaves_nothing(self, make, paths, store, spec, error):
        class Failing(DummyContainer):
            def create(self, workload):
                super().create(workload)
                raise error

        with pytest.raises(type(error)):
            make(Failing).create("web", spec(env={"A": "b"}))
        assert left(paths, store) == []

    def test_a_backend_that_also_fails_to_clear_away_leaves_nothing(self, make, paths, store, spec):
        class Hopeless(DummyContainer):
            def create(self, workload):
                raise BackendError("first")

            def delete(self, workload):
                raise ValueError("second")

        with pytest.raises(BackendError, match="first"):
            make(Hopeless).create("web", spec())
        assert left(paths, store) == []

    def test_what_is_no_text_is_refused(self, workloads, paths, store, spec):
        for bad in (spec("echo", "\udcff"), spec(env={"A": "\udcff"})):
            with pytest.raises(InvalidSpec, match="not valid UTF-8"):
                workloads.create("web", bad)
        assert left(paths, store) == []

    def test_two_at_once_have_one_winner(self, make, spec):
        class Slow(DummyContainer):
            def create(self, workload):
                time.sleep(0.2)
                super().create(workload)

        results = []

        def attempt():
            try:
                results.append(make(Slow).create("web", spec()))
            except AlreadyExists as error:
                results.append(error)

        threads = [threading.Thread(target=attempt) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [result for result in results if not isinstance(result, AlreadyExists)]
        assert len(results) == 3
        assert [winner.id for winner in winners] == [make(Slow).get("web").workload.id]

    def test_a_full_disk_under_the_index_alone_is_no_failure(self, workloads, paths, spec):
        paths.index.mkdir()
        workloads.create("web", spec())
        assert workloads.get("web")

    def test_the_index_summarises(self, workloads, paths, spec):
        made = workloads.create("web", spec())
        assert json.loads(paths.index.read_bytes()) == {
            "schema": 1,
            "workloads": [
                {
                    "name": "web",
                    "id": made.id,
                    "kind": "container",
                    "backend": "dummy-container",
                    "created": made.created,
                }
            ],
        }
        workloads.delete("web")
        assert json.loads(paths.index.read_bytes())["workloads"] == []


class TestLifeCycle:
    def test_start_stop_start_delete(self, workloads, paths, store, spec):
        workloads.create("web", spec())
        workloads.start("web")
        assert workloads.get("web").status.status is Status.RUNNING
        with pytest.raises(WrongState, match=r"Cannot start container 'web': it is already running.*volt restart web"):
            workloads.start("web")
        workloads.stop("web")
        workloads.stop("web")
        assert workloads.get("web").status.status is Status.STOPPED
        workloads.restart("web")
        with pytest.raises(WrongState, match=r"it is running.*volt stop web; or use --force"):
            workloads.delete("web")
        workloads.delete("web", force=True)
        assert left(paths, store) == []

    def test_what_does_not_exist(self, workloads, paths, store):
        acts = (workloads.start, workloads.stop, workloads.delete, workloads.freeze, workloads.get, workloads.wait)
        for act in acts:
            with pytest.raises(WorkloadNotFound, match=r"No workload is named 'ghost'\. \(Run 'volt ps --all'"):
                act("ghost")
        assert left(paths, store) == []

    def test_kill_wait_and_logs(self, workloads, spec):
        workloads.create("web", spec("echo", "hello", ";", "sleep", "1000"))
        workloads.start("web")
        with pytest.raises(TimedOut):
            workloads.wait("web", 0.05)
        workloads.kill("web", signal.SIGUSR1)
        assert workloads.wait("web", 10).signal == signal.SIGUSR1
        assert [record.data for record in workloads.logs("web")] == [b"hello"]
        with pytest.raises(WrongState):
            workloads.kill("web", signal.SIGTERM)

    def test_freeze_and_thaw(self, workloads, spec):
        workloads.create("web", spec())
        workloads.start("web")
        workloads.freeze("web")
        assert workloads.get("web").status.status is Status.FROZEN
        workloads.thaw("web")
        assert workloads.get("web").status.status is Status.RUNNING
        workloads.delete("web", force=True)

    def test_the_stop_timeout_is_the_workloads_own(self, workloads, spec):
        workloads.create("web", spec("ignore", "15", ";", "echo", "ready", ";", "sleep", "1000", stop_timeout=0.1))
        workloads.start("web")
        while not list(workloads.logs("web")):
            time.sleep(0.01)
        workloads.stop("web")
        assert workloads.wait("web", 5).signal == signal.SIGKILL

    def test_exec(self, workloads, spec):
        workloads.create("web", spec(env={"A": "1"}))
        workloads.start("web")
        with Pipes() as pipes:
            command = ("env", "A", ";", "env", "B", ";", "pwd", ";", "exit", "7")
            outcome = workloads.exec("web", command, pipes.streams, env={"B": "2"}, working_dir="/srv")
            assert pipes.output() == b"1\n2\n/srv\n"
        assert outcome.code == 7
        workloads.delete("web", force=True)

    def test_a_foreground_run_lets_go_of_the_lock_when_it_has_started(self, workloads, spec):
        workloads.create("web", spec())
        with Pipes() as pipes, background(lambda: workloads.run_attached("web", pipes.streams)) as ended:
            while not workloads.get("web").status.status.active:
                time.sleep(0.01)
            workloads.stop("web")
            assert ended.result(10).signal == signal.SIGTERM

    def test_each_event_is_told(self, make, spec):
        told = []
        workloads = make(events=lambda event, workload: told.append((event, workload.name)))
        workloads.create("web", spec())
        workloads.start("web")
        workloads.kill("web", signal.SIGTERM)
        workloads.wait("web", 10)
        workloads.stop("web")
        with Pipes() as pipes, background(lambda: workloads.run_attached("web", pipes.streams)):
            while told[-1][0] != "start":
                time.sleep(0.01)
            workloads.delete("web", force=True)
        events = ["create", "start", "kill", "stop", "start", "delete"]
        assert told == [(event, "web") for event in events]

    def test_a_listener_that_fails_does_not_fail_the_act(self, make, spec):
        def fail(event, workload):
            raise ValueError("deaf")

        workloads = make(events=fail)
        workloads.create("web", spec())
        workloads.start("web")
        workloads.delete("web", force=True)
        assert {fault.reason for fault in workloads._plugins.faults} == {"ValueError: deaf"}


class TestChoice:
    class Best(DummyContainer):
        NAME, PRIORITY = "best", 10

    class Absent(DummyContainer):
        NAME, PRIORITY = "absent", 20

        @classmethod
        def probe(cls):
            return Probe.no("no such kernel", "Update it.")

    class Wrong(DummyContainer):
        NAME, PRIORITY = "wrong", 30

        @classmethod
        def probe(cls):
            raise ZeroDivisionError

    def test_the_best_that_works(self, make):
        workloads = make(DummyContainer, self.Best, self.Absent, self.Wrong)
        assert workloads.choose_backend(Kind.CONTAINER) is self.Best

    def test_the_configured_one_and_the_named_one(self, make):
        workloads = make(DummyContainer, self.Best, DummyVm, preferred="dummy-container")
        assert workloads.choose_backend(Kind.CONTAINER) is DummyContainer
        assert workloads.choose_backend(Kind.CONTAINER, "best") is self.Best
        assert workloads.choose_backend(Kind.VM) is DummyVm

    def test_none_that_works_gives_the_reason_of_each(self, make):
        with pytest.raises(BackendUnavailable, match="No backend can run a container here") as caught:
            make(self.Absent, self.Wrong, DummyVm).choose_backend(Kind.CONTAINER)
        assert caught.value.details.splitlines() == [
            "wrong: its probe failed: ZeroDivisionError:  (Update or remove the plugin.)",
            "absent: no such kernel (Update it.)",
        ]

    def test_one_of_another_kind(self, make):
        with pytest.raises(BackendUnavailable) as caught:
            make().choose_backend(Kind.CONTAINER, "dummy-vm")
        assert "it runs a vm, not a container" in caught.value.details


class TestFacets:
    class Whole(DummyContainer, Limits, Ports):
        NAME = "whole"

    @pytest.mark.parametrize(
        ("options", "act"),
        [
            ({"ports": (PublishedPort(host_port=80, port=80),)}, "Cannot publish ports: .* has no 'ports'"),
            ({"resources": Resources(memory_max=1)}, "Cannot limit resources: .* has no 'limits'"),
        ],
    )
    def test_what_a_backend_lacks_is_refused_with_those_that_have_it(self, make, paths, store, spec, options, act):
        workloads = make(DummyContainer, self.Whole, preferred="dummy-container")
        with pytest.raises(CapabilityMissing, match=act) as caught:
            workloads.create("web", spec(**options))
        assert caught.value.hint == "Backends that can: whole."
        assert left(paths, store) == []

    def test_nobody_has_it(self, make, spec):
        class Bare(DummyService, Limits):
            KIND, NAME = Kind.CONTAINER, "bare"

        workloads = make(Bare, DummyVm)
        workloads.create("web", spec())
        with Pipes() as pipes:
            for act, facet in (
                (lambda: workloads.freeze("web"), "freeze: backend 'bare' has no 'freeze'"),
                (lambda: workloads.exec("web", ["x"], pipes.streams), "run a command: backend 'bare' has no 'exec'"),
                (lambda: workloads.run_attached("web", pipes.streams), "run in the foreground: .* no 'attach'"),
            ):
                with pytest.raises(CapabilityMissing, match=f"Cannot {facet}") as caught:
                    act()
                assert caught.value.hint == "No installed backend can."
        assert issubclass(DummyVm, Freeze)
        assert not issubclass(DummyVm, Exec)


def damage(paths, text, name="web"):
    paths.truth(Kind.CONTAINER, name).write_bytes(text)


class Unstoppable(DummyContainer):
    def stop(self, workload, timeout):
        raise BackendError("it will not")


class TestDamage:
    @pytest.fixture
    def two(self, workloads, spec):
        workloads.create("web", spec())
        workloads.create("sound", spec())
        return workloads

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            (b"", StateCorrupt),
            (b"{", StateCorrupt),
            (b"\xff", StateCorrupt),
            (b"[]", StateCorrupt),
            (b'{"schema": 1}', StateCorrupt),
            (b'{"schema": 99}', StateTooNew),
            (b"[" * 100000, StateCorrupt),
        ],
        ids=lambda value: repr(value[:13]) if isinstance(value, bytes) else value.__name__,
    )
    def test_a_damaged_truth_hides_nothing_else(self, two, paths, store, text, kind):
        damage(paths, text)
        assert [item.workload.name for item in two.all()] == ["sound"]
        (error,) = two.survey().damaged
        assert isinstance(error, kind)
        for act in (two.start, two.stop, two.delete, two.get):
            with pytest.raises(kind):
                act("web")
        two.delete("web", force=True)
        assert "web" not in " ".join(left(paths, store))
        two.create("web", two.get("sound").workload.spec)

    def test_a_truth_that_is_no_file(self, two, paths):
        truth = paths.truth(Kind.CONTAINER, "web")
        truth.unlink()
        truth.mkdir()
        assert [item.workload.name for item in two.all()] == ["sound"]
        with pytest.raises(StateError, match="Is a directory"):
            two.get("web")

    def test_a_copied_folder_is_not_a_second_workload(self, two, paths):
        folder = paths.workload(Kind.CONTAINER, "web")
        folder.rename(folder.with_name("moved"))
        assert [item.workload.name for item in two.all()] == ["sound"]
        with pytest.raises(StateCorrupt, match="describes another workload, the container 'web'"):
            two.get("moved")
        two.delete("moved", force=True)
        assert two.survey().damaged == []

    @pytest.mark.parametrize("text", [b"[]", b"\xff", b'{"A": 1}', b"A\0", b"A=1"])
    def test_a_damaged_env_file(self, two, paths, text):
        (paths.workload(Kind.CONTAINER, "web") / "env").write_bytes(text)
        assert len(two.all()) == 2
        with pytest.raises(StateCorrupt, match="Environment file"):
            two.start("web")
        two.delete("web", force=True)

    def test_stray_files_do_no_harm(self, two, paths, spec):
        (paths.workloads(Kind.CONTAINER) / "README").write_text("not ours")
        (paths.workloads(Kind.CONTAINER) / "notes").write_text("not ours")
        assert len(two.all()) == 2
        with pytest.raises(WorkloadNotFound):
            two.get("notes")
        two.create("third", spec())
        with pytest.raises(ConflictError, match=r"Cannot create container 'notes': '.*/notes' is in its place"):
            two.create("notes", spec())
        assert (paths.workloads(Kind.CONTAINER) / "notes").read_text() == "not ours"

    def test_a_damaged_index_is_made_anew(self, two, paths, spec):
        paths.index.write_bytes(b"{")
        two.create("third", spec())
        assert len(json.loads(paths.index.read_bytes())["workloads"]) == 3

    def test_a_backend_that_is_gone(self, make, paths, store, spec):
        make().create("web", spec())
        workloads = make(DummyVm)
        (item,) = workloads.all()
        assert item.status.status is Status.FAILED
        assert "Unknown backend 'dummy-container'" in item.status.note
        make().start("web")
        folder = paths.workload(Kind.CONTAINER, "web")
        for force in (False, True):
            with pytest.raises(BackendUnavailable, match="Unknown backend 'dummy-container'") as caught:
                workloads.delete("web", force=force)
            assert f"remove '{folder}' by hand" in caught.value.hint
        assert left(paths, store) == left_of_one("web")
        assert make().get("web").status.status.active
        make().stop("web")
        fs.remove_tree(folder)
        workloads.create("guest", VmSpec(image="x", root=spec().root), kind=Kind.VM)
        assert "web" not in " ".join(left(paths, store))

    @pytest.mark.parametrize("backends", [(DummyVm,), (DummyVm, Unstoppable)], ids=["gone", "fails to stop"])
    def test_a_damaged_one_that_nobody_can_stop_is_kept(self, make, paths, store, spec, backends):
        make().create("web", spec())
        make().start("web")
        damage(paths, b"{")
        with pytest.raises(BackendError, match=r"Cannot delete container 'web': it may still run"):
            make(*backends).delete("web", force=True)
        assert {"containers/web", "use/container/web"} <= set(left(paths, store))
        make().delete("web", force=True)
        assert "web" not in " ".join(left(paths, store))

    def test_a_backend_that_breaks_hides_only_its_own(self, make, spec, root):
        class Breaking(DummyVm):
            def statuses(self, workloads):
                return {"guest": 1 / 0}

        workloads = make(DummyContainer, Breaking)
        workloads.create("guest", VmSpec(image="x", root=root), kind=Kind.VM)
        workloads.create("web", spec())
        notes = {item.workload.name: item.status.note for item in workloads.all()}
        assert notes == {"guest": "dummy-vm: ZeroDivisionError: division by zero", "web": ""}

    @pytest.fixture
    def strict(self, make):
        class Strict(DummyContainer):
            def status(self, workload):
                if workload.name == "web":
                    raise StateCorrupt("Outcome of 'web' is damaged")
                return super().status(workload)

        return make(Strict)

    def test_one_whose_status_cannot_be_told_hides_no_other(self, strict, spec):
        for name in ("web", "sound"):
            strict.create(name, spec())
        strict.start("sound")
        notes = {item.workload.name: (item.status.status, item.status.note) for item in strict.all()}
        damaged = (Status.FAILED, "Outcome of 'web' is damaged.")
        assert notes == {"web": damaged, "sound": (Status.RUNNING, "")}
        strict.delete("sound", force=True)

    def test_one_whose_status_cannot_be_told_is_stopped_and_deleted_by_force(self, strict, make, paths, store, spec):
        strict.create("web", spec())
        make().start("web")
        run = Host.runs[paths.workload(Kind.CONTAINER, "web")]
        with pytest.raises(StateCorrupt):
            strict.delete("web")
        strict.delete("web", force=True)
        assert not run.active
        assert left(paths, store) == []


class TestSweep:
    """What interrupted commands left; tests/cli kills real ones at every step."""

    @pytest.mark.parametrize("mark", [".creating", ".deleted"])
    def test_a_marked_folder_without_truth_goes_and_its_backend_is_told(self, make, paths, store, spec, mark):
        released = []

        class Told(DummyContainer):
            def delete(self, workload):
                released.append(workload.name)
                super().delete(workload)

        workloads = make(Told)
        workloads.create("web", spec())
        truth = paths.truth(Kind.CONTAINER, "web")
        truth.rename(truth.with_name(mark))
        workloads.create("other", spec())
        assert released == ["web"]
        assert "web" not in " ".join(left(paths, store))

    def test_what_is_not_marked_stays(self, workloads, paths, store, spec):
        workloads.create("web", spec())
        truth = paths.truth(Kind.CONTAINER, "web")
        truth.rename(paths.lib / "elsewhere")
        backup = paths.workloads(Kind.CONTAINER) / "backup"
        backup.mkdir()
        (backup / "db.sql").write_text("precious")
        workloads.create("other", spec())
        assert store.find_ref("use/container/web")
        assert [check.what.split("'")[1] for check in folder_checks(paths)] == [str(backup), str(truth.parent)]
        for name in ("web", "backup"):
            with pytest.raises(ConflictError, match=f"'.*/{name}' is in its place and has no container.json"):
                workloads.create(name, spec())
        assert (backup / "db.sql").read_text() == "precious"
        (paths.lib / "elsewhere").rename(truth)
        workloads.start("web")
        workloads.delete("web", force=True)
        assert sorted(left(paths, store)) == sorted(["containers/backup", *left_of_one("other")])

    def test_a_folder_keeps_its_mark_until_the_last(self, workloads, paths, spec, monkeypatch):
        class Killed(BaseException):
            pass

        def remove_tree(path):
            if path.name == "rootfs":
                raise Killed
            remove(path)

        remove = fs.remove_tree
        workloads.create("web", spec())
        with monkeypatch.context() as patch:
            patch.setattr(fs, "remove_tree", remove_tree)
            with pytest.raises(Killed):
                workloads.delete("web")
        assert "rootfs" in os.listdir(paths.workload(Kind.CONTAINER, "web"))
        workloads.create("other", spec())
        assert not paths.workload(Kind.CONTAINER, "web").exists()

    def test_a_create_asks_nobody_how_those_are_that_stay(self, workloads, spec, monkeypatch):
        workloads.create("web", spec())
        workloads.create("once", spec(), auto_remove=True)
        asked = []
        statuses = DummyContainer.statuses

        def counted(backend, wanted):
            asked.extend(workload.name for workload in wanted)
            return statuses(backend, wanted)

        monkeypatch.setattr(DummyContainer, "statuses", counted)
        workloads.create("other", spec())
        assert asked == ["once"]

    def test_a_ref_without_folder_goes(self, workloads, paths, store, spec):
        workloads.create("web", spec())
        fs.remove_tree(paths.workload(Kind.CONTAINER, "web"))
        workloads.sweep()
        assert list(store.refs("use/")) == []

    def test_refs_of_others_stay(self, workloads, store, root, spec):
        others = ["use/mine", "use/stack/web", "use/container"]
        for name in others:
            store.set_ref(Ref(name=name, digest=root))
        workloads.create("web", spec())
        assert [ref.name for ref in store.refs("use/")] == sorted([*others, "use/container/web"])

    def test_what_is_being_made_is_left_alone(self, workloads, paths, spec):
        folder = paths.workload(Kind.CONTAINER, "busy")
        folder.mkdir(parents=True)
        with fs.lock(paths.locks / "workload-busy"):
            workloads.create("web", spec())
            assert folder.exists()
        workloads.sweep()
        assert not folder.exists()

    @pytest.mark.needs_root
    def test_what_cannot_be_removed_does_not_stop_others(self, workloads, paths, spec, tmp_path):
        folder = paths.workload(Kind.CONTAINER, "mounted")
        folder.mkdir(parents=True)
        run.run(["mount", "--bind", str(tmp_path), str(folder)], timeout=10)
        try:
            workloads.create("web", spec())
            assert folder.exists()
        finally:
            run.run(["umount", str(folder)], timeout=10)

    def test_a_ref_that_cannot_be_deleted_does_not_stop_others(self, workloads, paths, store, spec, monkeypatch):
        def refuse(name):
            raise StateTooNew("written by a newer Volt")

        paths.workload(Kind.CONTAINER, "old").mkdir(parents=True)
        monkeypatch.setattr(store, "delete_ref", refuse)
        workloads.create("web", spec())
        assert workloads.get("web")

    def test_ended_ones_that_asked_for_it_go(self, workloads, paths, spec):
        for name, command in (("done", ("exit", "3")), ("runs", ("sleep", "1000"))):
            workloads.create(name, spec(*command), auto_remove=True)
        workloads.create("fresh", spec(), auto_remove=True)
        workloads.create("kept", spec("exit", "0"))
        for name in ("done", "runs", "kept"):
            workloads.start(name)
        workloads.wait("done", 10)
        workloads.wait("kept", 10)
        assert [item.workload.name for item in workloads.all()] == ["fresh", "kept", "runs"]
        with pytest.raises(WorkloadNotFound):
            workloads.get("done")
        assert {entry["name"] for entry in json.loads(paths.index.read_bytes())["workloads"]} == {
            "fresh",
            "kept",
            "runs",
        }
        workloads.delete("runs", force=True)

    def test_one_that_asked_for_it_and_was_never_started_goes_after_a_day(self, workloads, paths, store, spec):
        for name, auto_remove, age in (("fresh", True, 0), ("young", True, 23), ("old", True, 25), ("kept", False, 25)):
            workloads.create(name, spec(), auto_remove=auto_remove)
            truth = paths.truth(Kind.CONTAINER, name)
            document = json.loads(truth.read_bytes())
            document["created"] -= age * 3600 * 10**9
            truth.write_text(json.dumps(document))
        assert [item.workload.name for item in workloads.all()] == ["fresh", "kept", "young"]
        assert "old" not in " ".join(left(paths, store))
