"""Versioned structs in JSON files: read, migrate, refuse what is newer, write atomically.

A struct that is kept in a file has a first field ``schema``. A new shape gets the next number and a
migration, a function from the old document to the new one; golden files of each release stay in
``tests/compat``. Unknown fields pass, so that an older Volt of the same schema can read on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from volt_core import fs
from volt_core.errors import StateCorrupt, StateTooNew, UsageError

T = TypeVar("T", bound=msgspec.Struct)
Document = dict[str, Any]
Migration = Callable[[Document], Document]

# What bytes of any kind can raise on their way through decoder, migrations and the rules in __post_init__;
# msgspec.DecodeError and UnicodeDecodeError are ValueErrors.
_DAMAGE = (ValueError, TypeError, LookupError, RecursionError, UsageError)
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Header(msgspec.Struct):
    schema: int = 1


_decode_header = msgspec.json.Decoder(_Header).decode


class StateFile(Generic[T]):
    """How one type of struct is kept in JSON files.

    Args:
        model: the struct; the default of its field ``schema`` is the current version.
        migrations: by the version that each one leads away from.
        hint: what to do about a damaged file.
    """

    def __init__(
        self, model: type[T], migrations: Mapping[int, Migration] | None = None, *, hint: str | None = None
    ) -> None:
        self._decoder = msgspec.json.Decoder(model)
        self._model = model
        self._migrations = migrations or {}
        self._hint = hint
        fields = {field.name: field for field in msgspec.structs.fields(model)}
        self._version: int = fields["schema"].default

    def read(self, path: Path) -> T:
        """Return the struct in the file.

        Raises FileNotFoundError, :class:`StateCorrupt`, :class:`StateTooNew`.
        """
        return self.decode(path.read_bytes(), str(path))

    def find(self, path: Path) -> T | None:
        """Return the struct in the file, or None if there is no file."""
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    def decode(self, data: bytes, origin: str) -> T:
        """Decode and, if need be, migrate; `origin` names the file. Raises as :meth:`read` does."""
        try:
            return self._decode(data, origin)
        except _DAMAGE as error:
            brief = error.brief if isinstance(error, UsageError) else str(error)
            raise StateCorrupt(f"State file '{origin}' is damaged: {brief}", hint=self._hint) from error

    def _decode(self, data: bytes, origin: str) -> T:
        version = _decode_header(data).schema
        if version == self._version:
            return self._decoder.decode(data)
        if version > self._version:
            raise StateTooNew(
                f"'{origin}' has schema {version}, this Volt knows {self._version}",
                hint="It was written by a newer Volt: upgrade this one.",
            )
        document: Document = msgspec.json.decode(data)
        while version < self._version:
            if version not in self._migrations:
                raise msgspec.ValidationError(f"no migration leads from schema {version}")
            document = self._migrations[version](document)
            version += 1
            document["schema"] = version
        return msgspec.convert(document, self._model)

    def encode(self, value: T) -> bytes:
        """Return the bytes of the file: one JSON document and a newline."""
        # omit_defaults keeps files short but would drop the version, which a reader needs most.
        document = {"schema": self._version, **msgspec.to_builtins(value)}
        return _encode(document) + b"\n"

    def write(self, path: Path, value: T, *, mode: int = 0o644) -> None:
        """Replace the file atomically and durably."""
        fs.write_atomic(path, self.encode(value), mode=mode)
