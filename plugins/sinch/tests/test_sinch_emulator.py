"""The emulator is as strict as Sinch's documentation: what it refuses, and with which code."""

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from gatepost_sinch.testing.batch_rules import TextBatch

# What Sinch's documentation and its SDK list for a batch of the type mt_text.
FIELDS = {
    *("to", "from", "body", "type", "delivery_report", "send_at", "expire_at", "callback_url"),
    *("client_reference", "parameters", "feedback_enabled", "flash_message", "truncate_concat"),
    *("max_number_of_message_parts", "from_ton", "from_npi"),
}
GOOD = {"from": "Amazing", "to": ["+447700900123"], "body": "Hello"}


@pytest.fixture
def post(provider):
    """Post a batch with the service plan's token; return the status and the code."""

    async def send(body, *, path=None, **headers):
        url = provider.base_url + (path or f"/xms/v1/{provider.service_plan_id}/batches")
        given = {"Authorization": f"Bearer {provider.api_token}", **headers}
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, headers={"Content-Type": "application/json", **given}, **data) as response,
        ):
            return response.status, (await response.json()).get("code")

    return send


def at(**ahead):
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def test_the_fields_are_those_that_sinch_documents():
    assert set(TextBatch.__struct_encode_fields__) == FIELDS


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"to": ["447700900123"]},
        {"to": ["00447700900123"]},
        {"from": "60606"},
        {"delivery_report": "per_recipient_final"},
        {"expire_at": at(days=2)},
        {"send_at": at(days=2), "expire_at": at(days=4)},
        {"parameters": {"name": {"default": "there"}}},
        {"max_number_of_message_parts": 2},
    ],
)
async def test_a_good_batch_is_taken(provider, post, changes):
    assert await post(GOOD | changes) == (201, None)
    assert len(provider.taken) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": []}, "syntax_constraint_violation"),
        ({"to": ["+447700900123"] * 1001}, "syntax_constraint_violation"),
        ({"body": ""}, "syntax_constraint_violation"),
        ({"body": "x" * 2001}, "syntax_constraint_violation"),
        ({"client_reference": "x" * 129}, "syntax_constraint_violation"),
        ({"expire_at": at(days=-1)}, "syntax_constraint_violation"),
        ({"expire_at": at(days=4)}, "syntax_constraint_violation"),
        ({"send_at": at(days=2), "expire_at": at(days=1)}, "syntax_constraint_violation"),
        ({"to": "+447700900123"}, "syntax_invalid_parameter_format"),
        ({"to": ["44770"]}, "syntax_invalid_parameter_format"),
        ({"from": "ABCDEFGHIJKL"}, "syntax_invalid_parameter_format"),
        ({"from": None}, "syntax_invalid_parameter_format"),
        ({"type": "mt_binary"}, "syntax_invalid_parameter_format"),
        ({"delivery_report": "all"}, "syntax_invalid_parameter_format"),
        ({"expire_at": "tomorrow"}, "syntax_invalid_parameter_format"),
        ({"callback_url": "gateway.example"}, "syntax_invalid_parameter_format"),
        ({"flash_message": "yes"}, "syntax_invalid_parameter_format"),
        ({"max_number_of_message_parts": 0}, "syntax_invalid_parameter_format"),
        ({"parameters": {"my name": {}}}, "syntax_invalid_parameter_format"),
        ({"text": "Hello"}, "syntax_invalid_parameter_format"),
    ],
)
async def test_a_bad_batch_is_refused(provider, post, changes, code):
    assert await post(GOOD | changes) == (400, code)
    assert provider.taken == []


@pytest.mark.parametrize("missing", GOOD)
async def test_a_batch_needs_each_of_its_parts(post, missing):
    batch = {name: value for name, value in GOOD.items() if name != missing}

    assert await post(batch) == (400, "syntax_constraint_violation")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
async def test_what_is_no_json_is_refused(post, body):
    assert await post(body) == (400, "syntax_invalid_json")


async def test_another_token_plan_or_type_is_refused(provider, post):
    assert await post(GOOD, Authorization="Bearer other") == (401, "401")
    assert await post(GOOD, path="/xms/v1/other/batches") == (404, "404")
    assert await post(GOOD, **{"Content-Type": "text/plain"}) == (415, "415")
    assert provider.taken == []
