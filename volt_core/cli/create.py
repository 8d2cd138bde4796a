"""``volt create`` and ``volt run``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from volt_core.api import Volt
from volt_core.cli.exits import leave
from volt_core.cli.messages import say, warn
from volt_core.cli.options import ends_as_its_command, number_up_to, seconds, some_path, takes
from volt_core.cli.session import volt_of
from volt_core.cli.terminal import attached_streams, check_terminal
from volt_core.errors import BackendError, UsageError, VoltError, WorkloadNotFound
from volt_core.models.mount import Mount
from volt_core.models.resources import Resources
from volt_core.models.workload import ContainerSpec
from volt_core.names import new_name
from volt_core.workloads.specs import (
    ContainerOptions,
    build_container_spec,
    parse_env,
    parse_labels,
    parse_port,
    parse_restart,
    parse_size,
)

_MAX_CORES = 100_000

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="NAME[:TAG] or NAME@sha256:DIGEST.", show_default=False)]
Command = Annotated[list[str] | None, typer.Argument(help="Command to run.", metavar="[CMD]...", show_default=False)]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Name; by default one is made up.")]
Interactive = Annotated[bool, typer.Option("--interactive", "-i", help="Keep standard input open.")]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal.")]
Remove = Annotated[bool, typer.Option("--rm", help="Delete it when it has ended.")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Set a variable.")]
EnvFile = Annotated[
    list[Path] | None,
    typer.Option("--env-file", metavar="FILE", help="Read variables from a file.", parser=some_path),
]
WorkingDir = Annotated[str, typer.Option("--workdir", "-w", metavar="DIR", help="Directory to start in.")]
User = Annotated[str, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="User to run as.")]
Volumes = Annotated[list[str] | None, typer.Option("--volume", "-v", metavar="SRC:DST[:ro]", help="Mount a path.")]
Publish = Annotated[list[str] | None, typer.Option("--publish", "-p", metavar="HOST:PORT", help="Publish a port.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Make the root file system read-only.")]
Backend = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="Backend; by default the best that works here.")
]
Hostname = Annotated[str, typer.Option("--hostname", metavar="NAME", help="Host name inside.")]
Label = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Attach a label.")]
Memory = Annotated[str, typer.Option("--memory", "-m", metavar="SIZE", help="Limit memory, for example 512M.")]
Cpus = Annotated[
    float,
    typer.Option(
        "--cpus", metavar="CORES", help="Limit CPU time.", show_default=False, parser=number_up_to(_MAX_CORES)
    ),
]
PidsLimit = Annotated[
    int, typer.Option("--pids-limit", metavar="N", help="Limit processes.", show_default=False, min=0)
]
StopSignal = Annotated[str, typer.Option("--stop-signal", metavar="SIGNAL", help="Signal that asks it to end.")]
StopTimeout = Annotated[
    float | None,
    typer.Option("--stop-timeout", metavar="SECONDS", help="Time to end in before it is killed.", parser=seconds),
]
Network = Annotated[str, typer.Option("--network", metavar="none|host", help="Network; the backend's own by default.")]
Boot = Annotated[bool, typer.Option("--boot", help="Run the image's own init instead of a command.")]
Privileged = Annotated[bool, typer.Option("--privileged", help="Leave out the confinement of the backend.")]
Restart = Annotated[
    str,
    typer.Option("--restart", metavar="POLICY", help="Start it again: no, on-failure[:N], always, unless-stopped."),
]


class Request(NamedTuple):
    """A container to be created."""

    name: str
    spec: ContainerSpec
    backend: str
    labels: Mapping[str, str]
    auto_remove: bool


def _request(
    ctx: typer.Context,
    image: Image,
    command: Command = None,
    name: Name = "",
    interactive: Interactive = False,
    tty: Tty = False,
    rm: Remove = False,
    env: Env = None,
    env_file: EnvFile = None,
    workdir: WorkingDir = "",
    user: User = "",
    volume: Volumes = None,
    publish: Publish = None,
    read_only: ReadOnly = False,
    backend: Backend = "",
    hostname: Hostname = "",
    label: Label = None,
    memory: Memory = "",
    cpus: Cpus = 0.0,
    pids_limit: PidsLimit = 0,
    stop_signal: StopSignal = "",
    stop_timeout: StopTimeout = None,
    network: Network = "",
    boot: Boot = False,
    privileged: Privileged = False,
    restart: Restart = "no",
) -> Request:
    """Return what the options of create and run ask for."""
    if rm and restart != "no":
        raise UsageError("--rm and --restart contradict each other", hint="Leave out one of them.")
    volt = volt_of(ctx)
    options = ContainerOptions(
        command=tuple(command or ()),
        env={**_env_from_files(env_file or ()), **parse_env(env or (), os.environ)},
        working_dir=workdir,
        user=user,
        hostname=hostname,
        mounts=tuple(_mount(text) for text in volume or ()),
        ports=tuple(parse_port(text) for text in publish or ()),
        resources=Resources(
            memory_max=parse_size(memory) if memory else None,
            cpu_quota=cpus or None,
            tasks_max=pids_limit or None,
        ),
        read_only=read_only,
        tty=tty,
        stdin_open=interactive,
        stop_signal=stop_signal,
        stop_timeout=volt.config.values.stop_timeout if stop_timeout is None else stop_timeout,
        network=network,
        boot=boot,
        privileged=privileged,
        restart=parse_restart(restart),
    )
    return Request(
        name=name or new_name(),
        spec=build_container_spec(volt.images.get(image), options),
        backend=backend,
        labels=parse_labels(label or ()),
        auto_remove=rm,
    )


@takes(_request)
def create(ctx: typer.Context, request: Request) -> None:
    """Create a container without starting it, and print its name."""
    _create(volt_of(ctx), request)
    print(request.name, flush=True)


@ends_as_its_command
@takes(_request)
def run(
    ctx: typer.Context,
    request: Request,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print its name and leave it running.")] = False,
) -> None:
    """Create a container from an image and run a command in it.

    With --boot its console is shown, and Ctrl-C powers it off.

    Ends with the command's exit code; 125 if Volt failed, 126 or 127 if the command could not be run, and
    128 + n if signal n killed it.
    """
    volt = volt_of(ctx)
    if not detach:
        # Not when it is attached: by then the container exists, and its name is taken.
        check_terminal(interactive=request.spec.stdin_open, tty=request.spec.tty)
    _create(volt, request)
    try:
        status = _start(volt, request, detach=detach)
    except BackendError:
        # A command that could not be executed has an outcome; whatever else went wrong has none.
        outcome = volt.workloads.get(request.name).status.outcome
        if outcome is None or outcome.result != "not-started" or outcome.code is None:
            raise
        what = request.spec.command[0] if request.spec.command else request.spec.image
        say(f"Error: Cannot run '{what}': {outcome.reason}.")
        status = outcome.exit_status
    finally:
        if request.auto_remove and not _is_active(volt, request.name):
            _remove(volt, request.name)
    leave(status)


def _create(volt: Volt, request: Request) -> None:
    volt.workloads.create(
        request.name,
        request.spec,
        backend=request.backend,
        labels=request.labels,
        auto_remove=request.auto_remove,
    )


def _start(volt: Volt, request: Request, *, detach: bool) -> int:
    if detach:
        volt.workloads.start(request.name)
        print(request.name, flush=True)
        return 0
    with attached_streams(interactive=request.spec.stdin_open, tty=request.spec.tty) as streams:
        return volt.workloads.run_attached(request.name, streams).exit_status


def _remove(volt: Volt, name: str) -> None:
    try:
        volt.workloads.delete(name)
    except WorkloadNotFound:
        return  # any other command clears ended ones away too, and was quicker
    except (VoltError, OSError) as error:
        warn(f"'{name}' is not removed: {error}")  # the command has ended, and its exit code counts


def _is_active(volt: Volt, name: str) -> bool:
    try:
        return volt.workloads.get(name).status.status.active
    except WorkloadNotFound:
        return False


def _mount(text: str) -> Mount:
    """Parse a mount whose source may be relative to the working directory, as a shell user writes it."""
    source, colon, rest = text.partition(":")
    if source in (".", "..") or source.startswith(("./", "../")):
        text = f"{os.path.abspath(source)}{colon}{rest}"
    return Mount.parse(text)


def _env_from_files(paths: Sequence[Path]) -> dict[str, str]:
    env: dict[str, str] = {}
    for path in paths:
        try:
            lines = [line.strip() for line in path.read_text("utf-8").split("\n")]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read environment file '{path}': {error}") from error
        env.update(parse_env((line for line in lines if line and not line.startswith("#")), os.environ))
    return env
