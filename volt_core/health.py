"""The core's part of ``volt doctor``: what this host can do, what is missing, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from volt_core import native, run
from volt_core.config import Config
from volt_core.errors import InvalidConfig, PluginClash, VoltError
from volt_core.models.extension import Check, Verdict
from volt_core.models.workload import Kind
from volt_core.paths import VoltPaths
from volt_core.plugins import Plugins
from volt_core.plugins.loader import Failure, Loaded
from volt_core.plugins.probing import probe


def core_checks(paths: VoltPaths, plugins: Plugins) -> list[Check]:
    """Carry out the checks; none changes anything."""
    return [*_python(), *_config(paths), *_plugins(plugins), *_backends(plugins), *_sources(plugins), *_state(paths)]


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(area="core", what=f"Python {version}", verdict=Verdict.OK)
    try:
        implementation = native.implementation()
    except InvalidConfig as error:
        yield Check(area="core", what=error.brief, verdict=Verdict.MISSING, hint=error.hint or "")
        return
    if implementation == "c":
        yield Check(area="core", what="C extension in use", verdict=Verdict.OK)
    else:
        yield Check(
            area="core",
            what="C extension not in use, Python twins serve: hashing and walking are slower",
            verdict=Verdict.WARNING,
            hint="Install gcc, libssl-dev and python3-dev, then reinstall volt-core.",
        )


def _config(paths: VoltPaths) -> Iterator[Check]:
    try:
        Config(paths)
    except InvalidConfig as error:
        yield Check(area="config", what=error.brief, verdict=Verdict.MISSING, hint=error.hint or "")


def _plugins(plugins: Plugins) -> Iterator[Check]:
    everything = plugins.load_all()
    for name, loaded in everything.items():
        if isinstance(loaded, Failure):
            yield Check(
                area="plugins",
                what=f"{name} of {loaded.info.origin}: {loaded.reason}",
                verdict=Verdict.MISSING,
                hint=f"See 'volt plugin inspect {name}'.",
            )
        else:
            yield Check(area="plugins", what=f"{name} of {loaded.info.origin}", verdict=Verdict.OK)
    for fault in plugins.faults:
        what = f"{fault.info.name} of {fault.info.origin} failed in a hook: {fault.reason}"
        yield Check(area="plugins", what=what, verdict=Verdict.MISSING, hint=f"Update {fault.info.distribution}.")
    backends = {it.NAME for loaded in everything.values() if isinstance(loaded, Loaded) for it in loaded.backends}
    for name in sorted(backends - plugins.backends().keys()):
        try:
            plugins.backend(name)
        except PluginClash as clash:
            yield Check(area="plugins", what=clash.brief, verdict=Verdict.MISSING, hint=clash.hint or "")
    for name in sorted(plugins.disabled):
        yield Check(area="plugins", what=f"{name}: switched off by VOLT_DISABLE_PLUGINS", verdict=Verdict.WARNING)


def _backends(plugins: Plugins) -> Iterator[Check]:
    probes = {name: (backend, probe(backend)) for name, backend in plugins.backends().items()}
    served = {backend.KIND for backend, found in probes.values() if found.available}
    for name, (backend, found) in probes.items():
        if found.available:
            what = f"{name} runs a {backend.KIND} here"
            yield Check(area="backends", what=what, verdict=Verdict.OK, hint=found.hint)
        else:
            # One that works is enough; where none runs a container, each of them says what it lacks.
            missing = backend.KIND is Kind.CONTAINER and Kind.CONTAINER not in served
            verdict = Verdict.MISSING if missing else Verdict.WARNING
            yield Check(area="backends", what=f"{name}: {found.reason}", verdict=verdict, hint=found.hint)
    if not any(backend.KIND is Kind.CONTAINER for backend, _ in probes.values()):
        yield Check(
            area="backends",
            what="no backend for containers is installed",
            verdict=Verdict.MISSING,
            hint="Install volt-nspawn or volt-proot.",
        )


def _sources(plugins: Plugins) -> Iterator[Check]:
    for scheme in plugins.schemes():
        try:
            found = probe(plugins.image_source(scheme)())
        except VoltError as error:
            yield Check(area="images", what=error.brief, verdict=Verdict.MISSING, hint=error.hint or "")
            continue
        if found.available:
            yield Check(area="images", what=f"{scheme}: by {found.version}", verdict=Verdict.OK)
        else:
            yield Check(area="images", what=f"{scheme}: {found.reason}", verdict=Verdict.WARNING, hint=found.hint)


def _state(paths: VoltPaths) -> Iterator[Check]:
    folder = paths.lib
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        yield Check(
            area="state",
            what=f"'{folder}' cannot be written",
            verdict=Verdict.MISSING,
            hint="Run as its owner, or choose another place with VOLT_ROOT.",
        )
        return
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    verdict = Verdict.OK if free > 2 * 1024**3 else Verdict.WARNING
    yield Check(area="state", what=f"{paths.lib}: {free // 1024**2} MiB free", verdict=verdict)
    if os.geteuid() == 0 and Path("/run/systemd/system").is_dir() and run.find_program("systemctl"):
        yield Check(area="state", what="systemd is PID 1", verdict=Verdict.OK)
