"""The two decorators: plugins put :data:`hookimpl` on their implementations."""

from __future__ import annotations

import pluggy

PROJECT = "volt"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
