"""The command ``volt``; what must be instant is answered before anything is imported."""

from __future__ import annotations

import gc
import sys

_OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run the command line and exit with its status."""
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]):
        from volt_core import __version__

        sys.stdout.write(f"volt {__version__}\n")
        return
    if words[:1] == ["__complete"]:
        from volt_core.cli.complete import complete

        complete(words[1:])
        return
    # What start-up makes lives to the end: collecting in between finds nothing and costs a sixth of `volt ps`.
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    from volt_core.cli.exits import raise_when_terminated, run_app

    raise_when_terminated()
    status = run_app(words)
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    main()
