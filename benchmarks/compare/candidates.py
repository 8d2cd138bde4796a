"""What is compared: a store and the commands by which it is used. Here Volt; others are in :mod:`peers`."""

from __future__ import annotations

import abc
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarks.compare.timing import clean_environment, failure, first_line
from volt_core import __version__

VOLT = Path(sys.executable).with_name("volt")


class Candidate(abc.ABC):
    """One program with a store of its own at `place`, a directory that it may fill.

    What gives a command gives it as text for a shell, to be timed from its start to its end; None means that the
    program has no such thing. The other methods act at once and are not timed.
    """

    NAME: ClassVar[str]
    PROGRAM: ClassVar[str]
    LINKS: ClassVar[bool] = False
    """Whether its checkout is one of hard links; else it copies."""
    DIFFERENCE: ClassVar[str] = ""
    """What it does more or less than the others: told with its figures."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.NAME

    @property
    def environment(self) -> Mapping[str, str]:
        """What its processes get beside the ordinary environment."""
        return {}

    @classmethod
    def find(cls) -> bool:
        """Tell whether it is installed."""
        return shutil.which(cls.PROGRAM) is not None

    @classmethod
    def version(cls) -> str:
        """Return its name and version."""
        return first_line(cls.PROGRAM, "--version")

    def reset(self) -> None:
        """Begin with an empty store."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        self.initialise()

    @abc.abstractmethod
    def initialise(self) -> None:
        """Make what must be there before the first build; the place is there and empty."""

    @abc.abstractmethod
    def build(self, tree: Path, name: str) -> str:
        """Store a tree under a name; a former one of that name is replaced."""

    @abc.abstractmethod
    def checkout(self, name: str, target: Path) -> str | None:
        """Make the tree of that name at `target`, where nothing is."""

    @abc.abstractmethod
    def verify(self) -> str | None:
        """Read all content and check it."""

    @abc.abstractmethod
    def gc(self, dropped: str) -> str | None:
        """Remove what only the tree named `dropped` needs. Called before the command is run; may drop the name."""

    def run(self, command: str) -> str:
        """Run a command of it, untimed, and return what it printed."""
        environment = clean_environment(self.environment)
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise failure(done.returncode, command, done.stderr)
        return done.stdout


class Volt(Candidate):
    """Volt with the store of that name, which a plugin registers by ``volt_register_stores``."""

    NAME = "volt"
    PROGRAM = str(VOLT)
    LINKS = True

    def __init__(self, place: Path, store: str = "cas", environment: Mapping[str, str] | None = None) -> None:
        super().__init__(place)
        self.store = store
        self._environment = {"VOLT_STORE": store, **(environment or {})}
        self.command = f"{shlex.quote(str(VOLT))} --root {shlex.quote(str(place))}"

    @property
    def name(self) -> str:
        return self.NAME if self.store == "cas" else f"{self.NAME}, store {self.store}"

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @classmethod
    def version(cls) -> str:
        return f"volt {__version__}"

    def initialise(self) -> None:
        """Nothing: the store is made by the first build. What finds the plugins is remembered outside of it."""
        self.run(f"{self.command} info")

    def build(self, tree: Path, name: str) -> str:
        return f"{self.command} cas build {quoted(tree)} --ref {name}"

    def checkout(self, name: str, target: Path) -> str:
        return f"{self.command} cas checkout {name} {quoted(target)} --link"

    def verify(self) -> str:
        return f"{self.command} cas verify"

    def gc(self, dropped: str) -> str:
        self.ask(f"store.delete_ref({dropped!r})")
        return f"{self.command} cas gc --grace 0"

    def ask(self, expression: str) -> str:
        """Evaluate an expression of `store`, the open store, in a process that sees the same plugins."""
        names = "from volt_core.api import Volt; from volt_core.contracts import Bundles"
        code = f"{names}; store = Volt({str(self.place)!r}).store; print({expression})"
        return self.run(f"{shlex.quote(sys.executable)} -P -c {shlex.quote(code)}").strip()

    def have_bundles(self) -> bool:
        """Tell whether the store has bundles: it is no must."""
        return self.ask("isinstance(store, Bundles)") == "True"


def quoted(path: Path) -> str:
    """Return the path for a shell."""
    return shlex.quote(str(path))
