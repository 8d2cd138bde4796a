"""``volt run`` with a clock: where the time of a whole process goes, phase by phase.

Run it as ``python -m benchmarks.compare.timeline run ...`` with the moment of the start (``time.monotonic()``) in
``VOLT_BENCH_STARTED``. Writes seconds as JSON. The end of the interpreter, some milliseconds, is not in it.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

BEGAN = time.monotonic()
STARTED_VARIABLE = "VOLT_BENCH_STARTED"
PHASES = (
    "Python starts",
    "modules, command line, plan",
    "create: ref, folder, specification",
    "look, properties of the unit",
    "job: systemd, rootfs, nspawn, until the command was executed",
    "until its end was seen",
    "removal: look, folder, ref, index",
)


def main() -> None:
    """Run it, and print."""
    marks = [float(os.environ[STARTED_VARIABLE]), BEGAN]
    from volt_core.cli.exits import run_app
    from volt_core.systemd.bus import Systemd
    from volt_core.workloads.manager import Workloads

    _mark(marks, Workloads, "create", before=True)
    _mark(marks, Systemd, "start_transient", before=True)
    _mark(marks, Workloads, "run_attached")
    status = run_app(sys.argv[1:])
    marks.append(time.monotonic())
    if len(marks) != len(PHASES) + 1:
        sys.exit(f"timeline: {len(marks)} marks, exit status {status}")
    took = (later - earlier for earlier, later in itertools.pairwise(marks))
    import json

    print(json.dumps(dict(zip(PHASES, took, strict=True))))
    sys.exit(status)


def _mark(marks: list[float], owner: type, name: str, *, before: bool = False) -> None:
    """Note the moments when a method ends and, if asked for, when it begins."""
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def marked(*arguments: Any, **options: Any) -> Any:
        if before:
            marks.append(time.monotonic())
        try:
            return method(*arguments, **options)
        finally:
            marks.append(time.monotonic())

    setattr(owner, name, marked)


if __name__ == "__main__":
    main()
