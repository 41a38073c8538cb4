"""Smartico's side of a run: it sends requests, and keeps everything that it gets back."""

import asyncio
import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec

from gatepost.model import Channel, WebhookRequest
from gatepost.prove.private_copy import client_address
from gatepost.prove.surroundings import Surroundings

_POLL_INTERVAL = 0.03

_NAME = "{{contact.first_name|}} {{contact.last_name|}}"
"""Where the client has merge fields, the names of a canary, which must be nowhere but in the message."""

_SENDS = re.compile(r'^gatepost_sends_total\{.*plugin="([^"]+)".*\} ([0-9.e+]+)$', re.MULTILINE)


class Sent(NamedTuple):
    """A request and its answer."""

    code: int
    id: str
    """The ext_message_id; empty where the request was refused."""


class GatewayClient:
    """Sends requests to the gateway as each of its clients, and collects the answers in ``outputs``."""

    def __init__(self, session: aiohttp.ClientSession, around: Surroundings, clients: list[str]) -> None:
        self.outputs: dict[str, list[bytes]] = {
            "answers to requests": [],
            "answers to webhooks": [],
            "pages": [],
        }
        """By their kind, everything that came back."""
        self.requests = 0
        self.ids: list[str] = []
        """The ids of the messages that were accepted."""
        self._session = session
        self._around = around
        self.clients = clients
        self._numbers = itertools.count(1)

    def uid(self) -> str:
        """Return a uid that is used for the first time."""
        return f"prove-uid-{next(self._numbers)}"

    async def send(self, client: str, channel: Channel, fields: Mapping[str, str]) -> Sent:
        """Send a message; ``fields`` are the contract's, and get usual values where they are missing."""
        return await self.post(client, channel, msgspec.json.encode(self.fields(channel, fields)))

    def fields(self, channel: Channel, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the fields of a request."""
        text = f"{fields.get('text', 'accept')} {_NAME}"
        if channel is Channel.EMAIL:
            usual = {
                "subject": f"A proof {_NAME}",
                "body": f"<p>{text}</p>",
                "text_body": text,
                "email_uid": self.uid(),
            }
            sender = "from_email_address"
        else:
            usual = {"body": text, "im_uid": self.uid()}
            sender = "from_number"
        renamed = {
            sender if key == "sender" else key: value for key, value in fields.items() if key != "text"
        }
        return {**usual, **renamed}

    async def post(
        self, client: str, channel: Channel, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Sent:
        """Send any body as a client; ``headers`` replace the client's own."""
        own = {
            "Authorization": self._around.secrets[f"authorization of {client}"],
            "X-Forwarded-For": client_address(self.clients.index(client)),
            "Content-Type": "application/json",
        }
        self.requests += 1
        async with self._session.post(
            f"{self._around.url}/{channel}", data=body, headers={**own, **(headers or {})}
        ) as response:
            content = await response.read()
            self.outputs["answers to requests"].append(_whole(response, content))
        try:
            answer = msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError:
            raise RuntimeError(f"/{channel} was answered with {response.status} and no JSON") from None
        sent = Sent(int(answer["error_code"]), str(answer.get("ext_message_id", "")))
        self.ids += [sent.id] if sent.id else []
        return sent

    async def get(self, path: str) -> str:
        """Return a page, and keep it."""
        async with self._session.get(f"{self._around.url}{path}") as response:
            content = await response.read()
            self.outputs["pages"].append(_whole(response, content))
        return content.decode("utf-8", "replace")

    async def get_console(self, url: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Return the status and the content of a page of the console, and keep it."""
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            content = await response.read()
            self.outputs.setdefault("pages of the console", []).append(_whole(response, content))
        return response.status, content.decode("utf-8", "replace")

    async def report(self, request: WebhookRequest) -> int:
        """Send a provider's report; return the HTTP status of the answer."""
        async with self._session.request(
            request.method, request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as response:
            self.outputs["answers to webhooks"].append(_whole(response, await response.read()))
            return response.status

    async def sends(self, instance: str = "") -> float:
        """Return how many tries to send have ended, of one instance or of all."""
        page = await self.get("/metrics")
        self.outputs["pages"].pop()
        return sum(float(count) for name, count in _SENDS.findall(page) if instance in {"", name})

    async def wait_for_sends(self, sends: float, instance: str = "", seconds: float = 10.0) -> bool:
        """Wait until so many tries to send have ended; return whether they have in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while await self.sends(instance) < sends:
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL_INTERVAL)
        return True


def _whole(response: aiohttp.ClientResponse, content: bytes) -> bytes:
    return b"\n".join([*(b"%s: %s" % header for header in response.raw_headers), content])
