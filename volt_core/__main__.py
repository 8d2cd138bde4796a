"""The command ``volt``; what must be instant is answered before anything is imported."""

from __future__ import annotations

import sys


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
    from volt_core.cli.exits import run_app

    sys.exit(run_app(words))


if __name__ == "__main__":
    main()
