"""The lookup of one user."""

import asyncio
from functools import partial

from gatepost.model import Contact
from gatepost_accounts.cache import MAX_BODY, AnswerCache, Entry
from gatepost_accounts.requests import Template
from gatepost_accounts.service import Service, off_loop, read
from gatepost_accounts.users import UserReader


class Lookups:
    """Looks users up, each with a request of its own, or in answers that the service allows to be used again."""

    def __init__(self, service: Service, template: Template, reader: UserReader) -> None:
        self._service = service
        self._template = template
        self._reader = reader
        self._cache = AnswerCache()

    def fresh(self, ext_user_id: str) -> Contact | None:
        """Return the contact of a user where the service allows not to ask now; otherwise None."""
        entry = self._cache.find(ext_user_id)
        return entry.contact if entry is not None and _now() < entry.fresh_until else None

    async def find(self, ext_user_id: str) -> Contact | None:
        """Return the contact of a user, None where there is no such user; raises Unavailable."""
        return self.fresh(ext_user_id) or await self.ask(ext_user_id, self._cache.find(ext_user_id))

    async def ask(self, ext_user_id: str, known: Entry | None = None) -> Contact | None:
        """Ask the service, which may confirm what is ``known``."""
        prepared = self._template.fill(ext_user_id)
        if prepared is None:
            return None
        headers = {"If-None-Match": known.etag} if known is not None and known.etag else None
        asked_at = _now()
        reply = await self._service.ask(prepared, headers)
        if known is not None and headers and reply.status == 304:
            contact: Contact | None = known.contact
        elif await off_loop(reply, partial(self._reader.is_unknown, reply)):
            contact = None
        else:
            contact = await read(reply, partial(self._reader.read, ext_user_id=ext_user_id))
        if contact is None or prepared.method != "GET" or len(reply.body) > MAX_BODY:
            self._cache.drop(ext_user_id)
        else:
            etag = known.etag if known is not None and reply.status == 304 else ""
            self._cache.store(ext_user_id, contact, reply.headers, asked_at, etag=etag)
        return contact

    def clear(self) -> None:
        """Forget every answer."""
        self._cache.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
