"""Configuration in layers: defaults, the system's file, the user's file, the environment, flags; the last one wins.

Every setting knows where its value came from. YAML is read only if a file exists, since its parser costs
more start-up time than all of Volt's own modules.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from volt_core import fs
from volt_core.errors import InvalidConfig
from volt_core.names import shown
from volt_core.paths import ROOT_VARIABLE, VoltPaths

_PREFIX = "VOLT_"
_NEW_FILE_MODE = 0o644
# Variables that are no settings: they steer one process or its tests.
_NOT_SETTINGS = frozenset(
    {ROOT_VARIABLE, "VOLT_NATIVE", "VOLT_DISABLE_PLUGINS", "VOLT_TRACE_HOOKS", "VOLT_DEBUG"},
)

MAX_SECONDS = 100_000_000.0
"""Three years: more is a slip, and far below what the clocks and waits of the system take."""

_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, by the names that stand in ``config.yaml``; in the environment ``VOLT_`` and upper case."""

    backend: str = ""
    """Container backend; empty means the best whose probe succeeds."""
    store: str = "cas"
    """Store plugin."""
    mirror: str = ""
    """Where ``image pull`` gets packages; empty means the host's apt sources, else the tool's default."""
    mtime: Literal["keep", "clamp"] = "keep"
    """What becomes of modification times when an image is stored."""
    stop_timeout: _Seconds = 10.0
    """Seconds between a stop signal and SIGKILL."""
    gc_grace: _Seconds = 3600.0
    """Seconds that an unreferenced object is kept."""


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}
_HELP = "Known settings: " + ", ".join(sorted(_FIELDS)) + "."


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One effective value and the place it comes from."""

    name: str
    value: str | float
    origin: str


class Config:
    """The effective settings of one instance.

    Args:
        paths: the instance; its ``config.yaml`` is the user's layer of a user's instance, else the system's.
        environ: where ``VOLT_*`` variables are looked up.
        flags: values from the command line, by setting name; None means not given.
    """

    def __init__(
        self, paths: VoltPaths, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
    ) -> None:
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for origin, layer in self._layers(paths, environ, flags or {}):
            for name, value in layer.items():
                values[name] = _checked(name, value, origin)
                origins[name] = origin
        self.values = msgspec.convert(values, Settings)
        self._origins = origins

    def setting(self, name: str) -> Setting:
        """Return the effective value of one setting. Raises :class:`InvalidConfig` for an unknown name."""
        _check_known(name, "the command line")
        return Setting(name=name, value=getattr(self.values, name), origin=self._origins.get(name, "default"))

    def settings(self) -> list[Setting]:
        """Return all settings, sorted by name."""
        return [self.setting(name) for name in sorted(_FIELDS)]

    @staticmethod
    def _layers(
        paths: VoltPaths, environ: Mapping[str, str], flags: Mapping[str, object]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        files = [paths.config_file]
        if not paths.system and not paths.instance:
            files.insert(0, VoltPaths.for_system().config_file)
        for path in files:
            yield str(path), _read(path)
        for variable, value in sorted(environ.items()):
            name = variable.removeprefix(_PREFIX).lower()
            if variable.startswith(_PREFIX) and name in _FIELDS and variable not in _NOT_SETTINGS:
                yield f"environment variable {variable}", {name: value}
        yield "flag", {name: value for name, value in flags.items() if value is not None}


def change(path: Path, name: str, value: str | None) -> None:
    """Set one setting in a file, or with None take it out; comments and the rest of the file stay.

    Raises :class:`InvalidConfig`; the file is only touched when the result is valid.
    """
    _check_known(name, "the command line")
    checked = None if value is None else _checked(name, value, "the command line")
    # A file kept elsewhere, as with dotfiles, is changed where it is.
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with fs.lock(lock, what=f"'{path}'"), contextlib.ExitStack() as stack:
        stack.callback(lock.unlink)
        known = _read(path)
        before = path.read_text("utf-8") if path.exists() else ""
        if checked is not None:
            after = _with(before, name, checked, known)
        elif name in known:
            after = _without(before, name)
        else:
            return
        _check_result(after, path)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else _NEW_FILE_MODE
        fs.write_atomic(path, after.encode(), mode=mode)


def _check_result(text: str, path: Path) -> None:
    """Refuse a change whose result no later command could read."""
    try:
        for name, value in _parse(text, path).items():
            _checked(name, value, str(path))
    except InvalidConfig as error:
        raise InvalidConfig(
            f"Cannot change '{path}': it would not be valid", details=str(error), hint="Change it in an editor."
        ) from error


def _read(path: Path) -> Mapping[str, Any]:
    """Return the settings in a file; a missing file has none."""
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"Cannot read '{path}': {error}", hint="Mend or remove the file.") from error
    return _parse(text, path)


def _parse(text: str, path: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        raise InvalidConfig(
            f"'{path}' is not valid YAML", details=str(error), hint="Mend the line it names."
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InvalidConfig(f"'{path}' must hold settings, one 'name: value' a line", hint=_HELP)
    for name in document:
        _check_known(name, str(path))
    return document


def _with(text: str, name: str, value: str | float, known: Mapping[str, Any]) -> str:
    """Return the file's text with one setting set."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    out = io.StringIO()
    if known:
        document: Any = yaml.load(text)
        document[name] = value
    else:
        # Comments hang on settings for ruamel; without any, they are kept by hand.
        out.write("".join(line for line in text.splitlines(keepends=True) if line.strip()[:1] in ("", "#")))
        document = {name: value}
    yaml.dump(document, out)
    return out.getvalue()


def _without(text: str, name: str) -> str:
    """Return the file's text without the lines of one setting: ruamel would take the comment below along."""
    from ruamel.yaml import YAML

    lines = text.splitlines(keepends=True)
    settings = YAML().compose(text)
    key, value = next((key, value) for key, value in settings.value if key.value == name)
    if settings.flow_style:
        raise InvalidConfig(f"Cannot take '{name}' out of settings in braces", hint="Write one 'name: value' a line.")
    end = value.end_mark.line + (value.end_mark.column > 0)
    return "".join(lines[: key.start_mark.line] + lines[end:])


def _check_known(name: str, origin: str) -> None:
    if name not in _FIELDS:
        import difflib

        close = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else _HELP
        raise InvalidConfig(f"Unknown setting {shown(name)} in {origin}", hint=hint)


def _checked(name: str, value: Any, origin: str) -> Any:
    """Return the value as the setting's type."""
    try:
        return msgspec.convert(value, _FIELDS[name].type, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"Bad value for '{name}' in {origin}: {error}", hint=f"Given was {shown(str(value))}."
        ) from error
