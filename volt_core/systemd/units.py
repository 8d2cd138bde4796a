"""Unit files that Volt installs: written with a header, renewed when they are old, hand edits kept.

The section ``[X-Volt]``, which systemd passes over, tells whose unit it is and holds the digest of the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volt_core import fs
from volt_core.errors import ConflictError
from volt_core.systemd.unitfile import Section, Unit, parse_unit, render_unit

HEADER = "X-Volt"
KEPT = "50-kept.conf"
"""Name of the drop-in that keeps what a hand has changed."""
UNIT_FOLDER = Path("/etc/systemd/system")
TRANSIENT_FOLDER = Path("/run/systemd/transient")
_LAID_ASIDE = "edited-"
# Where systemctl writes drop-ins of its own: `edit --runtime` and `set-property`.
_OTHERS = tuple(map(Path, ("/run/systemd/system", "/etc/systemd/system.control", "/run/systemd/system.control")))
_LINKS = ("wants", "requires", "upholds")
_WARNING = "# Rendered by Volt. What you change here is kept as a drop-in when Volt renders it anew.\n"


class UnitFiles:
    """The unit files of one folder, in which others may have theirs.

    Args:
        folder: where they are.
        others: folders in which systemd looks for drop-ins of the same units.
    """

    def __init__(self, folder: Path = UNIT_FOLDER, others: Sequence[Path] = _OTHERS) -> None:
        self._folder = folder
        self._others = others

    def path(self, name: str) -> Path:
        """Return where a unit's file is."""
        return self._folder / name

    def find(self, name: str) -> str | None:
        """Return the text of a unit, or None if there is no file of it; a link, as of a masked one, is none."""
        path = self.path(name)
        if path.is_symlink() or not path.is_file():
            return None
        with contextlib.suppress(FileNotFoundError):
            return path.read_text("utf-8", "replace")
        return None

    def texts(self, pattern: str) -> Iterator[str]:
        """Yield the texts of all units whose file name matches, and of their drop-ins."""
        for path in (*self._folder.glob(pattern), *self._folder.glob(f"{pattern}.d/*.conf")):
            text = self.find(str(path.relative_to(self._folder)))
            if text is not None:
                yield text

    def is_current(self, name: str, text: str) -> bool:
        """Tell whether the unit was rendered as `text`, whatever hands have changed in it since."""
        found = self.find(name)
        return found is not None and header_of(found) == header_of(text)

    def install(self, name: str, text: str, former: str | None = None) -> bool:
        """Write a unit, unless it was rendered as `text` before; tell whether it was written.

        `former` is what Volt rendered last, if that is still known: where the file differs, the difference is kept as
        a drop-in. Without it an edited file is laid aside (:meth:`laid_aside`). Raises :class:`ConflictError` if
        something else is in the unit's place.
        """
        self.check_place(name)
        if self.is_current(name, text):
            return False
        found = self.find(name)
        if found is not None and not _is_as_rendered(found):
            self._keep(name, found, former)
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        fs.write_atomic(self.path(name), text.encode())
        return True

    def check_place(self, name: str) -> None:
        """Raise :class:`ConflictError` if a unit cannot be written where it belongs: it is masked, or no file."""
        path = self.path(name)
        if path.is_symlink():
            target = os.readlink(path)
            if target == os.devnull:
                raise ConflictError(f"Unit '{name}' is masked", hint=f"Unmask it: systemctl unmask {name}")
            raise ConflictError(
                f"Cannot write unit '{name}': it is a link to '{target}'", hint=f"If it is not needed: rm {path}"
            )
        if path.is_dir():
            raise ConflictError(
                f"Cannot write unit '{name}': a directory is in its place", hint=f"If it is not needed: rm -r {path}"
            )

    def laid_aside(self, name: str) -> list[Path]:
        """Return the edited files of which it was not known what the edit was."""
        return sorted(self._drop_ins(name).glob(f"{_LAID_ASIDE}*"))

    def remove(self, name: str) -> bool:
        """Remove a unit, its drop-ins and what points at it; tell whether there was any. None is success.

        Raises :class:`ConflictError` if a directory is in the unit's place.
        """
        for link in self._links(name):
            link.unlink(missing_ok=True)
        for folder in (self._folder, *self._others):
            shutil.rmtree(folder / f"{name}.d", ignore_errors=True)
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            self.check_place(name)
            raise
        return True

    def _links(self, name: str) -> Iterator[Path]:
        """Yield the links by which the unit is enabled, and its aliases."""
        for kind in _LINKS:
            yield from self._folder.glob(f"*.{kind}/{name}")
        for path in self._folder.glob("*"):
            if path.name != name and path.is_symlink() and os.path.basename(os.readlink(path)) == name:
                yield path

    def _keep(self, name: str, found: str, former: str | None) -> None:
        """Keep what a hand has changed: as a drop-in if it is known from what, else the whole."""
        digest = hashlib.sha256(found.encode()).hexdigest()
        self._drop_ins(name).mkdir(mode=0o755, parents=True, exist_ok=True)
        # A unit that has lost its header was most likely edited like any other.
        if former is None or header_of(found) not in ({}, header_of(former)):
            fs.write_atomic(self._drop_ins(name) / f"{_LAID_ASIDE}{digest[:8]}", found.encode())
            return
        drop_in = self._drop_ins(name) / KEPT
        before = drop_in.read_text("utf-8", "replace") if drop_in.is_file() else ""
        if digest in before:
            return
        # What was in effect: the file with the earlier edits after it.
        edited = Unit((*parse_unit(found).sections, *parse_unit(before).sections))
        changes = changes_between(parse_unit(former), edited)
        if changes.sections:
            text = f"# Kept from a unit that was edited by hand; its SHA-256:\n# {digest}\n{render_unit(changes)}"
            fs.write_atomic(drop_in, text.encode())
        else:
            drop_in.unlink(missing_ok=True)

    def _drop_ins(self, name: str) -> Path:
        return self.path(f"{name}.d")


def sign_unit(unit: Unit, fields: Mapping[str, str]) -> str:
    """Return the text of a unit with its header: `fields` and the digest of all else."""
    body = render_unit(unit)
    header = Section(HEADER, (*fields.items(), ("Digest", _digest(unit))))
    return f"{_WARNING}{render_unit(Unit((header,)))}\n{body}"


def header_of(text: str) -> dict[str, str]:
    """Return what the header of a unit says; nothing if it has none."""
    return {key: value for part in parse_unit(text).sections if part.name == HEADER for key, value in part.entries}


def changes_between(former: Unit, edited: Unit) -> Unit:
    """Return a drop-in that makes `edited` of `former`."""
    sections = []
    for name in dict.fromkeys(section.name for section in (*former.sections, *edited.sections)):
        if name == HEADER:
            continue
        keys = dict.fromkeys(
            key
            for unit in (former, edited)
            for section in unit.sections
            if section.name == name
            for key, _ in section.entries
        )
        entries = tuple(entry for key in keys for entry in _changed(former, edited, name, key))
        if entries:
            sections.append(Section(name, entries))
    return Unit(tuple(sections))


def _changed(former: Unit, edited: Unit, section: str, key: str) -> list[tuple[str, str]]:
    before, after = _in_effect(former.values(section, key)), _in_effect(edited.values(section, key))
    added = after[len(before) :]
    if before + added == after:
        return [(key, value) for value in added]
    return [(key, ""), *((key, value) for value in after)]


def _in_effect(values: list[str]) -> list[str]:
    """Leave out what an empty assignment takes back: it resets a list, and gives anything else its default."""
    last = max((at for at, value in enumerate(values) if not value), default=-1)
    return values[last + 1 :]


def _is_as_rendered(text: str) -> bool:
    """Tell whether nobody has changed a unit since it was signed; remarks do not count."""
    rest = Unit(tuple(section for section in parse_unit(text).sections if section.name != HEADER))
    return header_of(text).get("Digest") == _digest(rest)


def _digest(unit: Unit) -> str:
    return hashlib.sha256(render_unit(unit).encode()).hexdigest()
