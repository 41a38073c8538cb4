"""The sends: their requests, and what each answer and each fault means."""

import asyncio
import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import GatepostError, Rejected, Unavailable, Uncertain
from gatepost.model import Email, Mailbox, Secret
from gatepost.testing import emulator
from gatepost_mailgun import Settings, messages
from gatepost_mailgun.testing import form_rules
from gatepost_mailgun.testing.emulator import SANDBOX

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


async def test_the_form_of_a_request(provider, plugin, email):
    receipt = await plugin.send_email(
        email(
            reply_to=Mailbox("help@brand.example", "Help"),
            headers={"List-Unsubscribe": "<https://brand.example/u/7>"},
            tags=("brand", "news"),
        )
    )
    (taken,) = provider.taken
    assert taken.message == [
        ("from", '"Brand" <news@brand.example>'),
        ("to", RECIPIENT),
        ("subject", "Grüße 🎲"),
        ("text", "Hello"),
        ("html", "<p>Hello</p>"),
        ("h:Reply-To", '"Help" <help@brand.example>'),
        ("h:List-Unsubscribe", "<https://brand.example/u/7>"),
        ("o:tag", "brand"),
        ("o:tag", "news"),
        ("o:deliver-within", "1h"),
        ("v:gp_id", MESSAGE_ID),
    ]
    assert taken.id == MESSAGE_ID
    assert taken.provider_id == f"{receipt.provider_id}@{provider.domain}"
    assert provider.requests == [("POST", f"/v3/{provider.domain}/messages")]


@pytest.mark.parametrize("text", ["Привет\r\n--gatepost", "a=b&c=%41+\n\n\x00 🎲", '\r\n"\r\n', " x\r\n"])
async def test_a_text_arrives_as_it_is_and_takes_no_more_bytes(provider, plugin, email, text):
    # Percent-encoding a mail of 50 KB would block the event loop for 5 ms.
    await plugin.send_email(email(html=text * 1000, text=text))
    (taken,) = provider.taken
    assert (dict(taken.message)["html"], dict(taken.message)["text"]) == (text * 1000, text)
    assert taken.headers["Content-Type"].startswith("multipart/form-data")
    assert int(taken.headers["Content-Length"]) - 1001 * len(text.encode()) < 1500


async def test_half_a_character_does_not_stop_a_mail(provider, plugin, email):
    await plugin.send_email(email(text="a\ud83d"))
    assert dict(provider.taken[0].message)["text"] == "a?"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"open_tracking": True}, {"o:tracking-opens": "yes"}),
        ({"open_tracking": False}, {"o:tracking-opens": "no"}),
        ({"click_tracking": True}, {"o:tracking-clicks": "htmlonly"}),
        ({"click_tracking": False}, {"o:tracking-clicks": "no"}),
    ],
)
async def test_each_setting_is_in_the_request(provider, running, email, settings, expected):
    async with running(**settings) as plugin:
        await plugin.send_email(email())
    form = dict(provider.taken[0].message)
    assert {name: value for name, value in form.items() if name.startswith("o:tracking")} == expected


@pytest.mark.parametrize(
    ("lifetime", "window"),
    [(1.0, "5m"), (300.0, "5m"), (1800.0, "30m"), (5400.0, "1h30m"), (86_400.0, "24h"), (10.0**6, "24h")],
)
async def test_the_lifetime_limits_how_long_mailgun_tries(provider, plugin, email, lifetime, window):
    await plugin.send_email(email(lifetime=lifetime))
    assert dict(provider.taken[0].message)["o:deliver-within"] == window


@pytest.mark.parametrize(
    ("fields", "parts"),
    [({"text": ""}, {"html"}), ({"html": ""}, {"text"}), ({}, {"text", "html"})],
)
async def test_no_part_is_empty(provider, plugin, email, fields, parts):
    await plugin.send_email(email(**fields))
    assert dict(provider.taken[0].message).keys() & {"text", "html"} == parts


@pytest.mark.parametrize(
    "name", ["", "Brand, Inc", 'The "Brand"', "back\\slash", "Grüße 🎲", "a@b.example", ">"]
)
async def test_the_name_of_a_sender_is_one_name(provider, plugin, email, name):
    await plugin.send_email(email(sender=Mailbox("news@brand.example", name)))
    received = provider.received(provider.taken[0])
    assert (received.sender, received.sender_name) == ("news@brand.example", name)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"html": "", "text": ""}, "400 text"),
        ({"recipient": Secret("canary.4711")}, "400 to"),
        ({"recipient": Secret("cänary.4711@mail.example")}, "400 to"),
        ({"sender": Mailbox("brand")}, "400 from"),
        ({"headers": {"X-Brand": "x" * 16_384}}, "400 options"),
        ({"headers": {"X-Bränd": "x"}}, "400 header"),
        ({"tags": ("x" * 129,)}, "400"),
        ({"html": "x" * (25 * 1024 * 1024 + 1)}, "400"),
        ({"html": "x" * (53 * 1024 * 1024)}, "413"),
    ],
)
async def test_a_bad_mail_is_rejected(plugin, email, fields, code):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(**fields))
    assert caught.value.code == code


# The texts that Mailgun documents of its errors, and what each means; the error and its code.
NOT_ALLOWED = "Domain example.com is not allowed to send:"
ERRORS = [
    (400, "from parameter is missing", Rejected, "400 missing"),
    (400, "to parameter is missing", Rejected, "400 missing"),
    (400, "Need at least one of 'text' or 'html' parameters specified", Rejected, "400 text"),
    (400, "Only one parameters 'html' or 'template' is allowed", Rejected, "400"),
    (
        400,
        "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total",
        Rejected,
        "400 options",
    ),
    (400, "Too many recipients, max is 1000", Rejected, "400"),
    (400, "Header name must be pure ASCII: X-Ä", Rejected, "400 header"),
    (400, "to parameter is not a valid address. please check documentation", Rejected, "400 to"),
    (400, "from parameter is not a valid address. please check documentation", Rejected, "400 from"),
    # Older answers have the name in quotes.
    (400, "'to' parameter is not a valid address. please check documentation", Rejected, "400 to"),
    (400, "'from' parameter is not a valid address. please check documentation", Rejected, "400 from"),
    (400, "unable to parse request: unexpected EOF", Rejected, "400"),
    (400, "invalid delivery time format", Rejected, "400"),
    (400, f"{NOT_ALLOWED} {SANDBOX}", Unavailable, "400 sandbox"),
    (
        400,
        f"{NOT_ALLOWED} Free accounts are for test purposes only. Please upgrade.",
        Unavailable,
        "400 free_account",
    ),
    (
        400,
        f"{NOT_ALLOWED} The domain is unverified and requires DNS configuration.",
        Unavailable,
        "400 unverified",
    ),
    (
        400,
        f"{NOT_ALLOWED} Please activate your Mailgun account. Check your inbox.",
        Unavailable,
        "400 inactive",
    ),
    (400, f"{NOT_ALLOWED} something new", Unavailable, "400 not_allowed"),
    (401, "Forbidden", Unavailable, "401"),
    (402, "Payment required", Unavailable, "402"),
    (403, "Domain example is not allowed to send large batches yet", Unavailable, "403 volume"),
    (403, "Rejected: IP 192.0.2.1 can't be used to send the message", Unavailable, "403 ip"),
    (403, "Forbidden", Unavailable, "403"),
    (404, "Domain not found: example.com", Unavailable, "404 domain"),
    (404, "not found", Unavailable, "404"),
    (413, "request size exceeds 52.4MiB limit", Rejected, "413"),
]


@pytest.mark.parametrize(("status", "text", "error", "code"), ERRORS)
async def test_each_documented_error(provider, plugin, email, status, text, error, code):
    provider.plan(emulator.answer(status, reason=text))
    with pytest.raises(error) as caught:
        await plugin.send_email(email())
    assert (type(caught.value), caught.value.code) == (error, code)
    if error is Unavailable:
        assert caught.value.misconfigured
        assert not caught.value.content_only


@pytest.mark.parametrize("limit", ["request", "recipient", "bytes"])
async def test_the_pause_is_in_the_text(provider, plugin, email, limit):
    provider.limit = limit
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert (caught.value.code, caught.value.misconfigured) == (f"429 {limit}", False)
    assert 500 <= caught.value.retry_after <= 600


async def test_a_limit_with_another_status_passes_too(provider, plugin, email):
    text = f"{NOT_ALLOWED} recipient limit exceeded, try again after Mon, 20 Dec 2021 20:33:21 UTC"
    provider.plan(emulator.answer(403, reason=text))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert (caught.value.code, caught.value.misconfigured) == ("403 recipient", False)


@pytest.mark.parametrize(
    ("headers", "text", "pause"),
    [
        ({"Retry-After": "7"}, "slow down", 7),
        ({}, "slow down", None),
        ({}, "request limit exceeded, try again after tomorrow", None),
        ({}, "try again after Xxx, 99 Foo 2021 99:99:99 UTC", None),
        ({}, "try again after Mon, 20 Dec 2021 20:33:21 UTC", 0),
    ],
)
async def test_a_pause_that_is_none(provider, plugin, email, headers, text, pause):
    provider.plan(emulator.answer(429, headers, reason=text))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert caught.value.retry_after == pause


async def test_a_sandbox_domain_sends_to_authorized_recipients(provider, plugin, email):
    provider.authorized = frozenset({"colleague@brand.example"})
    with pytest.raises(Unavailable, match="authorized") as caught:
        await plugin.send_email(email())
    assert (caught.value.code, caught.value.misconfigured) == ("400 sandbox", True)
    await plugin.send_email(email(recipient=Secret("colleague@brand.example")))
    assert len(provider.taken) == 1


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"api_key": "of-another-region"}, "401"), ({"domain": "other.example"}, "404 domain")],
)
async def test_a_key_or_a_domain_of_another_region(running, email, settings, code):
    async with running(**settings) as plugin:
        for call in (plugin.send_email(email()), plugin.ping()):
            with pytest.raises(Unavailable, match="EU region") as caught:
                await call
            assert (caught.value.code, caught.value.misconfigured) == (code, True)


@pytest.mark.parametrize(
    ("fault", "expected", "misconfigured"),
    [
        (emulator.answer(408), Unavailable, False),
        (emulator.answer(500), Unavailable, False),
        (emulator.answer(502), Unavailable, False),
        (emulator.answer(503), Unavailable, False),
        (emulator.answer(302, {"Location": "/v3/x/messages"}), Unavailable, True),
        (emulator.answer(405), Unavailable, True),
        (emulator.answer(200), Uncertain, None),
        (emulator.answer(202), Uncertain, None),
        (emulator.close_before_body(), Uncertain, None),
        (emulator.close_after_body(taken=True), Uncertain, None),
        (emulator.hang(taken=True), Uncertain, None),
        (emulator.stall(), Uncertain, None),
    ],
)
async def test_each_fault_has_its_outcome_after_one_request(
    provider, plugin, email, past_deadline, fault, expected, misconfigured
):
    provider.plan(fault)
    with pytest.raises(expected) as caught:
        await past_deadline(provider, plugin.send_email(email()))
    assert type(caught.value) is expected
    assert getattr(caught.value, "misconfigured", None) is misconfigured
    assert len(provider.requests) == 1


@pytest.mark.parametrize("answer", [{}, [], None, "Queued", {"id": 7}, {"message": ["x"]}])
@pytest.mark.parametrize("status", [200, 400, 401, 429])
async def test_an_answer_of_another_form(provider, plugin, email, status, answer):
    provider.error = lambda status, reason: answer
    provider.plan(emulator.answer(status))
    with pytest.raises((Rejected, Unavailable, Uncertain)) as caught:
        await plugin.send_email(email())
    assert caught.value.code == str(status)


async def test_a_success_other_than_200_is_uncertain(provider, plugin, email):
    provider.error = lambda status, reason: {"id": "<1@mg.brand.example>", "message": "Queued. Thank you."}
    provider.plan(emulator.answer(202))
    with pytest.raises(Uncertain):
        await plugin.send_email(email())


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


async def test_nothing_of_the_recipient_is_logged_or_raised(
    provider, plugin, email, caplog, capsys, past_deadline
):
    caplog.set_level(logging.DEBUG)
    faults = [
        emulator.NO_FAILURE,
        *(emulator.answer(status, reason=f"{RECIPIENT} is bad") for status in (302, 400, 401, 429, 500)),
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
    for private in (RECIPIENT, "canary", "4711", "mail.example", provider.api_key):
        assert private not in output


async def test_ping_sends_no_message(provider, plugin):
    await plugin.ping()
    assert provider.requests == [("POST", f"/v3/{provider.domain}/messages.mime")]
    assert provider.taken == []


@pytest.mark.parametrize("status", [200, 400, 422, 500])
async def test_ping_raises_only_unavailable(provider, plugin, status):
    provider.plan(emulator.answer(status))
    with pytest.raises(Unavailable):
        await plugin.ping()


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
mailboxes = st.builds(Mailbox, st.sampled_from(["news@brand.example", "x+y@a.example"]), words)


@given(
    message=st.builds(
        Email,
        id=st.just(MESSAGE_ID),
        recipient=st.just(Secret(RECIPIENT)),
        sender=mailboxes,
        reply_to=st.none() | mailboxes,
        subject=words,
        html=words.filter(bool),
        text=words,
        lifetime=st.floats(0.1, 10**7),
        headers=st.sampled_from([{}, {"List-Unsubscribe": "<https://brand.example/u/7>", "X-Brand": "b"}]),
        tags=st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), max_size=2),
    ),
    settings=st.builds(
        Settings,
        api_key=st.just(Secret("key")),
        domain=st.just("mg.brand.example"),
        open_tracking=st.none() | st.booleans(),
        click_tracking=st.none() | st.booleans(),
    ),
)
def test_any_mail_is_valid_by_the_vendors_rules(message, settings):
    form = list(messages.mail_form(message, settings))
    assert list(form_rules.faults(form)) == []
    assert form_rules.addresses(form_rules.value(form, "to")) == [("", RECIPIENT)]
