"""Bounces in plain text: the form of each mail system, with our own content."""

import asyncio
import logging
import re
import threading
import time
from email import message_from_string
from email.message import EmailMessage

import flufl.bounce
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatepost.model import Secret, Status, StatusEvent, WebhookRequest
from gatepost_smtp import reports, text_bounces
from gatepost_smtp.addresses import return_path
from gatepost_smtp.incoming_mail import incoming_mail

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
KEY = "a shared secret"
ANN = "ann@post.example"

OURS = f"""\
Received: from gateway.example by relay.example; Thu, 26 Nov 2026 09:00:00 +0000
From: "Amazing, Inc" <news@amazing.example>
To: {ANN}
Subject: Your weekly letter
Message-ID: <{ID}@amazing.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

SGVsbG8=
"""


@pytest.fixture
async def relay(connected):
    async with connected(1, webhook_secret=Secret(KEY), bounce_domain="bounces.example") as open_relay:
        yield open_relay


def request(mail):
    return WebhookRequest(
        method="POST",
        url="https://gatepost.example/webhooks/relay",
        headers={"authorization": f"Bearer {KEY}", "content-type": "message/rfc822"},
        body=mail.encode(),
        received_at=0.0,
    )


def plain(head, text):
    return f"{head.strip()}\nTo: news@amazing.example\n\n{text}"


def mixed(head, text, *, kind="mixed", returned=OURS, description=""):
    """Return a mail with two parts: the text and the returned mail."""
    return (
        f"{head.strip()}\nTo: news@amazing.example\nMIME-Version: 1.0\n"
        f"Content-Type: multipart/{kind}; boundary=limit\n\n"
        f"--limit\n{description}Content-Type: text/plain; charset=us-ascii\n\n{text}\n"
        f"--limit\nContent-Type: message/rfc822\n\n{returned}\n--limit--\n"
    )


EXIM = f"""\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {ANN}
    host mx.post.example [192.0.2.25]
    SMTP error from remote mail server after RCPT TO:<{ANN}>:
    550 5.1.1 No such user
"""
QMAIL = f"""\
Hi. This is the qmail-send program at relay.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{ANN}>:
192.0.2.25 does not like recipient.
Remote host said: 550 no mailbox here by that name
Giving up on 192.0.2.25.

--- Below this line is a copy of the message.

"""
YAHOO = f"""\
Sorry, we were unable to deliver your message to the following address.

<{ANN}>:
554: delivery error: This user doesn't have an account

--- Below this line is a copy of the message.

"""
MAIL_RU = f"""\
This message was created automatically by mail delivery software.

A message that you sent was rejected by the local scanning code that
checks incoming messages on this system.
  The following address(es) failed: {ANN}

------ This is a copy of your message, including all the headers. ------

"""
DRAGONFLY = f"""\
This is the DragonFly Mail Agent v0.13 at relay.example.

There was an error delivering your mail to <{ANN}>.

550 5.1.1 User unknown

Message headers follow.

"""
GOOGLE = f"""\
Delivery to the following recipient failed permanently:

     {ANN}

Technical details of permanent failure:
The account that you tried to reach does not exist.

----- Original message -----

"""
GROUPS = f"""\
Hello news@amazing.example,

We're writing to let you know that the group you tried to contact ({ANN})
may not exist, or you may not have permission to post messages to it.

----- Original message -----

"""
SENDMAIL = f"""\
The original message was received at Thu, 26 Nov 2026 09:00:01 GMT

   ----- The following addresses had permanent fatal errors -----
<{ANN}>

   ----- Transcript of session follows -----
550 5.1.1 <{ANN}>... User unknown
"""
POSTFIX = f"""\
This is the Postfix program at host relay.example.

I'm sorry to have to inform you that your message could not be delivered.

                        The Postfix program

<{ANN}>: host mx.post.example said: 550 no such user
"""
EXCHANGE = f"""\
Your message

  To:      {ANN}
  Subject: Your weekly letter
  Sent:    Thu, 26 Nov 2026 09:00:00 -0000

did not reach the following recipient(s):

{ANN} on Thu, 26 Nov 2026 09:00:02 -0000
    The recipient name is not recognized
        MSEXCH:IMS:Post:HQ:MAIL 0 (000C05A6) Unknown Recipient
"""
GROUPWISE = f"""\
The message that you sent was undeliverable to the following:
        Ann Example <{ANN}> (user not found)
"""
MDAEMON = f"""\
The following addresses did NOT receive a copy of your message:

  > {ANN}

--- Session Transcript ---
<-- 550 unknown user
"""
DOVECOT = f"""\
Your message to <{ANN}> was automatically rejected:
Quota exceeded (mailbox for user is full)
"""
IMAIL = f"unknown user: {ANN}\n\nOriginal message follows.\n\n"
NETSCAPE = f"""\
This Message was undeliverable due to the following reason:

Each of the following recipients was rejected by a remote mail server.

    Recipient: <{ANN}>
    Reason:    550 unknown user
"""

DAEMON = "From: Mail Delivery System <MAILER-DAEMON@relay.example>\nSubject: Mail delivery failed"

FORMS = {
    "Exim": plain(
        f"X-Failed-Recipients: {ANN}\nAuto-Submitted: auto-replied\n"
        "From: Mail Delivery System <Mailer-Daemon@relay.example>\n"
        "Subject: Mail delivery failed: returning message to sender",
        f"{EXIM}\n------ This is a copy of the message, including all the headers. ------\n\n{OURS}",
    ),
    "Exim, its header cut off": plain(DAEMON, f"{EXIM}\n------ This is a copy ------\n\n{OURS}"),
    "qmail": plain("From: MAILER-DAEMON@relay.example\nSubject: failure notice", QMAIL + OURS),
    "Yahoo": plain("From: MAILER-DAEMON@yahoo.example\nSubject: Failure Notice", YAHOO + OURS),
    "mail.ru": plain("From: mailer-daemon@corp.mail.example\nSubject: Mail failure.", MAIL_RU + OURS),
    "DragonFly": plain("From: MAILER-DAEMON <>\nSubject: Mail delivery failed", DRAGONFLY + OURS),
    "Google": plain(
        f"X-Failed-Recipients: {ANN}\nFrom: Mail Delivery Subsystem <mailer-daemon@mail.example>\n"
        "Subject: Delivery Status Notification (Failure)",
        GOOGLE + OURS,
    ),
    "Google, its header cut off": plain(DAEMON, GOOGLE + OURS),
    "Google Groups": plain(
        f"X-Failed-Recipients: {ANN}\nFrom: Mail Delivery Subsystem <mailer-daemon@mail.example>\n"
        "Subject: Delivery Status Notification (Failure)",
        GROUPS + OURS,
    ),
    "sendmail": mixed(DAEMON, SENDMAIL),
    "Postfix before 2.3": mixed(DAEMON, POSTFIX, description="Content-Description: Notification\n"),
    "Exchange 5.5": mixed("From: System Administrator <postmaster@post.example>", EXCHANGE),
    "GroupWise": mixed(
        "From: Mailer-Daemon@post.example\nX-Mailer: Novell GroupWise Internet Agent 8.0", GROUPWISE
    ),
    "MDaemon": mixed("From: MDaemon at post.example <MDaemon@post.example>", MDAEMON),
    "Dovecot": mixed("From: Mail Delivery Subsystem <postmaster@post.example>", DOVECOT, kind="report"),
    "IMail": plain("From: Postmaster@post.example\nX-Mailer: <SMTP32 v8.22>", IMAIL + OURS),
    "Netscape": mixed("From: Mail Administrator <Postmaster@post.example>", NETSCAPE),
}


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_a_failure(relay, form):
    result = await relay.parse_webhook(request(FORMS[form]))

    assert result.events == [StatusEvent(status=Status.FAILED, message_id=ID)]
    assert result.ignored == {}


async def test_a_bounce_in_base64_is_a_failure(relay):
    mail = EmailMessage()
    mail["From"] = "MAILER-DAEMON@relay.example"
    mail.set_content(QMAIL + OURS, cte="base64")

    result = await relay.parse_webhook(request(mail.as_string()))

    assert [event.message_id for event in result.events] == [ID]


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_identified_by_its_return_path_alone(relay, form):
    own = return_path(ID, "bounces.example", KEY)
    mail = FORMS[form].replace("news@amazing.example", own, 1).replace(f"{ID}@amazing", "other@amazing")

    result = await relay.parse_webhook(request(mail))

    assert [event.message_id for event in result.events] == [ID]


@pytest.mark.parametrize("form", FORMS)
async def test_a_bounce_of_another_system_is_counted(relay, form):
    result = await relay.parse_webhook(request(FORMS[form].replace(ID, "of-another-system")))

    assert (list(result.events), result.ignored) == ([], {"no_id": 1})


@pytest.mark.parametrize("form", FORMS)
async def test_a_person_who_quotes_a_bounce_reports_nothing(relay, form):
    mail = re.sub(
        r"^(From:).*|^X-Failed-Recipients:.*\n", r"\1 ann@post.example", FORMS[form], flags=re.MULTILINE
    )

    result = await relay.parse_webhook(request(mail))

    assert (list(result.events), result.ignored) == ([], {"no_report": 1})


DELAYS = {
    "Exim": plain(
        "From: Mail Delivery System <Mailer-Daemon@relay.example>\nSubject: Warning: message delayed 24 hours",
        f"This message was created automatically by mail delivery software.\n"
        f"A message that you sent has not yet been delivered to one or more of its\n"
        f"recipients after more than 24 hours on the queue.\n\n"
        f"The address to which the message has not yet been delivered is:\n\n  {ANN}\n"
        f"    Delay reason: SMTP error from remote mail server after RCPT TO:<{ANN}>:\n"
        f"    451 4.7.1 come back later\n\nNo action is required on your part. <{ID}@amazing.example>\n",
    ),
    "Google": plain(
        "From: Mail Delivery Subsystem <mailer-daemon@mail.example>\n"
        "Subject: Delivery Status Notification (Delay)",
        f"This is an automatically generated Delivery Status Notification\n\n"
        f"Delivery to the following recipient has been delayed:\n\n     {ANN}\n\n"
        f"Message will be retried for 2 more day(s)\n\n{OURS}",
    ),
    "sendmail": mixed(
        "From: Mail Delivery Subsystem <MAILER-DAEMON@relay.example>\nSubject: Warning: could not send message",
        f"    **********************************************\n"
        f"    **      THIS IS A WARNING MESSAGE ONLY      **\n"
        f"    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **\n\n"
        f"   ----- The following addresses had transient non-fatal errors -----\n<{ANN}>\n\n"
        f"   ----- Transcript of session follows -----\n<{ANN}>... Deferred\n",
    ),
}


@pytest.mark.parametrize("form", DELAYS)
async def test_a_delay_is_not_a_failure(relay, form):
    result = await relay.parse_webhook(request(DELAYS[form]))

    assert (list(result.events), result.ignored) == ([], {"delayed": 1})


REPLIES = {
    "a person's": plain(
        f"From: {ANN}\nSubject: Out of office\nAuto-Submitted: auto-replied\nIn-Reply-To: <{ID}@amazing.example>",
        "I am away. In urgent cases ask Bob, bob@post.example, or Eve <eve@post.example>: they help.\n",
    ),
    "a postmaster's": plain(
        f"From: postmaster@post.example\nSubject: Out of office\nIn-Reply-To: <{ID}@amazing.example>",
        "I am away. In urgent cases ask Bob, bob@post.example, or Eve <eve@post.example>: they help.\n",
    ),
    "a postmaster's, in two parts": mixed(
        "From: postmaster@post.example\nSubject: Automatic reply",
        "Thank you for your mail.\nPlease write to Bob, bob@post.example, until Monday.\n",
    ),
    "a challenge": plain(
        f"From: postmaster@post.example\nSubject: Please confirm your mail\nReferences: <{ID}@amazing.example>",
        f"Your mail to {ANN} waits until you confirm that you are a person.\n",
    ),
}


@pytest.mark.parametrize("reply", REPLIES)
async def test_an_automatic_reply_is_not_a_failure(relay, reply):
    result = await relay.parse_webhook(request(REPLIES[reply]))

    kind = "auto_reply" if reply == "a person's" else "no_report"
    assert (list(result.events), result.ignored) == ([], {kind: 1})


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Auto-Submitted: auto-generated; owner=ann", "auto_reply"),
        ("AUTO-SUBMITTED:  Auto-Replied (vacation)", "auto_reply"),
        ("X-Autoreply: yes", "auto_reply"),
        ("X-Autorespond: away", "auto_reply"),
        ("Precedence: auto_reply", "auto_reply"),
        ("Auto-Submitted: no", "no_report"),
        ("Precedence: bulk", "no_report"),
    ],
)
async def test_a_mail_that_a_program_wrote_for_a_person_is_counted_apart(relay, header, kind):
    result = await relay.parse_webhook(request(plain(f"From: {ANN}\n{header}", "I am away.\n")))

    assert result.ignored == {kind: 1}


async def test_no_form_logs_an_address(relay, caplog):
    caplog.set_level(logging.DEBUG)
    odd_mail = (
        f"From: daemon <{ANN}>\nX-Mailer: <SMTP32 v1>\nContent-Type: multipart/mixed\n\nunknown user: {ANN}\n"
    )

    for mail in (*FORMS.values(), *DELAYS.values(), *REPLIES.values(), odd_mail):
        await relay.parse_webhook(request(mail))
    logging.getLogger("flufl.bounce").error("Exception in detector: %s", ANN)

    assert "post.example" not in caplog.text


async def test_a_mail_that_breaks_the_patterns_is_counted(relay, monkeypatch):
    def fail(mail):
        raise AttributeError(str(mail))

    monkeypatch.setattr(flufl.bounce, "all_failures", fail)

    result = await relay.parse_webhook(request(FORMS["qmail"]))

    assert (list(result.events), result.ignored) == ([], {"malformed": 1})


WORDS = st.sampled_from(["<", ",", "@", " ", "a" * 500, "é", "\n", "Your message\n", ", bob@post.example,"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(WORDS, max_size=2000).map("".join), parts=st.integers(min_value=0, max_value=3))
@example(text="<" * 5000, parts=0)
@example(text=f"{'<' * 100}\n" * 5000, parts=3)
def test_the_input_of_the_patterns_is_limited(text, parts):
    """Their time grows with the cube of the number of characters, brackets and commas in a line."""
    mail = plain(DAEMON, text)
    if parts:
        each = "".join(f"--limit\n\n{text}\n" for _ in range(parts))
        mail = f"{DAEMON}\nX-Mailer: {'<,' * 300}\nContent-Type: multipart/mixed; boundary=limit\n\n{each}--limit--\n"
    excerpts = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flufl.bounce, "all_failures", lambda excerpt: excerpts.append(excerpt) or ((), ()))
        text_bounces.classify(incoming_mail(message_from_string(mail)))

    [excerpt] = excerpts
    lines = [
        line
        for part in excerpt.walk()
        if not part.is_multipart()
        for line in [*map(str, part.values()), *str(part.get_payload() or "").split("\n")]
    ]
    assert sum(bool(line) for line in lines) <= 200 + 3 + 2 * 3
    assert all(len(line) <= 160 for line in lines)
    assert all(line.count("<") <= 4 for line in lines)
    assert all(line.count(",") <= 1 for line in lines)


async def test_at_most_two_threads_parse_at_once(relay, monkeypatch):
    lock, parsing = threading.Lock(), []
    maximum = 0

    def parse(_mail, _settings, _find_id):
        nonlocal maximum
        with lock:
            parsing.append(1)
            maximum = max(maximum, len(parsing))
        time.sleep(0.01)
        with lock:
            parsing.pop()
        return reports.Report()

    monkeypatch.setattr(reports, "_parse", parse)

    await asyncio.gather(*(relay.parse_webhook(request(FORMS["qmail"])) for _ in range(12)))

    assert maximum <= 2
