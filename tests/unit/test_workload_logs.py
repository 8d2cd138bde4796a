"""Excerpts of logs over any backend: what matches, what is of one run, what is left of a deleted workload."""

from __future__ import annotations

import re

import pytest

from volt_core.contracts import Probe
from volt_core.errors import CapabilityMissing, WorkloadNotFound
from volt_core.models.workload import ContainerSpec, Kind, ServiceSpec
from volt_core.testing.fakes import DummyContainer, DummyService, MemoryStore
from volt_core.testing.payloads import FakePayload
from volt_core.testing.workbench import background
from volt_core.workloads import Excerpt, Workloads

LINES = ["Apple", "pear", "apple pie", "plum"]


@pytest.fixture
def make(paths, make_plugins):
    """Make the workloads of one instance with these backends."""

    def workloads(*backends):
        return Workloads(paths, make_plugins(backends=backends), lambda: MemoryStore(paths.store))

    return workloads


@pytest.fixture
def workloads(make):
    return make(DummyContainer, DummyService)


@pytest.fixture
def container(workloads, paths, tmp_path):
    """Create a container that runs a command each time it is started."""
    tmp_path.joinpath("tree").mkdir()
    root = MemoryStore(paths.store).put_directory(tmp_path / "tree").digest

    def create(*command):
        workloads.create("web", ContainerSpec(image="tree", root=root, command=command))

    return create


@pytest.fixture
def printed(workloads, container):
    """A container that ran once; the value is the id of the run."""
    container(*FakePayload().prints(*LINES))
    workloads.start("web")
    return workloads.wait("web").invocation


def data(records):
    return [record.data.decode() for record in records]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Excerpt(), LINES),
        (Excerpt(grep=re.compile("apple")), ["apple pie"]),
        (Excerpt(grep=re.compile("(?i)apple")), ["Apple", "apple pie"]),
        (Excerpt(grep=re.compile("^p")), ["pear", "plum"]),
        (Excerpt(grep=re.compile("^p"), tail=1), ["plum"]),
        (Excerpt(grep=re.compile("^p"), tail=0), []),
        (Excerpt(grep=re.compile("^p"), tail=9), ["pear", "plum"]),
        (Excerpt(tail=2), ["apple pie", "plum"]),
        (Excerpt(grep=re.compile("cherry")), []),
    ],
)
@pytest.mark.usefixtures("printed")
def test_a_tail_is_taken_of_what_matches(workloads, wanted, found):
    assert data(workloads.logs("web", wanted)) == found
    assert data(workloads.logs("web", wanted, follow=True)) == found


def test_limits_in_time_go_with_a_pattern(workloads, printed):
    second = list(workloads.logs("web"))[1].time
    assert data(workloads.logs("web", Excerpt(since=second, grep=re.compile("p")))) == ["apple pie", "plum"]
    assert data(workloads.logs("web", Excerpt(until=second, grep=re.compile("p")))) == ["Apple", "pear"]


def test_what_matches_is_followed(workloads, container):
    container(*FakePayload().prints_then_sleeps("line 1", "other", "line 2"))
    workloads.start("web")
    while len(data(workloads.logs("web"))) < 3:
        pass
    wanted = Excerpt(grep=re.compile("line"), tail=1)
    with background(lambda: data(workloads.logs("web", wanted, follow=True))) as reading:
        workloads.stop("web", 0)
        assert reading.result(60) == ["line 2"]


def test_one_run_of_several(workloads, printed):
    workloads.start("web")
    second = workloads.wait("web").invocation
    assert len(data(workloads.logs("web"))) == 2 * len(LINES)
    for invocation in (printed, second):
        assert data(workloads.logs("web", Excerpt(invocation=invocation))) == LINES
        assert data(workloads.logs("web", Excerpt(invocation=invocation, tail=1))) == ["plum"]
    assert data(workloads.logs("web", Excerpt(invocation="0" * 32))) == []


def test_a_run_of_a_deleted_workload(workloads, printed):
    workloads.delete("web")
    with pytest.raises(WorkloadNotFound):
        workloads.logs("web")
    assert data(workloads.past_logs(Excerpt(invocation=printed))) == LINES
    assert data(workloads.past_logs(Excerpt(invocation=printed, tail=1, grep=re.compile("^p")))) == ["plum"]
    assert data(workloads.past_logs(Excerpt(invocation="0" * 32))) == []


def test_a_backend_that_does_not_tell_runs_apart_says_so(workloads):
    workloads.create("job", ServiceSpec(command=("echo", "x")), kind=Kind.SERVICE)
    with pytest.raises(CapabilityMissing, match="'dummy-service' has no 'past-logs'"):
        workloads.logs("job", Excerpt(invocation="0" * 32))


def test_no_backend_that_keeps_logs_is_said(make):
    class Absent(DummyContainer):
        @classmethod
        def probe(cls):
            return Probe.no("not here")

    with pytest.raises(CapabilityMissing, match="no backend that can be used here") as refused:
        list(make(Absent, DummyService).past_logs(Excerpt(invocation="0" * 32)))
    assert refused.value.details == "dummy-container: not here"
