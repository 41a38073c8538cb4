"""The whole way: Smartico, the gateway, a provider, and back; everything over real sockets."""

import asyncio


async def test_a_mail_arrives_through_a_real_mail_server_and_smartico_hears_it(deployment, mailboxes):
    async with deployment.running(email=["relay"]):
        message = await deployment.email(
            from_email_address="Amazing Games <noreply@amazing.example>",
            reply_to_email_address="Support <help@amazing.example>",
            subject="Grüße, Anna",
            body="<p>Hello <b>Anna</b>, see you at 5 €</p>",
        )
        await deployment.hears(message, "accepted")
    (mail,) = mailboxes.mails
    (envelope,) = mailboxes.envelopes
    assert mailboxes.sessions == [(True, True)]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("noreply@amazing.example", ["anna@players.example"])
    assert mail["From"] == "Amazing Games <noreply@amazing.example>"
    assert mail["Reply-To"] == "Support <help@amazing.example>"
    assert mail["To"] == "anna@players.example"
    assert mail["Subject"] == "Grüße, Anna"
    assert message in mail["Message-ID"]
    assert mail["Date"]
    text, html = mail.iter_parts()
    assert (text.get_content_type(), text.get_content().strip()) == (
        "text/plain",
        "Hello Anna, see you at 5 €",
    )
    assert html.get_content_type() == "text/html"
    assert html.get_content().strip() == "<p>Hello <b>Anna</b>, see you at 5 €</p>"


async def test_a_text_of_smarticos_own_goes_out_as_it_is(deployment, mailboxes):
    async with deployment.running(email=["relay"]):
        await deployment.hears(await deployment.email(text_body="Only for you:\n. . .\n.\n"), "accepted")
    (mail,) = mailboxes.mails
    assert next(mail.iter_parts()).get_content().replace("\r", "") == "Only for you:\n. . .\n.\n"


async def test_the_same_mail_a_hundred_times_at_once_is_one_mail(deployment, mailboxes):
    async with deployment.running(email=["relay"]) as gateway:
        ids = await asyncio.gather(*(deployment.email(email_uid="the-same") for _ in range(100)))
        await gateway.settled()
        assert await deployment.email(email_uid="the-same") == ids[0]
    async with deployment.running():
        assert await deployment.email(email_uid="the-same") == ids[0]
    assert len(set(ids)) == len(mailboxes.mails) == 1
    assert deployment.crm.statuses_of(ids[0]) == ["accepted"]


async def test_a_text_message_reaches_the_handset_and_back(deployment, vonage):
    async with deployment.running(sms=["vonage-eu"]):
        message = await deployment.sms(body="Grüße, 5 €")
        await deployment.hears(message, "accepted")
        (taken,) = vonage.taken
        await vonage.report([vonage.event("delivered", taken)])
        await deployment.hears(message, "accepted", "delivered")
    assert (taken.message["to"], taken.message["from"]) == ("447700900100", "Brand")
    assert taken.message["text"] == "Grüße, 5 €"
    assert deployment.crm.callbacks[-1].type == "sms"


async def test_hostile_html_is_sent_like_any_other_mail(deployment, mailboxes):
    """Each of these held the process for seconds, or made megabytes of text."""
    hostile = [
        '<p style="padding-left:' + "." * 30_000 + '">x',
        "<" * 80_000 + " x",
        "<p " + " ".join(f"a{n}=1" for n in range(40_000)) + ">x",
        '<pre style="padding-left:100000em">' + "x\n" * 100,
        "<div>" * 100_000 + "x",
    ]
    async with deployment.running(email=["relay"]):
        for html in hostile:
            await deployment.hears(await deployment.email(body=html), "accepted")
    sent = [
        [part.get_content().replace("\r", "") for part in mail.iter_parts()]
        for mail in mailboxes.mails
        if mail.is_multipart()
    ]
    assert len(sent) == len(hostile) - 1
    assert all("x" in text and len(text) <= len(html) + 10 for text, html in sent)
    # So many tags are not converted: it goes out with HTML alone.
    (alone,) = (mail for mail in mailboxes.mails if not mail.is_multipart())
    assert alone.get_content_type() == "text/html"
