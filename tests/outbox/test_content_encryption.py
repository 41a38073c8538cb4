"""Contents that are encrypted in a real store: what is on the disk, with old, new and missing keys."""

import re
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from claiming import claim_due, result_of
from gatepost.content import SmsContent, encode_content
from gatepost.content_keys import ContentKeys
from gatepost.model import Channel, Secret
from gatepost.outbox import cancellations, user_data
from gatepost.outbox.cancellations import CancelStep, Progress
from gatepost.outbox.content_key_use import count_by_key
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.missing_keys import MissingKeys
from gatepost.outbox.states import State

OLD, NEW = Secret("0" * 64), Secret("1" * 64)
OLD_ID, NEW_ID = ContentKeys([OLD, NEW]).ids
BOTH_STORES = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)

PLANTED = b"frumious-bandersnatch"
FINGERPRINT = b"manxome-foe-" * 3
"""As long as no real one, which is a hash: it is found again."""


def with_keys(place, *keys):
    return place.opened(content_keys=ContentKeys(keys))


def text(words):
    return encode_content(SmsContent(text=words))


def files_of(folder):
    return b"".join(path.read_bytes() for path in folder.glob("outbox.db*"))


@pytest.mark.parametrize("keys", [(), (OLD,)])
@pytest.mark.parametrize("state", [None, State.QUEUED, State.FAILED, State.UNCERTAIN])
async def test_what_waits_and_what_failed_is_in_no_file_without_encryption(tmp_path, place, new, keys, state):
    """The search finds what is not encrypted, so it can find."""
    async with with_keys(place, *keys) as outbox:
        await outbox.put(new(content=PLANTED, fingerprint=FINGERPRINT[:32]))
        if state is not None:
            (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
            # A text that was derived from the HTML, for the next try.
            derived = PLANTED + b", derived"
            await outbox.finish(result_of(claim, state, delay=60.0, content=derived))
        found = files_of(tmp_path)
        assert new().ext_user_id.encode() in found
        assert [text in found for text in (PLANTED, FINGERPRINT[:32])] == [not keys] * 2
    # The write-ahead log is in the database now.
    assert (PLANTED in files_of(tmp_path)) == (not keys)


@BOTH_STORES
async def test_keys_rotate_and_what_waited_is_read_with_the_old_one(place, new):
    uids = ["plain", "old", "new"]
    for uid, keys in zip(uids, [(), (OLD,), (NEW, OLD)], strict=True):
        async with with_keys(place, *keys) as outbox:
            await outbox.put(new(uid))

    async with with_keys(place, NEW, OLD) as outbox:
        assert await outbox._database.transact(count_by_key) == {"": 1, OLD_ID: 1, NEW_ID: 1}
        claims = await claim_due(outbox, Channel.EMAIL, 9, 30.0)
        assert {(one.uid, one.content) for one in claims} == {
            (uid, b"content of " + uid.encode()) for uid in uids
        }


@pytest.mark.parametrize("listed", [(), (NEW,)])
async def test_a_message_without_its_key_is_claimed_without_its_content(place, new, listed):
    async with with_keys(place, OLD) as outbox:
        await outbox.put(new())
    async with with_keys(place, *listed) as outbox:
        (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
        assert (claim.content, claim.missing_key) == (b"", OLD_ID)
        await outbox.finish(result_of(claim, State.QUEUED))
    async with with_keys(place, NEW, OLD) as outbox:
        (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
        assert (claim.content, claim.missing_key) == (b"content of uid-1", "")


async def test_contents_that_were_swapped_are_sent_to_nobody(tmp_path, place, new):
    async with with_keys(place, OLD) as outbox:
        ids = [new(uid).id for uid in ("one", "two")]
        for uid, message_id in zip(("one", "two"), ids, strict=True):
            await outbox.put(new(uid, id=message_id))
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        found = dict(connection.execute("SELECT message_id, content FROM contents"))
        for message_id, other in (ids, ids[::-1]):
            connection.execute(
                "UPDATE contents SET content = ? WHERE message_id = ?", (found[other], message_id)
            )
    async with with_keys(place, OLD) as outbox:
        claims = await claim_due(outbox, Channel.EMAIL, 2, 30.0)
        assert [(one.content, one.missing_key) for one in claims] == [(b"", "")] * 2


async def test_a_repeat_finds_what_was_stored_with_and_without_a_key(place, new):
    policies = [(), (OLD,), (NEW, OLD)]
    for number, keys in enumerate(policies):
        async with with_keys(place, *keys) as outbox:
            await outbox.put(new(f"uid-{number}"))
    async with with_keys(place, NEW, OLD) as outbox:
        for number, _ in enumerate(policies):
            stored = await outbox.put(new(f"uid-{number}"))
            assert outbox.policy.content_keys.is_repeat(stored.fingerprint, b"\x01" * 32)
            assert not outbox.policy.content_keys.is_repeat(stored.fingerprint, b"\x02" * 32)


async def test_messages_are_cancelled_by_their_text_only_while_each_can_be_read(place, new):
    async with with_keys(place, OLD) as outbox:
        await outbox.put(new("one", channel=Channel.SMS, content=text("code 1")))
        await outbox.put(new("two", channel=Channel.SMS, content=text("code 2")))
    step = CancelStep(MessageFilter(text="code 1"), "ada")
    async with with_keys(place, NEW) as outbox:
        with pytest.raises(
            StatementRefused, match=f"the key {OLD_ID}, which store.content_keys does not have"
        ):
            await outbox.cancel(cancellations.cancel, step)
        query = partial(cancellations.count, wanted=step.wanted, keys=ContentKeys([NEW]))
        with pytest.raises(StatementRefused):
            await outbox._database.transact(partial(query, progress=Progress(accepted_until=2**50)))
    async with with_keys(place, NEW, OLD) as outbox:
        assert (await outbox.cancel(cancellations.cancel, step)).found == 1


async def test_a_copy_of_a_users_data_has_the_content_or_is_not_made(place, new):
    async with with_keys(place, OLD) as outbox:
        await outbox.put(new(channel=Channel.SMS, content=text("frumious")))
        collect = partial(user_data.collect, client="brand", ext_user_id="anna", now=0, retention=60.0)
        stored = await outbox._database.transact(partial(collect, keys=ContentKeys([NEW, OLD])))
        assert [one.content.text for one in stored.messages] == ["frumious"]
        with pytest.raises(StatementRefused, match=re.escape(stored.messages[0].id)):
            await outbox._database.transact(partial(collect, keys=ContentKeys([NEW])))


def test_missing_keys_are_counted_as_long_as_messages_come_back():
    now = 0.0
    missing = MissingKeys(lambda: now)
    for message in ("a", "b", "a"):
        missing.note(message, "0badc0de")
    missing.note("c", "1badc0de")
    assert missing.counts([]) == {"0badc0de": 2, "1badc0de": 1}

    now = 400.0
    missing.note("a", "0badc0de")
    now = 700.0
    assert missing.counts([]) == {"0badc0de": 1}
    assert missing.counts(["0badc0de"]) == {}
    missing.note("a", "0badc0de")
    missing.reset()
    assert missing.counts([]) == {}
