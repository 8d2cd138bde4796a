"""A new plugin: from a name and a kind to a distribution that can be installed, tested and used at once."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Final

import msgspec

from volt_core import API_VERSION, fs
from volt_core.errors import AlreadyExists, InvalidName, NotFoundError, UsageError
from volt_core.names import shown
from volt_core.plugins import Plugins
from volt_core.scaffold.plain_store import plain_store

KINDS: Final[Mapping[str, str]] = {
    "backend": "runs containers",
    "store": "keeps the trees of images",
    "source": "fetches images",
    "section": "plans a section of compose files",
    "command": "adds commands",
}
"""What a plugin can be, and how its description goes on after its name."""

PREFIX: Final = "volt-"
_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_LONGEST: Final = 30
"""Letters of a name: with more, lines of the generated code would be too long for its own settings."""
_CLASSES: Final = {"Backend", "SupervisedBackend", "Store", "WholeStore", "ImageSource", "ComposeSection"}
"""What the generated modules import, so that the plugin's own class cannot be called that."""
_TEMPLATES: Final = Path(__file__).with_name("templates")
_SUFFIX: Final = ".tmpl"
"""So that no tool takes a template for what it is a template of."""


class NewPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, or would be."""

    name: str
    kind: str
    distribution: str
    package: str
    directory: Path
    files: tuple[str, ...]
    """Relative to the directory, sorted."""


def new_plugin(
    name: str, kind: str, parent: Path, plugins: Plugins, *, commands: Collection[str] = (), dry_run: bool = False
) -> NewPlugin:
    """Write the distribution of a plugin into a new directory of `parent`: all of it, or nothing.

    `commands` are those that no plugin can have. With `dry_run` nothing is written.

    Raises :class:`UsageError` for a kind or a name that cannot be, :class:`AlreadyExists` where the name is taken by
    what is installed or the directory is there, :class:`NotFoundError` without a directory `parent`.
    """
    if kind not in KINDS:
        raise UsageError(f"Unknown kind of plugin {shown(kind)}", hint=f"Known are {', '.join(KINDS)}.")
    _check_name(name)
    _check_free(name, plugins, commands if kind == "command" else ())
    directory = parent / f"{PREFIX}{name}"
    if not parent.is_dir():
        raise NotFoundError(
            f"There is no directory {shown(str(parent))}", hint="Make it first, or name another with --directory."
        )
    if os.path.lexists(directory):
        raise _is_there(directory)
    files = _render(name, kind)
    if not dry_run:
        _write(directory, files)
    return NewPlugin(
        name=name,
        kind=kind,
        distribution=f"{PREFIX}{name}",
        package=package_of(name),
        directory=directory,
        files=tuple(sorted(files)),
    )


def package_of(name: str) -> str:
    """Return the name of the Python package: ``my-store`` gives ``volt_my_store``."""
    return f"volt_{key_of(name)}"


def key_of(name: str) -> str:
    """Return the key of a compose section, which is an identifier."""
    return name.replace("-", "_")


def class_of(name: str, kind: str) -> str:
    """Return the name of the class: ``lxc`` gives ``LxcBackend``, and ``my-store`` ``MyStore``."""
    words = name.split("-")
    found = "".join(word.capitalize() for word in (*words, *[kind] * (words[-1] != kind)))
    return f"My{found}" if found in _CLASSES else found


def _check_name(name: str) -> None:
    if name.startswith(PREFIX):
        raise InvalidName(
            f"Invalid plugin name {shown(name)}: the distribution is called '{PREFIX}NAME' anyway",
            hint=f"Leave out '{PREFIX}'.",
        )
    if not _NAME.match(name) or len(name) > _LONGEST:
        raise InvalidName(
            f"Invalid plugin name {shown(name)}",
            hint=f"Use 1 to {_LONGEST} lower-case letters and digits, starting with a letter; "
            "single dashes may part words.",
        )


def _check_free(name: str, plugins: Plugins, commands: Collection[str]) -> None:
    """Raise :class:`AlreadyExists` if users would meet two of one name once the plugin is installed."""
    core = ["a command of volt-core"] * (name in commands)
    for holder in (*core, *_holders(plugins, name)):
        raise AlreadyExists(
            f"The name '{name}' is taken: it is {holder}",
            hint="Choose another; 'volt plugin list' shows those that are taken.",
        )


def _holders(plugins: Plugins, name: str) -> Iterator[str]:
    """Yield what has the name, and whose it is."""
    for loaded in plugins.load_all().values():
        info, provides = loaded.info, loaded.info.provides
        if info.name == name:
            yield f"the plugin of {info.origin}"
        if provides is not None:
            commands = tuple(group.name for group in provides.commands)
            named = {"a backend": provides.backends, "a store": provides.stores, "an image source": provides.schemes}
            named |= {"a command": commands, "a compose section": provides.sections}
            yield from (f"{what} of {info.origin}" for what, has in named.items() if {name, key_of(name)} & set(has))
    try:
        found = importlib.metadata.distribution(f"{PREFIX}{name}")
    except importlib.metadata.PackageNotFoundError:
        return
    yield f"the distribution {found.name} {found.version}"


def _is_there(directory: Path) -> AlreadyExists:
    return AlreadyExists(
        f"{shown(str(directory))} exists already", hint="Choose another name, or another place with --directory."
    )


def _render(name: str, kind: str) -> dict[str, str]:
    """Return the content of each file by its path; a kind's own template replaces the common one of that path."""
    package = package_of(name)
    values = {
        "name": name,
        "kind": kind,
        "distribution": f"{PREFIX}{name}",
        "package": package,
        "key": key_of(name),
        "variable": package.upper(),
        "class_name": class_of(name, kind),
        "summary": f"Volt plugin that {KINDS[kind]}",
        "api_version": str(API_VERSION),
        "requirement": "volt-core>={0}.{1},<{0}.{2}".format(*API_VERSION, API_VERSION[1] + 1),
    }
    files = {}
    for folder in (_TEMPLATES / "common", _TEMPLATES / kind):
        for path in folder.rglob(f"*{_SUFFIX}"):
            parts = path.relative_to(folder).as_posix().removesuffix(_SUFFIX).split("/")
            target = "/".join(part.replace("PACKAGE", package).replace("dot-", ".") for part in parts)
            files[target] = Template(path.read_text(encoding="utf-8")).substitute(values)
    if kind == "store":
        files |= {f"src/{package}/{module}": text for module, text in plain_store(name, package, values["class_name"])}
    return files


def _write(directory: Path, files: Mapping[str, str]) -> None:
    """Write a directory that appears when it is complete; whatever interrupts it, nothing is left."""
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.tmp")
    try:
        for name, text in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        temporary.rename(directory)
    except BaseException as error:
        fs.remove_tree(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _is_there(directory) from error
        raise
