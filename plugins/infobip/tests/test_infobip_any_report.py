"""Whatever a webhook holds, it is a report or refused as none."""

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gatepost.errors import BadWebhook, WebhookError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["BLOCK", "MO", "STOP", "stop"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PARTS = (
    "status",
    "error",
    "seenAt",
    "event",
    "receivedAt",
    "messageId",
    "callbackData",
    "from",
    "text",
    "message",
    "content",
)
VERDICT = st.fixed_dictionaries(
    {"groupId": st.integers(0, 6) | JSON, "id": st.integers(-1, 90) | JSON}, optional={"name": JSON}
)


@given(
    results=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, JSON) | {"status": VERDICT, "error": VERDICT | JSON}), max_size=3)
    | JSON
)  # fmt: skip
@examples(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_body_with_the_token_is_a_report_or_a_bad_webhook(plugin, signed, results):
    try:
        report = await plugin.parse_webhook(signed({"results": results}))
    except WebhookError as refusal:
        assert type(refusal) is BadWebhook  # noqa: PT017  both outcomes are right
    else:
        assert set(report.ignored) <= {"unknown", "malformed", "no_id", "inbound", "blocklist"}
        assert all(len(one.code) <= 40 for one in report.events)
