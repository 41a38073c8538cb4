"""Bounces and complaints, as mail servers write them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status, StatusEvent, WebhookRequest
from gatepost_smtp.addresses import find_return_path, return_path

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"

# Without a deadline, because the machine may be busy.
without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OTHER = "ffffffff-5b6c-7d8e-9f00-112233445566"
KEY = "a shared secret"


@pytest.fixture
async def relay(connected):
    async with connected(1, webhook_secret=Secret(KEY), bounce_domain="bounces.example") as open_relay:
        yield open_relay


def request(body, **headers):
    values = {"authorization": f"Bearer {KEY}", "content-type": "message/rfc822"} | headers
    return WebhookRequest(
        method="POST",
        url="https://gatepost.example/webhooks/relay",
        headers={name: value for name, value in values.items() if value is not None},
        body=body.encode() if isinstance(body, str) else body,
        received_at=0.0,
    )


def report(kind, fields, *, to="postmaster@amazing.example", returned=ID, whole=True):
    parts = [
        "Content-Type: text/plain\n\nSorry: ann@post.example could not be reached.",
        f"Content-Type: message/{kind}\n\n{fields}",
    ]
    if returned:
        original = f"To: ann@post.example\nMessage-ID: <{returned}@amazing.example>\n"
        kind_of_return = "message/rfc822" if whole else "text/rfc822-headers"
        parts.append(f"Content-Type: {kind_of_return}\n\n{original}" + ("\nthe body\n" if whole else ""))
    body = "".join(f"--limit\n{part}\n" for part in parts)
    return (
        f"From: MAILER-DAEMON@relay.example\nTo: {to}\nMIME-Version: 1.0\n"
        f"Content-Type: multipart/report; report-type={kind}; boundary=limit\n\n{body}--limit--\n"
    )


def bounce(action="failed", status="5.1.1", *, envelope_id="", diagnostic="", **rest):
    first = "Reporting-MTA: dns; relay.example\n" + (
        f"Original-Envelope-Id: {envelope_id}\n" if envelope_id else ""
    )
    second = f"Final-Recipient: rfc822; ann@post.example\nAction: {action}\nStatus: {status}\n"
    if diagnostic:
        second += f"Diagnostic-Code: {diagnostic}\n"
    return report("delivery-status", f"{first}\n{second}", **rest)


def complaint(kind="abuse", *, more="", **rest):
    fields = f"Feedback-Type: {kind}\nUser-Agent: Example/1.0\nVersion: 1\n{more}"
    return report("feedback-report", fields, **rest)


@pytest.mark.parametrize(
    "action", ["failed", "Failed", " FAILED ", "failed (ann@post.example unknown)", "error"]
)
async def test_a_failure_has_its_codes_and_no_text(relay, action):
    body = bounce(action, diagnostic="smtp; 550 5.1.1 <ann@post.example> unknown", envelope_id=ID)

    result = await relay.parse_webhook(request(body))

    assert result.events == [StatusEvent(status=Status.FAILED, message_id=ID, code="550 5.1.1")]
    assert result.ignored == {}


async def test_a_delivery_is_translated(relay):
    result = await relay.parse_webhook(request(bounce("delivered", "2.0.0", envelope_id=ID)))

    assert result.events == [StatusEvent(status=Status.DELIVERED, message_id=ID, code="2.0.0")]


async def test_a_relayed_mail_is_delivered_where_the_setting_says_so(connected):
    async with connected(1, webhook_secret=Secret(KEY), relayed="delivered") as relay:
        result = await relay.parse_webhook(request(bounce("relayed", "2.0.0")))
        unknown = await relay.parse_webhook(request(bounce("relayed", "2.0.0", returned="")))

    assert result.events == [StatusEvent(status=Status.DELIVERED, message_id=ID, code="2.0.0")]
    assert unknown.ignored == {"no_id": 1}


@pytest.mark.parametrize("action", ["delayed", "relayed", "expanded"])
async def test_an_intermediate_action_is_counted(relay, action):
    result = await relay.parse_webhook(request(bounce(action, "4.4.1", envelope_id=ID)))

    assert (list(result.events), result.ignored) == ([], {action: 1})


async def test_an_unknown_action_is_counted_without_its_text(relay):
    result = await relay.parse_webhook(request(bounce("ann@post.example", envelope_id=ID)))

    assert (list(result.events), result.ignored) == ([], {"malformed": 1})


@pytest.mark.parametrize("status", ["", "5", "5.1", "ann@post.example", "5.1.1.ann@post.example", "9.1.1"])
async def test_an_invalid_status_is_left_out(relay, status):
    result = await relay.parse_webhook(
        request(bounce(status=status, envelope_id=ID, diagnostic="smtp; what"))
    )

    assert result.events == [StatusEvent(status=Status.FAILED, message_id=ID)]


async def test_both_secrets_are_accepted_while_one_is_replaced(connected):
    secrets = {"webhook_secret": Secret("a new secret"), "previous_webhook_secret": Secret(KEY)}
    async with connected(1, **secrets) as relay:
        for token in (KEY, "a new secret"):
            assert (await relay.parse_webhook(request(bounce(), authorization=f"Bearer {token}"))).events
        for token in ("", "None", f"{KEY}a new secret"):
            with pytest.raises(BadSignature):
                await relay.parse_webhook(request(bounce(), authorization=f"Bearer {token}"))


@pytest.mark.parametrize("kind", ["abuse", "fraud"])
async def test_a_complaint_is_translated(relay, kind):
    result = await relay.parse_webhook(request(complaint(kind)))

    assert result.events == [StatusEvent(status=Status.COMPLAINED, message_id=ID, code=kind)]


@pytest.mark.parametrize(
    ("kind", "counted"), [("not-spam", "not-spam"), ("", "malformed"), ("a@b", "malformed")]
)
async def test_feedback_other_than_a_complaint_is_counted(relay, kind, counted):
    result = await relay.parse_webhook(request(complaint(kind)))

    assert (list(result.events), result.ignored) == ([], {counted: 1})


def signed(message_id=ID, domain="bounces.example", key=KEY):
    return return_path(message_id, domain, key)


@pytest.mark.parametrize(
    "body",
    [
        bounce(returned=OTHER, envelope_id=OTHER, to=f"<{signed()}>"),
        bounce(returned=OTHER, to=signed().upper()),
        bounce(envelope_id=ID, returned=OTHER),
        bounce(),
        bounce(whole=False),
        bounce(envelope_id="QQ123", to="b+0192@bounces.example"),
    ],
    ids=["return path", "return path in capitals", "envelope id", "whole mail", "its headers", "odd ones"],
)
async def test_the_message_is_identified_by_anything_that_is_returned(relay, body):
    result = await relay.parse_webhook(request(body))

    assert [event.message_id for event in result.events] == [ID]


async def test_a_redacted_complaint_is_identified_by_its_return_path(relay):
    body = complaint(more=f"Original-Mail-From: <{signed()}>\n", returned="")

    result = await relay.parse_webhook(request(body))

    assert [event.message_id for event in result.events] == [ID]


@pytest.mark.parametrize(
    "forged",
    [signed(key="another"), signed(domain="evil.example"), signed(OTHER).replace("ffffffff", "0192d3a4")],
)
async def test_a_forged_return_path_identifies_nothing(relay, forged):
    result = await relay.parse_webhook(request(bounce(to=forged, returned="")))

    assert (list(result.events), result.ignored) == ([], {"no_id": 1})


async def test_an_ordinary_mail_reports_nothing(relay):
    result = await relay.parse_webhook(request("From: ann@post.example\nSubject: Out of office\n\nBack soon"))

    assert (list(result.events), result.ignored) == ([], {"no_report": 1})


def attached(mail):
    """Attach a mail to another one, as some mailboxes do when they forward it."""
    return (
        "From: ann@post.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\n"
        f"--outer\nContent-Type: text/plain\n\nSee below.\n--outer\nContent-Type: message/rfc822\n\n{mail}\n--outer--\n"
    )


@pytest.mark.parametrize("forward", [attached, "Content-Type: message/rfc822\n\n{}".format])
async def test_an_attached_report_is_translated(relay, forward):
    result = await relay.parse_webhook(request(forward(bounce())))

    assert result.events == [StatusEvent(status=Status.FAILED, message_id=ID, code="5.1.1")]


async def test_a_report_attached_to_an_attached_mail_is_ignored(relay):
    inner = bounce(envelope_id=ID).replace("boundary=limit", "boundary=inner").replace("--limit", "--inner")
    result = await relay.parse_webhook(request(attached(f"Content-Type: message/rfc822\n\n{inner}")))

    assert result.ignored == {"no_report": 1}


async def test_a_report_that_is_returned_by_another_is_ignored(relay):
    inner = bounce(envelope_id=ID).replace("boundary=limit", "boundary=inner").replace("--limit", "--inner")
    outer = bounce("delayed", returned="").replace(
        "--limit--", f"--limit\nContent-Type: message/rfc822\n\n{inner}\n--limit--"
    )

    result = await relay.parse_webhook(request(outer))

    assert (list(result.events), result.ignored) == ([], {"delayed": 1})


@pytest.mark.parametrize("field", ["In-Reply-To", "References"])
async def test_a_report_without_a_returned_mail_is_identified_by_its_references(relay, field):
    references = (
        f"<older@elsewhere.example> <{ID}@amazing.example>" if field == "References" else f"<{ID}@a.example>"
    )

    result = await relay.parse_webhook(request(f"{field}: {references}\n" + bounce(returned="")))

    assert [event.message_id for event in result.events] == [ID]


async def test_the_last_of_several_references_counts(relay):
    references = f"References: <{OTHER}@amazing.example>\n <{ID}@amazing.example>\n"

    result = await relay.parse_webhook(request(references + bounce(returned="")))

    assert [event.message_id for event in result.events] == [ID]


def jmrp(field="X-HmXmrOriginalRecipient: <ann@hotmail.example>"):
    """Return a complaint in Hotmail's form."""
    return (
        "From: <staff@hotmail.example>\nTo: abuse@amazing.example\n"
        "Subject: complaint about message from 192.0.2.7\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=limit\n\n--limit\nContent-Type: message/rfc822\n"
        f"Content-Disposition: inline\n\n{field}\nFrom: news@amazing.example\nTo: ann@hotmail.example\n"
        f"Message-ID: <{ID}@amazing.example>\n\nthe body\n--limit--\n"
    )


async def test_a_complaint_of_hotmail_is_translated(relay):
    result = await relay.parse_webhook(request(jmrp()))

    assert result.events == [StatusEvent(status=Status.COMPLAINED, message_id=ID, code="abuse")]


async def test_a_forwarded_mail_of_ours_is_not_a_complaint(relay):
    result = await relay.parse_webhook(request(jmrp("X-Other: 1")))

    assert (list(result.events), result.ignored) == ([], {"no_report": 1})


@pytest.mark.parametrize(
    "authorization", [None, "", KEY, "Bearer ", f"Bearer {KEY} ", f"bearer {KEY}", "Bearer ä", f"Basic {KEY}"]
)
async def test_a_request_without_the_secret_is_refused(relay, authorization):
    with pytest.raises(BadSignature) as caught:
        await relay.parse_webhook(request(bounce(), authorization=authorization))

    assert KEY not in str(caught.value)


async def test_an_instance_without_a_secret_accepts_no_reports(connected):
    async with connected(1) as relay:
        with pytest.raises(NoVerificationKey):
            await relay.parse_webhook(request(bounce(), authorization="Bearer "))


@pytest.mark.parametrize("changes", [{"content-type": "application/json"}, {"content-type": None}])
async def test_a_body_that_is_not_a_mail_is_refused(relay, changes):
    with pytest.raises(BadWebhook, match="message/rfc822"):
        await relay.parse_webhook(request(bounce(), **changes))


@pytest.mark.parametrize("body", ["", " \r\n"])
async def test_an_empty_body_is_refused(relay, body):
    with pytest.raises(BadWebhook):
        await relay.parse_webhook(request(body))


async def test_a_deeply_nested_mail_is_ignored(relay):
    body = "".join(f'Content-Type: multipart/mixed; boundary="{n}"\r\n\r\n--{n}\r\n' for n in range(2000))

    result = await relay.parse_webhook(request(body))

    assert (list(result.events), result.ignored) == ([], {"too_nested": 1})


async def test_the_length_of_the_returned_mail_does_not_matter(relay):
    result = await relay.parse_webhook(request(bounce().replace("the body", "long \n" * 200_000)))

    assert [event.message_id for event in result.events] == [ID]


async def test_the_return_path_of_a_mail_identifies_its_bounce(sink, connected, an_email):
    async with connected(sink.port, webhook_secret=Secret(KEY), bounce_domain="bounces.example") as relay:
        await relay.send_email(an_email())
        sender = sink.mails[0].mail.split(b"<")[1].split(b">")[0].decode()
        result = await relay.parse_webhook(request(bounce(to=sender, returned="")))

    assert len(sender.rpartition("@")[0]) <= 64
    assert [event.message_id for event in result.events] == [ID]


@without_deadline
@given(st.uuids(), st.text(min_size=1).filter(str.isprintable))
def test_a_return_path_holds_its_message_id(message_id, key):
    path = return_path(str(message_id), "bounces.example", key)

    assert find_return_path(f"<{path}>", "bounces.example", ["older", key]) == str(message_id)
    assert find_return_path(path, "bounces.example", [key + "x"]) == ""


LINES = [
    *(
        "Content-Type: multipart/report; boundary=b",
        "--b",
        "--b--",
        "",
        "a",
        "Action: failed",
        "Status: 5.1.1",
    ),
    *(
        "Content-Type: message/delivery-status",
        "Content-Type: message/feedback-report",
        "Feedback-Type: abuse",
    ),
    *(
        "Content-Type: message/rfc822",
        "Content-Type: text/rfc822-headers",
        "Content-Transfer-Encoding: base64",
    ),
    *(
        f"Message-ID: <{ID}@a.example>",
        f"Original-Envelope-Id: {ID}",
        "Content-Type: text/plain; charset=nope",
    ),
    *(
        "Content-Transfer-Encoding: uuencode",
        "Content-Type: x; a*0*=b'",
        "\xff\x00",
        "Content-Type: message/global",
    ),
]


@without_deadline
@given(body=st.one_of(st.binary(min_size=1), st.lists(st.sampled_from(LINES)).map("\r\n".join)))
async def test_any_body_is_a_report_or_refused(unconnected_relay, body):
    try:
        result = await unconnected_relay.parse_webhook(request(body))
    except BadWebhook:
        return
    for event in result.events:
        assert event.message_id == ID
        assert event.status in {Status.FAILED, Status.DELIVERED, Status.COMPLAINED}


@pytest.fixture(scope="module")
def unconnected_relay():
    from gatepost.hookspecs import Context  # noqa: PLC0415
    from gatepost.observe import logs  # noqa: PLC0415
    from gatepost_smtp import Settings, SmtpRelay  # noqa: PLC0415  only here without a connection

    return SmtpRelay(
        Settings(host="relay.example", webhook_secret=Secret(KEY)),
        Context(name="relay", log=logs.get("relay")),
    )
