"""Any form that Twilio has signed is a report or a BadWebhook."""

from urllib.parse import urlencode

import pytest

from gatepost.errors import BadWebhook
from gatepost.testing.webhook_requests import WEBHOOK_URL

hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis, a development dependency")
st = hypothesis.strategies

NUMBER = "+447700900123"
FIELDS = st.dictionaries(
    st.sampled_from(
        ["MessageStatus", "SmsStatus", "MessageSid", "ErrorCode", "From", "Body", "OptOutType", "x"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["failed", "received", "STOP", NUMBER]),
)


@hypothesis.given(fields=FIELDS, own_id=st.text(st.characters(exclude_categories=["Cs"])))
@hypothesis.settings(
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    deadline=None,
)
async def test_any_signed_form_is_a_report_or_a_bad_webhook(plugin, signed, fields, own_id):
    url = f"{WEBHOOK_URL}?{urlencode({'id': own_id})}"
    try:
        report = await plugin.parse_webhook(signed(urlencode(fields).encode(), url=url))
    except BadWebhook:
        return
    assert all(event.message_id or event.provider_id or event.recipient for event in report.events)
    assert all(len(event.code) <= 40 for event in report.events)
    assert report.ignored.keys() <= {"incoming", "start", "help", "unknown", "no_id"}
