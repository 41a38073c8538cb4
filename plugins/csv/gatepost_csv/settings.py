"""The settings of a CSV contact source."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(pattern=r"\S")]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "csv"``."""

    path: Annotated[
        Path,
        Meta(
            description="the file, in UTF-8, also compressed with gzip; its first line names the columns ext_user_id, "
            "email, phone, optionally blocked (why a user must not be contacted) and any others. Or several files: a "
            "folder (its *.csv and *.csv.gz), or a name with * or ?",
            examples=["contacts.csv", "contacts/*.csv"],
        ),
    ]
    delimiter: Annotated[
        Literal[",", ";", "\t", "|"], Meta(description="the character between two fields")
    ] = ","
    columns: Annotated[
        dict[_Text, _Text],
        Meta(
            description="the names that columns have in the file, by the names that they have here",
            examples=[{"ext_user_id": "player_id", "email": "mail_address"}],
        ),
    ] = {}
    check_every: Annotated[
        float,
        Meta(
            ge=0.01,
            le=3600,
            description="seconds between two checks of the files; changed files are read when two checks in a "
            "row find them the same",
        ),
    ] = 5.0
