"""Sending: what goes over the wire, and what each answer and each fault means."""

import asyncio
import json
import logging
import ssl
import time
import traceback
from email.utils import formatdate

import pytest
import sendgrid
import trustme
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers import mail as sdk

from gatepost.errors import GatepostError, Rejected, Unavailable, Uncertain
from gatepost.model import Email, Mailbox, Secret
from gatepost.testing import emulator
from gatepost.testing.sendgrid import SendGridEmulator
from gatepost_sendgrid import mail

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


async def test_a_mail_is_taken_with_our_id_and_the_vendors(vendor, plugin, make_email):
    receipt = await plugin.send_email(make_email())
    (taken,) = vendor.taken
    assert (taken.id, taken.provider_id) == (MESSAGE_ID, receipt.provider_id)
    assert vendor.requests == [("POST", "/v3/mail/send")]


async def test_the_body_is_what_the_contract_says(vendor, plugin, make_email):
    await plugin.send_email(make_email(reply_to=Mailbox("help@brand.example", "Help")))
    assert vendor.taken[0].message == {
        "from": {"email": "news@brand.example", "name": "Brand"},
        "reply_to": {"email": "help@brand.example", "name": "Help"},
        "subject": "Grüße 🎲",
        "personalizations": [{"to": [{"email": RECIPIENT}], "custom_args": {"gp_id": MESSAGE_ID}}],
        "content": [
            {"type": "text/plain", "value": "Hello"},
            {"type": "text/html", "value": "<p>Hello</p>"},
        ],
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sandbox_mode": True}, {"mail_settings": {"sandbox_mode": {"enable": True}}}),
        ({"categories": ("smartico",)}, {"categories": ["smartico"]}),
        (
            {"click_tracking": True},
            {"tracking_settings": {"click_tracking": {"enable": True, "enable_text": False}}},
        ),
        (
            {"click_tracking": False, "open_tracking": False},
            {
                "tracking_settings": {
                    "click_tracking": {"enable": False, "enable_text": False},
                    "open_tracking": {"enable": False},
                }
            },
        ),
        ({"open_tracking": True}, {"tracking_settings": {"open_tracking": {"enable": True}}}),
        ({}, {}),
    ],
)
async def test_each_setting_reaches_the_vendor(vendor, running, make_email, settings, expected):
    async with running(**settings) as plugin:
        await plugin.send_email(make_email())
    (message,) = [taken.message for taken in vendor.taken] + vendor.validated
    extras = ("mail_settings", "tracking_settings", "categories")
    assert {name: message[name] for name in extras if name in message} == expected


async def test_sandbox_mode_has_a_receipt_without_an_id(vendor, running, make_email):
    async with running(sandbox_mode=True) as plugin:
        assert (await plugin.send_email(make_email())).provider_id == ""
    assert (len(vendor.validated), vendor.taken) == (1, [])


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        ({"text": ""}, ["text/html"]),
        ({"html": ""}, ["text/plain"]),
        ({}, ["text/plain", "text/html"]),
    ],
)
async def test_no_part_is_empty_and_text_comes_first(vendor, plugin, make_email, fields, types):
    await plugin.send_email(make_email(**fields))
    assert [part["type"] for part in vendor.taken[0].message["content"]] == types


@pytest.mark.parametrize(
    "address",
    [
        "o'brien+tag@mail.example",
        "a=b@mail.example",
        "user@xn--bcher-kva.example",
        "#!$%&*-/?^_`{|}~@mail.example",
    ],
)
async def test_addresses_arrive_as_they_are(vendor, plugin, make_email, address):
    await plugin.send_email(make_email(recipient=Secret(address), sender=Mailbox(address)))
    message = vendor.taken[0].message
    assert message["personalizations"][0]["to"] == [{"email": address}]
    assert message["from"] == {"email": address}


def mail_of_the_sdk():
    mail = sdk.Mail(
        from_email=("news@brand.example", "Brand"),
        to_emails=RECIPIENT,
        subject="Grüße 🎲",
        plain_text_content="Hello",
        html_content="<p>Hello</p>",
    )
    mail.custom_arg = sdk.CustomArg("gp_id", MESSAGE_ID, p=0)
    mail.reply_to = ("help@brand.example", "Help")
    mail.category = [sdk.Category("smartico"), sdk.Category("bonus")]
    mail.tracking_settings = sdk.TrackingSettings(
        click_tracking=sdk.ClickTracking(enable=False, enable_text=False),
        open_tracking=sdk.OpenTracking(enable=True),
    )
    return mail


async def test_what_the_sdk_would_have_sent_is_what_we_send(vendor, running, make_email):
    client = sendgrid.SendGridAPIClient(vendor.api_key, host=vendor.base_url)
    answer = await asyncio.to_thread(client.send, mail_of_the_sdk())
    async with running(categories=("smartico", "bonus"), click_tracking=False, open_tracking=True) as plugin:
        receipt = await plugin.send_email(make_email(reply_to=Mailbox("help@brand.example", "Help")))
    by_sdk, by_us = vendor.taken
    assert by_us.message == by_sdk.message
    assert answer.status_code == 202
    assert by_us.provider_id == receipt.provider_id
    assert by_us.id == by_sdk.id == MESSAGE_ID
    for header in ("Authorization", "Content-Type"):
        assert by_us.headers[header] == by_sdk.headers[header]


async def test_an_api_key_in_the_content_is_refused_before_the_call(vendor, plugin, make_email):
    with pytest.raises(Rejected, match="API key"):
        await plugin.send_email(make_email(text="SG.abc.def is my key"))
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"subject": ""}, "400 subject"),
        ({"html": "", "text": ""}, "400 content"),
        ({"recipient": Secret("canary.4711")}, "400 personalizations.0.to.0.email"),
        ({"recipient": Secret("cänary.4711@mail.example")}, "400 personalizations.0.to.0.email"),
    ],
)
async def test_a_bad_mail_is_rejected_with_the_field_that_is_bad(vendor, plugin, make_email, fields, code):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(make_email(**fields))
    assert caught.value.code == code
    assert [refused.status for refused in vendor.refused] == [400]


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_mail_that_is_too_large_is_rejected(vendor, plugin, make_email):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(make_email(html="x" * (30 * 1024 * 1024)))
    assert caught.value.code == "413"


@pytest.mark.parametrize(
    "field",
    [RECIPIENT, f"personalizations.0.to.{RECIPIENT}", "", "0" * 5000, None, 7, ["subject"], "subject." * 9],
)
async def test_only_known_fields_become_part_of_the_code(vendor, plugin, make_email, field):
    vendor.error = lambda status, why: {"errors": [{"message": RECIPIENT, "field": field, "help": RECIPIENT}]}
    vendor.plan(emulator.answer(400))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(make_email())
    assert (caught.value.code, str(caught.value)) == ("400", "the provider answered 400")


@pytest.mark.parametrize("answer", [None, [], "no", {"errors": []}, {"errors": "no"}, {"errors": [None]}])
async def test_answers_of_another_shape(vendor, plugin, make_email, answer):
    vendor.error = lambda status, why: answer
    vendor.plan(emulator.answer(400))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(make_email())
    assert caught.value.code == "400"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (emulator.answer(400), Rejected),
        (emulator.answer(413), Rejected),
        (emulator.answer(429), Unavailable),
        (emulator.answer(500), Unavailable),
        (emulator.answer(502), Unavailable),
        (emulator.answer(503), Unavailable),
        (emulator.answer(401), Unavailable),
        (emulator.answer(403), Unavailable),
        (emulator.answer(404), Unavailable),
        (emulator.answer(302, {"Location": "/v3/mail/send"}), Unavailable),
        (emulator.close_before_body(), Uncertain),
        (emulator.close_after_body(taken=False), Uncertain),
        (emulator.close_after_body(taken=True), Uncertain),
        (emulator.hang(taken=True), Uncertain),
        (emulator.hang(taken=False), Uncertain),
        (emulator.stall(), Uncertain),
    ],
)
async def test_each_fault_means_one_thing_and_is_one_post(
    vendor, plugin, make_email, past_deadline, fault, expected
):
    vendor.plan(fault)
    with pytest.raises(expected) as caught:
        await past_deadline(vendor, plugin.send_email(make_email()))
    assert type(caught.value) is expected
    assert vendor.requests == [("POST", "/v3/mail/send")]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301])
async def test_what_only_the_operator_can_mend(vendor, plugin, make_email, status):
    vendor.plan(emulator.answer(status))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(make_email())
    assert caught.value.misconfigured
    assert caught.value.code == str(status)


async def test_a_sender_that_is_not_verified_concerns_no_other_sender(vendor, plugin, make_email):
    vendor.senders = frozenset({"somebody@else.example"})
    with pytest.raises(Unavailable, match="verify") as caught:
        await plugin.send_email(make_email())
    assert (caught.value.code, caught.value.misconfigured) == ("403 from", True)
    assert caught.value.content_only


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_a_yes_that_is_none_of_sendgrids_proves_nothing(vendor, plugin, make_email, status):
    vendor.plan(emulator.answer(status))
    with pytest.raises(Uncertain) as caught:
        await plugin.send_email(make_email())
    assert caught.value.code == str(status)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_heals_by_itself(vendor, plugin, make_email, status):
    vendor.plan(emulator.answer(status))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(make_email())
    assert not caught.value.misconfigured
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        (lambda: {"Retry-After": "7"}, 7, 7),
        (lambda: {"Retry-After": formatdate(time.time() + 600, usegmt=True)}, 500, 600),
        (lambda: {"X-RateLimit-Reset": str(int(time.time()) + 600)}, 500, 600),
        (lambda: {"Retry-After": "7", "X-RateLimit-Reset": str(int(time.time()) + 600)}, 7, 7),
    ],
    ids=["seconds", "date", "reset", "both"],
)
async def test_how_long_to_wait(vendor, plugin, make_email, headers, least, most):
    vendor.plan(emulator.answer(429, headers()))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(make_email())
    assert least <= caught.value.retry_after <= most


@pytest.mark.parametrize("fault", [emulator.drip(0.0), emulator.late(0.05)])
async def test_a_slow_answer_is_an_answer(vendor, plugin, make_email, fault):
    vendor.plan(fault)
    receipt = await plugin.send_email(make_email())
    assert receipt.provider_id == vendor.taken[0].provider_id


async def test_nobody_listens(make_plugin, make_email):
    async with SendGridEmulator() as gone:
        base_url = gone.base_url
    plugin = make_plugin(base_url=base_url)
    async with plugin.lifespan():
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(make_email())
    assert not caught.value.misconfigured


async def test_connections_are_kept_and_bounded(vendor, running, make_email):
    vendor.standing = emulator.late(0.01)
    async with running(concurrency=4) as plugin:
        await asyncio.gather(*(plugin.send_email(make_email()) for _ in range(40)))
    assert vendor.sends(MESSAGE_ID) == len(vendor.requests) == 40
    assert vendor.busiest == 4
    assert vendor.connections <= 4


async def test_an_idle_connection_that_was_dropped_is_not_used(vendor, plugin, make_email):
    await plugin.send_email(make_email())
    await vendor.drop_connections()
    await plugin.send_email(make_email())
    assert (vendor.connections, len(vendor.requests), vendor.sends(MESSAGE_ID)) == (2, 2, 2)


async def test_a_wrong_key(vendor, running, make_email):
    async with running(api_key=Secret("SG.other")) as plugin:
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(make_email())
    assert caught.value.misconfigured


async def test_a_cancelled_send_leaves_the_pool_usable(vendor, running, make_email):
    vendor.plan(emulator.hang(taken=True))
    async with running(concurrency=1) as plugin:
        sending = asyncio.create_task(plugin.send_email(make_email()))
        while not vendor.taken:  # noqa: ASYNC110  the emulator tells nobody
            await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await plugin.send_email(make_email())
    assert len(vendor.requests) == 2


async def test_certificates_are_checked(make_plugin, make_email):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with SendGridEmulator(tls=tls) as stranger:
        plugin = make_plugin(base_url=stranger.base_url)
        async with plugin.lifespan():
            with pytest.raises(Unavailable):
                await plugin.send_email(make_email())
        assert stranger.requests == []


async def test_nothing_of_the_recipient_in_any_log_or_error(
    vendor, plugin, make_email, caplog, capsys, past_deadline
):
    caplog.set_level(logging.DEBUG)
    vendor.error = lambda status, why: {"errors": [{"message": f"{RECIPIENT} is bad", "field": RECIPIENT}]}
    faults = [
        emulator.FINE,
        *(emulator.answer(status) for status in (302, 400, 401, 429, 500)),
        emulator.close_before_body(),
        emulator.close_after_body(taken=True),
        emulator.stall(),
    ]
    vendor.plan(*faults)
    texts = []
    for _ in faults:
        try:
            texts.append(repr(await past_deadline(vendor, plugin.send_email(make_email()))))
        except GatepostError as error:
            texts += [repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
    said = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    assert len(vendor.requests) == len(faults)
    for private in (RECIPIENT, "canary", "4711", vendor.api_key):
        assert private not in said


async def test_ping_costs_nothing(vendor, plugin):
    await plugin.ping()
    assert vendor.requests == [("GET", "/v3/scopes")]


@pytest.mark.parametrize(
    ("fault", "misconfigured"),
    [
        (emulator.answer(401), True),
        (emulator.answer(404), True),
        (emulator.answer(400), False),
        (emulator.answer(503), False),
        (emulator.close_after_body(taken=True), False),
    ],
)
async def test_ping_tells_what_is_wrong(vendor, plugin, fault, misconfigured):
    # Standing, because aiohttp asks once more when a GET's connection drops.
    vendor.standing = fault
    with pytest.raises(Unavailable) as caught:
        await plugin.ping()
    assert caught.value.misconfigured is misconfigured


async def test_ping_knows_a_key_that_may_not_send(vendor, plugin, make_email):
    vendor.scopes = ["stats.read"]
    with pytest.raises(Unavailable, match="may not send mail") as caught:
        await plugin.ping()
    assert caught.value.misconfigured
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(make_email())
    assert (caught.value.code, caught.value.misconfigured) == ("403", True)


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
mailboxes = st.builds(Mailbox, st.sampled_from(["news@brand.example", "x+y@a.example"]), words)
switches = st.none() | st.booleans()


@given(
    sender=mailboxes,
    reply_to=st.none() | mailboxes,
    subject=words,
    text=words,
    html=words.filter(bool),
    extras=st.builds(
        mail.Extras,
        categories=st.sampled_from([(), ("smartico",), ("smartico", "bonus")]),
        click_tracking=switches,
        open_tracking=switches,
        sandbox_mode=st.booleans(),
    ),
)
def test_any_mail_is_the_one_that_the_sdk_would_make(sender, reply_to, subject, text, html, extras):
    made = mail.build(
        Email(
            id=MESSAGE_ID,
            recipient=Secret(RECIPIENT),
            sender=sender,
            reply_to=reply_to,
            subject=subject,
            html=html,
            text=text,
            lifetime=60.0,
        ),
        extras,
    )
    theirs = sdk.Mail(subject=subject)
    theirs.from_email = sdk.From(sender.address, sender.name or None)
    theirs.add_to(sdk.To(RECIPIENT))
    theirs.add_custom_arg(sdk.CustomArg("gp_id", MESSAGE_ID, p=0))
    if reply_to:
        theirs.reply_to = sdk.ReplyTo(reply_to.address, reply_to.name or None)
    if text:
        theirs.add_content(text, sdk.MimeType.text)
    theirs.add_content(html, sdk.MimeType.html)
    for category in extras.categories:
        theirs.add_category(sdk.Category(category))
    if not (extras.click_tracking is None and extras.open_tracking is None):
        tracking = theirs.tracking_settings = sdk.TrackingSettings()
        if extras.click_tracking is not None:
            tracking.click_tracking = sdk.ClickTracking(extras.click_tracking, enable_text=False)
        if extras.open_tracking is not None:
            tracking.open_tracking = sdk.OpenTracking(extras.open_tracking)
    if extras.sandbox_mode:
        theirs.mail_settings = sdk.MailSettings(sandbox_mode=sdk.SandBoxMode(enable=True))
    assert json.loads(made) == theirs.get()
