"""An account service that does not exist: strict, and with everything that a table can describe.

It is what ``gatepost conformance accounts`` runs on. It gives tokens by client credentials (RFC 6749), knows one user at
``/v1/players/ID`` and several at ``/v1/players?ids=ID,ID``, and answers with an ETag.
"""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from gatepost.model import Contact
from gatepost.testing.emulator import Emulator
from gatepost.testing.features import ContactFeature

_CLIENT = "gatepost"
_CLIENT_SECRET = "an emulated secret: 4711/+"  # noqa: S105  of no real account
_ENCODED_SECRET = "an+emulated+secret%3A+4711%2F%2B"  # noqa: S105  the same, as in a form
_SCOPE = "players.read"
_PLAYERS = "/v1/players"
_MAX_IDS = 50
"""Users on a page; the service leaves the others out without a word, as many do."""


class AccountService(Emulator):
    """The service, which is its own authorization server."""

    contact_features: ClassVar[Collection[ContactFeature]] = frozenset(ContactFeature)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.players: dict[str, Mapping[str, Any]] = {}
        """The users by their ids."""
        self.tokens: list[str] = []
        """The tokens that are valid."""
        self.lifetime: object = 3600
        """What a token's answer says in ``expires_in``."""
        self.cache_control = "no-cache"
        """The header of that name in the answers about one user."""
        self.headers: list[Mapping[str, str]] = []
        """The headers of every request to it."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The table that describes it."""
        return self._table(self.base_url)

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the table with another port of this machine in its URLs."""
        return cls._table(f"http://127.0.0.1:{port}")

    @staticmethod
    def _table(base_url: str) -> Mapping[str, Any]:
        return {
            "url": f"{base_url}{_PLAYERS}/{{ext_user_id}}",
            "headers": {"X-Brand": "amazing"},
            "user": "/player",
            "id": "/id",
            "email": "/contact/email",
            "phone": "/contact/phone",
            "blocked": "/exclusion",
            "attributes": {"first_name": "/profile/first_name", "vip_level": "/profile/vip_level"},
            "unknown": {"statuses": [404], "at": "/error", "values": ["NO_SUCH_PLAYER"]},
            "page": {"url": f"{base_url}{_PLAYERS}?ids={{ext_user_ids}}", "users": "/players"},
            "oauth": {
                "token_url": f"{base_url}/oauth/token",
                "client_id": _CLIENT,
                "client_secret": _CLIENT_SECRET,
                "scope": _SCOPE,
            },
        }

    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Hold these users, by ext_user_id."""
        for name, contact in contacts.items():
            self.players[name] = {
                "id": name,
                "contact": {
                    "email": contact.email.reveal() if contact.email else None,
                    "phone": contact.phone.reveal() if contact.phone else None,
                },
                "exclusion": contact.blocked or None,
                "profile": {"first_name": contact.attributes.get("first_name"), "vip_level": 3},
            }

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Give a token, or check it and answer."""
        self.headers.append(dict(request.headers))
        path, _, query = request.raw_path.partition("?")
        if path == "/oauth/token":
            return self._token(request, body)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            return self.refuse(401, "TOKEN", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        expected = {"X-Brand": "amazing", "Accept": "application/json"}
        if body or request.method != "GET" or expected.items() - request.headers.items():
            return self.refuse(400, "MALFORMED")
        if path == _PLAYERS:
            return self._page(query)
        name = path.removeprefix(f"{_PLAYERS}/")
        if name == path or "/" in name or query:
            return self.refuse(404, "NO_SUCH_RESOURCE")
        return self._player(request, unquote(name, errors="strict"))

    def _token(self, request: web.BaseRequest, body: bytes) -> web.Response:
        login = b64encode(f"{_CLIENT}:{_ENCODED_SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {login}":
            return self.refuse(401, "invalid_client", headers={"WWW-Authenticate": "Basic"})
        kind = request.headers.get("Content-Type")
        if request.method != "POST" or kind != "application/x-www-form-urlencoded":
            return self.refuse(400, "invalid_request")
        form = parse_qsl(body.decode(), strict_parsing=True)
        if form != [("grant_type", "client_credentials"), ("scope", _SCOPE)]:
            return self.refuse(400, "invalid_scope")
        self.tokens.append(secrets.token_urlsafe(24))
        answer = {"access_token": self.tokens[-1], "token_type": "bearer", "expires_in": self.lifetime}
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def _player(self, request: web.BaseRequest, name: str) -> web.Response:
        player = self.players.get(name)
        if player is None:
            return self.refuse(404, "NO_SUCH_PLAYER")
        content = msgspec.json.encode({"player": player})
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "Cache-Control": self.cache_control,
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers={**headers, "Content-Type": "application/json"})

    def _page(self, query: str) -> web.Response:
        name, _, text = query.partition("=")
        names = [unquote(one, errors="strict") for one in text.split(",")]
        if name != "ids" or not text or len(set(names)) != len(names):
            return self.refuse(400, "IDS")
        found = [self.players[one] for one in names if one in self.players]
        return web.json_response({"players": found[:_MAX_IDS]})

    def is_send(self, method: str, path: str) -> bool:  # noqa: ARG002  its POST is for a token
        """Return False: it sends nothing."""
        return False

    def error(self, status: int, reason: str) -> object:
        """Return the body of an error, with a free text that must not be stored."""
        return {"error": reason, "message": f"{status}: {reason}, a free text that must not be stored"}
