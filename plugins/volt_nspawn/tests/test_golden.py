"""What is rendered of containers of fixed content: as it was, the same in unit and ``.nspawn`` file, and understood.

A number of the renderer that was released keeps its golden files: units on disk are told apart by it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.models.mount import Mount
from volt_core.models.resources import Resources
from volt_core.models.workload import RestartPolicy
from volt_core.systemd.unitfile import parse_unit
from volt_core.systemd.units import header_of
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import Workbench
from volt_nspawn.argv import build_nspawn_argv
from volt_nspawn.capabilities import FOR_COMMANDS, dropped
from volt_nspawn.install import settings_path
from volt_nspawn.names import machine_name, unit_name
from volt_nspawn.plan import ContainerPlan
from volt_nspawn.settings import render_settings
from volt_nspawn.unit import RENDERER, render_unit

_LIB = Path("/var/lib/volt")
_PLAIN = ContainerPlan(
    name="web",
    id="0123456789abcdef" * 2,
    unit="volt-container-web.service",
    machine="web",
    folder=_LIB / "containers/web",
    lower=_LIB / "cas/links/sha256-0/root",
    programs=_LIB / "libexec/0123456789abcdef",
    attach=Path("/run/volt/containers/web/attach"),
    command=("nginx", "-g", "daemon off;"),
    boot=False,
    notifies=True,
    hostname="web",
    working_dir="/",
    user="0:0",
    defaults=("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=web"),
    mounts=(),
    drop_capabilities=dropped(FOR_COMMANDS),
    privileged=False,
    read_only=False,
    private_network=True,
    tty=False,
    stop_signal="SIGTERM",
    stop_timeout=10.0,
    restart=RestartPolicy(),
    resources=Resources(),
)


def _but(**changes: Any) -> ContainerPlan:
    return msgspec.structs.replace(_PLAIN, **changes)


PLANS = {
    "plain": _PLAIN,
    "options": _but(
        instance="1a2b3c4d",
        unit="volt-1a2b3c4d-container-web.service",
        machine="web.1a2b3c4d",
        hostname="shop",
        command=("sh", "-c", "echo \"$A\" 50% \\ 'x' ;\n\texit"),
        working_dir="/srv/a b",
        user="33:33",
        mounts=(
            Mount(source="/usr", target="/a:b"),
            Mount(source="/etc/passwd", target="/f", read_only=True),
            Mount(source="/var", target="/v 50%"),
        ),
        read_only=True,
        private_network=False,
        tty=True,
        stop_signal="SIGQUIT",
        stop_timeout=2.5,
        restart=RestartPolicy(policy="on-failure", max_retries=3),
        resources=Resources(memory_max=1 << 28, cpu_quota=1.5, tasks_max=100),
    ),
    "privileged": _but(privileged=True, drop_capabilities=(), restart=RestartPolicy(policy="always")),
    "systemd": _but(command=(), boot=True, drop_capabilities=(), stop_signal="SIGRTMIN+3"),
    "busybox-init": _but(
        command=(), boot=True, notifies=False, privileged=True, drop_capabilities=(), stop_signal="SIGUSR2"
    ),
}

GOLDEN = Path(__file__).parent / "golden"
RENDERERS: dict[str, Callable[[ContainerPlan], str]] = {"service": render_unit, "nspawn": render_settings}
CASES = [f"{name}.{kind}" for name in PLANS for kind in RENDERERS]

# Options of systemd-nspawn(1), and what says the same in systemd.nspawn(5).
KEYS = {
    "--boot": ("Exec", "Boot"),
    "--hostname": ("Exec", "Hostname"),
    "--kill-signal": ("Exec", "KillSignal"),
    "--notify-ready": ("Exec", "NotifyReady"),
    "--link-journal": ("Exec", "LinkJournal"),
    "--resolv-conf": ("Exec", "ResolvConf"),
    "--timezone": ("Exec", "Timezone"),
    "--capability": ("Exec", "Capability"),
    "--drop-capability": ("Exec", "DropCapability"),
    "--no-new-privileges": ("Exec", "NoNewPrivileges"),
    "--read-only": ("Files", "ReadOnly"),
    "--bind": ("Files", "Bind"),
    "--bind-ro": ("Files", "BindReadOnly"),
    "--private-network": ("Network", "Private"),
}
WITHOUT_KEY = {"--quiet", "--keep-unit", "--settings", "--machine", "--directory", "--console"}


def golden(case: str) -> Path:
    return GOLDEN / f"renderer-{RENDERER}" / case


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_changes_with_the_number_alone(case: str) -> None:
    name, _, kind = case.rpartition(".")
    rendered = RENDERERS[kind](PLANS[name])
    if not golden(case).exists():
        golden(case).parent.mkdir(parents=True, exist_ok=True)
        golden(case).write_text(rendered)
        pytest.fail(f"'{golden(case)}' was missing and has been written: look at it, and commit it")
    assert rendered == golden(case).read_text(), "raise RENDERER, and leave the golden files of former ones as they are"


def test_there_is_a_golden_file_of_each_case_and_of_each_number() -> None:
    assert sorted(path.name for path in golden("").iterdir()) == sorted(CASES)
    assert {path.name for path in GOLDEN.iterdir()} == {f"renderer-{number + 1}" for number in range(RENDERER)}


@pytest.mark.parametrize("unit", sorted(GOLDEN.glob("*/*.service")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_unit_tells_which_renderer_made_it(unit: Path) -> None:
    assert header_of(unit.read_text())["Renderer"] == unit.parent.name.removeprefix("renderer-")


@pytest.mark.parametrize("name", PLANS)
def test_the_settings_say_what_the_command_line_says(name: str) -> None:
    argv, settings = build_nspawn_argv(PLANS[name])[1:], parse_unit(render_settings(PLANS[name]))
    said: dict[tuple[str, str], list[str]] = {}
    for word in argv:
        option, equals, value = word.partition("=")
        assert option in KEYS or option in WITHOUT_KEY, f"say here which key of a .nspawn file '{option}' has, if any"
        if option in KEYS:
            said.setdefault(KEYS[option], []).append(value if equals else "yes")
    # A list has blanks between its words in one place and commas in the other, and what is not said is off.
    found: dict[tuple[str, str], list[str]] = {}
    for section in settings.sections:
        for key, value in section.entries:
            if value != "no" or (section.name, key) in said:
                separated = value.replace(" ", ",") if key.endswith("Capability") else value
                found.setdefault((section.name, key), []).append(separated)
    assert found == said


def test_each_option_is_in_some_comparison() -> None:
    used = {word.partition("=")[0] for name in PLANS for word in build_nspawn_argv(PLANS[name])[1:]}
    assert used == KEYS.keys() | WITHOUT_KEY


@pytest.mark.needs_systemd
@pytest.mark.needs_root
@pytest.mark.needs_busybox
class TestUnderstood:
    """By systemd itself; its tools end with 0 whatever they pass over, and only tell."""

    @pytest.fixture
    def container(self, bench: Workbench) -> str:
        """The name of a container with about all there is."""
        mounts = (Mount(source="/usr", target="/a:b"), Mount(source="/etc/passwd", target="/f 50%", read_only=True))
        changes: dict[str, Any] = {
            "mounts": mounts,
            "read_only": True,
            "stop_signal": "SIGQUIT",
            "restart": RestartPolicy(policy="on-failure", max_retries=3),
            "resources": Resources(memory_max=1 << 28, cpu_quota=1.5, tasks_max=100),
        }
        return bench.create(ShellPayload().sleeps(), **changes).name

    def test_the_unit(self, bench: Workbench, container: str, tmp_path: Path) -> None:
        unit = Path("/etc/systemd/system", unit_name(bench.backend.paths, container))
        assert self._verify(unit) == ""
        broken = tmp_path / "broken.service"
        broken.write_text(unit.read_text().replace("[Service]", "[Service]\nFrobnicate=1"))
        assert "Frobnicate" in self._verify(broken), "the judge is blind"

    def test_the_settings(self, bench: Workbench, container: str, busybox_root: Path, tmp_path: Path) -> None:
        settings = settings_path(machine_name(bench.backend.paths, container))
        root = tmp_path / "root"
        subprocess.run(["cp", "-a", str(busybox_root), str(root)], check=True, timeout=60)
        assert self._nspawn(settings, root) == []
        settings.write_text(settings.read_text().replace("[Exec]", "[Exec]\nFrobnicate=1\nCapability=CAP_NOPE"))
        assert len(self._nspawn(settings, root)) == 2, "the judge is blind"

    def _verify(self, unit: Path) -> str:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    def _nspawn(self, settings: Path, root: Path) -> list[str]:
        """Return what is said of the file; whether the container then runs is not the question."""
        argv = ["systemd-nspawn", "--quiet", f"--machine={settings.stem}", f"--directory={root}", "true"]
        service = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect"]
        done = subprocess.run([*service, *argv], capture_output=True, text=True, check=False, timeout=60)
        return [line for line in (done.stdout + done.stderr).splitlines() if str(settings) in line]
