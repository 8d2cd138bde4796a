"""The host's apt sources in both formats, and what of them serves another suite."""

from __future__ import annotations

import msgspec
import pytest

from volt_core.images.mirrors import AptSource, distribution_sources, host_sources, mirror_lines, os_release

ONE_LINE = """\
# deb http://commented.example.org/debian bookworm main
deb http://deb.example.org/debian bookworm main contrib # trailing
deb-src http://deb.example.org/debian bookworm main
   deb [ arch=amd64 signed-by=/usr/share/keyrings/a.gpg ] http://deb.example.org/debian bookworm-updates main
deb [signed-by=/k.gpg arch=amd64,arm64] http://sec.example.org/debian-security bookworm-security main
deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main
deb http://flat.example.org/repo ./
nonsense
"""
DEB822 = """\
# The archive
Types: deb deb-src
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

types: deb
uris: http://sec.example.org/debian-security
suites:
 bookworm-security
# in the middle
components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example.org/debian
Suites: bookworm
Components: main
"""


def apt(tmp_path, **files):
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        name = name.replace("__", ".")
        folder = tmp_path if name == "sources.list" else tmp_path / "sources.list.d"
        (folder / name).write_text(text)
    found = host_sources(tmp_path)
    assert {it.file for it in found} <= {name.replace("__", ".") for name in files}
    return [msgspec.structs.replace(it, file="") for it in found]


def source(uri, suite, *components, signed_by="", file=""):
    return AptSource(uri=f"http://{uri}", suite=suite, components=components, signed_by=signed_by, file=file)


def test_the_one_line_format(tmp_path):
    found = apt(tmp_path, sources__list=ONE_LINE)
    assert [it for it in found if it.uri.startswith("http")] == [
        source("deb.example.org/debian", "bookworm", "main", "contrib"),
        source("deb.example.org/debian", "bookworm-updates", "main", signed_by="/usr/share/keyrings/a.gpg"),
        source("sec.example.org/debian-security", "bookworm-security", "main", signed_by="/k.gpg"),
    ]
    assert all("cdrom" not in line for line in mirror_lines("bookworm", "bookworm", found))


def test_the_deb822_format(tmp_path):
    key = "/usr/share/keyrings/debian.gpg"
    assert apt(tmp_path, debian__sources=DEB822) == [
        source("deb.example.org/debian", "bookworm", "main", "contrib", signed_by=key),
        source("deb.example.org/debian", "bookworm-updates", "main", "contrib", signed_by=key),
        source("sec.example.org/debian-security", "bookworm-security", "main"),
    ]


def test_both_formats_and_what_is_neither(tmp_path):
    line = "deb http://{}.example.org/debian bookworm main\n"
    found = apt(
        tmp_path,
        sources__list=line.format("one"),
        b__list=line.format("three"),
        a__list=line.format("two"),
        c__list__save=line.format("saved"),
        d__sources="Types: deb\nURIs: http://four.example.org/\nSuites: bookworm\nComponents: main\n",
    )
    hosts = [it.uri.removeprefix("http://").partition(".")[0] for it in found]
    assert hosts == ["one", "two", "three", "four"]


def test_what_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/a.list").write_bytes(b"deb http://x.example.org/ bookworm main \xff\n")
    (tmp_path / "sources.list.d/b.list").mkdir()
    assert host_sources(tmp_path) == []
    assert host_sources(tmp_path / "none") == []


SOURCES = [
    source("deb.example.org/debian", "bookworm", "main", "contrib"),
    source("deb.example.org/debian", "bookworm-updates", "main"),
    source("deb.example.org/debian", "bookworm-backports", "main"),
    source("sec.example.org/debian-security", "bookworm-security", "main", signed_by="/k.gpg"),
    source("deb.example.org/debian", "bookworm", "main"),
    source("deb.example.org/firmware", "bookworm", "non-free-firmware"),
    source("vendor.example.org/apt", "stable", "main"),
]


def test_the_hosts_own_suite():
    assert mirror_lines("bookworm", "bookworm", SOURCES) == [
        "deb http://deb.example.org/debian bookworm main",
        "deb http://deb.example.org/debian bookworm-updates main",
        "deb [signed-by=/k.gpg] http://sec.example.org/debian-security bookworm-security main",
    ]


def test_another_suite_from_the_same_mirrors():
    assert mirror_lines("trixie", "bookworm", SOURCES) == [
        "deb http://deb.example.org/debian trixie main",
        "deb http://deb.example.org/debian trixie-updates main",
        "deb [signed-by=/k.gpg] http://sec.example.org/debian-security trixie-security main",
    ]


@pytest.mark.parametrize("suite", ["sid", "unstable", "experimental"])
def test_a_suite_without_updates_and_security(suite):
    assert mirror_lines(suite, "bookworm", SOURCES) == [f"deb http://deb.example.org/debian {suite} main"]


@pytest.mark.parametrize(("host", "sources"), [("", SOURCES), ("trixie", SOURCES), ("bookworm", [])])
def test_a_host_whose_mirrors_do_not_serve(host, sources):
    assert mirror_lines("bookworm", host, sources) == []


ARCHIVE_KEY = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
ARCHIVE = source("archive.example.org/ubuntu", "noble", "main", file="ubuntu.sources")
PPA = source("ppa.example.org/who/what/ubuntu", "noble", "main", file="who-what.sources")
VENDOR = source(
    "apt.vendor.example.org", "noble", "main", signed_by="/usr/share/keyrings/vendor-archive.gpg", file="v.list"
)
MOVED = source("user_1@mirror.example.org:8080/ub_untu/", "noble-updates", "main", file="other.list")


def fetched(lists, name, origin):
    (lists / name).write_text(f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{origin}Suite: noble\n")


def test_repositories_of_third_parties_are_left_out(tmp_path):
    fetched(tmp_path, "archive.example.org_ubuntu_dists_noble_InRelease", "Origin: Ubuntu\n")
    fetched(tmp_path, "ppa.example.org_who_what_ubuntu_dists_noble_InRelease", "Origin: LP-PPA-who-what\n")
    fetched(tmp_path, "apt.vendor.example.org_dists_noble_Release", "")
    fetched(tmp_path, "mirror.example.org:8080_ub%5funtu_dists_noble-updates_InRelease", "Origin: Ubuntu \n")
    assert distribution_sources([ARCHIVE, PPA, VENDOR, MOVED], "ubuntu", tmp_path) == [ARCHIVE, MOVED]
    assert distribution_sources([ARCHIVE, PPA, VENDOR, MOVED], "debian", tmp_path) == []


def test_one_that_stands_among_the_distributions_is_left_out_all_the_same(tmp_path):
    ppa = msgspec.structs.replace(PPA, file="sources.list", signed_by=ARCHIVE_KEY)
    fetched(tmp_path, "ppa.example.org_who_what_ubuntu_dists_noble_InRelease", "Origin: LP-PPA-who-what\n")
    assert distribution_sources([ppa], "ubuntu", tmp_path) == []


def test_before_apt_has_fetched_anything_key_and_place_decide(tmp_path):
    signed = msgspec.structs.replace(MOVED, signed_by=ARCHIVE_KEY)
    classic = msgspec.structs.replace(ARCHIVE, file="sources.list")
    found = distribution_sources([ARCHIVE, PPA, VENDOR, MOVED, signed, classic], "ubuntu", tmp_path / "none")
    assert found == [ARCHIVE, signed, classic]


def test_os_release(tmp_path):
    path = tmp_path / "os-release"
    path.write_text("# c\nID=debian\nVERSION_CODENAME=\"bookworm\"\nHOME_URL='http://x.example.org/?a=b'\nodd\n")
    release = os_release(path)
    assert release == {"ID": "debian", "VERSION_CODENAME": "bookworm", "HOME_URL": "http://x.example.org/?a=b"}
    assert os_release(tmp_path / "none") == {}
