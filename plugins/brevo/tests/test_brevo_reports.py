"""The webhooks: who may send them, and what their events mean."""

import msgspec
import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status
from gatepost.testing.report_sender import AutomaticReports
from gatepost.testing.webhook_requests import webhook_request, with_headers, without_header
from gatepost_brevo.testing import BrevoEmulator, BrevoSmsEmulator

URL = "https://gateway.example/webhooks/conformance"


@pytest.fixture
async def taken(provider, plugin, email):
    await plugin.send_email(email())
    return provider.taken[0]


@pytest.fixture
async def text(texts, texting, sms):
    async with texting() as plugin:
        await plugin.send_sms(sms())
    return texts.taken[0]


@pytest.fixture
def read_text(texts, texting):
    """Let an instance for text messages read a genuine report."""

    async def read(*events, url=URL, **keys):
        (body,) = texts.bodies(events, batch=0)
        async with texting(**keys) as plugin:
            return await plugin.parse_webhook(texts.sign(webhook_request(url, body)))

    return read


@pytest.mark.parametrize("kind", BrevoEmulator.meanings)
async def test_each_event_of_a_mail(provider, taken, reported, kind):
    report = await reported(provider.event(kind, taken))

    assert [event.status for event in report.events] == BrevoEmulator.meanings[kind]
    for event in report.events:
        assert (event.message_id, event.provider_id) == (taken.id, taken.provider_id.strip("<>"))
        assert event.recipient is None
    assert sum(report.ignored.values()) == (not report.events)


@pytest.mark.parametrize("kind", BrevoSmsEmulator.meanings)
async def test_each_status_of_a_text_message(texts, text, read_text, kind):
    report = await read_text(texts.event(kind, text), url=f"{URL}?id={text.id}")

    assert [event.status for event in report.events] == BrevoSmsEmulator.meanings[kind]
    for event in report.events:
        assert (event.message_id, event.provider_id) == (text.id, text.provider_id)
    assert sum(report.ignored.values()) == (not report.events)


async def test_a_text_message_is_known_by_brevos_id_alone(texts, text, read_text):
    report = await read_text(texts.event("delivered", text))

    [event] = report.events
    assert (event.message_id, event.provider_id) == ("", text.provider_id)


@pytest.mark.parametrize("spelling", ["softBounce", "soft_bounce", "SOFT_BOUNCE"])
async def test_a_name_in_another_spelling_means_the_same(texts, text, read_text, spelling):
    report = await read_text({**texts.event("sent", text), "msg_status": spelling})

    assert [event.status for event in report.events] == [Status.FAILED]


@pytest.mark.parametrize("answer", ["STOP", " stop\n", "Unsubscribe", "Stop.", "STOP!!"])
async def test_a_stop_unsubscribes_the_user_by_the_number(texts, text, read_text, answer):
    event = {**texts.event("replied", text), "reply": answer, "messageId": None}

    [unsubscribed] = (await read_text(event)).events

    assert unsubscribed.status is Status.UNSUBSCRIBED
    assert unsubscribed.recipient == Secret("+447700900123")
    assert (unsubscribed.message_id, unsubscribed.provider_id) == ("", "")


@pytest.mark.parametrize("answer", ["Please don't stop", "", None, 7])
async def test_any_other_answer_is_counted(texts, text, read_text, answer):
    report = await read_text({**texts.event("replied", text), "reply": answer})

    assert (report.events, report.ignored) == ([], {"replied": 1})


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        ("hard_bounce", "550 5.1.1 <canary@mail.example>: no such user", "hard_bounce 550 5.1.1"),
        ("hard_bounce", "550-5.7.1 canary is not wanted", "hard_bounce 550 5.7.1"),
        ("hard_bounce", "550 5.1.1234 canary", "hard_bounce 550"),
        ("soft_bounce", "mailbox of canary@mail.example is full", "soft_bounce"),
        ("soft_bounce", "5521 canary", "soft_bounce"),
        ("soft_bounce", None, "soft_bounce"),
        ("error", "canary", "error"),
        ("error", "no answer for <canary@sender.example>", "error"),
        ("error", "Sending has been rejected because the sender you used is not valid", "error sender"),
        ("blocked", "550 due to a list", "blocked"),
        ("invalid_email", "canary", "invalid_email"),
        ("delivered", "550 canary", ""),
    ],
)
async def test_the_code_has_words_of_closed_lists_only(provider, taken, reported, kind, reason, code):
    report = await reported({**provider.event(kind, taken), "reason": reason})

    assert [event.code for event in report.events] == [code]


async def test_a_batched_webhook_is_read_in_order(provider, taken, reported):
    kinds = ("request", "click", "delivered", "opened")

    report = await reported(*(provider.event(kind, taken) for kind in kinds))

    assert [event.status for event in report.events] == [Status.ACCEPTED, Status.DELIVERED, Status.OPENED]
    assert report.ignored == {"click": 1}


async def test_bad_events_do_not_hide_good_ones(provider, taken, reported):
    good = provider.event("delivered", taken)
    bad = [None, 7, "delivered", [], {}, {"event": None}, {"event": {}}, {**good, "event": "brand_new"}]
    bad.append({"event": "delivered", "X-Mailin-custom": "a b", "message-id": {}})

    report = await reported(*bad, good)

    assert [event.status for event in report.events] == [Status.DELIVERED]
    assert report.ignored == {"malformed": 4, "unknown": 4, "no_id": 1}


@pytest.mark.parametrize("field", ["X-Mailin-custom", "message-id", "reason", "email", "ts_epoch", "tags"])
@pytest.mark.parametrize("value", [None, 7, -1.5, True, [], {"a": 1}, "x" * 300, "a b", "<>"])
async def test_a_field_of_another_type_loses_no_report_that_has_an_id(
    provider, taken, reported, field, value
):
    report = await reported({**provider.event("hard_bounce", taken), field: value})

    [event] = report.events
    assert event.status is Status.FAILED
    assert event.message_id == taken.id or event.provider_id == taken.provider_id.strip("<>")


@pytest.mark.parametrize("value", [True, 1.5, "a b", [], {}])
async def test_an_id_of_another_type_is_no_id(texts, text, read_text, value):
    report = await read_text({**texts.event("delivered", text), "messageId": value})

    assert report.ignored == {"no_id": 1}


@pytest.mark.parametrize(
    "field", ["event", "msg_status", "reason", "reply", "to", "message-id", "X-Mailin-custom"]
)
async def test_no_depth_of_a_value_breaks_the_parser(plugin, signed, field):
    # Just under the depth at which the body is no JSON any more, a value can't be written out either.
    for depth in range(850, 1000):
        body = f'{{"event":"reply","{field}":{"[" * depth}{"]" * depth}}}'
        try:
            report = await plugin.parse_webhook(signed(body.encode()))
        except BadWebhook:
            break
        assert sum(report.ignored.values()) == 1


async def test_an_event_of_a_campaign_is_not_about_a_message(provider, taken, reported):
    report = await reported({**provider.event("delivered", taken), "camp_id": 7})

    assert (report.events, report.ignored) == ([], {"campaign": 1})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"null", b"7", b'"delivered"', b"[]", b"{}", b"[[[[", b"event=delivered"),
        msgspec.json.encode({"items": [{"Subject": "an inbound mail"}]}),
        msgspec.json.encode({"message": "missed", "visitor": {}, "eventName": "conversation"}),
        msgspec.json.encode([{"eventName": "delivered"}, 7]),
    ],
)
async def test_what_is_no_report_on_a_message_is_refused(plugin, signed, body):
    with pytest.raises(BadWebhook) as refusal:
        await plugin.parse_webhook(signed(body))

    assert "delivered" not in str(refusal.value)


async def test_a_get_is_no_report(plugin, signed):
    with pytest.raises(BadWebhook):
        await plugin.parse_webhook(signed(b"", method="GET", url=f"{URL}?event=delivered"))


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer other", "Basic {}", "{}", "Bearer {}x", "Bearer ä", "bearer\ud800"],
)
async def test_a_report_without_the_bearer_token_is_refused(provider, plugin, taken, signed, authorization):
    genuine = signed(provider.event("delivered", taken))
    value = authorization.replace("{}", provider.webhook_token)
    request = with_headers(
        without_header(genuine, "authorization"), {"Authorization": value} if value else {}
    )

    with pytest.raises(BadSignature, match="bearer token is missing or wrong"):
        await plugin.parse_webhook(request)


async def test_the_name_of_the_scheme_has_no_case(provider, plugin, taken, signed):
    genuine = signed(provider.event("delivered", taken))
    request = with_headers(genuine, {"Authorization": f"bearer  {provider.webhook_token}"})

    assert (await plugin.parse_webhook(request)).events


async def test_a_report_of_another_account_is_refused(texts, texting, text):
    body = msgspec.json.encode(texts.event("delivered", text))
    async with texting() as plugin:
        for request in (webhook_request(URL, body), texts.sign(webhook_request(URL, body), forged=True)):
            with pytest.raises(BadSignature, match="user name or the password"):
                await plugin.parse_webhook(request)


async def test_without_a_secret_no_report_is_accepted(running, provider, signed):
    async with running(webhook_token=None) as plugin:
        with pytest.raises(NoVerificationKey, match="webhook_token or webhook_basic"):
            await plugin.parse_webhook(signed({"event": "delivered"}))


async def test_a_mail_instance_takes_a_user_name_and_password_too(running, texts, provider, taken):
    login = texts.table["webhook_basic"]
    body = msgspec.json.encode(provider.event("delivered", taken))
    async with running(webhook_token=None, webhook_basic=login) as plugin:
        # The id in the URL belongs to text messages.
        request = texts.sign(webhook_request(f"{URL}?id=another", body))
        [event] = (await plugin.parse_webhook(request)).events

    assert event.message_id == taken.id


async def test_a_large_batch_is_read_in_a_thread(provider, taken, reported):
    report = await reported(*[provider.event("delivered", taken)] * 500)

    assert len(report.events) == 500


async def test_a_text_messages_reports_come_to_its_own_url(texts, texting, sms, monkeypatch):
    sent = []

    async def post(request):
        sent.append(request)
        return 204

    monkeypatch.setattr(texts, "_post", post)
    texts.automatic_reports = AutomaticReports(kinds=["sent", "delivered"])
    async with texting() as plugin:
        await plugin.send_sms(sms())
        await texts.wait_for_reports()
        reports = [await plugin.parse_webhook(request) for request in sent]

    events = [event for report in reports for event in report.events]
    assert [event.status for event in events] == [Status.ACCEPTED, Status.DELIVERED]
    assert {event.message_id for event in events} == {texts.taken[0].id}
    assert all("@" not in request.url for request in sent)


@pytest.mark.parametrize(
    ("status", "repeats"), [(0, True), (429, True), (500, False), (503, False), (400, False)]
)
async def test_brevo_repeats_a_report_after_429_and_no_other_error(provider, status, repeats):
    assert provider.tries_again(status) is repeats
