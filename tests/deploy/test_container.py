"""The image and the compose file: what they name exists, and what can run without an engine runs."""

import asyncio
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway.conftest import running

REPO = Path(__file__).parents[2]
CONTAINER = REPO / "deploy" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
GATEWAY = COMPOSE["services"]["gatepost"]


@pytest.mark.skipif(sys.platform == "win32", reason="hadolint has no wheel for Windows")
def test_hadolint_has_nothing_to_say_about_the_dockerfile():
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"

    result = subprocess.run([hadolint, CONTAINER / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (0, "")


def test_the_image_has_every_extra_that_a_gateway_can_use():
    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert set(re.search(r"\$1\[(.+?)\]", DOCKERFILE)[1].split(",")) == extras.keys() - {"testing"}


async def test_the_health_check_knows_whether_the_gateway_answers(tmp_path):
    code = re.search(r'CMD \["python3", "-c", "(.+)"\]', DOCKERFILE)[1]

    async def check(url):
        command = code.replace("http://127.0.0.1:8080", url)
        assert command != code
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", command, stderr=subprocess.DEVNULL
        )
        return await process.wait()

    async with running(tmp_path) as gateway:
        assert await check(gateway.url) == 0
    assert await check(gateway.url) != 0


def test_only_the_wheels_are_sent_to_the_builder():
    """Not the configuration, not a store and no secret of the folder in which the image is built."""
    patterns = (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines()

    assert [line for line in patterns if not line.startswith("#")] == ["*", "!dist"]
    assert re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE) == ["dist/"]


def test_the_configuration_is_valid_and_every_path_is_mounted(read_config):
    example = CONTAINER / "config" / "gatepost.toml"
    settings = read_config(example)

    mounted = [volume.split(":")[1] for volume in GATEWAY["volumes"]]
    mounted += [volume.partition(":")[0] for volume in GATEWAY["tmpfs"]]
    named = re.findall(r'"(?:file:)?(/[^"]+)"', example.read_text())
    assert [path for path in named if not path.startswith(tuple(mounted))] == []
    ports = [port.rpartition(":")[2] for port in GATEWAY["ports"]]
    assert ports == [str(settings.server.port), settings.console.listen.rpartition(":")[2]]
    # The address of this machine, as the container sees it.
    (network,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert str(settings.server.trusted_proxies[0]) == network["subnet"].replace(".0/24", ".1/32")


def test_the_container_is_protected_and_only_this_machine_reaches_it():
    assert GATEWAY["read_only"]
    assert GATEWAY["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in GATEWAY["ports"])
    assert COMPOSE["networks"]["back"]["internal"]
    assert COMPOSE["services"]["database"]["networks"] == ["back"]
    # A volume takes over the owner of the folder in the image.
    assert "state:/var/lib/gatepost" in GATEWAY["volumes"]
    user = re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1]
    assert f"--owner {user} --group {user} --mode 0700 /var/lib/gatepost" in DOCKERFILE
