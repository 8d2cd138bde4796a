"""Containers under systemd beside the same work by hand; runs in a host, started there by :mod:`.containers`.

The yardsticks use the very tree that the containers of the image share, each with a throw-away layer above it. A unit
by hand is active as soon as nspawn has set up the container; Volt's when the command was executed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.compare.timeline import PHASES, STARTED_VARIABLE
from benchmarks.compare.timing import Pair, Sample, Spread, clean_environment, print_table, run_pairs, run_timed
from volt_core.api import Volt
from volt_core.testing import roots

VOLT = str(Path(sys.executable).with_name("volt"))
DATA = Path("/var/lib/volt")  # an overlay cannot lie on the host's own
DEBIAN = "/srv/debian"
SMALL, LARGE = "bench-small", "bench-large"
NAME, HAND = "bench", "hand"
FOREVER = ("sleep", "1000000")
UNITS = Path("/etc/systemd/system")
MANY = 50
START_FACTOR, START_MS = 1.5, 120
RUN_MS, RUN_AIM_MS = 300, 180
_READY_SECONDS = 20.0


def main(argv: Sequence[str] | None = None) -> None:
    """Set up, check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--podman", action="store_true")
    arguments = parser.parse_args(argv)
    bench = Bench(arguments.rounds, arguments.many)
    bench.set_up()
    if arguments.podman:
        bench.print_podman()
    else:
        bench.check()
        bench.print_table()
        bench.print_breakdown()


class Bench:
    """One host's images, containers and units by hand."""

    def __init__(self, rounds: int, many: int) -> None:
        self._rounds = rounds
        self._names = [f"{NAME}-{number}" for number in range(many)]
        self._hands = [f"{HAND}@{number}" for number in range(many)]
        self._nspawn: list[str] = []

    def set_up(self) -> None:
        """Import the images, create a container, write the units."""
        small = roots.make_busybox_root(DATA / "bench-busybox")
        volt("image", "import", str(small), SMALL, "--quiet")
        volt("image", "import", DEBIAN, LARGE, "--quiet")
        volt("container", "create", "--name", NAME, SMALL, *FOREVER)
        instance = Volt()
        tree = instance.store.linked_tree(instance.images.get(SMALL).digest)
        options = "--quiet --settings=no --console=pipe --link-journal=no --resolv-conf=off --timezone=off"
        self._nspawn = ["systemd-nspawn", *options.split(), "--private-network", "--volatile=overlay", f"-D{tree}"]
        # The stub that is PID 1 ends the command on this signal.
        words = [*self._nspawn, "--keep-unit", "--as-pid2", "--kill-signal=SIGRTMIN+3"]
        service = "[Service]\nType=notify\nSlice=machine.slice\nDelegate=yes\nKillMode=mixed\n"
        for unit, machine in ((f"{HAND}.service", HAND), (f"{HAND}@.service", f"{HAND}-%i")):
            line = f"ExecStart={' '.join(words)} --machine={machine} {' '.join(FOREVER)}\n"
            UNITS.joinpath(unit).write_text(service + line)
        systemctl("daemon-reload")

    def check(self) -> None:
        """See that what is measured does what it should."""
        for words, expected in ((("sh", "-c", "exit 7"), 7), (("cat", "/etc/os-release"), 1)):
            done = subprocess.run([VOLT, "run", "--rm", SMALL, *words], capture_output=True, env=clean_environment())
            assert done.returncode == expected, done
        with self._running([NAME]):
            inside = ["sh", "-c", "cat /proc/1/cmdline"]
            assert b"/run/volt/init" in output([VOLT, "exec", NAME, *inside])

    def print_table(self) -> None:
        """Print a line for each comparison."""
        print_table(header("hand"), self._rows())

    def print_breakdown(self) -> None:
        """Print where the time of a run goes."""
        rounds = [phases() for _ in range(self._rounds + 1)][1:]
        print()
        print_table(
            ("`volt run --rm IMAGE true`", "ms"),
            ((phase, milliseconds(times[phase] for times in rounds)) for phase in PHASES),
        )

    def print_podman(self) -> None:
        """Print the same run by podman and by Volt."""
        podman = ["podman", f"--root={DATA}/bench-podman", "--runroot=/run/bench-podman", "--storage-driver=overlay"]
        archive = DATA / "bench.tar"
        subprocess.run(["tar", "-cf", archive, "-C", DATA / "bench-busybox", "."], check=True)
        subprocess.run([*podman, "import", "--quiet", archive, SMALL], check=True, stdout=subprocess.DEVNULL)
        # It insists on the controller of processes, which a host in a container may not have; without a cgroup it
        # leaves out work that Volt does.
        words = [*podman, "run", "--rm", "--network=none", "--cgroups=disabled", SMALL, "true"]
        pairs = run_pairs(lambda: run_timed(words), self._volt("run", "--rm", SMALL, "true"), self._rounds)
        print_table(header("podman"), [row("`run --rm IMAGE true`", pairs, "-")])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        pairs = run_pairs(self._start_by_hand, self._start, self._rounds)
        excess = statistics.median(volt.wall - START_FACTOR * hand.wall for hand, volt in pairs) * 1e3
        target = verdict(f"<= {START_FACTOR} x + {START_MS} ms", excess <= START_MS)
        yield row("`volt container start`, until active", pairs, target)

        plain = [*self._nspawn, f"--machine={HAND}", "true"]
        pairs = run_pairs(lambda: run_timed(plain), self._volt("run", "--rm", SMALL, "true"), self._rounds)
        more = statistics.median(volt.wall - nspawn.wall for nspawn, volt in pairs) * 1e3
        target = (
            f"{verdict(f'<= {RUN_MS} ms more', more <= RUN_MS)}, {verdict(f'aim {RUN_AIM_MS}', more <= RUN_AIM_MS)}"
        )
        yield row("`volt run --rm IMAGE true`, beside `systemd-nspawn`", pairs, target)

        pairs = run_pairs(lambda: self._create(SMALL), lambda: self._create(LARGE), self._rounds)
        yield row("`volt container create`, a Debian beside a busybox", pairs, "1 x")
        yield from self._rows_with_many()

    def _rows_with_many(self) -> Iterator[tuple[str, ...]]:
        for name in self._names:
            volt("container", "create", "--name", name, SMALL, *FOREVER)
        rounds, many = max(1, self._rounds // 4), len(self._names)
        pairs = run_pairs(self._start_all_by_hand, self._start_all, rounds)
        yield row(f"{many} containers by one `volt start`", pairs, "-")
        pairs = run_pairs(self._start_all_by_hand, self._start_each, rounds)
        yield row(f"{many} containers, each by its own `volt start` at once", pairs, "-")
        with self._running(self._names):
            listed = ["systemctl", "list-units", "--state=active", "volt-container-*"]
            pairs = run_pairs(lambda: run_timed(listed), self._volt("ps"), self._rounds)
            assert output([VOLT, "ps", "--quiet"]).split() == sorted(map(str.encode, self._names))
            yield row(f"`volt ps` of {many} that run, beside `systemctl list-units`", pairs, "-")
            entering = ["nsenter", "-t", leader(f"volt-container-{self._names[0]}"), "-a", "/bin/true"]
            pairs = run_pairs(lambda: run_timed(entering), self._volt("exec", self._names[0], "true"), self._rounds)
            yield row("`volt exec NAME true`, beside `nsenter -a`", pairs, "-")
            bare = [sys.executable, "-c", "pass"]
            pairs = run_pairs(lambda: run_timed(bare), lambda: self._create(SMALL), self._rounds)
            yield row(f"`volt container create` with {many} that run, beside `python3 -c pass`", pairs, "-")

    def _volt(self, *words: str) -> Callable[[], Sample]:
        return lambda: run_timed([VOLT, *words])

    def _start_by_hand(self) -> Sample:
        return started([["systemctl", "start", HAND]], [HAND])

    def _start(self) -> Sample:
        return started([[VOLT, "container", "start", NAME]], [f"volt-container-{NAME}"])

    def _start_all_by_hand(self) -> Sample:
        return started([["systemctl", "start", *self._hands]], self._hands)

    def _start_all(self) -> Sample:
        return started([[VOLT, "start", *self._names]], [f"volt-container-{name}" for name in self._names])

    def _start_each(self) -> Sample:
        commands = [[VOLT, "start", name] for name in self._names]
        return started(commands, [f"volt-container-{name}" for name in self._names])

    def _create(self, image: str) -> Sample:
        sample = run_timed([VOLT, "container", "create", "--name", "bench-create", image, *FOREVER])
        volt("rm", "bench-create")
        return sample

    @contextlib.contextmanager
    def _running(self, names: Sequence[str]) -> Iterator[None]:
        volt("start", *names)
        yield
        stop([f"volt-container-{name}" for name in names])


def started(commands: Sequence[Sequence[str]], units: Sequence[str]) -> Sample:
    """Time commands that run at once and start these units; the units are checked, and stopped again."""
    began = time.perf_counter()
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, env=clean_environment()) for words in commands]
    cpu = 0.0
    for process in running:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.args
        cpu += usage.ru_utime + usage.ru_stime
    sample = Sample(wall=time.perf_counter() - began, cpu=cpu)
    systemctl("is-active", "--quiet", *units)
    stop(units)
    return sample


def stop(units: Sequence[str]) -> None:
    """Stop units, once the command of each runs: before, PID 1 has no handler, and the signal would be lost."""
    deadline = time.monotonic() + _READY_SECONDS
    for unit in units:
        group = Path("/sys/fs/cgroup/machine.slice", shown(unit, "ControlGroup").rpartition("machine.slice/")[2])
        while not any(is_command(pid) for procs in group.rglob("cgroup.procs") for pid in procs.read_text().split()):
            assert time.monotonic() < deadline, unit
            time.sleep(0.005)
    systemctl("stop", *units)
    systemctl("reset-failed", *units, ok=range(256))  # of what is not loaded any more there is nothing to forget


def is_command(pid: str) -> bool:
    """Tell whether a process is the command of a container."""
    with contextlib.suppress(OSError):
        return Path("/proc", pid, "cmdline").read_bytes().split(b"\0")[:2] == [word.encode() for word in FOREVER]
    return False


def leader(unit: str) -> str:
    """Return the first process of a container."""
    main = shown(unit, "MainPID")
    return Path("/proc", main, "task", main, "children").read_text().split()[0]


def phases() -> dict[str, float]:
    """Run once, and return how many seconds each phase took."""
    environment = clean_environment({STARTED_VARIABLE: str(time.monotonic())})
    # By its path, so that it finds the Volt that is installed and not the one of this repository.
    words = [sys.executable, "-P", str(Path(__file__).with_name("timeline.py")), "run", "--rm", SMALL, "true"]
    found: dict[str, float] = json.loads(output(words, environment))
    return found


def header(yardstick: str) -> tuple[str, ...]:
    """Return the first line of the table."""
    both = f"Volt / {yardstick}", f"Volt - {yardstick}, ms"
    return ("what", f"{yardstick}, ms", "Volt, ms", *both, "CPU of `volt`, ms", "target")


def row(label: str, pairs: Sequence[Pair], target: str) -> tuple[str, ...]:
    """Return a line of the table."""
    return (
        label,
        milliseconds(first.wall for first, _ in pairs),
        milliseconds(second.wall for _, second in pairs),
        str(Spread.of(second.wall / first.wall for first, second in pairs)),
        milliseconds(second.wall - first.wall for first, second in pairs),
        milliseconds(second.cpu for _, second in pairs),
        target,
    )


def milliseconds(seconds: Iterator[float]) -> str:
    """Return median and range."""
    spread = Spread.of(seconds)
    return f"{spread.median * 1e3:.0f} [{spread.low * 1e3:.0f}-{spread.high * 1e3:.0f}]"


def verdict(target: str, is_met: bool) -> str:
    """Return a target with what became of it."""
    return f"{target}: {'met' if is_met else 'MISSED'}"


def volt(*words: str) -> None:
    """Run Volt, untimed."""
    subprocess.run([VOLT, *words], check=True, stdout=subprocess.DEVNULL, env=clean_environment())


def systemctl(*words: str, ok: Sequence[int] = (0,)) -> None:
    """Run systemctl, untimed."""
    done = subprocess.run(["systemctl", *words], capture_output=True)
    assert done.returncode in ok, (words, done.stderr)


def shown(unit: str, name: str) -> str:
    """Return what systemd says of a unit."""
    return output(["systemctl", "show", "--value", f"--property={name}", unit]).decode().strip()


def output(words: Sequence[str], environment: dict[str, str] | None = None) -> bytes:
    """Return what a program that ends well writes."""
    return subprocess.run(words, check=True, capture_output=True, env=environment or clean_environment()).stdout


if __name__ == "__main__":
    main()
