"""The recipients of claimed messages: who they are is looked up again right before each attempt."""

from collections.abc import Mapping

from gatepost.config.client import Client
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.content import preview_recipient
from gatepost.delivery import attempt
from gatepost.outbox import Claim, SendResult
from gatepost.outbox.states import State


class Recipients:
    """Finds the recipients of claimed messages."""

    def __init__(
        self, clients: Mapping[str, Client], contacts: Contacts, contact_cache: ContactCache
    ) -> None:
        self._clients = clients
        self._contacts = contacts
        self._contact_cache = contact_cache

    async def find(self, claim: Claim) -> LookupResult | SendResult:
        """Return the recipient, or the result of a message that can't be sent now."""
        if claim.lifetime <= 0:
            return attempt.final_result(claim, State.FAILED, "its lifetime ended")
        client = self._clients.get(claim.client)
        if client is None:
            # Sources of another client may know other people by the same ids. A renamed client may come back.
            return attempt.retry_result(claim, "its client is no longer configured")
        lookup = await self._look_up(claim, client)
        if lookup.outcome is LookupOutcome.UNREACHABLE:
            return attempt.retry_result(claim, "a contact source was unavailable")
        if lookup.recipient is None:
            return attempt.final_result(claim, State.REJECTED, _rejection_reason(claim, lookup))
        return lookup

    async def _look_up(self, claim: Claim, client: Client) -> LookupResult:
        """Look up the recipient as it is now, in the client's own sources alone."""
        if claim.preview:
            recipient = preview_recipient(client, claim.id, claim.preview)
            return LookupResult(LookupOutcome.FOUND if recipient else LookupOutcome.NO_ADDRESS, recipient)
        if claim.suppressed:
            return LookupResult(LookupOutcome.BLOCKED, blocked=claim.suppressed)
        earlier = self._contact_cache.take(claim.id)
        return await self._contacts.find(claim.client, claim.ext_user_id, claim.channel, earlier)


def _rejection_reason(claim: Claim, lookup: LookupResult) -> str:
    if claim.preview:
        return "its preview recipient is no longer configured"
    if lookup.outcome is LookupOutcome.BLOCKED:
        return f"the user must not be contacted ({lookup.blocked})"
    if lookup.outcome is LookupOutcome.UNKNOWN_USER:
        return "no contact source knows the user any more"
    return "the user has no usable address any more"
