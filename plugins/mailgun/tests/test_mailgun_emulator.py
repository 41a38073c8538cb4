"""The emulator refuses what Mailgun refuses, and the plugin keeps to what Mailgun documents."""

import aiohttp
import pytest
from aiohttp import web

from gatepost.model import Secret, Status
from gatepost.testing.serving import serving
from gatepost.wire import basic_auth
from gatepost_mailgun import reports
from gatepost_mailgun.testing import MailgunEmulator, events, form_rules

GOOD = [
    ("from", "news@mg.brand.example"),
    ("to", "user@mail.example"),
    ("subject", "News"),
    ("text", "Hello"),
]

# Facts of the vendor's reference of POST /v3/{domain}/messages, and of its events.
OPTIONS = (
    *("o:tag", "o:dkim", "o:secondary-dkim", "o:secondary-dkim-public", "o:deliverytime", "o:deliver-within"),
    *("o:deliverytime-optimize-period", "o:time-zone-localize", "o:testmode", "o:tracking"),
    *("o:tracking-clicks", "o:tracking-opens", "o:require-tls", "o:skip-verification", "o:sending-ip"),
    *("o:sending-ip-pool", "o:tracking-pixel-location-top"),
)
EVENTS = {
    "accepted": [Status.ACCEPTED],
    "rejected": [Status.REJECTED],
    "delivered": [Status.DELIVERED],
    "opened": [Status.OPENED],
    "clicked": "clicked",
    "unsubscribed": [Status.UNSUBSCRIBED],
    "complained": [Status.COMPLAINED],
    "stored": "stored",
}
SEVERITIES = ("temporary", "permanent")
REASONS_OF_PERMANENT = (
    *("bounce", "delayed-bounce", "suppress-bounce", "suppress-unsubscribe", "suppress-complaint"),
    *("generic", "old"),
)


@pytest.fixture
async def post(provider):
    async with aiohttp.ClientSession() as session:

        async def send(form, *, path="/v3/mg.brand.example/messages", key=None, **how):
            headers = basic_auth("api", Secret(key or provider.api_key))
            url = provider.base_url + path
            async with session.post(url, data=form, headers=headers | how) as answer:
                return answer.status, await answer.json()

        yield send


async def test_a_good_form_is_taken(provider, post):
    status, answer = await post(GOOD)
    assert (status, answer["message"]) == (200, "Queued. Thank you.")
    assert answer["id"] == f"<{provider.taken[0].provider_id}>"


def test_the_emulator_knows_every_option():
    assert sorted(form_rules.OPTIONS) == sorted(OPTIONS)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"from": ""}, "from parameter is missing"),
        ({"to": ""}, "to parameter is missing"),
        ({"text": ""}, "Need at least one of"),
        ({"to": "user"}, "to parameter is not a valid address"),
        ({"to": "üser@mail.example"}, "to parameter is not a valid address"),
        ({"cc": "user"}, "cc parameter is not a valid address"),
        ({"from": "a@b.example, c@d.example"}, "from parameter is not a valid address"),
        ({"unknown": "x"}, "unknown parameter"),
        ({"o:unknown": "x"}, "unknown parameter"),
        ({"o:tracking-opens": "maybe"}, "not a valid value"),
        ({"o:tracking-opens": "htmlonly"}, "not a valid value"),
        ({"o:testmode": "no"}, "not a valid value"),
        ({"o:deliver-within": "4m"}, "not a valid value"),
        ({"o:deliver-within": "24h1m"}, "not a valid value"),
        ({"o:deliver-within": "3600"}, "not a valid value"),
        ({"o:tag": "Grüße"}, "not a valid value"),
        ({"o:tag": "x" * 129}, "not a valid value"),
        ({"h:X-Ä": "x"}, "Header name must be pure ASCII"),
        ({"v:data": "x" * 16_384}, "limited to 16 kB"),
    ],
)
async def test_a_bad_form_is_refused(provider, post, change, text):
    status, answer = await post(list({**dict(GOOD), **change}.items()))
    assert status == 400
    assert text in answer["message"]
    assert provider.taken == []


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ([("to", "user@mail.example")] * 1001, "Too many recipients"),
        ([("o:tag", f"tag-{number}") for number in range(11)], "at most 10 tags"),
        ([("from", "other@mg.brand.example")], "from parameter"),
    ],
)
async def test_too_much_of_something_is_refused(post, extra, text):
    status, answer = await post([*GOOD, *extra])
    assert status == 400
    assert text in answer["message"]


@pytest.mark.parametrize(
    ("how", "status", "text"),
    [
        ({"key": "another"}, 401, "Forbidden"),
        ({"path": "/v3/other.example/messages"}, 404, "Domain not found: other.example"),
        ({"path": "/v3/mg.brand.example/mail"}, 404, "not found"),
        ({"Content-Type": "application/json"}, 400, "Invalid request content type"),
        ({"path": "/v3/mg.brand.example/messages.mime"}, 400, "Invalid request content type"),
    ],
)
async def test_a_bad_request_is_refused(provider, post, how, status, text):
    form = b"x" if "Content-Type" in how else GOOD
    answered, answer = await post(form, **how)
    assert answered == status
    assert text in answer["message"]
    assert provider.taken == []


async def test_both_kinds_of_forms_are_taken(provider, post):
    status, _ = await post(aiohttp.FormData(GOOD, default_to_multipart=True))
    assert status == 200
    await post(GOOD)
    assert len(provider.taken) == 2
    assert provider.taken[0].message == provider.taken[1].message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data"),
        (b"--y--\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\na', "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\n\xff\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"to=%ff", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_form_that_can_not_be_read_is_refused(post, body, content_type):
    status, answer = await post(body, **{"Content-Type": content_type})
    assert status == 400
    assert "unable to parse request" in answer["message"]


async def test_the_address_for_finished_mails_names_what_is_missing(post):
    for fields, text in (
        ({}, "to parameter is missing"),
        ({"to": "a@b.example"}, "message parameter is missing"),
    ):
        form = aiohttp.FormData(fields, default_to_multipart=True)
        headers = {} if fields else {"Content-Type": "multipart/form-data; boundary=x"}
        sent = form if fields else b"--x--\r\n"
        path = "/v3/mg.brand.example/messages.mime"
        assert await post(sent, path=path, **headers) == (400, {"message": text})


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_a_meaning(event):
    assert reports._STATUSES.get(event) == EVENTS[event]


def test_every_failure_has_a_meaning():
    assert set(SEVERITIES) <= reports._FAILURES.keys()
    assert set(REASONS_OF_PERMANENT) <= set(reports._REASONS)
    assert EVENTS.keys() - {"accepted"} <= events.MEANINGS.keys()


@pytest.mark.parametrize(
    ("kind", "status", "tries"),
    [
        ("opened", 200, 1),
        ("opened", 406, 1),
        *(("opened", status, 7) for status in (400, 401, 404, 429, 500, 503)),
        ("delivered", 503, 1),
    ],
)
async def test_webhooks_are_repeated_as_documented(provider, post, kind, status, tries):
    await post(GOOD)
    provider.time_scale = 0.0

    async def answer(_request):
        return web.Response(status=status)

    async with serving(web.Server(answer)) as url:
        event = provider.event(kind, provider.taken[0])
        assert await provider.report([event], to=url, tries=1 + len(provider.retry_pauses)) == [status]
    assert provider.webhook_answers == {status: tries}
    assert 7 * 3600 < sum(provider.retry_pauses) <= 8 * 3600


def test_the_emulator_needs_no_arguments():
    assert MailgunEmulator().api_key
