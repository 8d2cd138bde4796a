"""``python -m volt_core.supervisor FD``: the supervisor itself; see :mod:`volt_core.supervisor.main`."""

from volt_core.supervisor.main import main

if __name__ == "__main__":
    main()
