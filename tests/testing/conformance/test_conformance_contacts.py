"""Plugins that are wrong in one way each, and the check of the kit that is meant to say so: finding users."""

import asyncio
import re
import time

import pytest

from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Contact, Secret
from gatepost.testing.conformance import yardstick
from gatepost_example import Example, users

WRONG = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


@wrong("contacts.known", "the email is not")
class MixesThemUp(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.phone, phone=found.email)


@wrong("contacts.known", "the user 17:|the user 0017:")
class TakesIdsForNumbers(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        return await super().find_contact(str(int(ext_user_id)) if ext_user_id.isdigit() else ext_user_id)


@wrong("contacts.unknown", "raised KeyError")
class KnowsEverybody(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        if found is None:
            raise KeyError("nobody")
        return found


@wrong("contacts.lacking", "the phone is not|the email is not")
class FillsUp(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email or Secret(""), phone=found.phone or Secret(""))


@wrong("contacts.secret", "no Secret")
class AddressAsText(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email.reveal())


@wrong("contacts.secret", "attribute")
class AttributesOfAnyKind(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email, phone=found.phone, attributes={"level": 7})


@wrong("contacts.strange", "not the one that the source has")
class TidiesUp(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=Secret(found.email.reveal().replace(" ", "")), phone=found.phone)


@wrong("contacts.hostile_ids", "finds a user")
class StripsIds(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        return await super().find_contact(ext_user_id.strip().replace("\0", ""))


@wrong("contacts.hostile_ids", "raised UnicodeEncodeError")
class StumblesOverIds(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        ext_user_id.encode()
        return await super().find_contact(ext_user_id)


@wrong("contacts.concurrently", "the user")
class RemembersOneId(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        self._id = ext_user_id
        await asyncio.sleep(0)
        return await super().find_contact(self._id)


@wrong("contacts.discreet", "address or number stands in a log")
class LogsWhoWasFound(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        if found and found.email:
            self._context.log.debug("found", name=found.email.reveal().partition("@")[0])
        return found


@wrong("contacts.free_loop", "time.sleep")
class AsksSlowly(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await super().find_contact(ext_user_id)


@wrong("contacts.free_loop", "ms of CPU")
class LooksThroughThemAll(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        yardstick.burn(3 * yardstick.MAX_UNITS)
        return await super().find_contact(ext_user_id)


@wrong("contacts.cancelled", "did not end")
class KeepsALock(Example):
    lock = None

    @hookimpl
    async def find_contact(self, ext_user_id):
        self.lock = self.lock or asyncio.Lock()
        await self.lock.acquire()
        found = await super().find_contact(ext_user_id)
        self.lock.release()
        return found


@wrong("contacts.cancelled", "cancelled, it returned None")
class TakesCancellationForAnAnswer(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except asyncio.CancelledError:
            return None


@wrong("contacts.outage", "returned None instead of raising Unavailable")
@wrong("contacts.lost", "returned None instead of raising Unavailable")
@wrong("contacts.nonsense", "returned None instead of raising Unavailable")
@wrong("contacts.unreachable", "returned None instead of raising Unavailable")
class NobodyWhenInDoubt(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except Unavailable:
            return None


@wrong("contacts.denied", "misconfigured")
class BlamesNobody(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except Unavailable as error:
            raise Unavailable(error.reason) from None


@wrong("contacts.hang", "raised Uncertain")
class UncertainWhoItIs(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        reply = await self._http.get(users.lookup_path(ext_user_id))
        return users.contact(reply, ext_user_id)


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_is_caught(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
