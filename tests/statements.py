"""The statements that a store's driver gets."""

from typing import NamedTuple


class Executed(NamedTuple):
    """One call of the driver."""

    text: str
    parameters: object
    """Of one row, or a list of those of each row."""
    many: bool


def executed(owner):
    """Return the list in which each further statement is noted; ``owner`` is an engine or a connection."""
    noted = []

    def noting(execute, *, many):
        def note(cursor, text, parameters, context=None):
            noted.append(Executed(text, parameters, many))
            return execute(cursor, text, parameters, context)

        return note

    # Not an event of SQLAlchemy: the outbox runs most statements without its execution.
    dialect = owner.dialect
    dialect.do_execute = noting(dialect.do_execute, many=False)
    dialect.do_executemany = noting(dialect.do_executemany, many=True)
    return noted
