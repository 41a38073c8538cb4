"""No address, number or secret leaves the gateway with any of the providers' plugins, whatever its emulator answers and reports."""

import asyncio

import pytest

from canary.gateway import EMAIL, PHONE, PRIVATE_TEXT
from gatepost.demo.providers import channels
from gatepost.model import Channel
from gatepost.plugin_host import discovery
from gatepost.testing import emulators
from gatepost.testing.conformance.provider import provider_of
from gatepost.testing.emulator import Emulator, answer, close_after_body
from gatepost.testing.features import FailureMode

# What only refuses one message comes first: after the others the instance rests. All quote the recipient, as vendors do.
STATUSES = (400, 409, 422, 404, 401, 429, 500)
MODES = (FailureMode.REFUSE, FailureMode.THROTTLE, FailureMode.OUTAGE, FailureMode.DENY, FailureMode.LOSE)


def senders():
    """Return the plugins that send through a provider and have its emulator."""
    return [
        use
        for use in sorted(emulators.installed())
        if channels(use) and getattr(discovery.load(use), "delivers", True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("use", senders())
async def test_a_vendor_that_quotes_its_requests_leaks_nothing(canary, use):
    async with emulators.create(use) as emulator:
        provider = provider_of(emulator)
        canary.tables[f"plugins.{use}"] = {"use": use, "timeout": 3.0, **emulator.table}
        on = channels(use)
        started = canary.write(**{channel: [use] for channel in on})
        await asyncio.to_thread(started.start)
        canary.crm.gateway_url = started.url
        emulator.webhook_url = f"{started.url}/webhooks/{use}"

        async def send(fault):
            fault()
            for channel in on:
                sent = await (canary.email() if channel is Channel.EMAIL else canary.sms())
                assert sent["error_code"] == 0
            return sent["ext_message_id"]

        message = await send(lambda: None)
        await canary.crm.wait_for(message, "accepted", timeout=60.0)
        if isinstance(emulator, Emulator):
            await report(emulator)
            faults = [
                lambda status=status: emulator.plan(*[answer(status, reason=PRIVATE_TEXT)] * len(on))
                for status in STATUSES
            ]
            faults.append(lambda: emulator.plan(*[close_after_body(taken=True)] * len(on)))
        else:
            modes = [mode for mode in MODES if mode in emulator.failure_modes]
            faults = [lambda mode=mode: provider.simulate(mode) for mode in modes]
        for fault in faults:
            await send(fault)
        await canary.wait_for_sends(len(on) * 2)
        await canary.raw("POST", f"/webhooks/{use}?to={PHONE}", PRIVATE_TEXT.encode())
        await canary.raw("GET", f"/webhooks/{use}?to={EMAIL}")
        canary.record_processes()
        await canary.operate("messages", "list", "--json")
        await canary.operate("messages", "show", message)
        started.kill()
    assert canary.hits() == []
    assert any(PHONE in one.recipients or EMAIL in one.recipients for one in provider.received())


async def report(emulator):
    """Report each kind about each message, well signed and not."""
    for taken in list(emulator.taken):
        for tampering in ("unsigned", "flipped", "forged", ""):
            await emulator.report(
                [emulator.event(kind, taken) for kind in emulator.meanings], tampering=tampering
            )
