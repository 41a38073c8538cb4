"""The examples for nginx and Caddy, each running with TLS in front of a real gateway."""

import asyncio
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from gatepost.testing.configuration import free_port
from gateway.conftest import CONFIG, running, sms, until

DEPLOY = Path(__file__).parents[2] / "deploy"
HOST = "gateway.example.com"
SMARTICO, STRANGER = "127.0.0.2", "127.0.0.3"
MAX_BODY = 1_048_576

BEHIND_A_PROXY = CONFIG.replace("port = 0", 'port = 0\ntrusted_proxies = ["127.0.0.1"]').replace(
    'allow_ips = ["127.0.0.1"]', f'allow_ips = ["{SMARTICO}"]'
)

NGINX = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gatepost.conf;
}}
"""


def replace(text, values):
    """Replace each part of an example, which must be there."""
    for old, new in values.items():
        assert old in text
        text = text.replace(old, new)
    return text


def nginx(folder, port, upstream):
    """Write the configuration of nginx; return its command."""
    example = (DEPLOY / "nginx" / "gatepost.conf").read_text()
    values = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "/etc/ssl/gateway/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "127.0.0.1:8080": upstream,
    }
    (folder / "gatepost.conf").write_text(replace(example, values))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder, port, upstream):
    """Write the configuration of Caddy, with a certificate of its own; return its command."""
    example = (DEPLOY / "caddy" / "Caddyfile").read_text()
    site = f"https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n"
    values = {f"{HOST} {{\n": site, "127.0.0.1:8080": upstream}
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + replace(example, values))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class Proxy:
    """A running proxy, and a client of it that trusts its certificate."""

    def __init__(self, port, authority):
        self.url = f"https://127.0.0.1:{port}"
        self._trusting = ssl.create_default_context()
        authority.configure_trust(self._trusting)

    async def ask(self, method, path, client=SMARTICO, **options):
        """Send a request from this address; return the status and the body."""
        connector = aiohttp.TCPConnector(local_addr=(client, 0), ssl=self._trusting)
        headers = {"Host": HOST, "Authorization": "the-secret", **options.pop("headers", {})}
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.request(
                method, self.url + path, server_hostname=HOST, headers=headers, **options
            ) as response,
        ):
            return response.status, await response.text()

    async def code(self, *arguments, **options):
        """Send a text message; return the error_code."""
        status, text = await self.ask("POST", "/sms", *arguments, **{"json": sms(), **options})
        assert status == 200, text
        return int(text.partition('"error_code":')[2].partition(",")[0].rstrip("}"))


@asynccontextmanager
async def started(command, port, environment):
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        await until(lambda: accepts(port) or process.returncode is not None)
        assert process.returncode is None, (await process.stderr.read()).decode()
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def gateway(tmp_path):
    async with running(tmp_path, BEHIND_A_PROXY) as gateway:
        yield gateway


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
async def proxy(request, gateway, tmp_path):
    """Start the proxy in front of the gateway."""
    program = request.param.__name__
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (make programs; Debian's package {program})")
    authority, port, folder = trustme.CA(), free_port(), tmp_path / program
    folder.mkdir()
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(folder / "privkey.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)
    command = request.param(folder, port, gateway.url.removeprefix("http://"))
    places = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    async with started(command, port, places):
        yield Proxy(port, authority)


async def test_the_proxy_forwards_what_the_outside_needs_and_nothing_else(proxy, gateway):
    assert await proxy.code() == 0
    # Each of these says what is wrong with the request, in the gateway's own words.
    assert "error_code" in (await proxy.ask("POST", "/email"))[1]
    assert (await proxy.ask("POST", "/webhooks/box"))[0] in {401, 404, 405}
    assert "This link does not work" in (await proxy.ask("GET", "/u/no-token"))[1]
    assert (await proxy.ask("HEAD", "/o/no-token.gif"))[0] == 200
    assert (await gateway.get("/health/live"))[0] == 200
    for path in (
        "/metrics",
        "/health/live",
        "/health/ready",
        "/",
        "/sms/",
        "/webhooks/box/more",
        "/u/no-token/more",
        "/x/../metrics",
    ):
        status, text = await proxy.ask("GET", path)
        assert status == 404, path
        assert "gatepost_" not in text


async def test_the_gateway_sees_the_address_of_the_client_and_none_that_it_makes_up(proxy):
    assert await proxy.code(SMARTICO) == 0
    assert await proxy.code(STRANGER) == 4
    assert await proxy.code(STRANGER, headers={"X-Forwarded-For": SMARTICO}) == 4
    assert await proxy.code(STRANGER, headers={"Forwarded": f"for={SMARTICO}", "X-Real-IP": SMARTICO}) == 4
    # What Smartico's own proxies have written does not count either.
    assert await proxy.code(SMARTICO, headers={"X-Forwarded-For": STRANGER}) == 0


async def test_no_log_of_the_proxy_has_the_token_in_the_address_of_a_report(proxy, tmp_path):
    await proxy.ask("POST", "/webhooks/box?token=canary-token")

    assert logged(tmp_path, "canary-token") == []


async def test_no_log_of_the_proxy_has_the_links_in_mails(proxy, tmp_path):
    await proxy.ask("POST", "/u/canary-token")
    await proxy.ask("GET", "/o/canary-token.gif")

    assert logged(tmp_path, "canary-token") == []


def logged(folder, text):
    """Return the files of the proxy that hold this text."""
    files = [file for file in folder.glob("*/**/*") if file.is_file()]
    return [file for file in files if text.encode() in file.read_bytes()]


async def test_a_body_that_is_too_large_is_refused_by_the_gateway_with_a_code(proxy):
    body = io.BytesIO(json.dumps(sms("large", body="x" * MAX_BODY)).encode())
    assert await proxy.code(json=None, data=body, headers={"Content-Type": "application/json"}) == 6


async def test_a_body_in_chunks_arrives_whole(proxy):
    async def parts():
        for part in ('{"ext_user_id": "anna", ', '"body": "Hello", ', '"im_uid": "in chunks"}'):
            yield part.encode()

    assert await proxy.code(json=None, data=parts(), headers={"Content-Type": "application/json"}) == 0
