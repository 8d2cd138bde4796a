"""Which variables of a container may go through the environment of systemd-nspawn, and which would act on it."""

from __future__ import annotations

from collections.abc import Iterable

from volt_nspawn import fallback

_PREFIXES = ("DBUS_", "GLIBC_", "LD_", "LISTEN_", "MALLOC_", "OPENSSL_", "SYSTEMD_", "WATCHDOG_")
_NAMES = frozenset(
    (
        # What the C library does not take from the environment of set-user-id programs either.
        "GCONV_PATH GETCONF_DIR HOSTALIASES LOCALDOMAIN LOCPATH NIS_PATH NLSPATH RES_OPTIONS RESOLV_HOST_CONF "
        "TMPDIR TZDIR "
        # What systemd tells the services that it starts.
        "CREDENTIALS_DIRECTORY INVOCATION_ID JOURNAL_STREAM MAINPID NOTIFY_SOCKET"
    ).split()
)


def acts_on_nspawn(name: str) -> bool:
    """Tell whether a variable means something to systemd-nspawn, to systemd in it, or to the C library.

    An image may bring any variable: SYSTEMD_SECCOMP=0 would take the filters away, LD_PRELOAD run its code outside.
    """
    return name in _NAMES or name.startswith(_PREFIXES)


def passed_names(env: Iterable[str], scripted: bool) -> list[str]:
    """Return the names of the variables that go through nspawn's environment, into which a script may set them."""
    return [name for name in env if not acts_on_nspawn(name) and (not scripted or fallback.is_passed(name))]


def withheld_note(env: Iterable[str], scripted: bool) -> str:
    """Return what somebody should know of the others; empty if there are none."""
    passed = passed_names(env, scripted)
    names = ", ".join(name for name in env if name not in passed)
    return (
        f"its first process does not get {names}: that cannot go through systemd-nspawn's environment" if names else ""
    )
