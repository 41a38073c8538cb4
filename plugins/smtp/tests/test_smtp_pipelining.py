"""MAIL, RCPT and DATA in one write where the relay offers PIPELINING (RFC 2920)."""

import pytest

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dialogue import Dialogue
from gatepost_smtp.mime import Mail
from gatepost_smtp.pool import PIPELINING_DELAY
from gatepost_smtp.transaction import Envelope, send

REFUSALS = [("MAIL", "550 5.7.1 not you"), ("RCPT", "550 5.1.1 unknown"), ("RCPT", "450 4.2.2 full")]


async def test_the_three_commands_are_one_write(sink, relay, an_email, monkeypatch):
    written = []
    monkeypatch.setattr(Dialogue, "write", recording(written, Dialogue.write))
    await relay.send_email(an_email())

    commands, content = written[:2]
    assert [line.split(b" ")[0] for line in commands.splitlines()] == [b"MAIL", b"RCPT", b"DATA"]
    assert content.endswith(b"\r\n.\r\n")


def recording(written, write):
    def record(dialogue, data, **options):
        written.append(data)
        write(dialogue, data, **options)

    return record


@pytest.mark.parametrize(("stage", "answer"), REFUSALS)
async def test_a_refused_mail_whose_data_is_accepted_delivers_nothing(sink, relay, an_email, stage, answer):
    sink.needs_recipients = False
    sink.answer(stage, answer, times=1)

    with pytest.raises((Rejected, Unavailable)) as caught:
        await relay.send_email(an_email(recipient="first@post.example"))
    await relay.send_email(an_email(recipient="second@post.example"))

    assert caught.value.code == answer[:9]
    [received] = sink.mails
    assert received.recipients[0].startswith(b"RCPT TO:<second@post.example>")
    # Not even a RSET, which the server would take for content.
    assert sink.incomplete == [b""]
    assert sink.sessions == 2


@pytest.mark.parametrize(("stage", "answer"), REFUSALS)
@pytest.mark.parametrize("trouble", ["silence", "closed", "nonsense"])
async def test_a_refusal_counts_whatever_happens_to_the_commands_after_it(
    sink, relay, an_email, stage, answer, trouble
):
    sink.answer(stage, answer, times=1)
    if trouble == "silence":
        sink.stall("DATA", times=1)
    elif trouble == "closed":
        sink.hang_up("DATA", times=1)
    else:
        sink.answer("DATA", "what?", times=1)

    with pytest.raises((Rejected, Unavailable)) as caught:
        await relay.send_email(an_email(recipient="first@post.example"))
    await relay.send_email(an_email(recipient="second@post.example"))

    assert caught.value.code == answer[:9]
    assert len(sink.mails) == 1
    assert sink.sessions == 2


async def test_answers_that_come_together_or_in_pieces_are_read_in_order(sink, relay, an_email):
    sink.drip_pause = 0
    sink.drip("RCPT", "250-2.1.5 yes\r\n250 2.1.5 ok", seconds=0)
    sink.answer("MAIL", "250-2.1.0 yes\r\n250-2.1.0 really\r\n250 2.1.0 ok")

    for _ in range(3):
        await relay.send_email(an_email())

    assert len(sink.mails) == 3
    assert sink.sessions == 1


async def test_an_answer_that_no_command_asked_for_ends_the_connection(sink, relay, an_email):
    sink.answer("END", "250 2.0.0 ok\r\n250 2.0.0 ok again", times=1)

    await relay.send_email(an_email())
    await relay.send_email(an_email())

    assert len(sink.mails) == 2
    assert sink.sessions == 2


@pytest.mark.parametrize("answer", ["250-" + "so much " * 100_000, "250-\r\n" * 10_000 + "250-"])
async def test_an_answer_without_an_end_is_not_kept(sink, relay, an_email, answer):
    sink.answer("MAIL", answer)

    with pytest.raises(Unavailable, match="not SMTP"):
        await relay.send_email(an_email())


async def test_a_relay_that_drops_commands_which_come_together_gets_one_at_a_time(
    sink, relay, an_email, monkeypatch, set_ahead
):
    written = []
    monkeypatch.setattr(Dialogue, "write", recording(written, Dialogue.write))
    sink.stall("RCPT", times=1)
    with pytest.raises(Unavailable, match="did not answer RCPT in time"):
        await relay.send_email(an_email())
    await relay.send_email(an_email())
    set_ahead(PIPELINING_DELAY)
    await relay.send_email(an_email())

    mails = [data.count(b"\r\n") for data in written if data.startswith(b"MAIL")]
    assert mails == [3, 1, 3]


async def test_a_relay_that_once_read_all_commands_goes_on_to_get_them_together(
    sink, relay, an_email, monkeypatch
):
    written = []
    monkeypatch.setattr(Dialogue, "write", recording(written, Dialogue.write))
    await relay.send_email(an_email())
    sink.stall("RCPT", times=1)
    with pytest.raises(Unavailable, match="did not answer RCPT in time"):
        await relay.send_email(an_email())
    await relay.send_email(an_email())

    mails = [data.count(b"\r\n") for data in written if data.startswith(b"MAIL")]
    assert mails == [3, 3, 3]


async def send_much(relay):
    """Send a mail that is too much for what sockets hold."""
    content = b"Subject: long\r\n\r\n" + b"too much for what sockets hold\r\n" * 600_000
    envelope = Envelope("an-id", "news@amazing.example", "ann@post.example", configured_sender=False)
    deadline = Deadline(60)
    return await relay._pool.run(
        lambda connection: send(connection, envelope, Mail(content, utf8=False), deadline), deadline
    )


async def test_a_mail_that_is_accepted_before_its_end_is_uncertain(sink, relay):
    sink.answer("BODY", "250 2.0.0 ok")

    with pytest.raises(Uncertain, match="before"):
        await send_much(relay)


async def test_after_an_early_refusal_the_rest_of_the_mail_is_not_sent(sink, relay, an_email):
    sink.answer("BODY", "552 5.3.4 too large", times=1)

    refusal = await send_much(relay)
    sink.clear_faults()
    await relay.send_email(an_email())

    assert isinstance(refusal, Rejected)
    assert len(sink.incomplete) == 1
    assert sink.sessions == 2
