"""One telling contact goes through success and failure; then everything that the gateway left is searched."""

import base64
import binascii
import quopri
import re
import time
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

import aiohttp
import msgspec
import pytest

from gatepost.testing import emulator, smartico
from gatepost_sendgrid.testing import SendGridEmulator

ADDRESS = "canary.zq7x@telling-zq7x.example"
PREVIEW = "preview.zq7y@telling-zq7y.example"
NUMBER = "+447700900987"
NAME = "Zq7z Canary"

TELLING = (
    *("canary.zq7x", "telling-zq7x", "preview.zq7y", "telling-zq7y", "7700900987", "zq7z canary"),
    *("the-secret", "the-api-key", "relay-password", "sg.emulated"),
)
"""In lower case. Parts, because half an address is one too, and a number may lose its plus or country."""


def leaks(data: bytes) -> set[str]:
    """What of the contact or of the secrets is in there, in whichever encoding."""
    return {word for reading in _readings(data) for word in TELLING if word.encode() in reading.lower()}


def _readings(data: bytes) -> Iterator[bytes]:
    """The data as it is, and as everybody could read it who takes a part of it for an encoded text."""
    yield data
    yield data.replace(b"\0", b"")
    yield unquote_to_bytes(data)
    yield unquote_to_bytes(unquote_to_bytes(data))
    yield quopri.decodestring(data)
    yield re.sub(rb"\\u00([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)
    yield re.sub(rb"[\s().-]", b"", data)
    for run in re.findall(rb"(?:[0-9a-fA-F]{2}){6,}", data):
        yield bytes.fromhex(run.decode())
    for run in re.findall(rb"[A-Za-z0-9+/_-]{8,}", data):
        plain = run.replace(b"-", b"+").replace(b"_", b"/")
        # The text may stand anywhere in what was encoded.
        for start in range(4):
            part = plain[start : start + (len(plain) - start) // 4 * 4]
            try:
                yield base64.b64decode(part)
            except binascii.Error:
                continue


FORMS = {
    "plain": ADDRESS,
    "upper case": ADDRESS.upper(),
    "in a URL": quote(ADDRESS, safe=""),
    "in a URL in a URL": quote(quote(NAME, safe=""), safe=""),
    "base64": base64.b64encode(ADDRESS.encode()).decode(),
    "base64 of more": base64.b64encode(b"a" + ADDRESS.encode() + b"tail").decode(),
    "base64 of still more": base64.b64encode(b"ab" + NUMBER.encode() + b"tail").decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"???" + NUMBER.encode() + b"???").decode(),
    "quoted-printable": "canary=2Ezq7x=40telling=2Dzq7x.example",
    "broken into lines": "canary.zq7=\nx@example",
    "hexadecimal": ADDRESS.encode().hex(),
    "JSON": '"canary\\u002ezq7x"',
    "number": NUMBER,
    "number without plus": NUMBER.lstrip("+"),
    "national number": "07700900987",
    "grouped number": "(0)7700 900-987",
    "UTF-16": ADDRESS.encode("utf-16-le").decode("latin-1"),
    "secret": "Authorization: the-secret",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_what_it_is_looking_for(form):
    assert leaks(b'{"event": "sent", "to": "' + FORMS[form].encode("latin-1") + b'"}\n')


def test_the_search_finds_nothing_where_there_is_nothing():
    assert not leaks(b'{"id": "01a20773-eda5-7364-98bd-a0838f135186", "key": "dGVsbGluZw=="}')


class Gossip(SendGridEmulator):
    """A provider whose errors say who was meant."""

    def error(self, status, why):
        return {"errors": [{"message": f"{ADDRESS} ({NUMBER}): {why}", "field": ADDRESS}]}


@pytest.fixture
async def gossip(deployment, sendgrid):
    async with Gossip() as made:
        deployment.emulators["sendgrid-main"] = made
        deployment.tables["plugins.sendgrid-main"] |= {
            "base_url": made.base_url,
            "webhook_public_key": made.public_key,
        }
        yield made


async def test_nothing_that_the_gateway_leaves_says_who_it_wrote_to(
    deployment, gossip, vonage, mailboxes, begin, wait_until
):
    deployment.contacts += f"canary,{ADDRESS},{NUMBER},{NAME}\nbroken2,canary.zq7x@@x,{NUMBER}x,{NAME}\n"
    deployment.tables["clients.brand"]["preview_recipients"] = [PREVIEW]
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    process, gateway = await begin(email=["sendgrid-main", "relay"], sms=["vonage-eu"])
    answers = [
        await _emails(deployment, gossip, mailboxes, wait_until),
        await _texts(deployment, vonage),
        await _refusals(deployment),
        await _hostile_webhooks(gossip),
    ]
    await gateway.settled()
    async with aiohttp.ClientSession() as http:
        for path in ("/metrics", "/health/ready", "/nowhere", f"/webhooks/{ADDRESS}"):
            async with http.get(gateway.url + path) as response:
                answers.append(await response.read())
    left = _left_behind(deployment, process.log)
    assert process.terminate() == 0
    left |= {f"{name}, stopped": data for name, data in _left_behind(deployment, process.log).items()}
    left |= {f"answer {number}": answer for number, answer in enumerate(answers)}

    # The search does reach what went out, and what it searches is not empty.
    assert {"canary.zq7x", "telling-zq7x"} <= leaks(
        msgspec.json.encode([one.message for one in gossip.taken])
    )
    assert "7700900987" in leaks(msgspec.json.encode([one.message for one in vonage.taken]))
    assert any(PREVIEW in envelope.rcpt_tos for envelope in mailboxes.envelopes)
    assert any(name.endswith("-wal") for name in left)
    assert b"send_unavailable" in left["gatepost.log"]
    assert b"webhook_refused" in left["gatepost.log"]
    assert {name: found for name, data in left.items() if (found := leaks(data))} == {}


def _left_behind(deployment, log):
    """The log, the database, its WAL and whatever else stands beside them that the test did not write."""
    written_by_the_test = {"contacts.csv", "gatepost.toml", "ca.pem"}
    files = [path for path in deployment.folder.iterdir() if path.name not in written_by_the_test]
    assert log in files
    return {path.name: path.read_bytes() for path in files}


async def _emails(deployment, provider, mailboxes, wait_until):
    """Taken, refused, unavailable, refused by the second too, lost, previewed; and every event about them."""

    async def refuse(_server, _session, envelope, address, _options):
        if "refuse" in mailboxes.mood:
            return f"550 5.1.1 <{address}>: no such user {NUMBER}"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    mailboxes.mood = ""
    mailboxes.handle_RCPT = refuse
    taken = await deployment.email("canary")
    await deployment.hears(taken, "accepted")
    provider.plan(emulator.answer(400))
    await deployment.hears(await deployment.email("canary"), "rejected")
    provider.plan(emulator.answer(503))
    await deployment.hears(await deployment.email("canary"), "accepted")
    provider.plan(emulator.answer(503))
    mailboxes.mood = "refuse"
    await deployment.hears(await deployment.email("canary"), "rejected")
    mailboxes.mood = ""
    provider.plan(emulator.answer(503))
    preview = await deployment.email("nobody", activity_type="preview", to_email_address=PREVIEW)
    await deployment.hears(preview, "accepted")
    provider.plan(emulator.close_after_body(taken=True))
    lost = await deployment.email("canary")
    await wait_until(lambda: provider.sends(lost))
    events = [provider.event("bounce", one) for one in provider.taken if one.id == lost]
    assert await provider.report(events) == [200]
    await deployment.hears(lost, "accepted", "failed")
    gossiping = smartico.Failure(status=500, headers={"Retry-After": "1"}, body=ADDRESS.encode())
    deployment.crm.fail(gossiping, statuses=["complained"])
    kinds = "delivered", "open", "blocked", "click", "group_unsubscribe", "spamreport", "dropped"
    events = [provider.event(kind, one) for kind in kinds for one in provider.taken if one.id == taken]
    assert set(await provider.report(events)) == {200}
    await deployment.crm.wait_for(taken, "rejected")
    return msgspec.json.encode([taken, preview, lost])


async def _texts(deployment, provider):
    taken = await deployment.sms("canary")
    await deployment.hears(taken, "accepted")
    provider.plan(emulator.answer(422))
    await deployment.hears(await deployment.sms("canary"), "rejected")
    assert set(await provider.report([provider.event("undeliverable:1110", provider.taken[0])])) == {200}
    await deployment.hears(taken, "accepted", "failed")
    return taken.encode()


async def _refusals(deployment):
    """Requests that hold the address where it should not be, and ask for users whose address is no use."""
    answers = [
        await deployment.crm.send_email(ext_user_id="broken2"),
        await deployment.crm.send_sms(ext_user_id="broken2"),
        await deployment.crm.send_email(activity_type="preview", to_email_address=ADDRESS),
        await deployment.crm.send_email(to_email_address=ADDRESS),
        await deployment.crm.send_email(from_email_address=f"<{ADDRESS}> {NUMBER}"),
        await deployment.crm.send_email(callback_url=f"https://{ADDRESS}/"),
        await deployment.crm.send_email(ext_user_id="canary", subject=f"{ADDRESS}\n{NUMBER}"),
    ]
    assert [answer["error_code"] for answer in answers] == [2, 2, 11, 5, 5, 7, 5]
    return msgspec.json.encode(answers)


async def _hostile_webhooks(provider):
    """Bodies that hold the address, signed and not, none of them a list of events."""
    answers = []
    async with aiohttp.ClientSession() as http:
        for body in (f"{ADDRESS} is no JSON", f'{{"email": "{ADDRESS}"}}', f'[{{"event": "{ADDRESS}"}}, 7]'):
            for forged in (False, True):
                headers = provider.sign(body.encode(), time.time(), forged=forged)
                async with http.post(provider.webhook_url, data=body.encode(), headers=headers) as response:
                    answers.append(f"{response.status} {await response.text()}")
    assert [answer[:3] for answer in answers] == ["400", "401", "400", "401", "200", "401"]
    return msgspec.json.encode(answers)
