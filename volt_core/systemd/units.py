"""Unit files that Volt installs: written with a header, renewed when they are old, hand edits kept.

The section ``[X-Volt]``, which systemd passes over, tells whose unit it is and holds the digest of the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from volt_core import fs
from volt_core.systemd.unitfile import Section, Unit, parse_unit, render_unit

HEADER = "X-Volt"
KEPT = "50-kept.conf"
"""Name of the drop-in that keeps what a hand has changed."""
UNIT_FOLDER = Path("/etc/systemd/system")
_WARNING = "# Rendered by Volt. What you change here is kept as a drop-in when Volt renders it anew.\n"


class UnitFiles:
    """The unit files of one folder, in which others may have theirs."""

    def __init__(self, folder: Path = UNIT_FOLDER) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return where a unit's file is."""
        return self._folder / name

    def find(self, name: str) -> str | None:
        """Return the text of a unit, or None if there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self.path(name).read_text("utf-8", "replace")
        return None

    def texts(self, pattern: str) -> Iterator[str]:
        """Yield the texts of all units whose file name matches."""
        for path in self._folder.glob(pattern):
            text = self.find(path.name)
            if text is not None:
                yield text

    def is_current(self, name: str, text: str) -> bool:
        """Tell whether the unit was rendered as `text`, whatever hands have changed in it since."""
        found = self.find(name)
        return found is not None and _digest_in(found) == _digest_in(text)

    def install(self, name: str, text: str, former: str | None = None) -> bool:
        """Write a unit, unless it was rendered as `text` before; tell whether it was written.

        `former` is what Volt rendered last: where the file differs, the difference is kept as a drop-in.
        """
        if self.is_current(name, text):
            return False
        found = self.find(name)
        if found is not None and former is not None and found != former:
            changes = changes_between(parse_unit(former), parse_unit(found))
            if changes.sections:
                kept = self.path(f"{name}.d") / KEPT
                kept.parent.mkdir(mode=0o755, exist_ok=True)
                fs.write_atomic(kept, f"# Kept from a unit edited by hand.\n{render_unit(changes)}".encode())
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        fs.write_atomic(self.path(name), text.encode())
        return True

    def remove(self, name: str) -> bool:
        """Remove a unit and its drop-ins; tell whether there was any. None is success."""
        shutil.rmtree(self.path(f"{name}.d"), ignore_errors=True)
        return fs.remove_file(self.path(name))


def sign_unit(unit: Unit, fields: dict[str, str]) -> str:
    """Return the text of a unit with its header: `fields` and the digest of all else."""
    body = render_unit(unit)
    digest = hashlib.sha256(body.encode()).hexdigest()
    header = Section(HEADER, (*fields.items(), ("Digest", digest)))
    return f"{_WARNING}{render_unit(Unit((header,)))}\n{body}"


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
    before, after = former.values(section, key), edited.values(section, key)
    if before == after:
        return []
    # An empty assignment resets a list, and gives anything else its default.
    return [*([(key, "")] if before else []), *((key, value) for value in after)]


def _digest_in(text: str) -> str:
    values = parse_unit(text).values(HEADER, "Digest")
    return values[-1] if values else ""
