"""Every refusal of the contract, each by a request that holds a canary."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from gatepost.config.client import Client
from gatepost.errors import Code
from gatepost.model import Channel
from gatepost.prove.canaries import Canaries, Person
from gatepost.prove.client import GatewayClient
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.private_copy import MAX_PARTS, OWN_CLIENT, PER_USER, REFUSING_SENDER, sender_of
from gatepost.prove.route_plan import usual_sender

_WORDS = {code: code.name.replace("_", " ").lower() for code in Code}
_MAX_BODY = 20_000_000
"""Bytes from which on a request that is too large would slow down the run."""

INTERNAL = "it needs a defect in the gateway itself"


class RefusedPeople:
    """The people about whom requests are refused."""

    def __init__(self, canaries: Canaries) -> None:
        self.usual = canaries.add()
        # One for each channel: the limit of messages to a user is one for both.
        self.counted = {channel: canaries.add() for channel in Channel}
        self.unusable = canaries.add(email=f"{canaries.word()} has no address", without_phone=True)
        self.blocked = canaries.add(blocked="closed {address}")
        self.unlisted = canaries.add()

    @property
    def known(self) -> tuple[Person, ...]:
        """Those whom the contact source knows."""
        return self.usual, self.unusable, self.blocked, self.unlisted, *self.counted.values()


class Refusals:
    """Sends the requests that a gateway refuses."""

    def __init__(
        self, gateway: GatewayClient, people: RefusedPeople, outcomes: Outcomes, max_body: int
    ) -> None:
        self._gateway = gateway
        self._people = people
        self._outcomes = outcomes
        self._max_body = max_body

    async def of_client(self, name: str, client: Client, channel: Channel) -> None:
        """Send each request that can be refused whatever the routes are."""
        sender, usual = usual_sender(client, channel), self._people.usual
        fields = {"ext_user_id": usual.user, "sender": sender}

        async def send(code: Code, note: str = "", **changes: str) -> None:
            answer = await self._gateway.send(name, channel, {**fields, **changes})
            self._expect(name, channel, code, note, answer.code)

        await send(Code.USER_NOT_FOUND, ext_user_id="prove-nobody")
        await send(Code.USER_NOT_FOUND, "an address as the user's id", ext_user_id=usual.email)
        await send(Code.USER_NOT_FOUND, "a number as the user's id", ext_user_id=usual.phone)
        await send(Code.NO_ADDRESS, ext_user_id=self._people.unusable.user)
        await send(
            Code.MUST_NOT_CONTACT,
            "the source's reason holds the address",
            ext_user_id=self._people.blocked.user,
        )
        await send(Code.CALLBACK_REFUSED, callback_url=f"https://elsewhere.example/?to={usual.email}")
        if channel is Channel.EMAIL:
            other = self._people.unlisted.email
            await send(Code.PREVIEW_REFUSED, activity_type="preview", to_email_address=other)
        await self._of_request(name, client, channel, fields)

    async def _of_request(
        self, name: str, client: Client, channel: Channel, fields: Mapping[str, str]
    ) -> None:
        private = self._people.usual.private_text
        body = msgspec.json.encode(self._gateway.fields(channel, fields))
        raw: list[tuple[Code, bytes, dict[str, str]]] = [
            (Code.NOT_ALLOWED, body, {"X-Forwarded-For": "2001:db8:ffff::1"}),
            (Code.MALFORMED, f'{{"ext_user_id": "{private}'.encode(), {}),
            (Code.MALFORMED, msgspec.json.encode({"ext_user_id": {private: private}}), {}),
        ]
        if channel is Channel.EMAIL or client.sms_authorization:
            secret = {"Authorization": f"Bearer {self._people.usual.email}"}
            raw.append((Code.WRONG_AUTHORIZATION, body, secret))
        if self._max_body <= _MAX_BODY:
            raw.append((Code.TOO_LARGE, private.encode() * (self._max_body // len(private) + 1), {}))
        for code, content, headers in raw:
            answer = await self._gateway.post(name, channel, content, headers)
            self._expect(name, channel, code, "", answer.code)

    async def of_own_client(self, channel: Channel, instance_sender: str) -> None:
        """Send each request whose refusal depends on senders, routes and limits, as the run's own client."""
        name, user = OWN_CLIENT, self._people.counted[channel].user

        async def send(code: Code, note: str = "", **changes: str) -> None:
            fields = {"ext_user_id": user, "sender": instance_sender, **changes}
            answer = await self._gateway.send(name, channel, fields)
            self._expect(name, channel, code, note, answer.code)

        await send(Code.SENDER_REFUSED, sender="Other" if channel is Channel.SMS else "other@brand.example")
        await send(Code.RULES_REFUSE, "a route's refuse", sender=sender_of(channel, REFUSING_SENDER))
        if channel is Channel.SMS:
            await send(Code.RULES_REFUSE, "sms_max_parts", text="accept " * 40 * MAX_PARTS)
        uid = "email_uid" if channel is Channel.EMAIL else "im_uid"
        used = self._gateway.uid()
        await send(Code.ACCEPTED, **{uid: used})
        await send(Code.UID_USED, **{uid: used, "text": "accept another text"})
        for _ in range(PER_USER):
            await self._gateway.send(name, channel, {"ext_user_id": user, "sender": instance_sender})
        await send(Code.RULES_REFUSE, "per_user_per_day")

    async def without_route(self, channel: Channel) -> None:
        """Send a message that no rule takes: that of the own client on a channel without any."""
        answer = await self._gateway.send(
            OWN_CLIENT,
            channel,
            {"ext_user_id": self._people.usual.user, "sender": sender_of(channel, REFUSING_SENDER)},
        )
        self._expect(OWN_CLIENT, channel, Code.NO_PROVIDER, "", answer.code)

    async def while_store_is_locked(self, file: Path, sender: Mapping[Channel, str]) -> None:
        """Send messages while another program keeps the SQLite file locked."""
        user = self._people.unlisted.user
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self._outcomes.missing(
                    OWN_CLIENT, "code 12, try again", f"the file could not be locked: {error}"
                )
                return
            answers = await asyncio.gather(
                *(
                    self._gateway.send(OWN_CLIENT, channel, {"ext_user_id": user, "sender": text})
                    for channel, text in sender.items()
                )
            )
            other.execute("ROLLBACK")
        for channel, answer in zip(sender, answers, strict=True):
            self._expect(OWN_CLIENT, channel, Code.TRY_AGAIN, "", answer.code)

    def _expect(self, client: str, channel: Channel, code: Code, note: str, found: int) -> None:
        what = f"code {code.value}, {_WORDS[code]}" + (f" ({note})" if note else "")
        self._outcomes.expect(f"{client}, {channel}", what, found, code)
