"""Rules of the models that travel between core, plugins and files."""

from __future__ import annotations

import signal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt_core.errors import InvalidName, InvalidSpec
from volt_core.models.image import ImageConfig
from volt_core.models.mount import Mount
from volt_core.models.outcome import Outcome
from volt_core.models.resources import Resources
from volt_core.models.signals import signal_name
from volt_core.models.workload import ContainerSpec, Kind, ServiceSpec, Status, VmSpec, Workload


@pytest.mark.parametrize(
    ("outcome", "status", "clean", "text"),
    [
        (Outcome(code=0), 0, True, "exited with 0"),
        (Outcome(code=7), 7, False, "exited with 7"),
        (Outcome(signal=15, result="signaled"), 143, True, "killed by SIGTERM"),
        (Outcome(signal=11, result="signaled"), 139, False, "killed by SIGSEGV"),
        (Outcome(signal=9, result="signaled"), 137, False, "killed by SIGKILL"),
        (Outcome(code=127, result="not-started"), 127, False, "exited with 127"),
        (Outcome(result="lost", reason="the supervisor is gone"), 125, False, "the supervisor is gone"),
        (Outcome(result="lost"), 125, False, "lost"),
    ],
)
def test_an_outcome_is_a_shells_status(outcome: Outcome, status: int, clean: bool, text: str) -> None:
    assert (outcome.exit_status, outcome.clean, str(outcome)) == (status, clean, text)


def test_signals_have_names() -> None:
    assert signal_name(signal.SIGHUP) == "SIGHUP"
    assert signal_name(42) == "SIG42"


def test_active_means_that_processes_exist() -> None:
    assert {status for status in Status if status.active} == {Status.RUNNING, Status.FROZEN}


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount(source="/a", target="/b")),
        ("/a:/b:ro", Mount(source="/a", target="/b", read_only=True)),
        ("/a:/b:rw", Mount(source="/a", target="/b")),
        ("/a/../c/:/b//x/", Mount(source="/c", target="/b/x")),
        ("//srv:///data", Mount(source="/srv", target="/data")),
    ],
)
def test_mounts_are_parsed(text: str, mount: Mount) -> None:
    assert Mount.parse(text) == mount


BAD_MOUNTS = [
    "",
    "/a",
    "/a:",
    ":/b",
    "a:/b",
    "/a:b",
    "/a:/b:xx",
    "/a:/b:ro:",
    "/a:/",
    "/a:/b/..",
    "/a:/b\0c",
    "/a://",
    ":",
]


@pytest.mark.parametrize("text", BAD_MOUNTS, ids=ascii)
def test_bad_mounts_are_refused(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Mount.parse(text)
    assert str(caught.value).isprintable()


@given(st.text(alphabet="ab/.:ro\n", max_size=20))
def test_a_mount_never_leads_to_the_root_and_survives_printing(text: str) -> None:
    try:
        mount = Mount.parse(text)
    except InvalidSpec:
        return
    assert mount.source.startswith("/")
    assert mount.target.startswith("/")
    assert mount.target.strip("/")
    assert ".." not in mount.target.split("/")
    assert Mount.parse(str(mount)) == mount


def test_limits() -> None:
    assert not Resources().limited
    assert Resources(tasks_max=1).limited


SPECS = [
    ContainerSpec(
        image="x", root="sha256:" + "0" * 64, command=("sh",), env={"A": "1"}, mounts=(Mount.parse("/a:/b"),)
    ),
    VmSpec(image="x", root="y", cpus=2),
    ServiceSpec(command=("sleep", "1")),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_workload_of_each_kind_survives_json(spec: ContainerSpec | VmSpec | ServiceSpec) -> None:
    workload = Workload(name="web", id="0" * 32, kind=Kind.CONTAINER, backend="b", spec=spec, created=1)
    assert msgspec.json.decode(msgspec.json.encode(workload), type=Workload) == workload


def test_no_workload_has_a_bad_name_however_it_is_made() -> None:
    spec = ServiceSpec(command=("x",))
    workload = Workload(name="web", id="0", kind=Kind.SERVICE, backend="b", spec=spec, created=1)
    with pytest.raises(InvalidName):
        msgspec.structs.replace(workload, name="../web")
    with pytest.raises(InvalidName):
        Workload(name="web\n", id="0", kind=Kind.SERVICE, backend="b", spec=spec, created=1)


def test_workloads_cannot_be_changed() -> None:
    workload = Workload(name="web", id="0", kind=Kind.VM, backend="b", spec=VmSpec(image="x", root="y"), created=1)
    with pytest.raises(AttributeError):
        workload.name = "other"  # type: ignore[misc]


def test_image_configurations_speak_oci() -> None:
    config = ImageConfig(env=("A=1",), working_dir="/w", exposed_ports={"80/tcp": {}}, stop_signal="SIGINT")
    document = msgspec.json.decode(msgspec.json.encode(config))
    assert document == {"Env": ["A=1"], "WorkingDir": "/w", "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT"}
    given_by_others = b'{"Cmd": ["bash"], "ArgsEscaped": true, "OnBuild": null}'
    assert msgspec.json.decode(given_by_others, type=ImageConfig).cmd == ("bash",)
