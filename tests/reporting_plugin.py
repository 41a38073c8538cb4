"""A provider for tests of reports: it takes every message, and reports what the test tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import msgspec

from gatepost.errors import BadSignature
from gatepost.hookspecs import Context, EmailSender, HasLifespan, SmsSender, WebhookParser, hookimpl
from gatepost.model import Contact, Email, Receipt, Report, Sms, WebhookAnswer, WebhookRequest


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ReportingPlugin(HasLifespan, EmailSender, SmsSender, WebhookParser):
    """The class is the instance's remote control: a test sets its attributes, and resets them by ``fresh``."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings
    retry_status: ClassVar[int] = 429

    sent: ClassVar[list[Email | Sms]]
    requests: ClassVar[list[WebhookRequest]]
    contexts: ClassVar[dict[str, Context]]
    translate: ClassVar[Callable[[WebhookRequest], Any]]
    """Returns what parse_webhook returns."""
    during_lifespan: ClassVar[Callable[[Context], Any]]
    """Called in the lifespan, before it is open and when it closes."""
    until: ClassVar[asyncio.Event | None] = None
    """The lifespan fails when this is set."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.context = context
        self.contexts[context.name] = context

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        await type(self).during_lifespan(self.context)
        async with AsyncExitStack() as stack:
            if self.until is not None:
                group = await stack.enter_async_context(asyncio.TaskGroup())
                group.create_task(self._die())
            yield
        await type(self).during_lifespan(self.context)

    async def _die(self) -> None:
        await self.until.wait()
        raise RuntimeError("the connection is gone")

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        self.sent.append(message)
        return Receipt()

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        self.sent.append(message)
        return Receipt()

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        self.requests.append(request)
        return type(self).translate(request)


async def nothing(_context: Context) -> None:
    """Do nothing."""


def fresh() -> type[ReportingPlugin]:
    """Return a class of its own for one test."""
    return type(
        "FreshPlugin",
        (ReportingPlugin,),
        {
            "sent": [],
            "requests": [],
            "contexts": {},
            "translate": staticmethod(lambda _request: Report()),
            "during_lifespan": staticmethod(nothing),
        },
    )


class Source:
    """A contact source that knows whose a number is, and fails as the test says."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings
    users: ClassVar[dict[str, Contact]]
    questions: ClassVar[list[tuple[str, str, str]]]
    answer: ClassVar[Any]
    """What find_user returns, or raises; None: the truth."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.name = context.name

    @hookimpl
    async def find_contact(self, ext_user_id):
        return self.users.get(ext_user_id)

    @hookimpl
    async def find_user(self, channel, recipient):
        self.questions.append((self.name, channel.value, recipient.reveal()))
        answer = type(self).answer
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            return await answer(recipient)
        if answer is not None:
            return answer
        return [name for name, contact in self.users.items() if recipient in (contact.email, contact.phone)]


def fresh_source(**users: Contact) -> type[Source]:
    return type("FreshSource", (Source,), {"users": users, "questions": [], "answer": None})


def echo_challenge(request: WebhookRequest) -> Report:
    """Do as WhatsApp's webhooks do: a GET proves that the endpoint is ours by repeating the challenge."""
    if request.method == "GET":
        if request.query.get("hub.verify_token") != "the-token":
            raise BadSignature("the token is wrong")
        return Report(answer=WebhookAnswer(body=request.query["hub.challenge"].encode()))
    return Report()
