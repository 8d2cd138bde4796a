"""Published ports."""

from __future__ import annotations

from typing import Literal

import msgspec


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One port of the host that leads into a workload."""

    host_port: int
    port: int
    host_address: str = ""
    protocol: Literal["tcp", "udp"] = "tcp"
