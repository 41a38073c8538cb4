"""The sends: their requests, and what each answer and each fault means."""

import asyncio
import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import GatepostError, Rejected, Unavailable, Uncertain
from gatepost.model import Email, Mailbox, Secret, Status
from gatepost.testing import emulator
from gatepost_postmark import Settings, messages
from gatepost_postmark.testing import mail_rules

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"


async def test_the_body_of_a_request(provider, plugin, email):
    receipt = await plugin.send_email(
        email(
            reply_to=Mailbox("help@brand.example", "Help"),
            headers={"List-Unsubscribe": "<https://brand.example/u/7>"},
            tags=("brand", "news"),
        )
    )
    (taken,) = provider.taken
    assert (taken.id, taken.provider_id) == (MESSAGE_ID, receipt.provider_id)
    assert taken.message == {
        "From": '"Brand" <news@brand.example>',
        "To": RECIPIENT,
        "ReplyTo": '"Help" <help@brand.example>',
        "Subject": "Grüße 🎲",
        "TextBody": "Hello",
        "HtmlBody": "<p>Hello</p>",
        "MessageStream": "outbound",
        "Metadata": {"gp_id": MESSAGE_ID},
        "Tag": "brand, news",
        "Headers": [{"Name": "List-Unsubscribe", "Value": "<https://brand.example/u/7>"}],
    }
    assert provider.requests == [("POST", "/email")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"MessageStream": "outbound"}),
        ({"message_stream": "broadcast"}, {"MessageStream": "broadcast"}),
        ({"open_tracking": True}, {"MessageStream": "outbound", "TrackOpens": True}),
        ({"open_tracking": False}, {"MessageStream": "outbound", "TrackOpens": False}),
        ({"click_tracking": True}, {"MessageStream": "outbound", "TrackLinks": "HtmlOnly"}),
        ({"click_tracking": False}, {"MessageStream": "outbound", "TrackLinks": "None"}),
    ],
)
async def test_each_setting_is_in_the_request(provider, running, email, settings, expected):
    async with running(**settings) as plugin:
        await plugin.send_email(email())
    message = provider.taken[0].message
    names = ("MessageStream", "TrackOpens", "TrackLinks")
    assert {name: message[name] for name in names if name in message} == expected


@pytest.mark.parametrize(
    ("fields", "parts"),
    [({"text": ""}, {"HtmlBody"}), ({"html": ""}, {"TextBody"}), ({}, {"TextBody", "HtmlBody"})],
)
async def test_no_part_is_empty(provider, plugin, email, fields, parts):
    await plugin.send_email(email(**fields))
    assert provider.taken[0].message.keys() & {"TextBody", "HtmlBody"} == parts


@pytest.mark.parametrize(
    "name", ["", "Brand, Inc", 'The "Brand"', "back\\slash", "Grüße 🎲", "a@b.example", ">"]
)
async def test_the_name_of_a_sender_is_one_name(provider, plugin, email, name):
    await plugin.send_email(email(sender=Mailbox("news@brand.example", name)))
    received = provider.received(provider.taken[0])
    assert (received.sender, received.sender_name) == ("news@brand.example", name)


async def test_the_token_for_tests_sends_nothing_and_warns(provider, running, email, core):
    async with running(server_token="POSTMARK_API_TEST") as plugin:
        assert (await plugin.send_email(email())).provider_id
    assert (len(provider.validated), provider.taken) == (1, [])
    assert [key for key, _ in core.warnings] == ["server_token"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"html": "", "text": ""}, "422 300"),
        ({"recipient": Secret("canary.4711")}, "422 300"),
        ({"subject": "x" * 2001}, "422 300"),
        ({"sender": Mailbox("news@brand.example", "x" * 255)}, "422 300"),
        ({"headers": {"Subject": "another"}}, "422 300"),
        ({"html": "x" * (5 * 1024 * 1024 + 1)}, "422 300"),
        ({"html": "x" * (10 * 1024 * 1024)}, "413"),
    ],
)
async def test_a_bad_mail_is_rejected(plugin, email, fields, code):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(**fields))
    assert (caught.value.code, caught.value.status) == (code, None)


# What Postmark documents of POST /email: the HTTP status, the ErrorCode, the error, and whether it is about the
# sender alone or about everything.
REFUSALS = [
    (401, 10, Unavailable, "everything"),
    (422, 11, Rejected, ""),
    (422, 300, Rejected, ""),
    (422, 400, Unavailable, "sender"),
    (422, 401, Unavailable, "sender"),
    (422, 402, Rejected, ""),
    (422, 403, Rejected, ""),
    (422, 405, Unavailable, "everything"),
    (422, 406, Rejected, ""),
    (422, 411, Rejected, ""),
    (422, 412, Unavailable, "everything"),
    (422, 413, Unavailable, "everything"),
    (422, 422, Unavailable, "everything"),
    (422, 701, Rejected, ""),
    (422, 1226, Unavailable, "everything"),
    (422, 1235, Unavailable, "everything"),
    (422, 1236, Unavailable, "everything"),
    (422, 1480, Unavailable, "everything"),
    (415, 409, Unavailable, "everything"),
    (422, 409, Unavailable, "everything"),
    (503, 100, Unavailable, ""),
    (422, 100, Unavailable, ""),
    (500, 101, Unavailable, ""),
    (422, 101, Unavailable, ""),
    # Postmark lists it among the ErrorCodes, without its HTTP status.
    (422, 429, Unavailable, ""),
    (429, 429, Unavailable, ""),
    # An answer 200 with an ErrorCode, as for the mails of a batch, and a code that does not exist yet.
    (200, 300, Rejected, ""),
    (200, 405, Unavailable, "everything"),
    (422, 9999, Rejected, ""),
]


@pytest.mark.parametrize(("status", "number", "error", "about"), REFUSALS)
async def test_each_error_code(provider, plugin, email, status, number, error, about):
    provider.error = lambda status, reason: {"ErrorCode": number, "Message": f"no {RECIPIENT}"}
    provider.plan(emulator.answer(status))
    with pytest.raises(error) as caught:
        await plugin.send_email(email())
    assert type(caught.value) is error
    assert caught.value.code == f"{status} {number}"
    if error is Unavailable:
        assert caught.value.misconfigured is bool(about)
        assert caught.value.content_only is (about == "sender")


@pytest.mark.parametrize("number", [-1, 10**9, "300", None, 3.5, [300]])
async def test_an_error_code_that_is_none(provider, plugin, email, number):
    provider.error = lambda status, reason: {"ErrorCode": number, "Message": RECIPIENT}
    provider.plan(emulator.answer(422))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email())
    assert caught.value.code in {"422", "422 "}


@pytest.mark.parametrize(
    ("suppression", "status"),
    [
        (("HardBounce", "Recipient"), None),
        (("SpamComplaint", "Recipient"), Status.COMPLAINED),
        (("ManualSuppression", "Recipient"), Status.UNSUBSCRIBED),
        (("ManualSuppression", "Customer"), None),
        (("ManualSuppression", "Admin"), None),
    ],
)
async def test_the_reason_of_a_suppression(provider, plugin, email, suppression, status):
    provider.suppressions["outbound", RECIPIENT] = suppression
    with pytest.raises(Rejected, match="suppressed") as caught:
        await plugin.send_email(email())
    assert (caught.value.code, caught.value.status) == ("422 406", status)
    assert provider.requests == [("POST", "/email"), ("GET", "/message-streams/outbound/suppressions/dump")]


async def test_an_address_with_odd_characters_is_looked_up(provider, plugin, email):
    address = "a+b&c=d%#'@mail.example"
    provider.suppressions["outbound", "somebody@else.example"] = ("ManualSuppression", "Customer")
    provider.suppressions["outbound", address] = ("SpamComplaint", "Recipient")
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(recipient=Secret(address)))
    assert caught.value.status is Status.COMPLAINED


async def test_a_suppression_of_another_stream_is_none(provider, plugin, email):
    provider.suppressions["broadcast", RECIPIENT] = ("ManualSuppression", "Recipient")
    assert (await plugin.send_email(email())).provider_id


@pytest.mark.parametrize(
    "fault",
    [
        emulator.answer(500),
        emulator.answer(401),
        emulator.answer(200),
        emulator.close_after_body(taken=False),
        emulator.hang(taken=False),
    ],
)
async def test_without_the_reason_the_refusal_stands(provider, plugin, email, past_deadline, fault):
    provider.suppressions["outbound", RECIPIENT] = ("SpamComplaint", "Recipient")
    provider.plan(emulator.NO_FAILURE, fault, fault)
    with pytest.raises(Rejected) as caught:
        await past_deadline(provider, plugin.send_email(email()))
    assert (caught.value.code, caught.value.status) == ("422 406", None)


async def test_the_question_for_the_reason_has_the_rest_of_the_time(provider, plugin, email, monkeypatch):
    loop, limits, original = asyncio.get_running_loop(), [], asyncio.timeout_at

    def timeout_at(when):
        limits.append((when, loop.time()))
        return original(when)

    monkeypatch.setattr("gatepost_postmark.plugin.asyncio.timeout_at", timeout_at)
    provider.suppressions["outbound", RECIPIENT] = ("SpamComplaint", "Recipient")
    provider.plan(emulator.delay(0.05))
    with pytest.raises(Rejected):
        await plugin.send_email(email())
    # The first was that of the connection.
    _connecting, (end, asked_at) = limits
    # The hook's ten seconds began before the send, which took some of them.
    assert end <= asked_at - 0.05 + 10.0


async def test_an_account_that_is_pending_approval(provider, plugin, email):
    provider.pending = True
    with pytest.raises(Unavailable, match="pending approval") as caught:
        await plugin.send_email(email())
    assert caught.value.misconfigured
    await plugin.send_email(email(recipient=Secret("colleague@brand.example")))
    assert len(provider.taken) == 1


async def test_an_unverified_sender_does_not_affect_others(provider, plugin, email):
    provider.senders = frozenset({"somebody@else.example"})
    provider.unconfirmed = frozenset({"waiting@brand.example"})
    for sender, code in (("news@brand.example", "422 400"), ("waiting@brand.example", "422 401")):
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(email(sender=Mailbox(sender)))
        assert (caught.value.code, caught.value.content_only) == (code, True)


@pytest.mark.parametrize(("stream", "code"), [("nowhere", "422 1235"), ("inbound", "422 1236")])
async def test_a_stream_that_sends_nothing(running, email, stream, code):
    async with running(message_stream=stream) as plugin:
        with pytest.raises(Unavailable, match="message_stream") as caught:
            await plugin.send_email(email())
        assert (caught.value.code, caught.value.misconfigured) == (code, True)
        with pytest.raises(Unavailable, match="stream") as caught:
            await plugin.ping()
        assert caught.value.misconfigured


async def test_without_credit_nothing_is_sent(provider, plugin, email):
    provider.account_error = (405, "Not allowed to send")
    with pytest.raises(Unavailable, match="credits") as caught:
        await plugin.send_email(email())
    assert caught.value.misconfigured


async def test_a_token_of_another_server(running, email):
    async with running(server_token="another") as plugin:
        for call in (plugin.send_email(email()), plugin.ping()):
            with pytest.raises(Unavailable, match="server_token") as caught:
                await call
            assert (caught.value.code, caught.value.misconfigured) == ("401 10", True)


@pytest.mark.parametrize(
    ("fault", "expected", "misconfigured"),
    [
        (emulator.answer(400), Rejected, None),
        (emulator.answer(408), Unavailable, False),
        (emulator.answer(429), Unavailable, False),
        (emulator.answer(500), Unavailable, False),
        (emulator.answer(502), Unavailable, False),
        (emulator.answer(503), Unavailable, False),
        (emulator.answer(401), Unavailable, True),
        (emulator.answer(403), Unavailable, True),
        (emulator.answer(404), Unavailable, True),
        (emulator.answer(415), Unavailable, True),
        (emulator.answer(302, {"Location": "/email"}), Unavailable, True),
        (emulator.answer(201), Uncertain, None),
        (emulator.answer(200), Uncertain, None),
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
    assert provider.requests == [("POST", "/email")]


@pytest.mark.parametrize(
    "answer",
    [
        {"ErrorCode": 0, "Message": "OK"},
        {"MessageID": "x"},
        [],
        None,
        "OK",
        {"ErrorCode": 0, "MessageID": 7},
    ],
)
async def test_a_success_that_is_not_postmarks_is_uncertain(provider, plugin, email, answer):
    provider.error = lambda status, reason: answer
    provider.plan(emulator.answer(200))
    with pytest.raises(Uncertain):
        await plugin.send_email(email())


async def test_the_pause_that_postmark_wants(provider, plugin, email):
    provider.plan(emulator.answer(429, {"Retry-After": "7"}))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert caught.value.retry_after == 7


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
    provider.error = lambda status, reason: {"ErrorCode": 406, "Message": f"{RECIPIENT} is inactive"}
    faults = [
        emulator.NO_FAILURE,
        *(emulator.answer(status) for status in (302, 400, 401, 422, 429, 500)),
        emulator.close_after_body(taken=True),
        emulator.stall(),
    ]
    texts = []
    for fault in faults:
        provider.plan(fault)
        try:
            texts.append(repr(await past_deadline(provider, plugin.send_email(email()))))
        except GatepostError as error:
            texts += [repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
    output = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    for private in (RECIPIENT, "canary", "4711", "mail.example", provider.server_token):
        assert private not in output


async def test_ping_reads_the_stream(provider, plugin):
    await plugin.ping()
    assert provider.requests == [("GET", "/message-streams/outbound")]
    provider.archived.add("outbound")
    with pytest.raises(Unavailable, match="archived") as caught:
        await plugin.ping()
    assert caught.value.misconfigured


@pytest.mark.parametrize("number", [300, 406, 9999, 0])
async def test_ping_raises_only_unavailable(provider, plugin, number):
    provider.error = lambda status, reason: {"ErrorCode": number}
    for status in (200, 400, 422, 503):
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
        lifetime=st.just(60.0),
        headers=st.sampled_from([{}, {"List-Unsubscribe": "<https://brand.example/u/7>", "X-Brand": "b"}]),
        tags=st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), max_size=2),
    ),
    settings=st.builds(
        Settings,
        server_token=st.just(Secret("token")),
        open_tracking=st.none() | st.booleans(),
        click_tracking=st.none() | st.booleans(),
    ),
)
def test_any_mail_is_valid_by_the_vendors_rules(message, settings):
    mail, number, problem = mail_rules.decode(messages.mail_body(message, settings))
    assert (number, problem) == (0, "")
    assert list(mail_rules.faults(mail)) == []
    assert mail_rules.addresses(mail.to) == [("", RECIPIENT)]
