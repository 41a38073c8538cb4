"""The outcome of each answer of the server."""

import pytest

from gatepost.errors import Rejected, Unavailable, Uncertain

COMMANDS = ["MAIL", "RCPT", "DATA", "END"]


@pytest.fixture(params=[True, False], ids=["pipelining", "one by one"])
def pipelining(request):
    return request.param


@pytest.mark.parametrize("stage", COMMANDS)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("550 5.1.1 <ann.example+tag@post.example> unknown", "550 5.1.1"),
        ("554 ann.example+tag@post.example is not welcome", "554"),
        ("552 5.3.4-too large\r\n552 5.3.4 by far".replace("552 5.3.4-", "552-5.3.4 "), "552 5.3.4"),
        ("550 5.1.1ann.example+tag@post.example", "550"),
    ],
)
async def test_5xx_to_the_message_is_rejected_with_its_code(sink, relay, an_email, stage, answer, code):
    sink.answer(stage, answer)

    with pytest.raises(Rejected) as caught:
        await relay.send_email(an_email())

    assert caught.value.code == code
    assert "ann" not in f"{caught.value!r} {caught.value}"
    assert not sink.mails


@pytest.mark.parametrize("stage", ["connect", "EHLO", *COMMANDS])
@pytest.mark.parametrize(
    "answer", ["421 4.3.2 closing", "450 4.2.1 ann.example+tag@post.example busy", "451"]
)
async def test_4xx_is_unavailable(sink, relay, an_email, stage, answer):
    sink.answer(stage, answer)

    with pytest.raises(Unavailable) as caught:
        await relay.send_email(an_email())

    assert caught.value.code.startswith(answer[:3])
    assert not caught.value.misconfigured
    assert "ann" not in str(caught.value)
    assert not sink.mails


RELAY, RECIPIENT, CONTENT = (False, False), (True, False), (False, True)


@pytest.mark.parametrize(
    ("stage", "answer", "scope"),
    [
        *((stage, "421 4.3.2 closing", RELAY) for stage in COMMANDS),
        *((stage, "421 4.7.0 too many connections", RELAY) for stage in COMMANDS),
        # Greylisted, full, temporarily unknown; also in the words of a server behind the relay.
        *(
            ("RCPT", answer, RECIPIENT)
            for answer in (
                "450 4.7.1 greylisted",
                "451 4.7.1 later",
                "452 4.2.2 full",
                "451",
                "451 4.3.0 down",
            )
        ),
        *((stage, "452 4.3.1 no space left", RELAY) for stage in ("MAIL", "DATA", "END")),
        *((stage, "452", RELAY) for stage in ("MAIL", "DATA", "END")),
        *((stage, "451 4.3.0 queue file write error", RELAY) for stage in ("MAIL", "DATA", "END")),
        *((stage, "451 4.4.1 no answer from the next hop", RELAY) for stage in ("MAIL", "DATA", "END")),
        *((stage, "451 4.7.1 this content is suspicious", CONTENT) for stage in ("DATA", "END")),
        *((stage, "450 4.6.0 what is that", CONTENT) for stage in ("DATA", "END")),
        *((stage, "451", CONTENT) for stage in ("DATA", "END")),
        # At MAIL the relay knows only the sender.
        ("MAIL", "450 4.1.8 the sender's domain is not found", CONTENT),
        ("MAIL", "450 4.7.1 who are you", RELAY),
        ("MAIL", "451", RELAY),
    ],
)
async def test_the_scope_of_a_temporary_refusal(sink, relay, an_email, stage, answer, scope):
    """Only a refusal that affects every message counts against the relay."""
    sink.answer(stage, answer)

    with pytest.raises(Unavailable) as caught:
        await relay.send_email(an_email())

    assert (caught.value.message_only, caught.value.content_only) == scope


async def test_an_unknown_configured_return_path_affects_every_message(sink, connected, an_email):
    sink.answer("MAIL", "450 4.1.8 the sender's domain is not found")
    async with connected(sink.port, return_path="bounces@amazing.example") as relay:
        with pytest.raises(Unavailable) as caught:
            await relay.send_email(an_email())

    assert (caught.value.message_only, caught.value.content_only) == RELAY


@pytest.mark.parametrize("stage", COMMANDS)
@pytest.mark.parametrize("answer", ["530 5.7.0 sign in first", "535 5.7.8 no"])
async def test_a_missing_sign_in_is_misconfigured_at_every_stage(sink, relay, an_email, stage, answer):
    sink.answer(stage, answer)

    with pytest.raises(Unavailable, match="username") as caught:
        await relay.send_email(an_email())

    assert caught.value.misconfigured


@pytest.mark.parametrize("stage", ["connect", "EHLO"])
async def test_5xx_before_any_message_is_misconfigured(sink, relay, an_email, stage):
    sink.answer(stage, "554 5.7.1 your address is on a list")

    with pytest.raises(Unavailable) as caught:
        await relay.send_email(an_email())

    assert caught.value.misconfigured
    assert caught.value.code == "554 5.7.1"


async def test_a_refused_configured_return_path_is_misconfigured(sink, connected, an_email):
    sink.answer("MAIL", "553 5.7.1 not yours")
    async with connected(sink.port, return_path="bounces@amazing.example") as relay:
        with pytest.raises(Unavailable, match="return_path") as caught:
            await relay.send_email(an_email())

    assert caught.value.misconfigured


@pytest.mark.parametrize("stage", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("answer", ["hello?", "999 what", "100 perhaps", "334 dGVsbA=="])
async def test_an_invalid_answer_before_the_mail_is_unavailable(sink, relay, an_email, stage, answer):
    if (stage, answer[:1]) == ("DATA", "3"):
        answer = "250 ok"
    sink.answer(stage, answer)

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())

    assert not sink.mails


@pytest.mark.parametrize("answer", ["hello?", "999 what", "354 more", "2xx ok"])
async def test_an_invalid_answer_after_the_mail_is_uncertain(sink, relay, an_email, answer):
    sink.answer("END", answer)

    with pytest.raises(Uncertain):
        await relay.send_email(an_email())


@pytest.mark.parametrize("stage", COMMANDS)
@pytest.mark.parametrize("answer", ["550 5.1.1 no", "450 4.2.1 later"])
async def test_a_refused_mail_does_not_affect_the_next_one(sink, relay, an_email, stage, answer):
    sink.answer(stage, answer, times=1)

    with pytest.raises((Rejected, Unavailable)):
        await relay.send_email(an_email(recipient="first@post.example"))
    await relay.send_email(an_email(recipient="second@post.example"))

    [received] = sink.mails
    assert [line.split(b">")[0] for line in received.recipients] == [b"RCPT TO:<second@post.example"]
    assert sink.sessions == 1
    assert sink.commands.count(b"RSET\r\n") == 1


@pytest.mark.parametrize("fault", ["answer", "hang_up"])
async def test_a_connection_without_a_successful_reset_is_not_reused(sink, relay, an_email, fault):
    sink.answer("RCPT", "550 5.1.1 no", times=1)
    if fault == "answer":
        sink.answer("RSET", "500 what", times=1)
    else:
        sink.hang_up("RSET", times=1)

    with pytest.raises(Rejected):
        await relay.send_email(an_email(recipient="first@post.example"))
    await relay.send_email(an_email(recipient="second@post.example"))

    assert sink.sessions == 2
    assert len(sink.mails) == 1


async def test_a_refusal_counts_even_if_the_server_is_silent_afterwards(sink, connected, an_email):
    sink.answer("RCPT", "550 5.1.1 no")
    sink.stall("RSET")
    async with connected(sink.port) as relay:
        with pytest.raises(Rejected):
            await relay.send_email(an_email())
