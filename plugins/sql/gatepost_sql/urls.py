"""The setting ``url``: which database it leads to."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_sql.database import Database
from gatepost_sql.mysql import MysqlDriver
from gatepost_sql.other import OtherDriver
from gatepost_sql.postgresql import PostgresDatabase
from gatepost_sql.settings import Settings
from gatepost_sql.sqlite import SqliteDriver
from gatepost_sql.threaded import Driver, ThreadedDatabase

# SQLAlchemy's spelling of a URL names the driver too.
_POSTGRESQL = ("postgresql://", "postgres://", "postgresql+asyncpg://")
_MYSQL = ("mysql://", "mariadb://", "mysql+pymysql://", "mariadb+pymysql://")
_ENCRYPTED = ("sslmode=require", "sslmode=verify-ca", "sslmode=verify-full", "ssl_ca=")

_PORT = re.compile(r":\d*$")


def open_database(settings: Settings, folder: Path, deadline: float) -> Database:
    """Return the database of the settings, without a connection; ``deadline`` is in seconds. Raises ConfigError."""
    text = settings.url.reveal()
    if text.startswith(_POSTGRESQL):
        url = Secret(text.replace("+asyncpg", "", 1) if text.startswith("postgresql+") else text)
        return PostgresDatabase(url, settings.connections, deadline)
    driver = _driver(settings.url, settings.connections, folder, deadline)
    return ThreadedDatabase(driver, settings.connections, deadline)


def _driver(secret: Secret, connections: int, folder: Path, deadline: float) -> Driver:
    url = _parsed(secret)
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return SqliteDriver(url, folder, connections, deadline)
        case "mysql" | "mariadb" | "mysql+pymysql" | "mariadb+pymysql":
            return MysqlDriver(url, connections, deadline)
        case _:
            return OtherDriver(url, connections, deadline)


def _parsed(secret: Secret) -> URL:
    try:
        return make_url(secret.reveal())
    except (ArgumentError, ValueError):
        # Outside of this block: the error may quote the password.
        pass
    raise ConfigError(
        [
            Fault(
                "url",
                "must be such as postgresql://USER:PASSWORD@HOST/DATABASE, mysql://..., mariadb://... or sqlite:///PATH; "
                "in a password write @ as %40 and / as %2F",
            )
        ]
    )


def url_warnings(secret: Secret) -> Iterator[str]:
    """Yield a warning where addresses may leave this machine unencrypted."""
    text = secret.reveal()
    known = text.startswith((*_POSTGRESQL, *_MYSQL))
    if known and not any(option in text for option in _ENCRYPTED) and not all(map(_is_local, _hosts(text))):
        option = "?sslmode=verify-full&sslrootcert=FILE" if text.startswith(_POSTGRESQL) else "?ssl_ca=FILE"
        yield f"leads to another machine, perhaps without TLS: add {option}"


def _hosts(text: str) -> list[str]:
    """Return the hosts of a URL; PostgreSQL's may have several."""
    address = text.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[0]
    return [_PORT.sub("", host) for host in address.split(",")]


def _is_local(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
