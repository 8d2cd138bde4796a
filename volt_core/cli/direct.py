"""What the verbs of the life cycle do, however their words were parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from volt_core.api import Volt
from volt_core.cli.exits import Failures


def each(names: Sequence[str], act: Callable[[str], int | None]) -> None:
    """Act on each name and print what came out, or the name; one that fails does not keep the others."""
    failures = Failures()
    for name in names:
        with failures.collect():
            result = act(name)
            print(name if result is None else result, flush=True)
    failures.leave()


def start(volt: Volt, *names: str) -> None:
    """Start workloads, several at a time."""
    if len(names) == 1:
        each(names, volt.workloads.start)
        return
    from volt_core.cli.at_once import begin_all

    volt.workloads.renew(names)
    begun = iter(begin_all(names, volt.workloads.start))
    each(names, lambda _: next(begun).result())


def stop(volt: Volt, *names: str, timeout: float | None = None) -> None:
    """Stop workloads; `timeout` in seconds, None for each one's own."""
    each(names, lambda name: volt.workloads.stop(name, timeout))


def restart(volt: Volt, *names: str, timeout: float | None = None) -> None:
    """Stop workloads as :func:`stop` does, then start them."""
    each(names, lambda name: volt.workloads.restart(name, timeout))


def freeze(volt: Volt, *names: str) -> None:
    """Suspend all processes of workloads."""
    each(names, volt.workloads.freeze)


def thaw(volt: Volt, *names: str) -> None:
    """Resume frozen workloads."""
    each(names, volt.workloads.thaw)


def delete(volt: Volt, *names: str, force: bool = False) -> None:
    """Delete workloads with everything they wrote; with `force` also what is running, or damaged."""
    each(names, lambda name: volt.workloads.delete(name, force=force))
