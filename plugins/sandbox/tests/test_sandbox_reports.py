"""The verification and the translation of reports."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookError
from gatepost.hookspecs import Context
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookRequest
from gatepost_sandbox import Sandbox, Settings

NOW = 1_800_000_000.0
SECRET = "shared"


def plugin(secret=SECRET):
    settings = Settings(folder=Path("unused"), webhook_secret=Secret(secret) if secret else None)
    return Sandbox(settings, Context(name="sandbox", log=structlog.stdlib.get_logger()))


def signature(timestamp, body, secret=SECRET):
    """Sign as the README says, without the plugin's own code."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def request(body, headers, *, method="POST", at=NOW):
    return WebhookRequest(
        method=method, url="http://x/webhooks/sandbox", headers=headers, body=body, received_at=at
    )


def signed(body, *, timestamp=None, secret=SECRET):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    timestamp = str(int(NOW)) if timestamp is None else timestamp
    return request(
        body, {"sandbox-timestamp": timestamp, "sandbox-signature": signature(timestamp, body, secret)}
    )


def item(status="delivered", message="m1", **more):
    return {"message": message, "status": status, **more}


class TestSignature:
    async def test_without_a_secret_no_report_is_accepted(self):
        with pytest.raises(NoVerificationKey):
            await plugin(secret=None).parse_webhook(signed({"reports": []}))

    async def test_a_valid_signature_is_accepted(self):
        assert await plugin().parse_webhook(signed({"reports": []})) == Report(events=[], ignored={})

    async def test_a_signature_by_another_secret(self):
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(signed({"reports": []}, secret="shareD"))

    async def test_a_flipped_bit_anywhere_in_the_body(self):
        valid = signed({"reports": [item()]})
        for place in range(len(valid.body)):
            for bit in range(8):
                body = bytearray(valid.body)
                body[place] ^= 1 << bit
                with pytest.raises(BadSignature):
                    await plugin().parse_webhook(request(bytes(body), valid.headers))

    async def test_a_signature_for_another_timestamp(self):
        valid = signed({"reports": []})
        headers = {**valid.headers, "sandbox-timestamp": str(int(NOW) + 1)}
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(request(valid.body, headers))

    @pytest.mark.parametrize("missing", ["sandbox-timestamp", "sandbox-signature"])
    async def test_a_missing_header(self, missing):
        valid = signed({"reports": []})
        headers = {name: value for name, value in valid.headers.items() if name != missing}
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(request(valid.body, headers))

    @pytest.mark.parametrize("value", ["", "é", "\ud800", "0" * 64, "0" * 100_000])
    async def test_an_invalid_signature(self, value):
        valid = signed({"reports": []})
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(request(valid.body, {**valid.headers, "sandbox-signature": value}))

    async def test_a_repeated_signature(self):
        valid = signed({"reports": []})
        twice = ", ".join([valid.headers["sandbox-signature"]] * 2)
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(request(valid.body, {**valid.headers, "sandbox-signature": twice}))

    @pytest.mark.parametrize("age", [26 * 3600, 0, -300])
    async def test_the_oldest_and_the_newest_accepted_timestamp(self, age):
        await plugin().parse_webhook(signed({"reports": []}, timestamp=str(int(NOW) - age)))

    @pytest.mark.parametrize("age", [26 * 3600 + 1, -301, 10**9])
    async def test_a_timestamp_too_old_or_too_far_ahead(self, age):
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(signed({"reports": []}, timestamp=str(int(NOW) - age)))

    @pytest.mark.parametrize(
        "timestamp", ["", "now", "-1", "1e9", " 1800000000", "１８００００００００", "9" * 5000]
    )
    async def test_a_signed_timestamp_that_is_not_a_number(self, timestamp):
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(signed({"reports": []}, timestamp=timestamp))


class TestTranslation:
    @pytest.mark.parametrize(
        ("word", "status", "code"),
        [
            ("delivered", Status.DELIVERED, ""),
            ("bounced", Status.FAILED, "bounced"),
            ("complained", Status.COMPLAINED, ""),
            ("opened", Status.OPENED, ""),
            ("unsubscribed", Status.UNSUBSCRIBED, ""),
        ],
    )
    async def test_each_word_has_a_status(self, word, status, code):
        report = await plugin().parse_webhook(signed({"reports": [item(word)]}))
        assert report.events == [StatusEvent(status=status, message_id="m1", code=code)]

    async def test_valid_items_keep_their_order_beside_invalid_ones(self):
        items = [
            item("delivered"),
            item("clicked"),
            item("Delivered"),
            item(message=""),
            item(message="x" * 256),
            item(message="m 1"),
            item(message="m\n"),
            item(message="m\x00"),
            item(message="ü"),
            item(message=5),
            item(status=None),
            {"message": "m1"},
            {"status": "delivered"},
            "delivered",
            None,
            [],
            item("opened", message="x" * 255, more={"fields": 1}),
            item("complained", message="0001"),
        ]
        report = await plugin().parse_webhook(signed({"reports": items}))
        assert [(event.message_id, event.status) for event in report.events] == [
            ("m1", "delivered"),
            ("x" * 255, "opened"),
            ("0001", "complained"),
        ]
        assert report.ignored == {"unknown": 2, "malformed": 13}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff",
            b"{",
            b"[]",
            b"null",
            b"5",
            b"{}",
            b'{"reports": null}',
            b'{"reports": {}}',
            b'{"reports": "delivered"}',
            b'{"reports": ' + b"[" * 5000,
            b'{"reports": []} x',
        ],
    )
    async def test_a_body_that_is_not_a_report(self, body):
        with pytest.raises(BadWebhook):
            await plugin().parse_webhook(signed(body))

    async def test_a_hundred_thousand_reports(self):
        report = await plugin().parse_webhook(
            signed({"reports": [item(message=str(n)) for n in range(100_000)]})
        )
        assert len(report.events) == 100_000


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "message": st.text() | ANYTHING,
        "status": st.sampled_from(["delivered", "bounced", "clicked"]) | ANYTHING,
    },
)


class TestFuzz:
    """Any request gives a Report or an error that the hook may raise."""

    @given(st.binary() | st.text().map(str.encode))
    async def test_random_bytes_with_a_valid_signature(self, body):
        try:
            report = await plugin().parse_webhook(signed(body))
        except WebhookError:
            return
        assert isinstance(report, Report)

    @given(ANYTHING | st.fixed_dictionaries({"reports": ANYTHING | st.lists(ITEMS | ANYTHING)}))
    async def test_random_json_with_a_valid_signature(self, body):
        try:
            report = await plugin().parse_webhook(signed(body))
        except WebhookError:
            assert not (isinstance(body, dict) and isinstance(body.get("reports"), list)) or _is_not_json(
                body
            )
            return
        assert len(report.events) + sum(report.ignored.values()) == len(body["reports"])
        assert set(report.ignored) <= {"unknown", "malformed"}

    @given(
        st.sampled_from(["GET", "POST"]),
        st.dictionaries(st.sampled_from(["sandbox-timestamp", "sandbox-signature", "x"]), st.text()),
        st.binary(),
        st.floats(min_value=0, max_value=1e12),
    )
    async def test_random_requests_are_refused(self, method, headers, body, at):
        with pytest.raises(BadSignature):
            await plugin().parse_webhook(request(body, headers, method=method, at=at))


def _is_not_json(body):
    """Tell whether Python's JSON holds what other parsers refuse: NaN, Infinity or a lone surrogate."""
    text = json.dumps(body)
    return "NaN" in text or "Infinity" in text or "\\ud" in text
