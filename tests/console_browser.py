"""The console of a gateway in a process of its own, and a browser in which a user has signed in; for tests."""

import asyncio
import json
import re
from contextlib import asynccontextmanager

import aiohttp
from click.testing import CliRunner

from gatepost.cli.console import command

PASSWORD = "correct horse battery"


class Console:
    def __init__(self, process):
        self.process = process
        lines = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
        (self.url,) = [line["url"] for line in lines if line["event"] == "console_listening"]

    async def run(self, *arguments, password=PASSWORD):
        """Run ``gatepost console`` with these arguments; return what it printed."""
        options = [*arguments, "--config", str(self.process.config)]
        result = await asyncio.to_thread(CliRunner().invoke, command, options, input=f"{password}\n")
        assert result.exit_code == 0, result.output
        return result.output

    @asynccontextmanager
    async def browser(self, name="", **headers):
        """Open a browser, in which this user has signed in."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(self.url, cookie_jar=jar, headers=headers) as http:
            browser = Browser(http)
            if name:
                status, text = await browser.sign_in(name)
                assert status == 200, text
            yield browser


class Browser:
    def __init__(self, http):
        self.http = http

    async def get(self, path, **options):
        async with self.http.get(path, **options) as response:
            return response.status, await response.text()

    async def post(self, path, *, csrf=None, **fields):
        data = fields | ({"csrf": csrf} if csrf is not None else {})
        async with self.http.post(path, data=data) as response:
            return response.status, await response.text()

    async def sign_in(self, name, password=PASSWORD, **fields):
        return await self.post("/login", name=name, password=password, **fields)

    async def csrf(self):
        _, text = await self.get("/")
        return re.search(r'name="csrf" value="(\w+)"', text)[1]
