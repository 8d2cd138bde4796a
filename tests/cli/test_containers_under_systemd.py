"""Containers from the command line once more, in test hosts, where Volt takes nspawn: the verbs are the same."""

from __future__ import annotations

import pytest

from .test_containers import TestImages, TestListing, TestRun, TestSeveralNames, TestVerbs

__all__ = ["TestImages", "TestListing", "TestRun", "TestSeveralNames", "TestVerbs"]

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]
