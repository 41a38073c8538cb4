"""The addresses of the bounce domain that accept mail, and what becomes of a mail to one of them."""

import asyncio
from collections import Counter
from collections.abc import Collection
from email.message import Message
from functools import partial

from gatepost.hookspecs import Context
from gatepost.model import Report, StatusEvent
from gatepost_smtp.addresses import read_return_path
from gatepost_smtp.incoming_mail import IncomingMail
from gatepost_smtp.message_ids import find_signed_id
from gatepost_smtp.reports import FindId, read_mail
from gatepost_smtp.settings import Settings

SHARED_ADDRESS = ""
"""Stands for an address that is not of one message, where the message id of a return path would be."""


class BounceMailbox:
    """Accepts mails to signed return paths, to complaint_address and to the postmaster, and reports what they say."""

    def __init__(self, settings: Settings, context: Context, slots: asyncio.Semaphore) -> None:
        """``slots`` limits the threads that parse at once."""
        self._settings = settings
        self._context = context
        self._slots = slots
        self.domain = settings.bounce_domain
        # RFC 5321, 4.5.1: with and without the domain.
        self._shared = {"postmaster", f"postmaster@{self.domain.lower()}", settings.complaint_address.lower()}

    def find_recipient(self, address: str) -> str | None:
        """Return the message id of a return path, or SHARED_ADDRESS; None for an address that accepts no mail."""
        if address and address.lower() in self._shared:
            return SHARED_ADDRESS
        return read_return_path(address, self.domain, self._settings.accepted_secrets) or None

    async def deliver(self, sender: str, recipients: Collection[str], mail: bytes) -> None:
        """Read a mail and report what it says; when it returns, that is on disk.

        Raises Unavailable while that can't be; the mail server keeps the mail then.
        """
        if sender.lower().endswith(f"@{self.domain.lower()}"):
            # No mail comes from this domain but our own, here to a user whose address is one of these.
            await self._context.report(Report(ignored={"loop": 1}))
            return
        events: list[StatusEvent] = []
        ignored: Counter[str] = Counter()
        for message_id in set(recipients):
            report = await read_mail(mail, self._settings, self._slots, self._id_finder(message_id))
            events += report.events
            ignored.update(report.ignored)
        await self._context.report(Report(events=events, ignored=ignored))

    def _id_finder(self, message_id: str) -> FindId:
        if message_id == SHARED_ADDRESS:
            # Anyone can write to it, so only what is signed counts.
            return partial(find_signed_id, settings=self._settings)

        def find_id(_mail: IncomingMail, _blocks: list[Message]) -> str:
            return message_id

        return find_id
