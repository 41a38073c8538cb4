"""Messages to one contact succeed and fail; then everything that the gateway has written is searched for it."""

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

import aiohttp
import msgspec
import pytest

from gatepost.testing import emulator, smartico
from gatepost.testing.webhook_requests import webhook_request
from gatepost_sendgrid.testing import SendGridEmulator

ADDRESS = "canary.zq7x@telling-zq7x.example"
PREVIEW = "preview.zq7y@telling-zq7y.example"
NUMBER = "+447700900987"
NAME = "Zq7z Canary"

PRIVATE = (
    *("canary.zq7x", "telling-zq7x", "preview.zq7y", "telling-zq7y", "7700900987", "zq7z canary"),
    *("the-secret", "the-api-key", "relay-password", "sg.emulated"),
)
"""In lower case. Parts of values, because half an address is private too, and a number may lack its country code."""


def leaks(data: bytes) -> set[str]:
    """Return the parts of the contact and of the secrets that ``data`` holds, in any encoding."""
    return {word for reading in _readings(data) for word in PRIVATE if word.encode() in reading.lower()}


def _readings(data: bytes) -> Iterator[bytes]:
    """Yield the data, and the data decoded in every way that may apply to a part of it."""
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
        # The value may stand anywhere in the encoded text.
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
def test_the_search_finds_values_in_every_encoding(form):
    assert leaks(b'{"event": "sent", "to": "' + FORMS[form].encode("latin-1") + b'"}\n')


def test_the_search_finds_nothing_in_other_texts():
    assert not leaks(b'{"id": "01a20773-eda5-7364-98bd-a0838f135186", "key": "dGVsbGluZw=="}')


class IndiscreetSendGrid(SendGridEmulator):
    """A provider whose errors quote the recipient."""

    def error(self, status, why):
        return {"errors": [{"message": f"{ADDRESS} ({NUMBER}): {why}", "field": ADDRESS}]}


@pytest.fixture
async def indiscreet(deployment, sendgrid):
    async with IndiscreetSendGrid() as emulator:
        deployment.emulators["sendgrid-main"] = emulator
        deployment.tables["plugins.sendgrid-main"] |= {
            "base_url": emulator.base_url,
            "webhook_public_key": emulator.public_key,
        }
        yield emulator


async def test_nothing_that_the_gateway_writes_holds_the_contact(
    deployment, indiscreet, vonage, mailboxes, begin, wait_until
):
    deployment.contacts += f"canary,{ADDRESS},{NUMBER},{NAME}\nbroken2,canary.zq7x@@x,{NUMBER}x,{NAME}\n"
    deployment.tables["clients.brand"]["preview_recipients"] = [PREVIEW]
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    process, gateway = await begin(email=["sendgrid-main", "relay"], sms=["vonage-eu"])
    answers = [
        await _emails(deployment, indiscreet, mailboxes, wait_until),
        await _texts(deployment, vonage),
        await _refusals(deployment),
        await _hostile_webhooks(indiscreet),
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

    # The search finds the values where they must be, and the files that it searches are not empty.
    assert {"canary.zq7x", "telling-zq7x"} <= leaks(
        msgspec.json.encode([one.message for one in indiscreet.taken])
    )
    assert "7700900987" in leaks(msgspec.json.encode([one.message for one in vonage.taken]))
    assert any(PREVIEW in envelope.rcpt_tos for envelope in mailboxes.envelopes)
    assert any(name.endswith("-wal") for name in left)
    assert b"send_unavailable" in left["gatepost.log"]
    assert b"webhook_refused" in left["gatepost.log"]
    assert {name: found for name, data in left.items() if (found := leaks(data))} == {}


def _left_behind(deployment, log):
    """Return the log, the database, its WAL and every other file that the test did not write."""
    written_by_the_test = {"contacts.csv", "gatepost.toml", "ca.pem"}
    files = [path for path in deployment.folder.iterdir() if path.name not in written_by_the_test]
    assert log in files
    # The socket for commands has no content.
    return {path.name: path.read_bytes() for path in files if path.is_file()}


async def _emails(deployment, provider, mailboxes, wait_until):
    """Send emails that are taken, refused, unavailable, refused by the relay too, previews and lost; and report."""

    async def refuse(_server, _session, envelope, address, _options):
        if "refuse" in mailboxes.behaviour:
            return f"550 5.1.1 <{address}>: no such user {NUMBER}"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    mailboxes.behaviour = ""
    mailboxes.handle_RCPT = refuse
    taken = await deployment.email("canary")
    await deployment.hears(taken, "accepted")
    provider.plan(emulator.answer(400))
    await deployment.hears(await deployment.email("canary"), "rejected")
    provider.plan(emulator.answer(503))
    await deployment.hears(await deployment.email("canary"), "accepted")
    provider.plan(emulator.answer(503))
    mailboxes.behaviour = "refuse"
    await deployment.hears(await deployment.email("canary"), "rejected")
    mailboxes.behaviour = ""
    provider.plan(emulator.answer(503))
    preview = await deployment.email("nobody", activity_type="preview", to_email_address=PREVIEW)
    await deployment.hears(preview, "accepted")
    provider.plan(emulator.close_after_body(taken=True))
    lost = await deployment.email("canary")
    await wait_until(lambda: provider.sends(lost))
    events = [provider.event("bounce", one) for one in provider.taken if one.id == lost]
    assert await provider.report(events) == [200]
    await deployment.hears(lost, "accepted", "failed")
    indiscreet_answer = smartico.Failure(status=500, headers={"Retry-After": "1"}, body=ADDRESS.encode())
    deployment.crm.fail(indiscreet_answer, statuses=["complained"])
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
    """Send requests with the address in the wrong fields, and to users with unusable addresses."""
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
    """Send webhooks that hold the address, signed and unsigned, none of them a list of events."""
    answers = []
    async with aiohttp.ClientSession() as http:
        for body in (f"{ADDRESS} is not JSON", f'{{"email": "{ADDRESS}"}}', f'[{{"event": "{ADDRESS}"}}, 7]'):
            for forged in (False, True):
                request = provider.sign(webhook_request(body=body.encode()), forged=forged)
                headers = dict(request.headers)
                async with http.post(provider.webhook_url, data=request.body, headers=headers) as response:
                    answers.append(f"{response.status} {await response.text()}")
    assert [answer[:3] for answer in answers] == ["400", "401", "400", "401", "200", "401"]
    return msgspec.json.encode(answers)
