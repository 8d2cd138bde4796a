"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

RefName = Annotated[
    str, typer.Argument(metavar="REF", help="A ref, an image or a digest of a tree.", show_default=False)
]
