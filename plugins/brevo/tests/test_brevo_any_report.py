"""Whatever a webhook holds, it is a report or refused as none."""

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gatepost.errors import BadWebhook, WebhookError

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["delivered", "hardBounce", "error", "blocked", "replied", "unsubscribe", "proxy_open"]
)
PARTS = ("message-id", "messageId", "X-Mailin-custom", "to", "tags", "camp_id")
EVENT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(PARTS, JSON),
        "event": NAMES | JSON,
        "msg_status": NAMES | JSON,
        "reason": st.from_regex(r"[245][0-9]{2} .*sender", fullmatch=True) | JSON,
        "reply": st.sampled_from(["STOP", "stop."]) | JSON,
    },
)
IGNORED = {"unknown", "malformed", "no_id", "campaign", "click", "replied", "reply", "subscribe"}


@given(body=st.lists(EVENT | JSON, max_size=3) | EVENT | JSON)
@examples(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_body_with_the_token_is_a_report_or_a_bad_webhook(plugin, signed, body):
    try:
        report = await plugin.parse_webhook(signed(body))
    except WebhookError as refusal:
        assert type(refusal) is BadWebhook  # noqa: PT017  both outcomes are right
    else:
        assert set(report.ignored) <= {*IGNORED, "proxy_open", "unique_proxy_open"}
        assert all(len(one.code) <= 20 and one.code.isascii() for one in report.events)
