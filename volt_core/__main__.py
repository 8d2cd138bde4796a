"""The command ``volt``; what must be instant is answered before anything is imported."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

_OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run the command line and exit with its status."""
    _open_missing_streams()
    words = sys.argv[1:]
    try:
        if _answer_at_once(words):
            sys.stdout.flush()
            return
    except OSError as error:
        from volt_core.cli.exits import lost_output

        sys.exit(lost_output(error))
    # What start-up makes lives to the end: collecting in between finds nothing and costs a sixth of `volt ps`.
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    from volt_core.cli.exits import raise_when_terminated, run_app

    raise_when_terminated()
    _end(run_app(words))


def _end(status: int) -> None:
    """End the process, and leave it to the kernel to take it down, which object by object costs milliseconds.

    What was registered for the end runs as always, and where threads are still at work the interpreter waits for them.
    """
    import atexit
    import threading

    if threading.active_count() == 1:
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            # A failure has nobody left to tell: what run_app() itself could not write, it has answered for.
            os._exit(status)
    gc.freeze()
    sys.exit(status)


def _answer_at_once(words: Sequence[str]) -> bool:
    """Answer what needs none of Volt's parts; tell whether it was that."""
    if words in (["--version"], ["-V"]):
        from volt_core import __version__

        sys.stdout.write(f"volt {__version__}\n")
        return True
    if words[:1] == ["__complete"]:
        from volt_core.cli.complete import complete

        complete(words[1:])
        return True
    return False


def _open_missing_streams() -> None:
    """Open /dev/null where the caller closed a standard stream: else the next file that is opened takes its number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one, since those below are open by now.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", encoding="utf-8"))


if __name__ == "__main__":
    main()
