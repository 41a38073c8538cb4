"""The lookup of several users with one request.

A page only finds users. That there is no such user is what the lookup of this one user says: a page may be cut off, or
leave users out for a reason of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from structlog.stdlib import BoundLogger

from gatepost import wire
from gatepost.errors import Unavailable
from gatepost.model import Contact
from gatepost_accounts.lookups import Lookups
from gatepost_accounts.requests import Template
from gatepost_accounts.service import Service, off_loop, read
from gatepost_accounts.users import UserReader

_REFUSALS = frozenset({400, 404, 413, 414, 422})
"""What a service may answer because of one id, or because there are too many."""


class Pages:
    """Looks several users up."""

    def __init__(
        self,
        service: Service,
        template: Template,
        reader: UserReader,
        size: int,
        log: BoundLogger,
    ) -> None:
        self._service = service
        self._template = template
        self._reader = reader
        self._size = size
        self._log = log
        self._is_refused = False
        """Whether the service has refused the last page."""

    async def find(
        self, lookups: Lookups, ext_user_ids: Sequence[str], seconds: float
    ) -> Mapping[str, Contact | Unavailable]:
        """Return the contacts of these users within ``seconds``; Unavailable for those about whom nothing is known.

        A page that fails costs only its own users the answer. Raises Unavailable where there is nothing but such pages.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        found: dict[str, Contact | Unavailable] = {
            one: contact for one in ext_user_ids if (contact := lookups.fresh(one)) is not None
        }
        waiting = [one for one in ext_user_ids if one not in found]
        async with asyncio.TaskGroup() as group:
            pages = [
                (ids, group.create_task(self._outcome(ids, deadline)))
                for ids in self._template.batches(waiting, self._size)
            ]
        outcomes = [(ids, page.result()) for ids, page in pages]
        failures = [outcome for _, outcome in outcomes if isinstance(outcome, Unavailable)]
        if failures and len(failures) == len(outcomes) and not found:
            raise failures[0]
        for ids, outcome in outcomes:
            found |= dict.fromkeys(ids, outcome) if isinstance(outcome, Unavailable) else outcome
        async with asyncio.TaskGroup() as group:
            others = {
                one: group.create_task(_find_one(lookups, one, deadline))
                for one in ext_user_ids
                if one not in found
            }
        answers = {one: task.result() for one, task in others.items()}
        return found | {one: answer for one, answer in answers.items() if answer is not None}

    async def has(self, ext_user_id: str) -> bool:
        """Return whether a page of this user alone has the user; raises Unavailable also where it is refused."""
        prepared = self._template.fill(ext_user_id)
        if prepared is None:
            return False
        reply = await self._service.ask(prepared)
        # Some services answer so where a page has nobody.
        if await off_loop(reply, partial(self._reader.is_unknown, reply)):
            return False
        return ext_user_id in await self._read(reply, [ext_user_id])

    async def _ask(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact]:
        """Return those of these users whom the service finds; raises Unavailable also where it refuses the page."""
        prepared = self._template.fill(*ext_user_ids)
        assert prepared is not None, "the ids of a page were tried before"
        return await self._read(await self._service.ask(prepared), ext_user_ids)

    async def _read(self, reply: wire.Reply, ext_user_ids: Sequence[str]) -> Mapping[str, Contact]:
        return await read(reply, lambda body: self._reader.read_page(body, ext_user_ids))

    async def _outcome(
        self, ext_user_ids: Sequence[str], deadline: float
    ) -> Mapping[str, Contact] | Unavailable:
        """Return the users of a page, nobody where the service refuses it; or the error that it means for all of them."""
        try:
            async with asyncio.timeout_at(deadline):
                found = await self._ask(ext_user_ids)
        except TimeoutError:
            return Unavailable("no answer in time")
        except Unavailable as error:
            if error.code not in map(str, _REFUSALS):
                return error
            if not self._is_refused:
                self._log.warning("account_page_refused", code=error.code, users=len(ext_user_ids))
            self._is_refused = True
            return {}
        self._is_refused = False
        return found


async def _find_one(lookups: Lookups, ext_user_id: str, deadline: float) -> Contact | Unavailable | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await lookups.find(ext_user_id)
    except TimeoutError:
        return Unavailable("no answer in time")
    except Unavailable as error:
        return error
