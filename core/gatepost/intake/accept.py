"""The acceptance of one message: checks, the lookup of its recipient, and its way into the outbox."""

import time
from collections.abc import Mapping

from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.config.client import Client
from gatepost.config.settings import Settings
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.content import preview_reference
from gatepost.errors import Code, Refused, StoreError
from gatepost.intake import answers, client_policy, requests
from gatepost.intake.requests import EmailRequest, SmsRequest
from gatepost.intake.rules import Rules
from gatepost.merge_fields.messages import MergeFields, UnusableTemplate
from gatepost.model import Channel, Secret
from gatepost.observe import logs, redaction
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.tracing import Origin
from gatepost.outbox import Limit, NewMessage, Outbox, StoredMessage, new_id
from gatepost.outbox.refusals import Refusal, RefusalLog

MAX_IN_FLIGHT = 5_000
"""Requests in flight; with more the gateway is overloaded and refuses at once."""

_log = logs.get(__name__)


class Acceptance:
    """Accepts messages for the clients of one configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        contacts: Contacts,
        contact_cache: ContactCache,
        url_policies: Mapping[str, CallbackUrlPolicy],
        refusals: RefusalLog,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._contacts = contacts
        self._contact_cache = contact_cache
        self._url_policies = url_policies
        self._rules = Rules(settings)
        self._merge_fields = MergeFields(settings.clients)
        self._log_throttle = LogThrottle(time.monotonic)
        self.refusals = refusals
        self._in_flight = 0

    async def accept(
        self, name: str, client: Client, channel: Channel, body: bytes, origin: Origin | None = None
    ) -> bytes:
        """Store the message of a client's request, unless it was accepted earlier; return the answer.

        Raises Refused. When several refusals apply, docs/reference/contract.md says which one is given. A known uid
        is answered whatever else is wrong with the request, so the uid is looked up before any refusal is given.
        Without a refusal no lookup is needed: storing the message finds a known uid.
        """
        request = requests.decode(channel, body)
        try:
            return await self._accept(name, client, request, origin)
        except Refused as refusal:
            refusal.uid, refusal.ext_user_id = request.uid, request.ext_user_id
            raise

    async def _accept(
        self, name: str, client: Client, request: EmailRequest | SmsRequest, origin: Origin | None
    ) -> bytes:
        self._in_flight += 1
        callback_url = None
        has_merge_fields = False
        try:
            try:
                # Above the limit the next check refuses it, without a wait for those that are read before it.
                if client.merge_fields and self._in_flight <= MAX_IN_FLIGHT:
                    has_merge_fields = await self._has_merge_fields(name, request)
                callback_url = self._check(name, client, request)
                message, lookup = await self._prepare(
                    name, client, request, callback_url, has_merge_fields=has_merge_fields
                )
            except Refused as refusal:
                # The checks without a recipient and code 1 precede the 13 of a suppressed user.
                asks = callback_url is not None and refusal.code is not Code.USER_NOT_FOUND
                user = "" if not asks or _is_preview(request) else request.ext_user_id
                earlier = await self._outbox.find(name, request.channel, request.uid, user)
                if earlier is None:
                    raise
                return self._answer_stored(earlier, request, refusal)
            # Before the message is stored: a delivery worker may claim it before put() returns here.
            if lookup is not None:
                self._contact_cache.put(message.id, lookup)
            stored = await self._outbox.put(message)
            if isinstance(stored, StoredMessage) and stored.id == message.id:
                self._log_accepted(message, origin)
                return answers.accepted(message.id)
            self._contact_cache.take(message.id)
            if isinstance(stored, Limit):
                raise self._limit_reached(name, stored)
            return self._answer_stored(stored, request, None)
        except StoreError as error:
            _log.error("message_not_stored", client=name, reason=str(error))
            raise Refused(Code.TRY_AGAIN, "the gateway can't store messages now: try again later") from None
        finally:
            self._in_flight -= 1

    async def _prepare(
        self,
        name: str,
        client: Client,
        request: EmailRequest | SmsRequest,
        callback_url: str,
        *,
        has_merge_fields: bool,
    ) -> tuple[NewMessage, LookupResult | None]:
        """Return the message to be stored, and its recipient's contact where one was found; raise Refused."""
        channel = request.channel
        identity = new_id()
        preview, lookup = "", None
        if isinstance(request, EmailRequest) and request.preview_to is not None:
            preview = preview_reference(identity, request.preview_to)
            recipient: Secret | None = request.preview_to
        else:
            lookup = await self._contacts.find(name, request.ext_user_id, channel)
            _refuse_unless_reachable(lookup, channel)
            recipient = lookup.recipient
        request = client_policy.with_default_sender(client, request)
        routing = self._rules.routing(name, request, recipient)
        message = NewMessage(
            id=identity,
            client=name,
            channel=channel,
            route=routing.route,
            country=routing.country,
            limits=routing.limits,
            uid=request.uid,
            fingerprint=request.fingerprint,
            ext_user_id=request.ext_user_id,
            preview=preview,
            callback_url=callback_url,
            content=requests.stored_content(request, merge_fields=has_merge_fields),
            lifetime=self._settings.delivery.lifetime(channel),
        )
        return message, lookup if lookup and lookup.outcome is LookupOutcome.FOUND else None

    def _check(self, name: str, client: Client, request: EmailRequest | SmsRequest) -> str:
        """Make the checks that need no recipient; return the URL for callbacks. Raises Refused."""
        if self._in_flight > MAX_IN_FLIGHT:
            raise Refused(Code.TRY_AGAIN, "the gateway can't accept messages now: try again later")
        callback_url = request.callback_url or client.callback_url
        if callback_url:
            try:
                self._url_policies[name].check(callback_url)
            except CallbackUrlRefused as error:
                raise Refused(Code.CALLBACK_REFUSED, f"callback_url: {error}") from None
        client_policy.check_sender(client, request)
        client_policy.check_preview(client, request)
        self._rules.check_channel(name, request.channel)
        return callback_url

    async def _has_merge_fields(self, name: str, request: EmailRequest | SmsRequest) -> bool:
        """Return whether the message has merge fields; raise Refused(MALFORMED) where they can't be filled."""
        fields = self._merge_fields
        try:
            if isinstance(request, SmsRequest):
                return fields.read_sms(request.text) is not None
            html, text = request.html, request.text or None
            return await fields.read_email(name, request.subject, html, text) is not None
        except UnusableTemplate as error:
            raise Refused(Code.MALFORMED, str(error)) from None

    def note_refusal(self, name: str, channel: Channel, refusal: Refused) -> None:
        """Write to the trail that a request of this client was refused, and keep that for a day."""
        reason = redaction.redact(refusal.message)
        self._outbox.trail.refused(
            client=name,
            channel=channel.value,
            code=int(refusal.code),
            reason=reason,
            uid=refusal.uid,
            user=refusal.ext_user_id,
        )
        self.refusals.add(
            Refusal(
                client=name,
                channel=channel.value,
                uid=refusal.uid,
                ext_user_id=refusal.ext_user_id,
                code=int(refusal.code),
                reason=reason,
            )
        )

    def _log_accepted(self, message: NewMessage, origin: Origin | None) -> None:
        trail = self._outbox.trail
        trail.tracing.accepted(
            message.id, client=message.client, channel=message.channel.value, origin=origin
        )
        trail.accepted(
            message.id,
            client=message.client,
            channel=message.channel.value,
            uid=message.uid,
            user=message.ext_user_id,
        )

    def _answer_stored(
        self, stored: StoredMessage, request: EmailRequest | SmsRequest, refusal: Refused | None
    ) -> bytes:
        """Return the answer to a uid that is stored already.

        Raises Refused: code 13 for a suppressed user, whose message is not stored, and code 9 for a different message.
        """
        if stored.suppressed:
            raise _blocked(stored.suppressed) from None
        if self._outbox.policy.content_keys.is_repeat(stored.fingerprint, request.fingerprint):
            return answers.accepted(stored.id)
        field = "email_uid" if request.channel is Channel.EMAIL else "im_uid"
        raise Refused(Code.UID_USED, f"{field} was already used for a different message") from refusal

    def _limit_reached(self, name: str, limit: Limit) -> Refused:
        """Return the refusal of a message beyond a limit, after a log line once a minute for each limit."""
        if self._log_throttle.due(limit.topic or limit.scope):
            _log.warning("limit_reached", client=name, limit=limit.topic or limit.scope, cap=limit.cap)
        return Refused(Code.RULES_REFUSE if limit.daily else Code.TRY_AGAIN, limit.problem)


def _refuse_unless_reachable(lookup: LookupResult, channel: Channel) -> None:
    if lookup.outcome is LookupOutcome.UNKNOWN_USER:
        raise Refused(Code.USER_NOT_FOUND, "no contact source knows this ext_user_id")
    if lookup.outcome is LookupOutcome.BLOCKED:
        raise _blocked(lookup.blocked)
    if lookup.outcome is LookupOutcome.NO_ADDRESS:
        what = "email address" if channel is Channel.EMAIL else "phone number"
        raise Refused(Code.NO_ADDRESS, f"the user has no usable {what}")


def _blocked(reason: str) -> Refused:
    return Refused(Code.MUST_NOT_CONTACT, f"the user must not be contacted ({reason})")


def _is_preview(request: EmailRequest | SmsRequest) -> bool:
    """Return whether the message goes to an address of the operator, who is never suppressed."""
    return isinstance(request, EmailRequest) and request.preview_to is not None
