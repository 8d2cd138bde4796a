"""Other programs that keep trees by their content, each used as its manual says, without compression where it can be.

One that refuses part of a tree is given what it takes: ostree no directory with device nodes. Each is durable in its
own way: what it leaves in the page cache when it ends is its own business, but for casync, git and rsync, which are
followed by ``sync -f`` as a user would have to.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.compare.candidates import Candidate, quoted
from benchmarks.compare.timing import first_line


class Ostree(Candidate):
    """Bare repository, as for operating systems; checkout by hard links."""

    NAME = "ostree"
    PROGRAM = "ostree"
    LINKS = True
    DIFFERENCE = "leaves out directories with device nodes, fifos or sockets, and keeps no times"

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([cls.PROGRAM, "--version"], capture_output=True, text=True, check=True)
        return f"ostree {done.stdout.split()[2].strip(chr(39))}"

    @property
    def _repository(self) -> str:
        return f"--repo={quoted(self.place / 'repo')}"

    def initialise(self) -> None:
        self.run(f"ostree {self._repository} init --mode={'bare' if os.geteuid() == 0 else 'bare-user'}")

    def build(self, tree: Path, name: str) -> str:
        skipped = self.place / "skipped"
        skipped.write_text("".join(f"/{path}\n" for path in _folders_of_special_files(tree)))
        return f"ostree {self._repository} commit --skip-list={quoted(skipped)} -b {name} {quoted(tree)}"

    def checkout(self, name: str, target: Path) -> str:
        user = "" if os.geteuid() == 0 else "-U "
        return f"ostree {self._repository} checkout {user}-H {name} {quoted(target)}"

    def verify(self) -> str:
        return f"ostree {self._repository} fsck --quiet"

    def gc(self, dropped: str) -> str:
        self.run(f"ostree {self._repository} refs --delete {dropped}")
        return f"ostree {self._repository} prune --refs-only --depth=0"


class Casync(Candidate):
    """Chunks of 64 KiB of an archive, compressed: it has no way to leave that out."""

    NAME = "casync"
    PROGRAM = "casync"
    DIFFERENCE = "compresses, ends in `sync -f`"

    @property
    def _store(self) -> str:
        return f"--store={quoted(self.place / 'chunks.castr')}"

    def _index(self, name: str) -> Path:
        return self.place / f"{name}.caidx"

    def initialise(self) -> None:
        """Nothing: its store is a directory that it makes."""

    def build(self, tree: Path, name: str) -> str:
        make = f"casync make {self._store} --with=best {quoted(self._index(name))} {quoted(tree)}"
        return f"{make} && sync -f {quoted(self.place)}"

    def checkout(self, name: str, target: Path) -> str:
        return f"casync extract {self._store} {quoted(self._index(name))} {quoted(target)}"

    def verify(self) -> None:
        return None

    def gc(self, dropped: str) -> str:
        self._index(dropped).unlink()
        kept = " ".join(quoted(path) for path in sorted(self.place.glob("*.caidx")))
        return f"casync gc {self._store} {kept}"


class Borg(Candidate):
    """Chunks of files, neither compressed nor encrypted."""

    NAME = "borg"
    PROGRAM = "borg"
    DIFFERENCE = "not compressed, not encrypted; a build adds an archive beside the former ones"

    @property
    def environment(self) -> Mapping[str, str]:
        return {"BORG_BASE_DIR": str(self.place / "home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    @property
    def _repository(self) -> str:
        return quoted(self.place / "repo")

    def initialise(self) -> None:
        self.run(f"borg init --encryption none {self._repository}")

    def build(self, tree: Path, name: str) -> str:
        # An archive is never replaced: the former one would only cost a deletion that the others do not do here.
        archive = f"{name}.{len(self._archives(name))}"
        return f"cd {quoted(tree)} && borg create --compression none {self._repository}::{archive} ."

    def _archives(self, name: str) -> list[str]:
        known = self.run(f"borg list --short {self._repository}").split()
        return [it for it in known if it.split(".")[0] == name]

    def checkout(self, name: str, target: Path) -> str:
        archive = self._archives(name)[-1]
        return f"mkdir {quoted(target)} && cd {quoted(target)} && borg extract {self._repository}::{archive}"

    def verify(self) -> str:
        return f"borg check --verify-data {self._repository}"

    def gc(self, dropped: str) -> str:
        return f"borg delete {self._repository}::{self._archives(dropped)[-1]} && borg compact {self._repository}"


class Restic(Candidate):
    """Chunks in packs, always encrypted."""

    NAME = "restic"
    PROGRAM = "restic"
    DIFFERENCE = "encrypts; a build adds a snapshot beside the former ones"

    @classmethod
    def version(cls) -> str:
        return " ".join(first_line(cls.PROGRAM, "version").split()[:2])

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.place / "repo"),
            "RESTIC_CACHE_DIR": str(self.place / "cache"),
        }

    def initialise(self) -> None:
        self.run("restic init")

    def build(self, tree: Path, name: str) -> str:
        return f"cd {quoted(tree)} && restic backup --quiet --compression off --tag {name} ."

    def _latest(self, name: str) -> str:
        snapshots = json.loads(self.run(f"restic snapshots --json --tag {name}"))
        return str(snapshots[-1]["id"])

    def checkout(self, name: str, target: Path) -> str:
        return f"restic restore --quiet {self._latest(name)} --target {quoted(target)}"

    def verify(self) -> str:
        return "restic check --quiet --read-data"

    def gc(self, dropped: str) -> str:
        return f"restic forget --quiet --prune {self._latest(dropped)}"


class Git(Candidate):
    """With SHA-256 and without compression. Modes, owners, times, attributes and empty directories are lost."""

    NAME = "git"
    PROGRAM = "git"
    DIFFERENCE = "keeps no owners, times, attributes or empty directories; ends in `sync -f`; its gc packs all"

    @property
    def environment(self) -> Mapping[str, str]:
        person = {f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return {**person, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}

    def _git(self, name: str, tree: Path | None = None) -> str:
        """Each name has a branch and an index of its own."""
        work_tree = f" --work-tree={quoted(tree)}" if tree else ""
        return f"GIT_INDEX_FILE={quoted(self.place / f'{name}.index')} git --git-dir={quoted(self.place)}{work_tree}"

    def initialise(self) -> None:
        self.run(f"git init --quiet --bare --object-format=sha256 {quoted(self.place)}")
        for setting in ("core.bare false", "core.compression 0", "gc.auto 0"):
            self.run(f"git --git-dir={quoted(self.place)} config {setting}")

    def build(self, tree: Path, name: str) -> str:
        self.run(f"git --git-dir={quoted(self.place)} symbolic-ref HEAD refs/heads/{name}")
        git = self._git(name, tree)
        add = f"{git} add --all --force . && {git} commit --quiet --allow-empty -m {name}"
        return f"cd {quoted(tree)} && {add} && sync -f {quoted(self.place)}"

    def checkout(self, name: str, target: Path) -> str:
        git = self._git("checkout", target)
        return f"mkdir {quoted(target)} && {git} read-tree {name} && {git} checkout-index --all --force"

    def verify(self) -> str:
        return f"git --git-dir={quoted(self.place)} fsck --full"

    def gc(self, dropped: str) -> str:
        git = f"git --git-dir={quoted(self.place)}"
        (self.place / f"{dropped}.index").unlink()
        kept = next(path.stem for path in self.place.glob("*.index"))
        self.run(f"{git} symbolic-ref HEAD refs/heads/{kept} && {git} branch --quiet -D {dropped}")
        return f"{git} reflog expire --expire=now --all && {git} gc --quiet --prune=now"


class Rsync(Candidate):
    """Copies that share unchanged files by hard links; it has no store that could be verified or collected."""

    NAME = "rsync"
    PROGRAM = "rsync"
    DIFFERENCE = "keeps copies, not contents by their hash; ends in `sync -f`"

    def initialise(self) -> None:
        """Nothing: a copy is a directory."""

    def build(self, tree: Path, name: str) -> str:
        known = sorted(self.place.glob(f"{name}.*"))
        target = self.place / f"{name}.{len(known):03}"
        link = f"--link-dest={quoted(known[-1])} " if known else ""
        return f"rsync -a {link}{quoted(tree)}/ {quoted(target)} && sync -f {quoted(self.place)}"

    def checkout(self, name: str, target: Path) -> None:
        return None

    def verify(self) -> None:
        return None

    def gc(self, dropped: str) -> None:
        return None


PEERS: tuple[type[Candidate], ...] = (Ostree, Casync, Borg, Restic, Git, Rsync)


def _folders_of_special_files(tree: Path) -> list[str]:
    """Return the directories of device nodes, fifos and sockets, relative to the tree: to skip a file is not enough."""
    found = set()
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFLNK):
                found.add(os.path.relpath(folder, tree))
    return sorted(found)
