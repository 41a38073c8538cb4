"""Sinch's own SDK, as an oracle: it sends the same batch, verifies the same signature and reads the same callbacks."""

import asyncio
import typing
from datetime import datetime

import msgspec
import pytest

from gatepost.testing.webhook_requests import WEBHOOK_URL, webhook_request
from gatepost_sinch.testing import SinchEmulator

sinch = pytest.importorskip("sinch", reason="sinch, an oracle for developers, is not installed")
from sinch.domains.sms.models.v1.types.delivery_receipt_status_code_type import (  # noqa: E402  after the skip
    DeliveryReceiptStatusCodeType,
)
from sinch.domains.sms.models.v1.types.delivery_status_type import DeliveryStatusType  # noqa: E402
from sinch.domains.sms.sinch_events.v1 import SmsSinchEvent  # noqa: E402


@pytest.fixture
def sdk(provider):
    """Return the SDK's client of the emulated service plan, with its hard-coded host replaced."""
    client = sinch.SinchClient(
        service_plan_id=provider.service_plan_id, sms_api_token=provider.api_token, sms_region="eu"
    )
    client.configuration.sms_domain_with_service_plan_id = provider.base_url + "{:.0}"
    client.configuration.sms_region_with_service_plan_id = "eu"
    yield client
    client.configuration.transport.http_session.close()


async def test_the_sdk_sends_the_same_batch(provider, plugin, sms, sdk):
    message = sms("Grüße 👋")
    await plugin.send_sms(message)
    [ours] = provider.taken

    answer = await asyncio.to_thread(
        sdk.sms.batches.send_sms,
        to=[message.recipient.reveal()],
        from_="Amazing",
        body=message.text,
        delivery_report="per_recipient",
        expire_at=datetime.fromisoformat(ours.message["expire_at"]),
        event_destination_target=WEBHOOK_URL,
        client_reference=message.id,
    )

    theirs = provider.taken[1]
    ends = [datetime.fromisoformat(taken.message.pop("expire_at")) for taken in (ours, theirs)]
    assert ends[0] == ends[1]
    assert ours.message == theirs.message
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]
    assert provider.requests[0] == provider.requests[1]
    assert answer.id == theirs.provider_id


@pytest.mark.parametrize("kind", SinchEmulator.meanings)
async def test_the_sdk_verifies_and_reads_each_callback(provider, plugin, sms, kind):
    await plugin.send_sms(sms())
    body = msgspec.json.encode(provider.event(kind, provider.taken[0]))
    genuine, forged = (provider.sign(webhook_request(body=body), forged=one) for one in (False, True))
    events = SmsSinchEvent(provider.webhook_secret)

    assert events.validate_authentication_header(dict(genuine.headers), body)
    assert not events.validate_authentication_header(dict(forged.headers), body)
    assert events.parse_event(body).type == provider.event(kind, provider.taken[0])["type"]


def test_the_sdk_lists_the_same_codes_and_statuses():
    literals = [
        typing.get_args(typing.get_args(kind)[0])
        for kind in (DeliveryReceiptStatusCodeType, DeliveryStatusType)
    ]

    assert set(literals[0]) == {400, 401, *range(402, 409), *range(410, 419)}
    assert set(literals[1]) == {
        kind.partition(":")[0].upper() for kind in SinchEmulator.meanings if not kind.startswith("inbound")
    }
