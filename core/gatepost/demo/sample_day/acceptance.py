"""The acceptance of the sample day's requests: by the gateway's own rules, at the time of the sample day."""

from collections.abc import Callable, Mapping

from gatepost.config.settings import Settings
from gatepost.demo.brands import BRANDS
from gatepost.demo.traffic import BrandRequest
from gatepost.errors import Code, Refused
from gatepost.intake import requests
from gatepost.intake.rules import Rules
from gatepost.model import Secret
from gatepost.outbox import Limit, NewMessage, Outbox, new_id, refusals
from gatepost.outbox.refusals import Refusal


class Acceptance:
    """Stores the messages of requests, and the refusals of those that are refused."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        clock: Callable[[], float],
        callback_urls: Mapping[str, str],
    ) -> None:
        """``callback_urls`` by client."""
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._callback_urls = callback_urls
        self._rules = Rules(settings)
        self._addresses = {user.ext_user_id: user.email for brand in BRANDS for user in brand.players()}
        self._accepted_at: dict[str, float] = {}

    def address(self, ext_user_id: str) -> str:
        """Return the email address of a player."""
        return self._addresses[ext_user_id]

    def accepted_at(self, message_id: str) -> float:
        """Return when a message was accepted, in seconds since the epoch."""
        return self._accepted_at[message_id]

    async def accept(self, request: BrandRequest) -> None:
        """Store the message of a request, or its refusal."""
        try:
            await self._accept(request)
        except Refused as refused:
            refusal = Refusal(
                client=request.brand.name,
                channel=request.channel.value,
                uid=request.uid,
                ext_user_id=request.ext_user_id,
                code=int(refused.code),
                reason=refused.message,
            )
            await self._outbox.change(refusals.add, [refusal])

    async def _accept(self, request: BrandRequest) -> None:
        client = request.brand.name
        if request.user is None:
            raise Refused(Code.USER_NOT_FOUND, "no contact source knows this ext_user_id")
        decoded = requests.decode(request.channel, request.body(self._callback_urls[client]))
        routing = self._rules.routing(client, decoded, Secret(request.user.address(request.channel)))
        message = NewMessage(
            id=new_id(self._clock()),
            client=client,
            channel=request.channel,
            route=routing.route,
            country=routing.country,
            limits=routing.limits,
            uid=decoded.uid,
            fingerprint=decoded.fingerprint,
            ext_user_id=decoded.ext_user_id,
            preview="",
            callback_url=decoded.callback_url,
            content=requests.stored_content(decoded),
            lifetime=self._settings.delivery.lifetime(request.channel),
        )
        stored = await self._outbox.put(message)
        if isinstance(stored, Limit):
            raise Refused(Code.RULES_REFUSE if stored.daily else Code.TRY_AGAIN, stored.problem)
        if stored.suppressed:
            raise Refused(Code.MUST_NOT_CONTACT, f"the user must not be contacted ({stored.suppressed})")
        self._accepted_at[message.id] = self._clock()
