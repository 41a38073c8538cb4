"""The ASGI application on the admin socket: ``POST /OPERATION``, JSON in, JSON out."""

import asyncio
import os
from typing import Any

from litestar.types import Receive, Scope, Send

from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.web.admin.actors import Peer, actor_of
from gatepost.web.admin.api import AdminApi
from gatepost.web.admin.requests import OPERATION_REFUSED
from gatepost.web.admin.services import OperationRefused
from gatepost.web.body import BodyTooLarge, ClientDisconnected, body_headers, read_body

MAX_BODY = 8 * 1_048_576
"""Bytes of a request; more than any message may have."""

_log = logs.get(__name__)


class AdminApp:
    """Answers the requests of commands; in ``scope["client"]`` it expects a Peer."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http_scope: Any = scope
        status, answer = _refusal(http_scope) or await self._answer(http_scope, receive)
        media_type = b"application/json" if status == 200 else b"text/plain; charset=utf-8"
        events: Any = (
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", media_type), (b"content-length", str(len(answer)).encode())],
            },
            {"type": "http.response.body", "body": answer},
        )
        for event in events:
            await send(event)

    async def _answer(self, scope: Any, receive: Receive) -> tuple[int, bytes]:
        """Run the operation; return the status and the body of the answer."""
        name = scope["path"].removeprefix("/")
        try:
            body = await read_body(scope, receive, body_headers(scope["headers"]).length, MAX_BODY)
            # In a thread, because a directory service may take its time to name a user.
            actor = await asyncio.to_thread(actor_of, scope["client"])
            answer = await self._api.run(name, body, actor)
        except BodyTooLarge:
            status, problem = 413, "the request is too large"
        except (TimeoutError, ClientDisconnected):
            status, problem = 408, "the request did not arrive in time"
        except OperationRefused as error:
            status, problem = OPERATION_REFUSED, str(error)
        except StoreError as error:
            status, problem = 503, str(error)
        except Exception as error:  # noqa: BLE001  the command waits for an answer
            _log.error("internal_error", operation=name, exc_info=error)
            status, problem = 500, "an internal error, which the gateway's log shows"
        else:
            if answer is not None:
                return 200, answer
            status, problem = 404, "this gateway has no such operation: it may be of another version"
        return status, problem.encode()


def _refusal(scope: Any) -> tuple[int, bytes] | None:
    """Return the answer to a request that is refused before it is read, or None."""
    peer = scope["client"]
    if not isinstance(peer, Peer) or peer.uid not in {0, os.geteuid()}:
        return 403, b"only the gateway's own user and root may do this"
    return None if scope["method"] == "POST" else (405, b"")
