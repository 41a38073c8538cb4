"""Merge fields from Smartico's request to the message at the provider; and that their values are nowhere else."""

import asyncio

import pytest

from canary import searcher
from gatepost.testing import emulator

NAMES = ("Zélie-Quorra", "Vandersloot")
HOSTILE = "</b><script>x</script> &\r\nBcc: eve@evil.example\u202e{{contact.last_name}}"
CONTACTS = f"""\
ext_user_id,email,phone,first_name,last_name,born,language
anna,anna@players.example,+447700900100,{NAMES[0]},{NAMES[1]},1990-12-31,de
evil,evil@players.example,+447700900101,"{HOSTILE}",x,,
plain,plain@players.example,+447700900102,,,,
"""
BODY = (
    '<h1>Hi {{contact.first_name|there}}</h1><p title="{{contact.last_name}}">born {{contact.born:date|}}</p>'
    '<a href="https://brand.example/?n={{contact.first_name}}">play</a>{{smartico}}'
)


@pytest.fixture
def merging(deployment):
    deployment.contacts = CONTACTS
    deployment.tables["clients.brand"] |= {
        "merge_fields": True,
        "sms_max_parts": 2,
        "preview_recipients": ["support@brand.example"],
    }
    return deployment


async def test_a_mail_is_filled_and_its_values_are_in_no_other_place(merging, mailboxes, begin, tmp_path):
    merging.tables["logs"] = {"level": "debug", "format": "json", "trail": "users"}
    process, gateway = await begin(email=["relay"])
    message = await merging.email(subject="{{contact.first_name:upper|You}}, win", body=BODY)
    await merging.hears(message, "accepted")
    (mail,) = mailboxes.mails
    assert mail["Subject"] == "ZÉLIE-QUORRA, win"
    html = mail.get_body("html").get_content().strip()
    assert html == (
        f'<h1>Hi {NAMES[0]}</h1><p title="{NAMES[1]}">born 31. Dezember 1990</p>'
        '<a href="https://brand.example/?n=Z%C3%A9lie-Quorra">play</a>{{smartico}}'
    )
    text = mail.get_body("plain").get_content()
    assert f"Hi {NAMES[0]}" in text
    assert "born 31. Dezember 1990" in text
    assert "play (https://brand.example/?n=Z%C3%A9lie-Quorra)" in text

    evil = await merging.email("evil", subject="{{contact.first_name}}", body=BODY)
    await merging.hears(evil, "accepted")
    plain = await merging.email(
        "plain", subject="{{contact.first_name}}!", body=BODY, text_body="{{contact.city|}}."
    )
    await merging.hears(plain, "accepted")
    shown = "</b><script>x</script> & Bcc: eve@evil.example{ {contact.last_name} } "
    assert mailboxes.mails[1]["Subject"] == shown
    assert mailboxes.mails[1]["Bcc"] is None
    assert f"Hi {shown.strip()}" in mailboxes.mails[1].get_body("plain").get_content()
    assert "<script" not in mailboxes.mails[1].get_body("html").get_content()
    assert mailboxes.mails[2]["Subject"] == "!"
    assert mailboxes.mails[2].get_body("plain").get_content().strip() == "."

    # `plain` lacks first_name (subject, link) and last_name; each is counted once a message. `born` has a default.
    assert (await gateway.metrics())["gatepost_empty_merge_fields_total", "brand"] == 2
    await asyncio.to_thread(process.terminate)
    log = process.log.read_text()
    assert '"attributes":"first_name last_name"' in log.replace(": ", ":")
    values = {"first name": NAMES[0], "last name": NAMES[1], "born": "1990-12-31", "date": "31. Dezember"}
    assert searcher.in_folder(tmp_path, values, but=("contacts.csv",)) == []
    assert searcher.found(log.encode(), values) == []


async def test_what_a_contact_lacks_is_shown_with_the_message_and_counted(merging, sendgrid, vonage, run):
    async with merging.running(email=["sendgrid-main"], sms=["vonage-eu"]) as gateway:
        sendgrid.plan(emulator.answer(503))
        mail = await merging.email("plain", subject="{{contact.first_name}}!", body="{{contact.last_name}}.")
        await merging.hears(mail, "accepted")
        steps = [
            line for line in (await run("messages", "show", mail)).splitlines() if "sendgrid-main" in line
        ]
        lacks = [
            "merge fields without a value: first_name, last_name" in " ".join(line.split()) for line in steps
        ]
        assert lacks == [False, True]
        # Of nothing a text message can be made.
        text = await merging.sms("plain", body="{{contact.first_name}}")
        await merging.hears(text, "rejected")
        assert "body, with its merge fields filled, is empty" in await run("messages", "show", text)
        assert (await gateway.metrics())["gatepost_empty_merge_fields_total", "brand"] == 5
        preview = {"activity_type": "preview", "to_email_address": "support@brand.example"}
        shown = await merging.email(subject="Hi {{contact.city}}", **preview)
        await merging.hears(shown, "accepted")
        assert "without a value" not in await run("messages", "show", shown)


async def test_a_template_that_can_not_be_filled_is_refused_with_its_place(merging, sendgrid):
    async with merging.running(email=["sendgrid-main"]):
        cases = {
            "subject, line 1, column 4: a merge field does not end": {"subject": "Hi {{contact.first_name"},
            "body, line 2, column 9: a merge field must not stand inside script": {
                "body": "<p>x</p>\r\n<script>{{contact.x}}</script>"
            },
            "text_body, line 3, column 1: there is no such filter": {"text_body": "a\n\n{{contact.x:shout}}"},
        }
        for problem, fields in cases.items():
            answer = await merging.crm.send_email(ext_user_id="anna", email_uid="uid", **fields)
            assert answer["error_code"] == 5
            assert answer["error_message"].startswith(problem)
        answer = await merging.crm.send_sms(ext_user_id="nobody", body="{{contact.phone}}")
        assert answer == {
            "error_code": 5,
            "error_message": "body, line 1, column 1: the user's email and phone are not attributes",
        }
        # A refused uid is not used up.
        await merging.email(email_uid="uid")


async def test_a_known_uid_is_answered_although_its_template_is_refused_now(merging, sendgrid):
    template = {"subject": "{{contact.first name}}", "email_uid": "uid"}
    merging.tables["clients.brand"]["merge_fields"] = False
    async with merging.running(email=["sendgrid-main"]):
        message = await merging.email(**template)
        await merging.hears(message, "accepted")
        # Where the client has no merge fields, nothing is filled.
        assert sendgrid.taken[0].message["subject"] == "{{contact.first name}}"
    merging.tables["clients.brand"]["merge_fields"] = True
    async with merging.running():
        assert await merging.email(**template) == message


@pytest.mark.parametrize("at_arrival", [True, False])
async def test_the_setting_at_its_arrival_counts_for_a_message(merging, sendgrid, vonage, run, at_arrival):
    """What was checked when it arrived is what is sent; a script in a field is checked only for a client that has them."""
    merging.tables["clients.brand"]["merge_fields"] = at_arrival
    merging.contacts += f"long,long@players.example,+447700900103,{'y' * 400},,,\n"
    instances = {"email": ["sendgrid-main"], "sms": ["vonage-eu"]}
    async with merging.running(**instances):
        for channel in instances:
            await run("pause", "--channel", channel)
        subject = "Hi {{contact.first_name}}" if at_arrival else "Hi {{contact.first name}}"
        mail = await merging.email(subject=subject)
        short = await merging.sms(body="Hi {{contact.first_name}}")
        long = await merging.sms("long", body="Hi {{contact.first_name}}")
    merging.tables["clients.brand"]["merge_fields"] = not at_arrival
    async with merging.running(**instances):
        for channel in instances:
            await run("resume", "--channel", channel)
        await merging.hears(mail, "accepted")
        await merging.hears(short, "accepted")
        await merging.hears(long, "rejected" if at_arrival else "accepted")
    assert sendgrid.taken[0].message["subject"] == (f"Hi {NAMES[0]}" if at_arrival else subject)
    assert {one.message["text"] for one in vonage.taken} == {
        f"Hi {NAMES[0]}" if at_arrival else "Hi {{contact.first_name}}"
    }


async def test_each_attempt_fills_anew_and_nothing_of_it_is_stored(
    merging, sendgrid, run, wait_until, tmp_path
):
    merging.tables["delivery"] = {"uncertain": "hold", "uncertain_wait": 0.05}
    async with merging.running(email=["sendgrid-main"]) as gateway:
        sendgrid.plan(emulator.close_after_body(taken=True))
        fields = {"subject": "Hi {{contact.first_name}}", "email_uid": "uid", "body": BODY}
        message = await merging.email(**fields)
        await gateway.waits("email", "held")
        values = {"first name": NAMES[0], "last name": NAMES[1]}
        assert searcher.in_folder(tmp_path, values, but=("contacts.csv",)) == []
        merging.contacts = CONTACTS.replace(NAMES[0], "Renamed")
        merging.write()

        async def is_renamed():
            other = await merging.email(subject="{{contact.first_name}}")
            await merging.hears(other, "accepted")
            return sendgrid.taken[-1].message["subject"] == "Renamed"

        await wait_until(is_renamed)
        assert await merging.email(**fields) == message
        await run("messages", "retry", message)
        await merging.hears(message, "accepted")
        first, second = (one.message for one in sendgrid.taken if one.id == message)
        assert [first["subject"], second["subject"]] == [f"Hi {NAMES[0]}", "Hi Renamed"]
        assert "Hi Renamed" in second["content"][0]["value"]


async def test_parts_are_counted_after_the_values_are_filled_in(merging, vonage, run):
    merging.contacts += f"long,long@players.example,+447700900103,{'y' * 200},,,\n"
    merging.contacts += "greek,greek@players.example,+447700900104,Ж,,,\n"
    async with merging.running(sms=["vonage-eu"]):
        text = "{{contact.first_name|you}}" + "x" * 120
        rejected = await merging.sms("long", body=text)
        await merging.hears(rejected, "rejected")
        shown = await run("messages", "show", rejected)
        assert "would be sent in 3 parts; the client's sms_max_parts is 2" in " ".join(shown.split())
        # The field itself does not count: 306 characters are two parts.
        accepted = await merging.sms("plain", body="{{contact.first_name|}}" + "x" * 306)
        await merging.hears(accepted, "accepted")
        answer = await merging.crm.send_sms(ext_user_id="plain", body="{{contact.first_name|}}" + "x" * 307)
        assert answer["error_code"] == 14
        greek = await merging.sms("greek", body="{{contact.first_name}}" + "x" * 80)
        await merging.hears(greek, "accepted")
        assert vonage.taken[-1].message["text"] == "Ж" + "x" * 80
        # The letter that made it two parts is part of the user's name.
        assert "Ж" not in await run("messages", "show", greek)
        assert "U+0416" not in await run("messages", "show", greek, "--json")
        assert len(vonage.taken) == 2


async def test_a_result_beyond_the_limits_is_rejected_and_says_so(merging, sendgrid, run):
    merging.contacts += f"long,long@players.example,,{'y' * 600},,,\n"
    async with merging.running(email=["sendgrid-main"]):
        cases = {
            "subject, with its merge fields filled, is longer than 998 characters": {"subject": "{{contact.first_name}}" * 2},
            "body, with its merge fields filled, is longer than 1,048,576 characters": {"body": "{{contact.first_name}} " * 1000 + "x" * 500_000},
        }  # fmt: skip
        for problem, fields in cases.items():
            message = await merging.email("long", **fields)
            await merging.hears(message, "rejected")
            assert problem in " ".join((await run("messages", "show", message)).split())
        assert not sendgrid.taken


async def test_a_preview_gets_the_defaults_and_lacks_nothing(merging, sendgrid):
    async with merging.running(email=["sendgrid-main"]) as gateway:
        preview = {"activity_type": "preview", "to_email_address": "support@brand.example"}
        message = await merging.email(subject="Hi {{contact.first_name|there}}{{contact.city}}", **preview)
        await merging.hears(message, "accepted")
        assert sendgrid.taken[0].message["subject"] == "Hi there"
        assert (await gateway.metrics())["gatepost_empty_merge_fields_total", "brand"] == 0
