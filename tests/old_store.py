"""A store as an old version has left it, made in seconds: by the migrations of that time, which never change, and by SQL."""

from pathlib import Path

from alembic import command
from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, bindparam, text

from gatepost.outbox import migrate

FOLDER = Path(__file__).parent / "outbox" / "stores"

CONTENT = b"\x81\xa4text\xa5hello"
"""The content of each message, as version 0.1 has stored it."""

FINGERPRINT = b"\x01" * 32


def make(connection: Connection, revision: str, messages: int, now: int) -> None:
    """Create the tables of a revision in an empty store, and the messages; ``now`` is in milliseconds since the epoch."""
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    lines = (FOLDER / f"{revision}.sql").read_text().splitlines()
    statements = "\n".join(line for line in lines if not line.startswith("--")).split(";\n")
    values = {
        "count": (messages, Integer),
        "now": (now, BigInteger),
        "content": (CONTENT, LargeBinary),
        "fingerprint": (FINGERPRINT, LargeBinary),
    }
    for statement in filter(str.strip, statements):
        used = [
            bindparam(name, value, type_)
            for name, (value, type_) in values.items()
            if f":{name}" in statement
        ]
        connection.execute(text(statement).bindparams(*used))
