"""Promise 6 for traces: nothing private is in what goes to a collector of OpenTelemetry."""

import asyncio
import json

from canary import searcher
from canary.gateway import EMAIL, EVERYTHING, PHONE, PRIVATE_TEXT
from canary.test_canary import BAD
from collector import Collector, variables
from gatepost.testing import emulator, smartico


async def test_traces_hold_nothing_private(canary, sendgrid, sink, monkeypatch):
    async with Collector() as collector:
        for name, value in variables(collector).items():
            monkeypatch.setenv(name, value)
        canary.misbehaving("misbehaving", sabotage=True, concurrency=1)
        rules = [
            {"name": "odd", "senders": ["odd@amazing.example"], "use": ["misbehaving"]},
            {"name": "rest", "use": ["sendgrid", "relay"]},
        ]
        started = canary.write(email=rules, sms=["misbehaving"])
        await asyncio.to_thread(started.start)
        canary.crm.gateway_url = started.url
        sendgrid.webhook_url = f"{started.url}/webhooks/sendgrid"

        sendgrid.plan(emulator.NO_FAILURE, emulator.answer(400), emulator.answer(500))
        sink.plans = [("RCPT", f"550 5.1.1 <{EMAIL}>: {PRIVATE_TEXT}")]
        canary.crm.fail(smartico.answer(500), calls=2)
        ids = [(await canary.email(subject=f"{PRIVATE_TEXT} {n}"))["ext_message_id"] for n in range(3)]
        texts = [text for trick in BAD for text in (trick, "reject")]
        for text in texts:
            await canary.email(from_email_address="odd@amazing.example", body=text, text_body=text)
        await canary.sms(body="reject-encoded")
        await canary.raw("POST", f"/email?to={EMAIL}", b"{}", traceparent=f"00-{EMAIL}-{PHONE}-01")
        body = json.dumps({"trick": "report", "who": PRIVATE_TEXT, "id": ids[0]})
        await canary.raw("POST", "/webhooks/misbehaving", body.encode())
        await canary.crm.wait_for(ids[0], "accepted", attempted=True)
        await sendgrid.report([sendgrid.event(kind, sendgrid.taken[0]) for kind in ("bounce", "open")])
        await canary.wait_for_sends(len(BAD))
        await asyncio.to_thread(started.terminate)

        names = {span.name for span in collector.spans}
        assert names == {"accept", "send", "report", "callback"}
        exported = b"\n".join([*collector.bodies, collector.text.encode()])
        assert ids[0].encode() in exported
        assert searcher.found(exported, EVERYTHING) == []
        # Neither the URL of a callback nor any other.
        assert b"://" not in exported
        # The search would see it.
        assert searcher.found(
            exported.replace(b"odd", b"odd " + EMAIL.encode(), 1) + EMAIL.encode(), EVERYTHING
        )
        assert canary.hits() == []
