"""Promise 6, for routes, limits, suppressions, tries, and for what operators do over the admin socket."""

import asyncio
import json
import re

from canary import searcher
from canary.gateway import COLD, EMAIL, EVERYTHING, NAMES, PHONE, PREVIEW, PRIVATE_TEXT, UNLISTED, planted
from canary.outside import outside
from gatepost.testing import emulator, smartico
from gatepost_vonage.testing import VonageEmulator

CONTACT = [EMAIL, PHONE, *NAMES]
COLD_TEXT = f"{COLD['email']} {COLD['phone']}"
# What a contact source says of a user who must not be contacted, with the address, the number and the names.
HOSTILE_REASON = f"closed {PRIVATE_TEXT}"
EMAIL_RULES = [
    {"name": "banned", "senders": ["banned@brand.example"], "refuse": "this sender is closed"},
    {
        "name": "shared",
        "domains": ["*.example"],
        "split": {"misbehaving": 50, "other": 50},
        "per_day": 1_000,
    },
    {"name": "email", "use": ["misbehaving"]},
]
SMS_RULES = [
    {"name": "banned-sms", "prefixes": [PHONE[:8]], "senders": ["Banned"], "refuse": "this sender is closed"},
    {"name": "chat-first", "countries": ["GB"], "use": ["viber", "texts"], "next_after": 0.5},
    {"name": "sms", "use": ["texts"]},
]


async def start_gateway(canary, viber, texts, **settings):
    """Start a gateway with rules, limits, two accounts at Vonage, and a source that blocks users."""
    for name, account in (("viber", viber), ("texts", texts)):
        account.error = lambda status, why: {"title": PRIVATE_TEXT, "detail": f"{why} {PRIVATE_TEXT}"}
        canary.tables[f"plugins.{name}"] = {
            "use": "vonage",
            "channel": "sms" if name == "texts" else name,
            "default_sender": "16273",
            "timeout": 3.0,
            **account.table,
        }
    blocked = {
        "source-blocked": {
            "email": EMAIL,
            "phone": PHONE,
            "name": " ".join(NAMES),
            "blocked": HOSTILE_REASON,
        },
        "source-mistaken": {**COLD, "blocked": f"the same as {COLD_TEXT}"},
    }
    canary.tables["contacts"] = {"sources": ["others", "players"]}
    canary.tables["clients.brand"] |= {"per_user_per_day": 10, "max_queued": 1_000}
    canary.tables["delivery"]["suppress"] = ["unsubscribed"]
    canary.misbehaving("others", users=blocked)
    canary.misbehaving("misbehaving", **settings)
    canary.misbehaving("other")
    started = canary.write(email=EMAIL_RULES, sms=SMS_RULES)
    canary.contacts(CONTACT, CONTACT, CONTACT)
    await asyncio.to_thread(started.start)
    canary.crm.gateway_url = started.url
    for name, account in (("viber", viber), ("texts", texts)):
        account.webhook_url = f"{started.url}/webhooks/{name}"
    return started


async def until(condition):
    """Wait until an async function returns something true."""
    async with asyncio.timeout(60):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def refused(answer):
    """Return the code of a refusal that is still to be awaited."""
    return (await answer)["error_code"]


async def send_by_rules(canary, viber, texts):
    """Send by each rule; return the ids of the messages that providers refused or lost."""
    assert await refused(canary.email(from_email_address="banned@brand.example")) == 14
    assert await refused(canary.sms(from_number="Banned")) == 14
    assert await refused(canary.email(ext_user_id="source-blocked")) == 13
    assert await refused(canary.email(ext_user_id="source-mistaken")) == 13
    # The refusals in between show that the plugins work, so that their breakers do not open.
    tricks = ("reject", "unavailable", "reject-encoded", "raise", "reject", "uncertain", "reject")
    ids = [(await canary.email(text_body=f"{trick} there"))["ext_message_id"] for trick in tricks]
    message = (await canary.sms())["ext_message_id"]
    await canary.crm.wait_for(message, "accepted", timeout=60.0)

    async def texts_taken():
        return texts.taken

    await until(texts_taken)
    # Viber has not delivered it in time; a report quotes the number, and so does the opt-out of the SMS.
    await viber.report([viber.event("rejected:1180", viber.taken[0])])
    await texts.report([texts.event("rejected:1240", texts.taken[0])])
    await canary.crm.wait_for(message, "unsubscribed", timeout=60.0)
    body = json.dumps({"trick": "report", "who": PRIVATE_TEXT, "id": ids[0]})
    await canary.raw("POST", "/webhooks/misbehaving", body.encode())
    return [message, *ids]


async def operate(canary, ids):
    """Do what an operator can do, and type private values where a text is free."""
    # The first of two alike is refused, because its reason holds an address.
    await canary.operate("suppress", "remove", "user-0", "--reason", f"wrote from {EMAIL}")
    await canary.operate("suppress", "remove", "user-0", "--reason", "asked again")
    await canary.operate("suppress", "add", "user-2", "--reason", "self-excluded")
    await canary.operate("suppress", "add", "user-2", "--reason", f"asked by {EMAIL}")
    assert await refused(canary.email(ext_user_id="user-2")) == 13

    pause = ("--client", "brand", "--channel", "email")
    await canary.operate("pause", *pause, "--reason", f"complaint of {EMAIL}, {PHONE}")
    await canary.operate("pause", *pause, "--reason", "a complaint")
    waiting = [await canary.email(ext_user_id="user-1", subject="For everyone") for _ in range(10)]
    assert await refused(canary.email(ext_user_id="user-1")) == 14
    late = (await canary.email(subject="late"))["ext_message_id"]
    cancel = ("messages", "cancel", "--yes", "--reason", "wrong users")
    await canary.operate("messages", "cancel", "--yes", "--text", "*", "--reason", f"sent to {EMAIL}")
    assert "1 message cancelled" in await canary.operate(*cancel, waiting[0]["ext_message_id"])
    assert "9 messages cancelled" in await canary.operate(*cancel, "--text", "*everyone*")
    # None has this text, and the audit log has the pattern without the address.
    assert "0 messages cancelled" in await canary.operate(*cancel, "--text", f"*{EMAIL}*")
    # The source blocks a user whose message waits: it is rejected with the source's reason.
    canary.contacts([*CONTACT, HOSTILE_REASON], *3 * [[*CONTACT, ""]])

    async def user_blocked():
        return await refused(canary.email()) == 13

    await until(user_blocked)
    canary.crm.fail(smartico.answer(500), calls=None)
    await canary.operate("resume", *pause)
    await canary.crm.wait_for(late, "rejected", timeout=60.0, attempted=True)

    async def callbacks_retried():
        # A call that failed is recorded a little later.
        retried = await canary.operate("messages", "tell", "--all", "--yes")
        return not re.search(r"\b0 callbacks", retried)

    await until(callbacks_retried)
    canary.crm.recover()
    await canary.crm.wait_for(late, "rejected", timeout=60.0)

    await canary.operate("messages", "retry", "--held", "--yes")
    await canary.operate("messages", "retry", ids[1], "--yes")
    await canary.operate("send", "email", "--user", "user-1", "--from", "a@brand.example", "--no-wait")
    await canary.operate("send", "email", "--user", EMAIL, "--from", "a@brand.example", "--no-wait")
    await canary.admin("resting-instances", channel="email")
    await canary.admin("status")
    await canary.admin("contact", client="brand", ext_user_id="user-1")
    await canary.admin("contact", client="brand", ext_user_id="source-blocked")
    assert "looks like it holds" in await canary.admin("cancel-ids", ids=ids, reason=PRIVATE_TEXT)
    await canary.admin("retry", ids=ids, unknown=PRIVATE_TEXT)
    return late


async def read_everything(canary, *ids):
    """Run each command that only reads, as text and as JSON."""
    await canary.command("check", "--route", "sms", "--to", PHONE, "--from", "Brand")
    await canary.command("check", "--route", "sms", "--to", PHONE, "--from", "Banned")
    await canary.command("check", "--route", "email", "--to", EMAIL, "--from", "a@brand.example")
    for identity in ids:
        await canary.operate("messages", "show", identity)
    commands = [
        ["messages", "list"],
        ["audit", "list"],
        ["suppress", "list"],
        ["status"],
        ["status", "--json"],
        ["contact", "source-mistaken"],
    ]
    commands += [
        ["contact", user, *more] for user in ("user-1", "source-blocked") for more in ([], ["--json"])
    ]
    commands += [
        ["stats", "--by", "client,channel,route,plugin,country,status", "--csv"],
        ["audit", "verify"],
    ]
    for command in commands:
        await canary.operate(*command)
    await canary.operate("messages", "list", "--limit", "100", "--json")
    await canary.operate("messages", "list", "--refused", "--limit", "100", "--json")
    assert "user-0" in await canary.operate("export", "user-0")


async def test_rules_and_operations_leak_nothing(canary, monkeypatch):
    """One gateway with all that it has: search its pages, exports, traces, alerts, store and log for the same people."""
    async with (
        VonageEmulator() as viber,
        VonageEmulator() as texts,
        outside(canary, monkeypatch) as around,
    ):
        started = await start_gateway(canary, viber, texts, quick_alerts=True)
        ids = await send_by_rules(canary, viber, texts)
        late = await operate(canary, ids)
        texts.failure = emulator.answer(401)
        await canary.sms(ext_user_id="user-3")
        await around.wait_for_alert("plugins.texts is misconfigured")
        await canary.raw("GET", "/metrics")
        await read_everything(canary, *ids[:2], late)
        pages = await around.read_console()
        # With the write-ahead log; what is of this user is erased from both.
        stored = canary.stored()
        await canary.operate("forget", "user-1", "--yes")
        await around.read_console()
        audited = json.loads(await canary.operate("audit", "list", "--limit", "100", "--json"))
        shown = await canary.operate("messages", "show", late, "--json")
        listed = json.loads(await canary.operate("messages", "list", "--limit", "100", "--json"))
        states = {one["state"] for one in listed["messages"]}
        await asyncio.to_thread(started.terminate)
        around.record()

    assert canary.hits() == []
    assert {f"/messages/{identity}" for identity in (*ids, late)} <= pages
    assert {span.name for span in around.collector.spans} >= {"accept", "send", "report", "callback"}
    assert states >= {"sent", "rejected", "cancelled"}
    # The search did include what it is about.
    assert {one["operation"] for one in audited} >= {
        *("pause", "resume", "cancel", "retry", "tell", "send", "suppress-add", "suppress-remove")
    }
    assert "closed [redacted]" in shown
    for text in (b"per_user_per_day/brand/user-0", b"by the operator: wrong users", b"shared", b"GB"):
        assert text in stored
    assert searcher.found(stored, EVERYTHING) == []
    assert b"by the operator: wrong users" not in canary.stored()
    assert searcher.found(json.dumps([str(one.message) for one in texts.taken]).encode(), EVERYTHING)


# Each place has a value of its own, so that a hit names the place.
PLANTED = {
    "attempt": ("name 1", NAMES[1]),
    "audit": ("cold name 0", COLD["first_name"]),
    "admin": ("preview's local part", PREVIEW),
    "blocked": ("cold name 1", COLD["last_name"]),
    "counter": ("domain", EMAIL.partition("@")[2]),
    "suppression": ("cold number", COLD["phone"]),
    "alert": ("unlisted preview's local part", UNLISTED),
    "page": ("local part", EMAIL.partition("@")[0]),
    "trace": ("name 0", NAMES[0]),
}


async def test_a_leak_in_what_rules_and_operations_write_is_found(canary, monkeypatch):
    leaks = {place: text for place, (_, text) in PLANTED.items()}
    async with (
        VonageEmulator() as viber,
        VonageEmulator() as texts,
        outside(canary, monkeypatch) as around,
    ):
        started = await start_gateway(canary, viber, texts, operation_leaks=leaks, quick_alerts=True)
        assert await refused(canary.email(ext_user_id="source-blocked")) == 13
        message = await canary.email(text_body="reject")
        await canary.wait_for_sends(1)
        await canary.operate("suppress", "add", "user-2", "--reason", "self-excluded")
        await canary.operate("messages", "show", message["ext_message_id"])
        await canary.operate("suppress", "list")
        await canary.operate("audit", "list")
        await canary.admin("resting-instances", channel="email")
        texts.failure = emulator.answer(401)
        await canary.sms(from_number="Other")
        await around.wait_for_alert("plugins.texts is misconfigured")
        await around.read_console()
        # What was in the WAL moves into the database.
        assert await asyncio.to_thread(started.terminate) == 0
        around.record()

    outputs = {f"{place} (output)" for place in PLANTED if place != "counter"}
    stored = {f"{place} (gatepost.db)" for place in ("attempt", "audit", "counter", "suppression")}
    assert planted(canary.hits(), PLANTED) >= outputs | stored
