"""Whatever a callback holds, it is a report or refused as none."""

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gatepost.errors import BadWebhook, WebhookError

KINDS = ("mo_text", "mo_binary", "delivery_report_sms", "recipient_delivery_report_sms")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["STOP", "Aborted", "Delivered"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = {
    **dict.fromkeys(("batch_id", "client_reference", "from", "body"), JSON),
    "status": st.sampled_from(["Aborted", "FAILED", "unknown", "DELIVERED"]) | JSON,
    "code": st.integers(-1, 1001) | JSON,
}


@given(
    callback=st.fixed_dictionaries(
        {},
        optional={
            **FIELDS,
            "type": st.sampled_from(KINDS) | JSON,
            "statuses": st.lists(st.fixed_dictionaries({}, optional=FIELDS) | JSON, max_size=3) | JSON,
        },
    )
    | JSON
)
@examples(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_signed_body_is_a_report_or_a_bad_webhook(plugin, signed, callback):
    try:
        report = await plugin.parse_webhook(signed(callback))
    except WebhookError as refusal:
        assert type(refusal) is BadWebhook  # noqa: PT017  both outcomes are right
    else:
        assert set(report.ignored) <= {"unknown", "malformed", "no_id", "inbound"}
        assert all(one.code == "" or 0 < int(one.code) < 1000 for one in report.events)
