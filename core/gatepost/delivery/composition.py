"""The composition of a message from its stored content: merge fields, text part, and what a plugin needs beside them."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypedDict

import msgspec

from gatepost.config.settings import Settings
from gatepost.content import EmailContent, SmsContent, decode_content, encode_content
from gatepost.delivery.html_text import TextParts
from gatepost.links.mail import MailLinks
from gatepost.merge_fields.messages import (
    FilledEmail,
    MergeFields,
    UnusableTemplate,
    fill_email,
    fill_sms,
)
from gatepost.merge_fields.values import Values
from gatepost.model import Email, Secret, Sms
from gatepost.observe.metrics import Metrics
from gatepost.observe.trail import Trail
from gatepost.outbox import Claim
from gatepost.sms_parts import count_parts

MAX_TAG_LENGTH = 64

_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]")


class _Origin(TypedDict):
    client: str
    uid: str
    lifetime: float
    urgent: bool
    tags: tuple[str, ...]
    idempotency_key: str


class ComposedMessage(NamedTuple):
    """A message in the form in which plugins get it."""

    message: Email | Sms
    template: str
    """The subject or text as it is stored: without the values of merge fields, so it may be stored elsewhere too."""
    content: bytes = b""
    """The content to store for the next attempt; empty: the stored content stays."""
    private: Sequence[Secret] = ()
    """Values of merge fields that are in none of the contact's attributes in this form."""
    lacking: Sequence[str] = ()
    """Names of attributes that merge fields were to show and the contact lacks."""


class Composer:
    """Composes the messages of one gateway."""

    def __init__(self, settings: Settings, metrics: Metrics, trail: Trail) -> None:
        clients = self._clients = settings.clients
        self._links = MailLinks(settings)
        self._text_parts = TextParts(clients, metrics)
        self._merge_fields = MergeFields(clients)
        self._empty = metrics.empty_merge_fields
        self._trail = trail

    async def compose(
        self, claim: Claim, recipient: Secret, attributes: Mapping[str, str], *, urgent: bool = False
    ) -> ComposedMessage:
        """Build the message for a contact with these attributes.

        Raises ValueError when the stored content can't be decoded, and UnusableTemplate.
        """
        content = decode_content(claim.channel, claim.content)
        values = Values(attributes) if content.merge_fields else None
        if isinstance(content, SmsContent):
            sms = Sms(
                id=claim.id,
                recipient=recipient,
                sender=content.sender,
                text=self._sms_text(claim, content.text, values),
                attributes=attributes,
                **_origin(claim, urgent=urgent),
            )
            return ComposedMessage(sms, content.text, b"", *_of_values(claim, values))
        filled = await self._fill_email(claim, content, values)
        parts = filled or FilledEmail(content.subject, content.html, content.text)
        text, new_content = parts.text, b""
        if text is None:
            text = await self._text_parts.derive(claim.id, claim.client, parts.html)
            if not filled:
                new_content = encode_content(msgspec.structs.replace(content, text=text))
        email = Email(
            id=claim.id,
            recipient=recipient,
            sender=content.sender,
            reply_to=content.reply_to,
            subject=parts.subject,
            html=parts.html,
            text=text,
            attributes=attributes,
            **_origin(claim, urgent=urgent),
        )
        return ComposedMessage(
            self._with_links(claim, email), content.subject, new_content, *_of_values(claim, values)
        )

    def _with_links(self, claim: Claim, email: Email) -> Email:
        """Return the mail with its links. A preview has none: what staff do with it must not count for the user."""
        return email if claim.preview else self._links.add(email)

    async def _fill_email(
        self, claim: Claim, content: EmailContent, values: Values | None
    ) -> FilledEmail | None:
        """Return the parts of a mail with their merge fields filled; None where it has none that are to be filled."""
        if values is None:
            return None
        template = await self._merge_fields.read_email(
            claim.client, content.subject, content.html, content.text
        )
        if template is None:
            return None
        filled = fill_email(template, values)
        self._note_empty(claim, values)
        return filled

    def _sms_text(self, claim: Claim, text: str, values: Values | None) -> str:
        """Return the text of a text message, with its merge fields filled where they are to be."""
        template = None if values is None else self._merge_fields.read_sms(text)
        if values is None or template is None:
            return text
        try:
            filled = fill_sms(template, values)
        finally:
            # Also where nothing but empty fields was to be sent.
            self._note_empty(claim, values)
        limit = self._clients[claim.client].sms_max_parts
        if limit and (parts := count_parts(filled)) > limit:
            raise UnusableTemplate(
                f"the text, with its merge fields filled, would be sent in {parts} parts; "
                f"the client's sms_max_parts is {limit:,}"
            )
        return filled

    def _note_empty(self, claim: Claim, values: Values) -> None:
        """Note the merge fields that were filled with nothing."""
        _, lacking = _of_values(claim, values)
        if lacking:
            self._empty.labels(claim.client).inc(len(lacking))
            self._trail.merge_fields_empty(claim.id, client=claim.client, uid=claim.uid, attributes=lacking)


def _of_values(claim: Claim, values: Values | None) -> tuple[Sequence[Secret], Sequence[str]]:
    """Return what is private and what is lacking in a filled message; a preview has no contact that could lack it."""
    if values is None:
        return (), ()
    private = tuple(Secret(value) for value in values.changed if value)
    return private, () if claim.preview else tuple(values.empty)


def _origin(claim: Claim, *, urgent: bool) -> _Origin:
    """Return the fields that say whose message it is, how long it may take, and which try of it this is."""
    return {
        "client": claim.client,
        "uid": claim.uid,
        "lifetime": claim.lifetime,
        "urgent": urgent,
        "tags": _tags(claim.client, claim.route),
        "idempotency_key": f"{claim.id}-{claim.attempt}",
    }


@lru_cache(1_000)
def _tags(*names: str) -> tuple[str, ...]:
    return tuple(_NO_TAG.sub("-", name)[:MAX_TAG_LENGTH] for name in names if name)
