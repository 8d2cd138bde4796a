"""Where packages come from: the mirrors that the host's own apt uses. None is written into Volt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

_APT = Path("/etc/apt")
_WITHOUT_POCKETS = ("sid", "unstable", "experimental")


class AptSource(msgspec.Struct, frozen=True, kw_only=True):
    """One repository that apt knows."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


def host_sources(apt: Path = _APT) -> list[AptSource]:
    """Return the binary repositories of the host's apt, in both of its formats; unreadable files are left out."""
    found: list[AptSource] = []
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == ".list":
            found += _parse_one_line(text)
        elif path.suffix == ".sources":
            found += _parse_deb822(text)
    return found


def mirror_lines(suite: str, host_suite: str, sources: list[AptSource]) -> list[str]:
    """Return ``sources.list`` lines for `suite` from the mirrors of a host that runs `host_suite`, or nothing.

    Updates and security come along where the host has them and the suite can have them: a line is taken
    over with the host's suite replaced by the wanted one.
    """
    pockets = ("",) if suite in _WITHOUT_POCKETS else ("", "-updates", "-security")
    lines = []
    for source in sources:
        rest = source.suite.removeprefix(host_suite)
        if source.suite.startswith(host_suite) and rest in pockets and "main" in source.components:
            signed = f"[signed-by={source.signed_by}] " if source.signed_by else ""
            lines.append(f"deb {signed}{source.uri} {suite}{rest} main")
    return list(dict.fromkeys(lines))


def os_release(path: Path = Path("/etc/os-release")) -> Mapping[str, str]:
    """Return the fields of ``os-release``; empty if there is none."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, value in pairs}


def _parse_one_line(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        match = re.match(r"^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            yield AptSource(
                uri=match[2], suite=match[3], components=tuple(match[4].split()), signed_by=options.get("signed-by", "")
            )


def _parse_deb822(text: str) -> Iterator[AptSource]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            key, colon, value = line.partition(":")
            if line.startswith((" ", "\t")) and last:
                fields[last] += f" {line.strip()}"
            elif colon and not line.startswith("#"):
                last = key.strip().lower()
                fields[last] = value.strip()
        if fields.get("enabled", "yes").lower() == "no" or "deb" not in fields.get("types", "").split():
            continue
        # An embedded key has no path that another tool could be given.
        signed = fields.get("signed-by", "")
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptSource(
                    uri=uri,
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    signed_by=signed if signed.startswith("/") else "",
                )
