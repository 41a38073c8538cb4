"""``python -m gatepost``: the command, where its script is not on the path."""

import os
import sys


def _leave_the_working_directory() -> None:
    """Import nothing from where the command happens to be called: ``-m`` puts that folder first."""
    if sys.flags.safe_path or not sys.path:
        return
    try:
        here = os.getcwd()  # noqa: PTH109  pathlib would have to be imported, and from there
    except OSError:
        here = ""
    if sys.path[0] in {"", here}:
        del sys.path[0]


_leave_the_working_directory()

from gatepost.cli import main  # noqa: E402  the above comes first

main(prog_name="gatepost")
