"""From a request's body to a message on disk, or to a refusal that says why."""

from collections.abc import Mapping

from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.config.settings import Client, Settings
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.content import preview_reference
from gatepost.errors import Code, Refused, StoreError
from gatepost.intake import requests
from gatepost.intake.requests import EmailRequest, SmsRequest
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import NewMessage, Outbox, StoredMessage, new_id

MOST_IN_HAND = 5_000
"""Requests in hand; beyond that the gateway is overloaded and says so at once."""

_log = logs.get(__name__)


class Acceptance:
    """Takes messages in for the clients of one configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        contacts: Contacts,
        contact_cache: ContactCache,
        url_policies: Mapping[str, CallbackUrlPolicy],
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._contacts = contacts
        self._contact_cache = contact_cache
        self._url_policies = url_policies
        self._in_hand = 0

    async def take(self, name: str, client: Client, channel: Channel, body: bytes) -> bytes:
        """The answer to a request of this client: its message is on disk, or its uid was known.

        Raises Refused. The order in which refusals win is the contract's: a known uid is answered
        whatever else is wrong by now, so it is looked for before any refusal leaves; on the usual way
        storing the message finds it out by itself.
        """
        request = requests.decode(channel, body)
        self._in_hand += 1
        try:
            try:
                message, lookup = await self._prepare(name, client, request)
            except Refused as refusal:
                known = await self._outbox.find(name, channel, request.uid)
                if known is None:
                    raise
                return _known(known, request, refusal)
            # Before it is stored: a sender may have it in hand before we are told that it is there.
            if lookup is not None:
                self._contact_cache.put(message.id, lookup)
            stored = await self._outbox.put(message)
            if stored.id == message.id:
                return requests.accepted(message.id)
            self._contact_cache.take(message.id)
            return _known(stored, request, None)
        except StoreError as error:
            _log.error("message_not_stored", client=name, reason=str(error))
            raise Refused(Code.TRY_AGAIN, "the gateway can't store messages now: try again later") from None
        finally:
            self._in_hand -= 1

    async def _prepare(
        self, name: str, client: Client, request: EmailRequest | SmsRequest
    ) -> tuple[NewMessage, LookupResult | None]:
        """The message to be stored, and what is known of its recipient; raises Refused."""
        if self._in_hand > MOST_IN_HAND:
            raise Refused(Code.TRY_AGAIN, "the gateway can't take messages now: try again later")
        channel = request.channel
        callback_url = request.callback_url or client.callback_url
        if callback_url:
            try:
                self._url_policies[name].check(callback_url)
            except CallbackUrlRefused as error:
                raise Refused(Code.CALLBACK_REFUSED, f"callback_url: {error}") from None
        requests.check_sender(client, request)
        requests.check_preview(client, request)
        if not self._settings.routes.instances(channel):
            raise Refused(Code.NO_PROVIDER, f"routes.{channel} names no provider")
        identity = new_id()
        preview, lookup = "", None
        if isinstance(request, EmailRequest) and request.preview_to is not None:
            preview = preview_reference(identity, request.preview_to)
        else:
            lookup = await self._contacts.find(name, request.ext_user_id, channel)
            _refuse_unless_reachable(lookup, channel)
        message = NewMessage(
            id=identity,
            client=name,
            channel=channel,
            uid=request.uid,
            fingerprint=request.fingerprint,
            ext_user_id=request.ext_user_id,
            preview=preview,
            callback_url=callback_url,
            content=requests.content(request),
            lifetime=self._settings.delivery.lifetime(channel),
        )
        return message, lookup if lookup and lookup.outcome is LookupOutcome.FOUND else None


def _refuse_unless_reachable(lookup: LookupResult, channel: Channel) -> None:
    if lookup.outcome is LookupOutcome.UNKNOWN_USER:
        raise Refused(Code.USER_NOT_FOUND, "no contact source knows this ext_user_id")
    if lookup.outcome is LookupOutcome.NO_ADDRESS:
        what = "email address" if channel is Channel.EMAIL else "phone number"
        raise Refused(Code.NO_ADDRESS, f"the user has no usable {what}")


def _known(stored: StoredMessage, request: EmailRequest | SmsRequest, refusal: Refused | None) -> bytes:
    if stored.fingerprint == request.fingerprint:
        return requests.accepted(stored.id)
    field = "email_uid" if request.channel is Channel.EMAIL else "im_uid"
    raise Refused(Code.UID_USED, f"{field} was already used for a different message") from refusal
