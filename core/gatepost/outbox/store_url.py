"""The setting ``store.url``: which database it names."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

_NOT_A_STORE = (
    "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE; "
    "in a password write @ as %40 and / as %2F"
)


def sqlite_path(url: Secret, base: Path) -> Path | None:
    """Return the file of a ``sqlite:///`` URL, relative to ``base``, or None for a PostgreSQL URL.

    Raises ConfigError for any other URL.
    """
    try:
        parsed = make_url(url.reveal())
    except (ArgumentError, ValueError):
        # ValueError: the port is not a number, for example because the password contains an @ or a /.
        raise ConfigError([Fault("store.url", _NOT_A_STORE)]) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        return None
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError([Fault("store.url", _NOT_A_STORE)])
    if not parsed.database or parsed.database == ":memory:":
        problem = "must name a file (sqlite:///PATH): a database in memory does not survive a crash"
        raise ConfigError([Fault("store.url", problem)])
    # Resolved: a file may be reached by several names, and all of them must lead to the same lock file.
    return (base / parsed.database).resolve()
