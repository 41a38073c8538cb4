"""Each of these plugins is wrong in one way, and one check of the kit must find it: batches, users, fetched reports."""

import asyncio
import contextlib
import hashlib
import re
import time

import pytest

from full_plugin import Full, Polling
from gatepost.errors import Rejected, Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Report, Status
from gatepost.testing.conformance.registry import Group, checks_of
from gatepost_example import reports
from wrong_plugins import collect

WRONG, wrong = collect()


class Changes(Full):
    """A plugin that changes what it finds."""

    @hookimpl
    async def find_contacts(self, ext_user_ids):
        return self.found(await super().find_contacts(ext_user_ids), ext_user_ids)


@wrong("batch.same_contacts", "the email is not")
class SwapsContacts(Changes):
    def found(self, found, ids):
        return dict(zip(found, reversed(found.values()), strict=True))


@wrong("batch.same_contacts", "instead of returning a mapping")
class ReturnsAList(Changes):
    def found(self, found, ids):
        return list(found.values())


@wrong("batch.same_contacts", "blocked, but may be contacted|not blocked")
class ForgetsWhoIsBlocked(Changes):
    def found(self, found, ids):
        return {name: Contact(email=one.email, phone=one.phone) for name, one in found.items()}


@wrong("batch.unknown_users", "a NoneType in place of a Contact")
class NoneForUnknownUsers(Changes):
    def found(self, found, ids):
        return {one: found.get(one) for one in ids}


@wrong("batch.unknown_users", "of two known users and an unknown one")
class AllOrNobody(Changes):
    def found(self, found, ids):
        return found if len(found) == len(ids) else {}


@wrong("batch.many_ids", "among 100")
class TenAtMost(Changes):
    @hookimpl
    async def find_contacts(self, ext_user_ids):
        return await Full.find_contacts(self, ext_user_ids[-10:])


@wrong("batch.hostile_ids", "with hostile ids")
class StripsIds(Changes):
    def found(self, found, ids):
        return {**found, **{one: next(iter(found.values())) for one in ids if one.strip() == "*" and found}}


@wrong("batch.hostile_ids", "raised UnicodeEncodeError")
class EncodesIds(Changes):
    def found(self, found, ids):
        ",".join(ids).encode()
        return found


@wrong("batch.concurrent", "instead of returning a Contact|is not the one")
class RemembersTheLastCall(Changes):
    @hookimpl
    async def find_contacts(self, ext_user_ids):
        self.last = ext_user_ids
        await asyncio.sleep(0)
        return await Full.find_contacts(self, self.last)


@wrong("batch.no_leaks", "address or number is in a log")
class LogsWhatItFinds(Changes):
    def found(self, found, ids):
        self._context.log.debug("found", emails=[one.email.reveal() for one in found.values() if one.email])
        return found


@wrong("batch.outage", "instead of raising Unavailable")
class NobodyInAnOutage(Full):
    @hookimpl
    async def find_contacts(self, ext_user_ids):
        try:
            return await super().find_contacts(ext_user_ids)
        except Unavailable:
            return {}


@wrong("batch.hang", "no deadline")
class WaitsForTheBatch(Full):
    async def _look_up(self, path):
        return await self._get(path)


@wrong("batch.nonsense", "instead of raising Unavailable")
class NobodyInNonsense(Full):
    @hookimpl
    async def find_contacts(self, ext_user_ids):
        reply = await self._look_up("/v1/batch?ids=[]")
        return {} if "users" not in (reply.json() or {}) else await super().find_contacts(ext_user_ids)


class Finds(Full):
    """A plugin that changes whom it finds."""

    @hookimpl
    async def find_user(self, channel, recipient):
        return await self.find(channel, recipient, super().find_user)


@wrong("users.known_recipients", "is found as \\[\\]")
class AsksForTheNationalNumber(Finds):
    async def find(self, channel, recipient, ask):
        return [] if channel is Channel.SMS else await ask(channel, recipient)


@wrong("users.known_recipients", "one text instead of a list")
class ReturnsOneId(Finds):
    async def find(self, channel, recipient, ask):
        return (await ask(channel, recipient))[0]


@wrong("users.unknown_recipients", "it returned None instead of returning ids")
class NoneForUnknownRecipients(Finds):
    async def find(self, channel, recipient, ask):
        return await ask(channel, recipient) or None


@wrong("users.unknown_recipients", "on the channel")
class IgnoresTheChannel(Finds):
    async def find(self, channel, recipient, ask):
        return [*await ask(Channel.EMAIL, recipient), *await ask(Channel.SMS, recipient)]


@wrong("users.hostile_recipients", "is found as")
class FindsByTheBeginning(Finds):
    async def find(self, channel, recipient, ask):
        if channel is Channel.SMS and len(recipient.reveal()) < 12:
            return ["conformance-1"]
        return await ask(channel, recipient)


@wrong("users.concurrent", "is found as")
class RemembersTheLastRecipient(Finds):
    async def find(self, channel, recipient, ask):
        self.last = channel, recipient
        await asyncio.sleep(0)
        return await ask(*self.last)


@wrong("users.no_leaks", "address or number is in a log")
class LogsTheRecipient(Finds):
    async def find(self, channel, recipient, ask):
        self._context.log.info("STOP", of=recipient.reveal())
        return await ask(channel, recipient)


@wrong("users.no_leaks", "a fragment of a recipient")
class LogsTheHashOfTheRecipient(Finds):
    async def find(self, channel, recipient, ask):
        self._context.log.info("STOP", of=hashlib.sha256(recipient.reveal().encode()).hexdigest())
        return await ask(channel, recipient)


@wrong("users.free_loop", "time.sleep")
class BlocksWhileItFinds(Finds):
    async def find(self, channel, recipient, ask):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await ask(channel, recipient)


@wrong("users.outage", "raised Rejected")
class RejectsInAnOutage(Finds):
    async def find(self, channel, recipient, ask):
        try:
            return await ask(channel, recipient)
        except Unavailable as error:
            raise Rejected(error.reason) from None


@wrong("users.hang", "no deadline")
class WaitsForTheUser(Full):
    async def _look_up(self, path):
        return await self._get(path)


@wrong("polling.reports", "not passed on")
class NeverPolls(Polling):
    async def fetch(self):
        pass


@wrong("polling.reports", "means \\[.*rejected")
class PassesOnAnotherStatus(Polling):
    async def pass_on(self, report, after, cursor):
        events = [type(event)(status=Status.REJECTED, message_id=event.message_id) for event in report.events]
        await super().pass_on(Report(events=events), after, cursor)


@wrong("polling.reported_again", "is lost")
class AcknowledgesFirst(Polling):
    async def _poll(self):
        after = 0
        while True:
            report = await self._get(f"/v1/reports?after={after}")
            after += len(report.json()["events"])
            with contextlib.suppress(Unavailable):
                await self._context.report(reports.translate(report))
            await asyncio.sleep(0.005)


@wrong("polling.one_replica", "another replica has the lease")
class IgnoresTheLease(Polling):
    async def _poll(self):
        while True:
            await self._context.lease("poll", 30.0)
            await self.fetch()
            await asyncio.sleep(0.005)


@wrong("polling.one_replica", "never asks context.lease|another replica has")
class AsksForNoLease(Polling):
    async def _poll(self):
        while True:
            await self.fetch()
            await asyncio.sleep(0.005)


@wrong("polling.no_leaks", "the recipient is in")
class KeepsTheLastReport(Polling):
    async def pass_on(self, report, after, cursor):
        self._context.log.info("fetched", report=(await self._get("/v1/reports?after=0")).body)
        await super().pass_on(report, after, cursor)


POLLED = [one.id for one in checks_of([Group.POLLING])]
LOOKUPS = [one.id for one in checks_of([Group.BATCH, Group.USERS])]


@pytest.mark.parametrize("check_id", [*POLLED, *LOOKUPS])
async def test_a_plugin_that_does_it_right_passes(verdict, check_id):
    assert await verdict(check_id, Polling, "") == ""


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
