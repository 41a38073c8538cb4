"""The units for systemd: valid, hardened, and agreed with the defaults of the configuration."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gatepost.config.settings import Server

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
MAX_EXPOSURE = 20
"""In tenths, as systemd-analyze takes it: of 10 for a service without any protection."""


def needs(program):
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"{program} is not installed (make programs; Debian's package systemd)",
    )


def run(*command, code=0):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def root(tmp_path):
    """Return the root folder of a system with the units, an installed gateway, and no user but root."""
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in UNITS.glob("gatepost.*"):
        shutil.copy(unit, units)
    program = tmp_path / "opt" / "gatepost" / "bin" / "gatepost"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\n")
    return tmp_path


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_about_the_units(root):
    shutil.copytree(SYSTEM_UNITS, root / SYSTEM_UNITS.relative_to("/"), symlinks=True)

    assert not run(
        "systemd-analyze", "verify", "--man=no", f"--root={root}", "gatepost.service", "gatepost.socket"
    )


@needs("systemd-analyze")
def test_the_service_can_do_little_besides_its_work():
    unit = str(UNITS / "gatepost.service")

    output = run("systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit)

    exposure = re.search(r"exposure level for gatepost\.service: ([\d.]+)", output)
    assert float(exposure[1]) <= MAX_EXPOSURE / 10


@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of other users")
def test_the_user_can_read_the_configuration_and_only_root_the_credentials(root):
    run("systemd-sysusers", f"--root={root}", str(UNITS / "gatepost.sysusers"))
    run("systemd-tmpfiles", f"--root={root}", "--create", str(UNITS / "gatepost.tmpfiles"))

    (user,) = [
        line for line in (root / "etc" / "passwd").read_text().splitlines() if line.startswith("gatepost:")
    ]
    assert user.endswith(":/var/lib/gatepost:/usr/sbin/nologin")
    configuration = (root / "etc" / "gatepost").stat()
    assert (configuration.st_gid, oct(configuration.st_mode)) == (int(user.split(":")[3]), "0o40750")
    credentials = (root / "etc" / "gatepost" / "credentials").stat()
    assert (credentials.st_uid, oct(credentials.st_mode)) == (0, "0o40700")


def test_the_socket_has_the_address_that_the_gateway_has_by_default():
    """A gateway refuses a socket with another address than its configuration's."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(UNITS / "gatepost.socket")

    assert unit["Socket"]["ListenStream"] == f"{Server().host}:{Server().port}"
