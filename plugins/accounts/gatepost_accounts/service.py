"""Requests to the service, and what its answers mean before anything is read of them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from gatepost import wire
from gatepost.errors import Unavailable
from gatepost_accounts.requests import Prepared

T = TypeVar("T")

MAX_ANSWER = 1_048_576
"""Bytes of an answer that is read; one user has a few hundred."""

_MAX_INLINE = 32_768
"""Bytes of an answer that are read on the event loop; a larger one takes more than a millisecond of CPU."""

_CREDENTIALS = frozenset({401, 403, 407})


class Service:
    """The account service. Its answers have a status that the caller expects; any other raises Unavailable."""

    def __init__(self, http: wire.Http) -> None:
        self._http = http

    async def ask(self, prepared: Prepared, headers: Mapping[str, str] | None = None) -> wire.Reply:
        """Return the answer to a request, whatever its status; raises Unavailable where there is none that is whole."""
        method, path, body = prepared
        reply = await self._http.request(method, path, body=body, headers=headers, sends=False)
        if len(reply.body) >= MAX_ANSWER:
            raise Unavailable(f"the answer has more than {MAX_ANSWER:,} bytes", code=str(reply.status))
        return reply


async def read(reply: wire.Reply, translate: Callable[[bytes], T]) -> T:
    """Return what ``translate`` makes of an answer of success; raises Unavailable for any other answer."""
    if reply.status != 200:
        raise error_of(reply)
    return await off_loop(reply, lambda: translate(reply.body))


async def off_loop(reply: wire.Reply, call: Callable[[], T]) -> T:
    """Return the result of a call that decodes this answer; a large one is decoded in a thread."""
    return await asyncio.to_thread(call) if len(reply.body) > _MAX_INLINE else call()


def error_of(reply: wire.Reply) -> Unavailable:
    """Return the error for an answer that says nothing about a user."""
    status = reply.status
    problem, misconfigured = f"the service answered {status}", True
    if status in _CREDENTIALS:
        problem += ": check headers, oauth and connection"
    elif 300 <= status < 400:
        problem += ", a redirect, which is never followed: write the URL that it leads to"
    elif status in wire.MISCONFIGURED:
        problem += ": check url"
    elif status < 300:
        problem += " in place of 200"
    else:
        misconfigured = False
    return Unavailable(
        problem, code=str(status), retry_after=wire.retry_after(reply.headers), misconfigured=misconfigured
    )
