"""A unit as the properties of a transient one: the same assignments, in the types that D-Bus wants.

Knows the keys that Volt's own units use. What each property is called and how it is typed stands in
org.freedesktop.systemd1(5); values come as a unit file has them, so quotes and specifiers are resolved here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from volt_core.errors import InvalidSpec
from volt_core.systemd.unitfile import Unit

Property = tuple[str, tuple[str, Any]]
_INFINITE = 2**64 - 1
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_UNESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)|\$\$|%%")


def split_exec(value: str) -> list[str]:
    """Return the words of a command line that :func:`~volt_core.systemd.unitfile.quote_exec` made."""
    return [_unquote(match[1]) if match[1] is not None else match[2] for match in _WORD.finditer(value)]


def _unquote(text: str) -> str:
    plain = {"n": "\n", "t": "\t", "r": "\r"}

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        return chr(int(match[1][1:], 16)) if len(match[1]) == 3 else plain.get(match[1], match[1])

    return _UNESCAPE.sub(one, text)


def _plain(value: str) -> str:
    return value.replace("%%", "%")


def _exec(value: str) -> Any:
    argv = split_exec(value)
    # Variables are expanded when the command is executed, wherever it came from; specifiers only in files.
    return [(argv[0], [word.replace("$", "$$") for word in argv], False)]


def _seconds(value: str) -> int:
    return _INFINITE if value == "infinity" else round(float(value.removesuffix("s")) * 1_000_000)


def _bytes_or_infinity(value: str) -> int:
    return _INFINITE if value == "infinity" else int(value)


def _yes(value: str) -> bool:
    return value == "yes"


def _statuses(value: str) -> tuple[list[int], list[int]]:
    return ([int(status) for status in value.split()], [])


# Key of a unit file: property, signature, conversion.
_KEYS: Mapping[str, tuple[str, str, Callable[[str], Any]]] = {
    "Description": ("Description", "s", _plain),
    "CollectMode": ("CollectMode", "s", str),
    "StartLimitBurst": ("StartLimitBurst", "u", int),
    "StartLimitIntervalSec": ("StartLimitIntervalUSec", "t", _seconds),
    "Type": ("Type", "s", str),
    "NotifyAccess": ("NotifyAccess", "s", str),
    "Slice": ("Slice", "s", str),
    "Delegate": ("Delegate", "b", _yes),
    "KillMode": ("KillMode", "s", str),
    "SendSIGHUP": ("SendSIGHUP", "b", _yes),
    "TimeoutStartSec": ("TimeoutStartUSec", "t", _seconds),
    "TimeoutStopSec": ("TimeoutStopUSec", "t", _seconds),
    "SyslogIdentifier": ("SyslogIdentifier", "s", str),
    "SyslogLevelPrefix": ("SyslogLevelPrefix", "b", _yes),
    "Restart": ("Restart", "s", str),
    "RestartForceExitStatus": ("RestartForceExitStatus", "(aiai)", _statuses),
    "RestartPreventExitStatus": ("RestartPreventExitStatus", "(aiai)", _statuses),
    "SuccessExitStatus": ("SuccessExitStatus", "(aiai)", _statuses),
    "MemoryMax": ("MemoryMax", "t", _bytes_or_infinity),
    "TasksMax": ("TasksMax", "t", _bytes_or_infinity),
    "CPUQuota": ("CPUQuotaPerSecUSec", "t", lambda value: round(float(value.removesuffix("%")) * 10_000)),
    "DevicePolicy": ("DevicePolicy", "s", str),
}
# Keys that may be assigned more than once.
_LISTS: Mapping[str, tuple[str, str, Callable[[str], Any]]] = {
    "ExecStart": ("ExecStart", "a(sasb)", _exec),
    "ExecStop": ("ExecStop", "a(sasb)", _exec),
    "ExecStopPost": ("ExecStopPost", "a(sasb)", _exec),
    "LogExtraFields": ("LogExtraFields", "aay", lambda value: [_plain(value).encode()]),
    "DeviceAllow": ("DeviceAllow", "a(ss)", lambda value: [tuple(value.split(" ", 1))]),
    "Environment": ("Environment", "as", split_exec),
    "After": ("After", "as", str.split),
    "Wants": ("Wants", "as", str.split),
}
_SECTIONS = ("Unit", "Service")


def build_properties(unit: Unit) -> list[Property]:
    """Return the properties of the [Unit] and [Service] sections; [Install] has no meaning for a transient unit.

    Raises :class:`InvalidSpec` for a key that it does not know.
    """
    single: dict[str, tuple[str, Any]] = {}
    lists: dict[str, tuple[str, list[Any]]] = {}
    for section in unit.sections:
        for key, value in section.entries if section.name in _SECTIONS else ():
            if key in _KEYS:
                name, signature, convert = _KEYS[key]
                single[name] = (signature, convert(value))
            elif key in _LISTS:
                name, signature, convert = _LISTS[key]
                lists.setdefault(name, (signature, []))[1].extend(convert(value))
            else:
                raise InvalidSpec(f"A transient unit cannot have '{key}='")
    return [*single.items(), *lists.items()]
