"""The emulated Brevo of an instance for text messages: what it received, and its webhooks for them."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit, urlunsplit

from gatepost import wire
from gatepost.model import Channel, Secret, Status, WebhookRequest
from gatepost.testing.emulator import raw_request
from gatepost.testing.features import MessageFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import AutomaticReports, Event, TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers
from gatepost_brevo.testing.emulator import BrevoEmulator
from gatepost_brevo.testing.request_rules import tags_of


class BrevoSmsEmulator(BrevoEmulator):
    """A Brevo account that sends text messages.

    Kinds of reports: the statuses of a message, and ``replied:`` with what the user answers.
    """

    channels = frozenset({Channel.SMS})
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.TAGS,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "sent": [Status.ACCEPTED],
        "accepted": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "soft_bounce": [Status.FAILED],
        "hard_bounce": [Status.FAILED],
        "rejected": [Status.REJECTED],
        "blacklisted": [Status.REJECTED],
        "skip": [Status.REJECTED],
        "replied:Thanks": [],
        "replied:stop ": [Status.UNSUBSCRIBED],
        "unsubscribe": [Status.UNSUBSCRIBED],
        "subscribe": [],
    }
    verification_keys = frozenset({"webhook_basic"})

    @property
    def table(self) -> Mapping[str, Any]:
        login = {"username": self.login.username, "password": self.login.password.reveal()}
        return {
            "channel": "sms",
            "api_key": self.api_key,
            "webhook_basic": login,
            "base_url": self.base_url,
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        text = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[f"+{text['recipient'].removeprefix('+')}"],
            sender=text["sender"],
            text=text["content"],
            tags=tags_of(text.get("tag", ())),
            webhook_url=_split_url(text.get("webUrl", ""))[0],
            raw=raw_request(taken),
        )

    def event(self, kind: str, taken: TakenMessage) -> Event:
        name, _, answer = kind.partition(":")
        return {
            "id": 26_570,
            "to": taken.message["recipient"].removeprefix("+"),
            "sms_count": 1,
            "credits_used": 1.5,
            "messageId": int(taken.provider_id),
            "remaining_credit": self.credits,
            "msg_status": name,
            "date": "2026-11-09 16:00:00",
            "type": taken.message.get("type", "transactional"),
            "reference": secrets.token_hex(9),
            **({"reply": answer} if answer else {}),
        }

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request with the user name and password of its URL; those of the account where it has none."""
        url, given = _split_url(request.url)
        login = given or self.login
        password = Secret("forged") if forged else login.password
        return with_headers(replace_request(request, url=url), wire.basic_auth(login.username, password))

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        for kind in automatic.kinds:
            event, url = self.event(kind, taken), taken.message.get("webUrl", "")
            await self.report([event], to=url, delay=automatic.delay, tries=len(self.retry_pauses))


def _split_url(url: str) -> tuple[str, wire.Login | None]:
    """Return a URL without its user name and password, and these, as an HTTP client sends them."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    login = wire.Login(username=unquote(parts.username), password=Secret(unquote(parts.password or "")))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), login
