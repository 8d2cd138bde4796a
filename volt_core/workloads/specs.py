"""From an image's defaults and a user's options to what a container runs; the rules are Docker's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from volt_core.config import MAX_SECONDS
from volt_core.errors import InvalidSpec
from volt_core.models.image import DEFAULT_PATH, Image
from volt_core.models.mount import Mount, normal_path
from volt_core.models.network import PublishedPort
from volt_core.models.resources import Resources
from volt_core.models.signals import parse_signal
from volt_core.models.workload import ContainerSpec, RestartPolicy
from volt_core.names import shown

_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*\Z")
_SIZE = re.compile(r"^(\d{1,18}(?:\.\d+)?)([bkmgt]?)i?b?\Z", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_HOSTNAME = re.compile(r"^(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\Z", re.ASCII)
_PORT = re.compile(r"^(?:(?:(\d+(?:\.\d+){3}|\[[0-9a-fA-F:]+\]):)?(\d{0,5}):)?(\d{1,5})(?:/(tcp|udp))?\Z", re.ASCII)

_RESTART = re.compile(r"^(?:(no|always|unless-stopped)|on-failure(?::([1-9]\d{0,5}))?)\Z", re.ASCII)


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may say about a container beside its image; empty means the image's default."""

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    resources: Resources = Resources()
    read_only: bool = False
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str = ""
    stop_timeout: float = 10.0
    network: str = ""
    boot: bool = False
    privileged: bool = False
    restart: RestartPolicy = RestartPolicy()


def build_container_spec(image: Image, options: ContainerOptions) -> ContainerSpec:
    """Return the complete spec. Raises :class:`InvalidSpec`."""
    config = image.config
    command = () if options.boot else (*config.entrypoint, *(options.command or config.cmd))
    if options.boot and (options.command or options.tty or options.stdin_open):
        raise InvalidSpec(
            "A container that boots has neither a command nor a terminal of its own",
            hint="Leave out the command, -i and -t; look inside with: volt shell NAME.",
        )
    if not command and not options.boot:
        raise InvalidSpec(f"Image '{image.name}' has no default command", hint="Name one behind the image.")
    if any("\0" in word for word in command):
        raise InvalidSpec("A command cannot hold a NUL character")
    working_dir = options.working_dir or config.working_dir or "/"
    if not working_dir.startswith("/"):
        raise InvalidSpec(f"Working directory {shown(working_dir)} is not absolute", hint="Start it with '/'.")
    if options.hostname and not _HOSTNAME.match(options.hostname):
        raise InvalidSpec(
            f"Invalid host name {shown(options.hostname)}",
            hint="Use letters, digits and dashes, up to 63 between two dots and 253 in all.",
        )
    targets = [mount.target for mount in options.mounts]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidSpec(f"Two mounts have the target {shown(target)}", hint="Leave one out.")
    stop_signal = options.stop_signal or config.stop_signal or "SIGTERM"
    parse_signal(stop_signal)
    if not 0 <= options.stop_timeout <= MAX_SECONDS:
        raise InvalidSpec(
            f"The stop timeout {options.stop_timeout:g} is not in the range 0 to {MAX_SECONDS:g}",
            hint="Give it in seconds; 0 kills at once.",
        )
    if not math.isfinite(options.resources.cpu_quota or 0):
        raise InvalidSpec("The limit of CPU time is no number", hint="Give it in cores: 0.5, 2.")
    return ContainerSpec(
        image=image.name,
        root=image.digest,
        command=command,
        env={"PATH": DEFAULT_PATH, **parse_env(config.env, {}), **options.env},
        working_dir=normal_path(working_dir),
        user=options.user or config.user,
        hostname=options.hostname,
        mounts=options.mounts,
        ports=options.ports,
        resources=options.resources,
        read_only=options.read_only,
        tty=options.tty,
        stdin_open=options.stdin_open,
        stop_signal=stop_signal,
        stop_timeout=options.stop_timeout,
        network=parse_network(options.network),
        boot=options.boot,
        privileged=options.privileged,
        restart=options.restart,
    )


def parse_network(text: str) -> Literal["", "none", "host"]:
    """Return the network that a container asks for. Raises :class:`InvalidSpec`."""
    match text:
        case "" | "none" | "host":
            return text
    raise InvalidSpec(f"There is no network {shown(text)}", hint="Choose none or host.")


def parse_restart(text: str) -> RestartPolicy:
    """Parse ``no``, ``always``, ``unless-stopped`` or ``on-failure[:N]``. Raises :class:`InvalidSpec`."""
    match = _RESTART.match(text)
    if match is None:
        raise InvalidSpec(
            f"Invalid restart policy {shown(text)}", hint="Choose no, on-failure[:N], always or unless-stopped."
        )
    return msgspec.convert({"policy": match[1] or "on-failure", "max_retries": int(match[2] or 0)}, RestartPolicy)


def parse_env(words: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Parse ``NAME=VALUE``; a bare ``NAME`` takes its value from `environ`, or is left out if it has none."""
    result: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not _VARIABLE.match(name) or "\0" in value:
            # Not the word: its value may be a secret.
            raise InvalidSpec(f"Invalid environment variable {shown(name)}", hint="Write it as NAME=VALUE.")
        if equals:
            result[name] = value
        elif name in environ:
            result[name] = environ[name]
    return result


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``512m`` or ``1.5G`` (powers of 1024). Raises :class:`InvalidSpec`."""
    match = _SIZE.match(text)
    if match is None:
        raise InvalidSpec(f"Invalid size {shown(text)}", hint="Write a number and a unit: 512M, 1.5G.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_port(text: str) -> PublishedPort:
    """Parse ``[[ADDRESS:]HOST_PORT:]PORT[/tcp|udp]`` as ``-p`` takes it. Raises :class:`InvalidSpec`."""
    match = _PORT.match(text)
    address, host_port, port, protocol = match.groups(default="") if match else ("", "", "0", "")
    numbers = int(host_port or port), int(port)
    address = address.strip("[]")
    if not all(0 < number < 65536 for number in numbers) or not _is_address(address):
        raise InvalidSpec(
            f"Invalid port {shown(text)}", hint="Write it as HOST_PORT:PORT or ADDRESS:HOST_PORT:PORT/udp."
        )
    return PublishedPort(
        host_port=numbers[0],
        port=numbers[1],
        host_address=address,
        protocol="udp" if protocol == "udp" else "tcp",
    )


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        return not text or bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def parse_labels(words: Sequence[str]) -> dict[str, str]:
    """Parse ``KEY=VALUE`` and bare ``KEY``. Raises :class:`InvalidSpec`."""
    labels: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key:
            raise InvalidSpec(f"Invalid label {shown(word)}", hint="Write it as KEY=VALUE.")
        labels[key] = value
    return labels
