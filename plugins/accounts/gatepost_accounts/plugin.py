"""The plugin's hooks."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Fault, Faults, Unavailable
from gatepost.hookspecs import BatchSource, ContactSource, Context, HasLifespan, HasPing, hookimpl
from gatepost.model import Contact
from gatepost_accounts import checks
from gatepost_accounts.lookups import Lookups
from gatepost_accounts.pages import Pages
from gatepost_accounts.requests import USER, USERS, AddFault, make_template, split_url
from gatepost_accounts.service import MAX_ANSWER, Service
from gatepost_accounts.settings import OAuth, Settings
from gatepost_accounts.tokens import TokenSource, fetch_token
from gatepost_accounts.users import make_reader

_ANYBODY = "0"
"""The id that a ping looks up where the settings name none; it does not matter whether there is such a user."""

_NO_SERVICE = "https://service.invalid"
"""In the place of a URL that is none: so that the faults of other keys are named too."""


class Accounts(HasLifespan, HasPing, ContactSource, BatchSource):
    """An account service that its table describes."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        faults = Faults()

        def add_fault(key: str, problem: str) -> None:
            if (fault := Fault(key, problem)) not in faults:
                faults.append(fault)

        self._settings = settings
        self._context = context
        # A moment before the core cancels a lookup: the log then says what was missing.
        self._deadline = 0.9 * context.lookup_timeout
        template = make_template(USER, settings.url, settings.method, settings.body, "url", add_fault)
        page = settings.page
        page_template = page and make_template(USERS, page.url, page.method, page.body, "page.url", add_fault)
        if page_template and page_template.base and page_template.base != template.base:
            add_fault("page.url", "must begin with the scheme and the host of url")
        reader = make_reader(settings, add_fault)
        checks.add_faults(settings, add_fault)
        self._token_http, token = self._make_tokens(settings.oauth, faults, add_fault)
        with faults:
            # Without a base there is a fault already.
            self._http = wire.connect(
                template.base or _NO_SERVICE,
                timeout=self._deadline,
                connections=context.concurrency,
                headers=checks.plain_headers(settings),
                options=settings.connection,
                token=token,
                max_reply=MAX_ANSWER,
                key="url",
            )
        faults.expect_none()
        service = Service(self._http)
        self._lookups = Lookups(service, template, reader)
        self._pages = (
            Pages(service, page_template, reader, page.size, context.log) if page and page_template else None
        )
        for hook in () if page else ("find_contacts",):
            setattr(self, hook, None)
        checks.add_warnings(settings, context.warn)

    def _make_tokens(
        self, oauth: OAuth | None, faults: Faults, add_fault: AddFault
    ) -> tuple[wire.Http | None, TokenSource | None]:
        """Return the connections to the authorization server, and what fetches a token there; None without ``oauth``."""
        if oauth is None:
            return None, None
        base, path = split_url(oauth.token_url, "oauth.token_url", add_fault)
        with faults:
            http = wire.connect(
                base or _NO_SERVICE,
                timeout=self._deadline,
                connections=1,
                options=self._settings.connection,
                key="oauth.token_url",
            )
            return http, partial(fetch_token, http, path, oauth)
        return None, None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep connections open to the service, and to the server that gives tokens."""
        async with AsyncExitStack() as stack:
            if self._token_http is not None:
                await stack.enter_async_context(self._token_http)
            await stack.enter_async_context(self._http)
            stack.callback(self._lookups.clear)
            yield

    @hookimpl
    async def ping(self) -> None:
        """Sign in, and look a user up: ``ping_user`` where it is set, who must be found."""
        user = self._settings.ping_user
        try:
            async with asyncio.timeout(self._context.timeout):
                found = await self._lookups.ask(user or _ANYBODY)
                if user and found is None:
                    problem = "the service does not know ping_user: check url and ping_user"
                    raise Unavailable(problem, misconfigured=True)
                if self._pages is not None and not await self._pages.has(user or _ANYBODY) and user:
                    raise Unavailable("the page does not have ping_user: check page", misconfigured=True)
        except TimeoutError:
            raise Unavailable("no answer in time") from None

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Look the user up."""
        return await self._lookups.find(ext_user_id)

    @hookimpl
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact | Unavailable]:
        """Look the users up, as many of them with one request as the service allows."""
        assert self._pages is not None, "an instance without a page table has no such hook"
        return await self._pages.find(self._lookups, ext_user_ids, self._deadline)
