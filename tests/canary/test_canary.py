"""Promise 6: no address, number or secret leaves the gateway, whatever happens to a message."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess

from canary import searcher
from canary.gateway import (
    COLD,
    EMAIL,
    EVERYTHING,
    NAMES,
    PHONE,
    PREVIEW,
    PRIVATE_TEXT,
    SECRETS,
    UNLISTED,
    planted,
)
from gatepost.testing import emulator, smartico

NAME = "{{contact.first_name}}"
FILLED = f"<p title='{NAME}'>{NAME} <a href='https://brand.example/{NAME}?{{{{contact.last_name:upper}}}}'>play</a></p>"


async def test_failing_providers_leak_nothing(canary, sendgrid, vonage, sink):
    started = canary.write(email=["sendgrid", "relay"], sms=["vonage"])
    await asyncio.to_thread(started.start)
    canary.crm.gateway_url = started.url
    sendgrid.webhook_url = f"{started.url}/webhooks/sendgrid"
    vonage.webhook_url = f"{started.url}/webhooks/vonage"

    # Those that SendGrid can't take now go to the relay, which refuses some of them.
    sendgrid.plan(
        emulator.NO_FAILURE,
        emulator.answer(400),
        emulator.answer(500),
        emulator.answer(429, {"Retry-After": "1", "X-About": EMAIL}),
        emulator.answer(302, {"Location": f"http://127.0.0.1:1/{EMAIL}"}),
    )
    sink.plans = [
        ("RCPT", f"550 5.1.1 <{EMAIL}>: {PRIVATE_TEXT}"),
        ("END", f"554 {PRIVATE_TEXT}"),
        ("END", ""),
    ]
    ids = [(await canary.email(subject=f"n {n} {NAME}", body=FILLED))["ext_message_id"] for n in range(5)]
    await canary.wait_for_sends(5)
    sendgrid.plan(emulator.close_after_body(taken=True), emulator.hang(taken=False), emulator.answer(401))
    sink.plans = [
        ("RCPT", f"451 4.2.1 {PRIVATE_TEXT}"),
        ("RCPT", f"999 {PRIVATE_TEXT}"),
        ("MAIL", f"421 {PRIVATE_TEXT}"),
    ]
    ids += [(await canary.email())["ext_message_id"] for _ in range(3)]
    vonage.plan(
        emulator.NO_FAILURE,
        emulator.answer(422),
        emulator.answer(402),
        emulator.close_after_body(taken=False),
        emulator.answer(500),
    )
    canary.crm.fail(smartico.answer(500), calls=2)
    canary.crm.fail(smartico.close(), calls=1)
    for _ in range(5):
        await canary.sms(body=f"{NAME} {{{{contact.last_name:upper}}}} {{{{contact.no_such_attribute}}}}")
    await canary.wait_for_sends(13)
    await canary.crm.wait_for(ids[0], "accepted", timeout=60.0, attempted=True)

    mail, text = sendgrid.taken[0], vonage.taken[0]
    kinds = ("processed", "deferred", "bounce", "blocked", "dropped", "click", "open", "spamreport")
    for tampering in ("unsigned", "flipped", "forged", ""):
        await sendgrid.report([sendgrid.event(kind, mail) for kind in kinds], tampering=tampering)
        await vonage.report(
            [vonage.event(kind, text) for kind in ("delivered", "undeliverable:1240", "rejected:1050")],
            tampering=tampering,
        )
    for name in ("sendgrid", "vonage", "relay", EMAIL):
        await canary.raw("POST", f"/webhooks/{name}?to={PHONE}", PRIVATE_TEXT.encode())
        await canary.raw("GET", f"/webhooks/{name}?to={EMAIL}")
    assert await call_links(canary, mail.message) == [200] * 5 + [404] * 4 + [200]

    canary.record_processes()
    # One after the other: at the same time they would slow down everything else on a small machine.
    for arguments in (["check", "--live"], ["plugins"], ["config"], ["messages", "show", ids[0]]):
        await canary.command(*arguments)
    assert "550 5.1.1" in await canary.command("messages", "list", "--json")

    started.kill()
    assert canary.hits() == []
    assert searcher.found(json.dumps([str(one.message) for one in sendgrid.taken]).encode(), EVERYTHING)
    assert sendgrid.taken[0].message["subject"] == f"n 0 {NAMES[0]}"
    assert all(one.message["text"] == f"{NAMES[0]} {NAMES[1].upper()} " for one in vonage.taken)
    # The search did include what the gateway wrote. The WAL moves into the database when nothing is written.
    assert b"550 5.1.1" in canary.stored()


async def call_links(canary, message):
    """Call the links of a mail, and two that are none, with private values in everything that a request can hold."""
    found = re.findall(r"https://links\.example(/(?:u/[\w-]{43}|o/[\w-]{43}\.gif))", json.dumps(message))
    assert len(found) == 2
    headers = {
        "User-Agent": PRIVATE_TEXT,
        "Referer": f"https://mail.example/{EMAIL}",
        "Accept-Language": f"{NAMES[0]},{PHONE}",
        "Cookie": f"id={EMAIL}",
    }
    calls = [
        (method, path)
        for path in (*found, f"/u/{EMAIL}", f"/o/{PHONE}.gif")
        for method in ("GET", "HEAD", "POST")
        if (method, path[:3]) != ("POST", "/o/")
    ]
    return [await canary.raw(*call, PRIVATE_TEXT.encode(), **headers) for call in calls]


BAD = (
    *("raise", "raise-group", "unspeakable", "uncertain", "log", "print", "unavailable", "exit", "interrupt"),
    *("recurse", "nonsense", "thing", "unequal-id", "recipient-id", "leave-a-task", "new-logging"),
    *("generator-exit", "cancel-itself", "delivery-error", "unreadable"),
)


async def test_misbehaving_plugins_leak_nothing(canary):
    canary.tables["contacts"] = {"sources": ["others", "players"]}
    # Known values are removed from a source's texts; of exceptions no text is shown, whether values are known or not.
    cold = ("raise", "unspeakable", "nonsense", "exit", "leave-a-task")
    warm = ("print", "unavailable", "log")
    user = {"email": EMAIL, "phone": PHONE, "first_name": "Thessaly", "last_name": "Quäsimont"}
    users = {f"source-{trick}": {**COLD, "trick": trick} for trick in cold}
    users |= {f"source-{trick}": {**user, "trick": trick} for trick in warm}
    canary.misbehaving("others", users=users)
    canary.misbehaving("misbehaving", sabotage=True, concurrency=1)
    canary.misbehaving("other")
    started = canary.write(email=["misbehaving"], sms=["misbehaving", "other"])
    await asyncio.to_thread(started.start)
    canary.crm.gateway_url = started.url

    # The refusals in between show that the plugin works, so that its breaker does not open.
    texts = [text for trick in BAD for text in (trick, "reject")]
    ids = [(await canary.email(body=text, text_body=f"{text} there"))["ext_message_id"] for text in texts]
    ids.append((await canary.sms(body="reject-encoded"))["ext_message_id"])
    for trick in (*cold, *warm):
        await canary.email(ext_user_id=f"source-{trick}", text_body="fine")
    await canary.email(activity_type="1", to_email_address=PREVIEW, text_body="raise")
    await canary.email(activity_type="1", to_email_address=UNLISTED, text_body="fine")
    await canary.email(ext_user_id="nobody")
    assert (await canary.email(subject="internal-error"))["error_code"] == 99
    await canary.raw("POST", "/email", b'{"ext_user_id": "' + PRIVATE_TEXT.encode())
    await canary.raw("POST", "/email", json.dumps({"ext_user_id": {EMAIL: PHONE}}).encode())
    await canary.raw(
        "POST", "/email", json.dumps({"subject": PRIVATE_TEXT, "callback_url": PRIVATE_TEXT}).encode()
    )
    await canary.raw("POST", f"/email?to={EMAIL}", b"{}", Authorization=f"Basic {EMAIL}")
    await canary.raw("GET", f"/nothing/{EMAIL}", **{"X-To": PHONE})
    for trick in ("retry", "bad", "signature", "report", "endless", "log", "print", *cold):
        who = " ".join(COLD.values()) if trick in cold else PRIVATE_TEXT
        body = json.dumps({"trick": trick, "who": who, "id": ids[0]})
        await canary.raw("POST", "/webhooks/misbehaving", body.encode())
    for who, status in ((PHONE, 200), (EMAIL, 200), (COLD["phone"], 200), (UNLISTED, 503)):
        body = json.dumps({"trick": "stop", "who": who, "id": ""})
        assert await canary.raw("POST", "/webhooks/misbehaving", body.encode()) == status
    canary.contacts([EMAIL, PHONE], [EMAIL, PHONE, "x" * 2_000_000], [f'"{EMAIL}', PHONE])
    await canary.wait_for_sends(len(BAD))
    await canary.logged(
        "contacts_file_refused", "thread_failed", "ignored_exception", "loop_error", "printed"
    )

    with sqlite3.connect(canary.folder / "gatepost.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await canary.email())["error_code"] == 12
        other.execute("ROLLBACK")
    other.close()
    canary.record_processes()
    assert "is not good" in await canary.command("check", "--live")
    await canary.command("messages", "list", "--limit", "100")
    assert "rejected" in await canary.command("messages", "show", *ids[1:2])

    os.kill(started.pid, signal.SIGABRT)
    assert await asyncio.to_thread(started.wait) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in started.log.read_text()
    assert canary.hits() == []


async def test_a_gateway_on_postgresql_leaks_nothing(canary, postgres_server):
    url = postgres_server.new_database()
    database = url.partition("?")[0].rpartition("/")[2]
    canary.tables["store"] = {"url": url}
    canary.misbehaving("misbehaving", sabotage=True)
    canary.tables["plugins.box"] = {
        "use": "sandbox",
        "folder": "box",
        "webhook_secret": SECRETS["sandbox secret"],
    }
    started = canary.write(email=["misbehaving"], sms=["box"])
    await asyncio.to_thread(started.start)
    canary.crm.gateway_url = started.url

    for trick in (
        "raise",
        "reject",
        "uncertain",
        "reject-encoded",
        "reject",
        "recipient-id",
        "log",
        "hopeless",
    ):
        await canary.email(text_body=trick)
    answer = await canary.sms()
    await canary.email(activity_type="1", to_email_address=PREVIEW, text_body="reject")
    await canary.wait_for_sends(5)
    body = json.dumps({"trick": "report", "who": PRIVATE_TEXT, "id": answer["ext_message_id"]})
    await canary.raw("POST", "/webhooks/misbehaving", body.encode())
    postgres_server.terminate_backends(database)
    await canary.email(text_body="reject")
    await canary.command("messages", "list", "--json")

    assert await asyncio.to_thread(started.terminate) == 0
    dumped = await dump(postgres_server, url)
    assert answer["ext_message_id"].encode() in dumped
    assert searcher.found(dumped, EVERYTHING) == []
    assert canary.hits() == []


# Each place has a value of its own, so that a hit names the place.
PLANTED = {
    "log": ("local part", EMAIL),
    "traceback": ("name 0", NAMES[0]),
    "answer": ("cold local part", COLD["email"]),
    "database": ("cold number", COLD["phone"]),
    "health": ("cold name 0", COLD["first_name"]),
    "metric": ("cold name 1", COLD["last_name"]),
    "process": ("preview's local part", PREVIEW),
}


async def start_leaking_gateway(canary):
    """Start a gateway that leaks a value in each kind of place."""
    canary.misbehaving("misbehaving", leaks={place: text for place, (_, text) in PLANTED.items()})
    started = canary.write(email=["misbehaving"])
    await asyncio.to_thread(started.start)
    canary.crm.gateway_url = started.url
    await canary.email(text_body="raise")
    await canary.email(ext_user_id="nobody")
    await canary.wait_for_sends(1)
    await canary.logged("plugin_violation")
    canary.record_processes()
    return started


async def test_a_leak_in_each_kind_of_place_is_found(canary):
    started = await start_leaking_gateway(canary)
    output = {f"{place} (output)" for place in ("answer", "health", "metric", "process")}
    log = {f"{place} (gatepost.log)" for place in ("log", "traceback")}
    found = planted(canary.hits(), PLANTED)
    assert found >= {*output, *log}
    # Only in the WAL, unless nothing was written for a while.
    assert found & {"database (gatepost.db-wal)", "database (gatepost.db)"}
    assert await asyncio.to_thread(started.terminate) == 0
    assert planted(canary.hits(), PLANTED) >= {*output, *log, "database (gatepost.db)"}


async def test_a_leak_in_postgresql_is_found(canary, postgres_server):
    url = postgres_server.new_database()
    canary.tables["store"] = {"url": url}
    started = await start_leaking_gateway(canary)
    assert await asyncio.to_thread(started.terminate) == 0
    assert any(
        hit.startswith("cold number plain")
        for hit in searcher.found(await dump(postgres_server, url), EVERYTHING)
    )


async def dump(server, url):
    command = [server._binaries / "pg_dump", "--inserts", url]
    return (await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)).stdout
