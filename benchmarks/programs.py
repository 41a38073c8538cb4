"""The programs that make the load, or that the gateway is compared with."""

import os
import shutil
import subprocess

SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""The path of commands, also of those for root."""

PACKAGES = {"wrk": "wrk", "bearerbox": "kannel", "postfix": "postfix"}
"""The Debian package of each program."""


def find(program: str) -> str | None:
    """Return the path of a program; None where it is not installed."""
    return shutil.which(program, path=SYSTEM)


def install() -> None:
    """Install what is missing, on Debian and Ubuntu as root. Elsewhere the rows that need it say so."""
    missing = [package for program, package in PACKAGES.items() if not find(program)]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", *missing]
    subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
