"""The sends: their requests, and what each answer and each fault means."""

import asyncio
import json
import logging
import time
import traceback
from email.utils import formatdate

import pytest
import sendgrid
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers import mail as sdk

from gatepost.errors import GatepostError, Rejected, Unavailable, Uncertain
from gatepost.model import Email, Mailbox, Secret
from gatepost.testing import emulator
from gatepost_sendgrid import Settings, messages
from gatepost_sendgrid.testing import SendGridEmulator

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


async def test_a_sent_mail_has_our_id_and_sendgrids(provider, plugin, email):
    receipt = await plugin.send_email(email())
    (taken,) = provider.taken
    assert (taken.id, taken.provider_id) == (MESSAGE_ID, receipt.provider_id)
    assert provider.requests == [("POST", "/v3/mail/send")]


async def test_the_body_of_a_request(provider, plugin, email):
    await plugin.send_email(email(reply_to=Mailbox("help@brand.example", "Help")))
    assert provider.taken[0].message == {
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
async def test_each_setting_is_in_the_request(provider, running, email, settings, expected):
    async with running(**settings) as plugin:
        await plugin.send_email(email())
    (message,) = [taken.message for taken in provider.taken] + provider.validated
    options = ("mail_settings", "tracking_settings", "categories")
    assert {name: message[name] for name in options if name in message} == expected


async def test_sandbox_mode_has_a_receipt_without_an_id(provider, running, email):
    async with running(sandbox_mode=True) as plugin:
        assert (await plugin.send_email(email())).provider_id == ""
    assert (len(provider.validated), provider.taken) == (1, [])


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        ({"text": ""}, ["text/html"]),
        ({"html": ""}, ["text/plain"]),
        ({}, ["text/plain", "text/html"]),
    ],
)
async def test_no_part_is_empty_and_text_comes_first(provider, plugin, email, fields, types):
    await plugin.send_email(email(**fields))
    assert [part["type"] for part in provider.taken[0].message["content"]] == types


@pytest.mark.parametrize(
    "address",
    [
        "o'brien+tag@mail.example",
        "a=b@mail.example",
        "user@xn--bcher-kva.example",
        "#!$%&*-/?^_`{|}~@mail.example",
    ],
)
async def test_addresses_are_sent_unchanged(provider, plugin, email, address):
    await plugin.send_email(email(recipient=Secret(address), sender=Mailbox(address)))
    message = provider.taken[0].message
    assert message["personalizations"][0]["to"] == [{"email": address}]
    assert message["from"] == {"email": address}


def sdk_mail():
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


async def test_the_request_is_the_same_as_the_sdks(provider, running, email):
    client = sendgrid.SendGridAPIClient(provider.api_key, host=provider.base_url)
    answer = await asyncio.to_thread(client.send, sdk_mail())
    async with running(categories=("smartico", "bonus"), click_tracking=False, open_tracking=True) as plugin:
        receipt = await plugin.send_email(email(reply_to=Mailbox("help@brand.example", "Help")))
    by_sdk, by_us = provider.taken
    assert by_us.message == by_sdk.message
    assert answer.status_code == 202
    assert by_us.provider_id == receipt.provider_id
    assert by_us.id == by_sdk.id == MESSAGE_ID
    for header in ("Authorization", "Content-Type"):
        assert by_us.headers[header] == by_sdk.headers[header]


async def test_an_api_key_in_the_content_is_rejected_without_a_request(provider, plugin, email):
    with pytest.raises(Rejected, match="API key"):
        await plugin.send_email(email(text="SG.abc.def is my key"))
    assert provider.requests == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"subject": ""}, "400 subject"),
        ({"html": "", "text": ""}, "400 content"),
        ({"recipient": Secret("canary.4711")}, "400 personalizations.0.to.0.email"),
        ({"recipient": Secret("cänary.4711@mail.example")}, "400 personalizations.0.to.0.email"),
    ],
)
async def test_a_bad_mail_is_rejected_with_its_bad_field(provider, plugin, email, fields, code):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(**fields))
    assert caught.value.code == code
    assert [refused.status for refused in provider.refused] == [400]


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_mail_that_is_too_large_is_rejected(provider, plugin, email):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(html="x" * (30 * 1024 * 1024)))
    assert caught.value.code == "413"


@pytest.mark.parametrize(
    "field",
    [RECIPIENT, f"personalizations.0.to.{RECIPIENT}", "", "0" * 5000, None, 7, ["subject"], "subject." * 9],
)
async def test_only_known_fields_become_part_of_the_code(provider, plugin, email, field):
    provider.error = lambda status, why: {
        "errors": [{"message": RECIPIENT, "field": field, "help": RECIPIENT}]
    }
    provider.plan(emulator.answer(400))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email())
    assert (caught.value.code, str(caught.value)) == ("400", "the provider answered 400")


@pytest.mark.parametrize("answer", [None, [], "no", {"errors": []}, {"errors": "no"}, {"errors": [None]}])
async def test_an_error_answer_of_another_form(provider, plugin, email, answer):
    provider.error = lambda status, why: answer
    provider.plan(emulator.answer(400))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email())
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
async def test_each_fault_has_its_outcome_after_one_request(
    provider, plugin, email, past_deadline, fault, expected
):
    provider.plan(fault)
    with pytest.raises(expected) as caught:
        await past_deadline(provider, plugin.send_email(email()))
    assert type(caught.value) is expected
    assert provider.requests == [("POST", "/v3/mail/send")]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301])
async def test_answers_that_need_the_operator(provider, plugin, email, status):
    provider.plan(emulator.answer(status))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert caught.value.misconfigured
    assert caught.value.code == str(status)


async def test_an_unverified_sender_does_not_affect_others(provider, plugin, email):
    provider.senders = frozenset({"somebody@else.example"})
    with pytest.raises(Unavailable, match="verify") as caught:
        await plugin.send_email(email())
    assert (caught.value.code, caught.value.misconfigured) == ("403 from", True)
    assert caught.value.content_only


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_a_success_other_than_202_is_uncertain(provider, plugin, email, status):
    provider.plan(emulator.answer(status))
    with pytest.raises(Uncertain) as caught:
        await plugin.send_email(email())
    assert caught.value.code == str(status)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_answers_that_may_pass(provider, plugin, email, status):
    provider.plan(emulator.answer(status))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert not caught.value.misconfigured
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("headers", "minimum", "maximum"),
    [
        (lambda: {"Retry-After": "7"}, 7, 7),
        (lambda: {"Retry-After": formatdate(time.time() + 600, usegmt=True)}, 500, 600),
        (lambda: {"X-RateLimit-Reset": str(int(time.time()) + 600)}, 500, 600),
        (lambda: {"Retry-After": "7", "X-RateLimit-Reset": str(int(time.time()) + 600)}, 7, 7),
    ],
    ids=["seconds", "date", "reset", "both"],
)
async def test_the_delay_that_sendgrid_wants(provider, plugin, email, headers, minimum, maximum):
    provider.plan(emulator.answer(429, headers()))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert minimum <= caught.value.retry_after <= maximum


@pytest.mark.parametrize("fault", [emulator.drip(0.0), emulator.delay(0.05)])
async def test_a_slow_answer_is_accepted(provider, plugin, email, fault):
    provider.plan(fault)
    receipt = await plugin.send_email(email())
    assert receipt.provider_id == provider.taken[0].provider_id


async def test_without_a_connection_sendgrid_is_unavailable(make_plugin, email):
    async with SendGridEmulator() as gone:
        base_url = gone.base_url
    plugin = make_plugin(base_url=base_url)
    async with plugin.lifespan():
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(email())
    assert not caught.value.misconfigured


async def test_connections_are_reused_and_limited(provider, running, email):
    provider.failure = emulator.delay(0.01)
    async with running(context={"concurrency": 4}) as plugin:
        await asyncio.gather(*(plugin.send_email(email()) for _ in range(40)))
    assert provider.sends(MESSAGE_ID) == len(provider.requests) == 40
    assert provider.max_concurrent == 4
    assert provider.connections <= 4


async def test_a_connection_that_the_server_closed_loses_no_message(provider, plugin, email):
    await plugin.send_email(email())
    await provider.drop_connections()
    await plugin.send_email(email())
    assert (provider.connections, len(provider.requests), provider.sends(MESSAGE_ID)) == (2, 2, 2)


async def test_a_wrong_key_is_misconfigured(provider, running, email):
    async with running(api_key="SG.other") as plugin:
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(email())
    assert caught.value.misconfigured


async def test_a_cancelled_send_leaves_the_pool_usable(provider, running, email):
    provider.plan(emulator.hang(taken=True))
    async with running(context={"concurrency": 1}) as plugin:
        sending = asyncio.create_task(plugin.send_email(email()))
        while not provider.taken:  # noqa: ASYNC110  the emulator has no event for it
            await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await plugin.send_email(email())
    assert len(provider.requests) == 2


async def test_nothing_of_the_recipient_is_logged_or_raised(
    provider, plugin, email, caplog, capsys, past_deadline
):
    caplog.set_level(logging.DEBUG)
    provider.error = lambda status, why: {"errors": [{"message": f"{RECIPIENT} is bad", "field": RECIPIENT}]}
    faults = [
        emulator.NO_FAILURE,
        *(emulator.answer(status) for status in (302, 400, 401, 429, 500)),
        emulator.close_before_body(),
        emulator.close_after_body(taken=True),
        emulator.stall(),
    ]
    provider.plan(*faults)
    texts = []
    for _ in faults:
        try:
            texts.append(repr(await past_deadline(provider, plugin.send_email(email()))))
        except GatepostError as error:
            texts += [repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
    output = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    assert len(provider.requests) == len(faults)
    for private in (RECIPIENT, "canary", "4711", provider.api_key):
        assert private not in output


async def test_ping_costs_nothing(provider, plugin):
    await plugin.ping()
    assert provider.requests == [("GET", "/v3/scopes")]


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
async def test_ping_raises_only_unavailable(provider, plugin, fault, misconfigured):
    # For every request, because a GET is repeated when its connection is lost.
    provider.failure = fault
    with pytest.raises(Unavailable) as caught:
        await plugin.ping()
    assert caught.value.misconfigured is misconfigured


async def test_ping_detects_a_key_without_the_permission(provider, plugin, email):
    provider.scopes = ["stats.read"]
    with pytest.raises(Unavailable, match="may not send mail") as caught:
        await plugin.ping()
    assert caught.value.misconfigured
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
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
    headers=st.sampled_from([{}, {"List-Unsubscribe": "<https://brand.example/u/7>", "X-Brand": "b"}]),
    tags=st.sampled_from([(), ("bonus", "news")]),
    options=st.builds(
        Settings,
        api_key=st.just(Secret("SG.key")),
        categories=st.sampled_from([(), ("smartico",), ("smartico", "bonus")]),
        click_tracking=switches,
        open_tracking=switches,
        sandbox_mode=st.booleans(),
    ),
)
def test_any_body_is_the_same_as_the_sdks(sender, reply_to, subject, text, html, headers, tags, options):
    body = messages.mail_body(
        Email(
            id=MESSAGE_ID,
            recipient=Secret(RECIPIENT),
            sender=sender,
            reply_to=reply_to,
            subject=subject,
            html=html,
            text=text,
            lifetime=60.0,
            headers=headers,
            tags=tags,
        ),
        options,
    )
    sdk_body = sdk.Mail(subject=subject)
    sdk_body.from_email = sdk.From(sender.address, sender.name or None)
    sdk_body.add_to(sdk.To(RECIPIENT))
    sdk_body.add_custom_arg(sdk.CustomArg("gp_id", MESSAGE_ID, p=0))
    if reply_to:
        sdk_body.reply_to = sdk.ReplyTo(reply_to.address, reply_to.name or None)
    if text:
        sdk_body.add_content(text, sdk.MimeType.text)
    sdk_body.add_content(html, sdk.MimeType.html)
    for name, value in headers.items():
        sdk_body.add_header(sdk.Header(name, value, p=0))
    for category in dict.fromkeys([*options.categories, *tags]):
        sdk_body.add_category(sdk.Category(category))
    if not (options.click_tracking is None and options.open_tracking is None):
        tracking = sdk_body.tracking_settings = sdk.TrackingSettings()
        if options.click_tracking is not None:
            tracking.click_tracking = sdk.ClickTracking(options.click_tracking, enable_text=False)
        if options.open_tracking is not None:
            tracking.open_tracking = sdk.OpenTracking(options.open_tracking)
    if options.sandbox_mode:
        sdk_body.mail_settings = sdk.MailSettings(sandbox_mode=sdk.SandBoxMode(enable=True))
    assert json.loads(body) == sdk_body.get()
