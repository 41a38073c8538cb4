"""What the fixtures of Gatepost's kit need to know (``gatepost.testing.fixtures`` lists them), and a service of fixed answers."""

import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gatepost.model import Contact, Secret
from gatepost.testing.serving import serving
from gatepost_accounts import Accounts
from gatepost_accounts.testing import AccountService

ANNA = Contact(email=Secret("anna@people.example"), phone=Secret("+447700900123"))


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def provider():
    """The running emulator, which knows anna."""
    async with AccountService() as service:
        service.load_contacts({"anna": ANNA})
        yield service


@pytest.fixture
def plugin_type():
    return Accounts


class FixedService:
    """A service that gives every request the same answer, and remembers the requests."""

    def __init__(self):
        self.url = ""
        self.status = 200
        self.body = b"{}"
        self.headers = {"Content-Type": "application/json"}
        self.requests = []
        self.bodies = []

    def answer(self, value, status=200, **headers):
        """Answer with bytes, or with a value as JSON."""
        self.body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.status = status
        self.headers = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }

    async def handle(self, request):
        self.requests.append(request)
        self.bodies.append(await request.read())
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def fixed():
    service = FixedService()
    async with serving(web.Server(service.handle, access_log=None)) as url:
        service.url = url
        yield service


@pytest.fixture
def asking(running, fixed):
    """Return a function that runs an instance on the service of fixed answers, with nothing but these keys."""

    @asynccontextmanager
    async def ask(**keys):
        unused = dict.fromkeys(
            ("headers", "user", "id", "phone", "blocked", "attributes", "unknown", "page", "oauth")
        )
        table = {**unused, "url": f"{fixed.url}/users/{{ext_user_id}}", "email": "/email", **keys}
        async with running(**table) as plugin:
            yield plugin

    return ask
