"""The emulated SendGrid is as strict as the vendor, and answers in the vendor's formats."""

import json
import re

import aiohttp
import pytest

from gatepost_sendgrid.testing import SendGridEmulator

GOOD = {
    "personalizations": [{"to": [{"email": "player@mail.example"}], "custom_args": {"gp_id": "m1"}}],
    "from": {"email": "news@brand.example"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello</p>"}],
}


@pytest.fixture
async def vendor():
    async with SendGridEmulator() as emulator:
        yield emulator


@pytest.fixture
async def post(vendor):
    async with aiohttp.ClientSession() as session:

        async def send(body, path="/v3/mail/send", **headers):
            usual = {"Authorization": f"Bearer {vendor.api_key}", "Content-Type": "application/json"}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with session.post(vendor.base_url + path, data=data, headers=usual | headers) as response:
                text = await response.text()
                return response, json.loads(text) if text else None

        yield send


def recipient(**fields):
    return {"personalizations": [GOOD["personalizations"][0] | fields]}


async def test_a_good_mail(vendor, post):
    response, body = await post(GOOD)
    assert (response.status, body) == (202, None)
    (taken,) = vendor.taken
    assert (taken.id, taken.provider_id) == ("m1", response.headers["X-Message-Id"])
    assert re.fullmatch(r"[\w-]{22}", taken.provider_id)


@pytest.mark.parametrize(
    "change",
    [
        recipient(to=[{"email": "player@mail.example", "name": "Ünal"}], headers={"X-Campaign": "7"}),
        recipient(custom_args={"gp_id": "m1", "other": "x" * 9000}),
        {"content": [{"type": "text/html", "value": "x"}]},
        {"categories": ["a", "b"]},
        {"reply_to": {"email": "help@brand.example", "name": "Help"}},
        {"tracking_settings": {"click_tracking": {"enable": False, "enable_text": False}}},
        {"mail_settings": {"sandbox_mode": {"enable": False}}},
    ],
)
async def test_more_good_mails(vendor, post, change):
    response, _ = await post(GOOD | change)
    assert response.status == 202


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": [{"custom_args": {}}]}, "personalizations.0.to"),
        (recipient(to=[]), "personalizations.0.to"),
        (recipient(to=[{"name": "x"}]), "personalizations.0.to.0.email"),
        (recipient(to=[{"email": ""}]), "personalizations.0.to.0.email"),
        (recipient(to=[{"email": "no address"}]), "personalizations.0.to.0.email"),
        (recipient(to=[{"email": "ü@mail.example"}]), "personalizations.0.to.0.email"),
        (recipient(to=[{"email": "a@bücher.example"}]), "personalizations.0.to.0.email"),
        (recipient(to=[{"email": "x@mail.example", "name": None}]), "personalizations.0.to.0.name"),
        (recipient(cc=[{"email": "Player@mail.example"}]), "personalizations.0"),
        (recipient(custom_args={"gp_id": 7}), "personalizations.0.custom_args...."),
        (recipient(custom_args={"gp_id": None}), "personalizations.0.custom_args...."),
        (recipient(custom_args={"gp_id": "x" * 10_000}), "personalizations.0.custom_args"),
        (recipient(headers={"X-Number": 7}), "personalizations.0.headers...."),
        (recipient(headers={"Reply-To": "x"}), "personalizations.0.headers.Reply-To"),
        (recipient(headers={"dkim-signature": "x"}), "personalizations.0.headers.dkim-signature"),
        (recipient(unheard_of=1), "personalizations.0"),
        ({"headers": {"BCC": "x"}}, "headers.BCC"),
        ({"headers": {"X Y": "x"}}, "headers"),
        ({"from": None}, "from"),
        ({"from": {"name": "x"}}, "from.email"),
        ({"from": {"email": "x"}}, "from.email"),
        ({"reply_to": {"email": "x"}}, "reply_to.email"),
        ({"subject": ""}, "subject"),
        ({"subject": 7}, "subject"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]}, "content"),
        ({"content": [{"type": "text/html", "value": "x"}, {"type": "text/html", "value": "x"}]}, "content"),
        ({"content": [{"type": "text/html; charset=utf-8", "value": "x"}]}, "content.0.type"),
        ({"categories": [str(number) for number in range(11)]}, "categories"),
        ({"categories": ["a", "a"]}, "categories"),
        ({"categories": ["x" * 256]}, "categories.0"),
        ({"mail_settings": {"sandbox_mode": {"enable": "yes"}}}, "mail_settings.sandbox_mode.enable"),
        ({"tracking_settings": {"open_tracking": {}}}, "tracking_settings.open_tracking.enable"),
    ],
)
async def test_bad_mails_get_the_vendors_error(vendor, post, change, field):
    response, body = await post(GOOD | change)
    assert response.status == 400
    assert body["errors"][0].keys() == {"message", "field", "help"}
    assert field in [error["field"] for error in body["errors"]]
    assert (len(vendor.refused), vendor.taken) == (1, [])


@pytest.mark.parametrize("missing", ["personalizations", "from", "subject", "content"])
async def test_each_part_is_required(vendor, post, missing):
    response, body = await post({name: value for name, value in GOOD.items() if name != missing})
    assert response.status == 400
    assert [error["field"] for error in body["errors"]] == [missing]


async def test_a_subject_may_stand_with_every_recipient_instead(post):
    mail = GOOD | recipient(subject="Hi")
    del mail["subject"]
    assert (await post(mail))[0].status == 202


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"subject": "\xff"}'])
async def test_a_body_that_is_not_a_mail(vendor, post, body):
    assert (await post(body))[0].status == 400


async def test_keys_paths_and_types(vendor, post):
    assert (await post(GOOD, Authorization="Bearer other"))[0].status == 401
    assert (await post(GOOD, Authorization=""))[0].status == 401
    assert (await post(GOOD, **{"Content-Type": "text/plain"}))[0].status == 415
    assert (await post(GOOD, path="/v3/scopes"))[0].status == 405
    assert (await post(GOOD, path="/v3/other"))[0].status == 404
    vendor.scopes = []
    assert (await post(GOOD))[0].status == 403
    assert [refused.status for refused in vendor.refused] == [401, 401, 415, 405, 404, 403]


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_thirty_megabytes_are_too_much(post):
    assert (await post(b" " * (30 * 1024 * 1024 + 1)))[0].status == 413


async def test_sandbox_mode_sends_nothing(vendor, post):
    response, _ = await post(GOOD | {"mail_settings": {"sandbox_mode": {"enable": True}}})
    assert response.status == 200
    assert (len(vendor.validated), vendor.taken) == (1, [])


async def test_every_recipient_block_is_a_message_of_its_own(vendor, post):
    blocks = [
        {"to": [{"email": f"{name}@mail.example"}], "custom_args": {"gp_id": name}} for name in ("a", "b")
    ]
    await post(GOOD | {"personalizations": blocks, "custom_args": {"campaign": "7"}})
    assert (vendor.sends("a"), vendor.sends("b")) == (1, 1)
    event = vendor.event("delivered", vendor.taken[1])
    assert (event["email"], event["gp_id"], event["campaign"]) == ("b@mail.example", "b", "7")


async def test_events_are_shaped_as_the_vendors(vendor, post):
    await post(GOOD | {"categories": ["one"]})
    await post(GOOD | {"categories": ["one", "two"]})
    one, two = vendor.taken
    event = vendor.event("delivered", one)
    assert event["sg_message_id"].startswith(f"{one.provider_id}.recvd-")
    assert event["gp_id"] == "m1"
    assert isinstance(event["timestamp"], int)
    assert event["category"] == "one"
    assert vendor.event("open", two)["category"] == ["one", "two"]
    assert "sg_event_id" not in vendor.event("unsubscribe", one)
    assert vendor.event("blocked", one)["event"] == "bounce"


async def test_batches_are_full_at_768_kilobytes_or_at_a_number(vendor):
    events = [{"event": "open", "n": number, "padding": "x" * 1000} for number in range(2000)]
    bodies = vendor.bodies(events, batch=0)
    assert [event for body in bodies for event in json.loads(body)] == events
    assert all(700 * 1024 < len(body) <= 768 * 1024 for body in bodies[:-1])
    assert [len(json.loads(body)) for body in vendor.bodies(events[:5], batch=2)] == [2, 2, 1]
