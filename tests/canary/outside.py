"""What a gateway shows and sends besides its answers: the console, exports, traces and alerts, all of them recorded."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import web

from canary.gateway import EMAIL, PHONE, Canary
from collector import Collector, variables
from gatepost.console.rendering import PAGES
from gatepost.testing.serving import serving

MAX_PAGES = 200
"""Pages of the console that are read; each has links to many others."""

_LINK = re.compile(r"""(?:href|hx-get)=["']([^"']+)["']""")


class Outside:
    """The receiver of a gateway's alerts, the collector of its traces, and a browser at its console."""

    def __init__(self, canary: Canary, collector: Collector) -> None:
        self.canary = canary
        self.collector = collector
        self.alerts: list[str] = []

    async def take_alert(self, request: web.BaseRequest) -> web.Response:
        self.alerts.append(await request.text())
        return web.Response()

    async def wait_for_alert(self, text: str) -> None:
        """Wait until an alert has this text."""
        async with asyncio.timeout(60):
            while True:
                if any(text in one for one in self.alerts):
                    return
                await asyncio.sleep(0.05)

    async def read_console(self) -> set[str]:
        """Follow every link of the console from its first page on, and look for what it must not know; return the paths."""
        await self.canary.operate("console", "add-user", "maria", "--role", "operator", "--no-password")
        lines = self.canary.process.log.read_text().splitlines()
        (url,) = [one["url"] for one in map(_event, lines) if one.get("event") == "console_listening"]
        seen, waiting = (
            {"/"},
            ["/", "/messages?refused=1", "/stats.csv?by=client,channel,route,plugin,country"],
        )
        async with aiohttp.ClientSession(url, headers={"x-user": "maria"}) as http:
            while waiting and len(seen) <= MAX_PAGES:
                path = waiting.pop(0)
                text = await self._page(http.get(path, allow_redirects=False), path)
                for link in map(unescape, _LINK.findall(text)):
                    parts = urlsplit(urljoin(path, link))
                    target = parts.path + (f"?{parts.query}" if parts.query else "")
                    if not parts.netloc and not target.startswith("/static/") and target not in seen:
                        seen.add(target)
                        waiting.append(target)
            csrf = re.search(r'name="csrf" value="(\w+)"', await self._page(http.get("/"), "/"))[1]
            for wanted in (EMAIL, PHONE, "user-0"):
                await self._page(http.post("/messages", data={"csrf": csrf, "id": wanted}), "/messages")
                await self._page(http.get("/messages", params={"user": wanted}), "/messages")
                await self._page(http.get("/audit", params={"actor": wanted}), "/audit")
        assert {path for path, _ in PAGES} <= seen
        return seen

    async def _page(self, request, path: str) -> str:
        async with request as response:
            text = await response.text()
            assert response.status < 500, (path, text)
            # What was typed into a filter is in the form again.
            for typed in (EMAIL, PHONE):
                text = text.replace(f'value="{typed}"', "")
            self.canary.outputs += [str(response.raw_headers), text]
            return text

    def record(self) -> None:
        """Record what was received."""
        self.canary.outputs += [*self.alerts, self.collector.text]
        self.canary.outputs += [body.decode("utf-8", "replace") for body in self.collector.bodies]


@asynccontextmanager
async def outside(canary: Canary, monkeypatch) -> AsyncIterator[Outside]:
    """Let the gateway of this canary, which is not started yet, show and send everything that it can."""
    async with Collector() as collector:
        around = Outside(canary, collector)
        async with serving(web.Server(around.take_alert)) as url:
            for name, value in variables(collector).items():
                monkeypatch.setenv(name, value)
            canary.tables["alerts"] = {"notify": [url.replace("http://", "json://")]}
            canary.tables["console"] = {
                "listen": "127.0.0.1:0",
                "user_header": "x-user",
                "user_header_networks": ["127.0.0.1"],
            }
            yield around


def _event(line: str) -> dict[str, str]:
    return json.loads(line) if line.startswith("{") else {}
