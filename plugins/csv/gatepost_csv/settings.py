"""The settings of a CSV contact source."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "csv"``."""

    path: Annotated[
        Path,
        Meta(
            description="the file, in UTF-8; its first line names the columns ext_user_id, email, phone, "
            "optionally blocked (why a user must not be contacted) and any others",
            examples=["contacts.csv"],
        ),
    ]
    delimiter: Annotated[
        Literal[",", ";", "\t", "|"], Meta(description="the character between two fields")
    ] = ","
    check_every: Annotated[
        float,
        Meta(
            ge=0.01,
            le=3600,
            description="seconds between two checks of the file; a changed file is read when two checks in a "
            "row find it the same",
        ),
    ] = 5.0
