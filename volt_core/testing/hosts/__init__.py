"""Throw-away machines with systemd as PID 1, on which tests of what needs systemd run.

A host is a Debian tree that systemd-nspawn boots in about half a second. PID 1, cgroups, journal and network are its
own, so it is a machine for everything that Volt does but limits: it has no cgroup controllers where the machine below
has given them to cgroup v1. What needs these runs in one that is a virtual machine, which boots the same tree in ten
seconds. Needs root, systemd-nspawn, mmdebstrap, and a mirror for the first tree.

============  =========================================================================
``base``      Debian trees, made once and kept
``site``      the layer above them with the wheels that are to be tested
``machine``   booting a host, running commands in it, taking it away
``virtual``   the host that is a virtual machine, which is booted for one command
``kernel``    the kernel and initrd of that
``forward``   pytest: tests with the marker ``needs_systemd`` run in hosts of each suite
============  =========================================================================
"""

SUITES = ("bookworm", "trixie")
"""The releases of Debian that hosts are made of: with systemd 252 and 257."""
VIRTUAL_SUITE = SUITES[0]
VIRTUAL = f"{VIRTUAL_SUITE}-vm"
"""What stands for a suite where the host is a virtual machine, and the release that it boots."""
SUITE_VARIABLE = "VOLT_TEST_HOST"
"""Set inside of a host, to its suite."""
