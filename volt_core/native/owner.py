"""Which owners files can be given to, as the extension is told it."""

from __future__ import annotations

from typing import Any, NamedTuple

from volt_core.native.extension import CImplementation


class Owner(NamedTuple):
    """What this process may set: `uids` and `gids` are all that it can give to files, unless it `may_all`."""

    uid: int
    gid: int
    may_all: bool
    may_capabilities: bool
    uids: tuple[range, ...]
    gids: tuple[range, ...]


class OwnerStruct:
    """A ``const struct volt_owner *`` and what it points to.

    Attributes:
        pointer: for the call; good for as long as this object lives.
    """

    def __init__(self, native: CImplementation, owner: Owner) -> None:
        self._uids, self._gids = (
            native.ffi.new("struct volt_range[]", [(ids.start, len(ids)) for ids in ranges])
            for ranges in (owner.uids, owner.gids)
        )
        self.pointer: Any = native.ffi.new(
            "struct volt_owner *",
            {
                "uid": owner.uid,
                "gid": owner.gid,
                "may_all": owner.may_all,
                "may_capabilities": owner.may_capabilities,
                "uids": self._uids,
                "n_uids": len(owner.uids),
                "gids": self._gids,
                "n_gids": len(owner.gids),
            },
        )
