"""The error of a file that can't be used."""

from pathlib import Path


class BadFile(Exception):
    """A file as a whole can't be used; ``line`` counts from 1, and 0 means that no line is to blame.

    ``file`` is None while it is not known, or where all files together are to blame.
    """

    def __init__(self, problem: str, line: int = 0, file: Path | None = None) -> None:
        # With thousands separators, because the redaction takes seven digits in a row for a phone number.
        super().__init__(f"line {line:,}: {problem}" if line else problem)
        self.problem = problem
        self.line = line
        self.file = file
