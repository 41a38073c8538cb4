"""Each of these plugins is wrong in one way, and one check of the kit must find it: contact sources."""

import asyncio
import re
import time

import msgspec
import pytest

from gatepost.errors import Unavailable, Uncertain
from gatepost.hookspecs import ContactsState, hookimpl
from gatepost.model import Contact, Secret
from gatepost.testing.conformance import cpu_units
from gatepost_example import Example, users

WRONG = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


@wrong("contacts.known_user", "the email is not")
class SwapsTheFields(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.phone, phone=found.email)


@wrong("contacts.known_user", "the user 17:|the user 0017:")
class TakesIdsForNumbers(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        return await super().find_contact(str(int(ext_user_id)) if ext_user_id.isdigit() else ext_user_id)


@wrong("contacts.unknown_user", "raised KeyError")
class RaisesForUnknownUsers(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        if found is None:
            raise KeyError("nobody")
        return found


@wrong("contacts.missing_fields", "the phone is not|the email is not")
class FillsMissingFields(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email or Secret(""), phone=found.phone or Secret(""))


@wrong("contacts.field_types", "not a Secret")
class AddressAsText(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email.reveal())


@wrong("contacts.field_types", "attribute")
class AttributesOfAnyKind(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return Contact(email=found.email, phone=found.phone, attributes={"level": 7})


@wrong("contacts.field_types", "an attribute holds the address or the number")
class AttributesOfTheWholeRow(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        row = {"id": ext_user_id, "phone": found.phone.reveal() if found and found.phone else ""}
        return found and msgspec.structs.replace(found, attributes=row)


@wrong("contacts.field_types", "`blocked` is not a text")
class BlocksWithAFlag(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return msgspec.structs.replace(found, blocked=False)


@wrong("contacts.known_user", "blocked, but may be contacted")
class BlocksEveryone(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return msgspec.structs.replace(found, blocked="0")


@wrong("contacts.blocked_users", "not blocked")
class DropsTheBlock(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        return msgspec.structs.replace(found, blocked="")


@wrong("contacts.blocked_users", "the reason holds the address")
class BlocksWithTheAddress(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        blocked = found.blocked and found.email and f"{found.email.reveal()} is excluded"
        return msgspec.structs.replace(found, blocked=blocked or found.blocked)


@wrong("contacts.odd_values", "not the one that the source has")
class CleansAddresses(Example):
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
class FailsOnSurrogates(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        ext_user_id.encode()
        return await super().find_contact(ext_user_id)


@wrong("contacts.concurrent", "the user")
class RemembersOneId(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        self._id = ext_user_id
        await asyncio.sleep(0)
        return await super().find_contact(self._id)


@wrong("contacts.no_leaks", "address or number is in a log")
class LogsWhoWasFound(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await super().find_contact(ext_user_id)
        if found and found.email:
            self._context.log.debug("found", name=found.email.reveal().partition("@")[0])
        return found


class Describes(Example):
    """A plugin that describes its contacts after each lookup."""

    @hookimpl
    async def find_contact(self, ext_user_id):
        self._context.describe_contacts(self.description())
        return await super().find_contact(ext_user_id)


@wrong("contacts.described", "instead of a ContactsState")
class DescribesWithANumber(Describes):
    def description(self):
        return 1000


@wrong("contacts.described", "it has 1 users, of whom")
class CountsNoUsers(Describes):
    def description(self):
        return ContactsState(users=1, as_of=time.time())


@wrong("contacts.described", "no time until now")
class CountsMilliseconds(Describes):
    def description(self):
        return ContactsState(users=1000, as_of=1000 * time.time())


@wrong("contacts.described", "data are not used: none")
class HasAProblemAlways(Describes):
    def description(self):
        return ContactsState(users=1000, as_of=time.time(), problem="none")


@wrong("contacts.free_loop", "time.sleep")
class BlocksInFind(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await super().find_contact(ext_user_id)


@wrong("contacts.free_loop", "ms of CPU")
class ComputesInFind(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
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
class ReturnsWhenCancelled(Example):
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
class NoneForEveryError(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except Unavailable:
            return None


@wrong("contacts.denied", "misconfigured")
class DeniedNotMisconfigured(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except Unavailable as error:
            raise Unavailable(error.reason) from None


@wrong("contacts.hang", "raised Uncertain")
class UncertainLookup(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        try:
            return await super().find_contact(ext_user_id)
        except Unavailable as error:
            raise Uncertain(error.reason) from None


@wrong("contacts.hang", "no deadline")
class WaitsAsLongAsASend(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        reply = await self._get(users.lookup_path(ext_user_id))
        return users.contact(reply, ext_user_id)


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
