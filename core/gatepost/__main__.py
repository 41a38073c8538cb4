"""``python -m gatepost``: the command, also where its script is not on the PATH."""

import os
import sys


def _leave_the_working_directory() -> None:
    """Keep Python from importing modules of the working directory, which ``-m`` puts first on the path."""
    if sys.flags.safe_path or not sys.path:
        return
    try:
        here = os.getcwd()  # noqa: PTH109  pathlib would be imported from the working directory
    except OSError:
        here = ""
    if sys.path[0] in {"", here}:
        del sys.path[0]


_leave_the_working_directory()

from gatepost.cli import main  # noqa: E402  the above comes first

main(prog_name="gatepost")
