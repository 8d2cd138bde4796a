"""Where packages come from: the mirrors that the host's own apt uses. None is written into Volt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

_APT = Path("/etc/apt")
_LISTS = Path("/var/lib/apt/lists")
_RELEASE_HEAD = 4096  # bytes; the fields stand before the sums, which make up the rest
# What apt writes as %xx in the name of a file that it got from a URI.
_QUOTED = re.compile(r"""[\\|{}\[\]<>"^~_=!@#$%&*\x00-\x20\x7f]""")
_WITHOUT_POCKETS = ("sid", "unstable", "experimental")


class AptSource(msgspec.Struct, frozen=True, kw_only=True):
    """One repository that apt knows."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""
    file: str = ""
    """Name of the file that lists it."""


def host_sources(apt: Path = _APT) -> list[AptSource]:
    """Return the binary repositories of the host's apt, in both of its formats; unreadable files are left out."""
    found: list[AptSource] = []
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == ".list":
            parsed = _parse_one_line(text)
        elif path.suffix == ".sources":
            parsed = _parse_deb822(text)
        else:
            continue
        found += [msgspec.structs.replace(source, file=path.name) for source in parsed]
    return found


def distribution_sources(sources: Iterable[AptSource], distribution: str, lists: Path = _LISTS) -> list[AptSource]:
    """Return the repositories of the distribution itself, without those of third parties.

    Suite and component tell nothing: a PPA has the host's as well. The repository's own Release file does, once
    apt has fetched it. Until then a repository is the distribution's if its archive key signs it, or if it stands in
    the file where an installer writes it.
    """
    return [source for source in sources if _is_of(source, distribution, lists)]


def _is_of(source: AptSource, distribution: str, lists: Path) -> bool:
    origin = _find_origin(source, lists)
    if origin is not None:
        return origin.lower() == distribution
    return source.file in ("sources.list", f"{distribution}.sources") or Path(source.signed_by).name.startswith(
        f"{distribution}-archive-"
    )


def _find_origin(source: AptSource, lists: Path) -> str | None:
    """Return the Origin field of the repository's Release file, or None if apt has not fetched that."""
    place = re.sub(r"^[a-z0-9+]+:(//)?([^/@]*@)?", "", source.uri).rstrip("/")
    folder = _QUOTED.sub(lambda match: f"%{ord(match[0]):02x}", f"{place}/dists/{source.suite}/").replace("/", "_")
    for name in ("InRelease", "Release"):
        try:
            with (lists / f"{folder}{name}").open("rb") as file:
                head = file.read(_RELEASE_HEAD).decode("utf-8", "replace")
        except OSError:
            continue
        match = re.search(r"^Origin:[ \t]*(.*?)\s*$", head, re.MULTILINE)
        return match[1] if match else ""
    return None


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
    return parse_os_release(text)


def parse_os_release(text: str) -> Mapping[str, str]:
    """Return the fields of the text of an ``os-release``."""
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
