"""How reports are verified and read, whatever is sent."""

import hashlib
import hmac
import time
from base64 import b64encode
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Report, Secret, Status, StatusEvent

ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
KEY = "a key of the account"
HOUR = 3600


def hmac_of(**changes):
    """Return the changes to the table ``reports`` that make it verify signatures."""
    return {"webhook_token": None, "webhook_hmac": {"key": KEY, "header": "X-Signature", **changes}}


def signature(payload, algorithm="sha256", key=KEY):
    return hmac.new(key.encode(), payload, getattr(hashlib, algorithm)).digest()


@pytest.fixture
def read(build, report, parse):
    """Return ``read(body, changes)``: what an instance reads from a verified report."""

    def of(body, changes=None, **how):
        return parse(build(changes, table="reports"), report(body, **how))

    return of


# Reading.


@pytest.mark.parametrize(
    ("body", "events", "ignored"),
    [
        ({"ref": ID, "status": "OK"}, [("delivered", ID, "")], {}),
        ({"ref": ID, "status": "NO"}, [("failed", ID, "")], {}),
        ({"ref": ID, "status": "SEEN"}, [], {"seen": 1}),
        ({"ref": ID, "status": "ok"}, [], {"unknown": 1}),
        ({"ref": ID}, [], {"malformed": 1}),
        ({"status": "OK"}, [], {"no_id": 1}),
        ({"ref": "of somebody else", "status": "OK"}, [], {"no_id": 1}),
        ({"ref": [ID], "status": {"OK": 1}}, [], {"malformed": 1}),
        ([], [], {}),
        (
            [{"ref": ID, "status": "OK"}, None, 7, "x", [], {"ref": ID, "status": "NO"}],
            [("delivered", ID, ""), ("failed", ID, "")],
            {"malformed": 4},
        ),
    ],
)
def test_a_report_is_read(read, body, events, ignored):
    found = read(body)
    assert [(event.status, event.message_id, event.provider_id) for event in found.events] == events
    assert found.ignored == ignored
    assert found.answer is None


def test_values_stand_where_the_table_says(read):
    webhook = {
        "reports": "/data/a~1b/reports",
        "id": "/our/refs/0",
        "provider_id": "/their~0id",
        "status": "/state/code",
        "statuses": {"2": "delivered", "true": "opened"},
        "code": "/reason",
    }
    reports = [
        {"our": {"refs": [ID]}, "their~id": 17, "state": {"code": 2}, "reason": "EC_1"},
        {"our": {}, "their~id": "t-2", "state": {"code": True}, "reason": "call +447700900123"},
        {"our": {"refs": {"0": ID}}, "state": {"code": 2.5}},
    ]
    found = read({"data": {"a/b": {"reports": reports}}}, {"webhook": webhook})
    assert list(found.events) == [
        StatusEvent(status=Status.DELIVERED, message_id=ID, provider_id="17", code="EC_1"),
        StatusEvent(status=Status.OPENED, provider_id="t-2"),
    ]
    assert found.ignored == {"malformed": 1}


@pytest.mark.parametrize("body", [b"", b"null", b"7", b'"x"', b"{", b"\xff", b'{"data": 7}', b'{"x": {}}'])
def test_a_body_without_reports_is_refused(read, body):
    with pytest.raises(BadWebhook) as caught:
        read(body, {"webhook": {"reports": "/data"}})
    assert caught.value.__context__ is None


def test_a_form_is_read(read):
    webhook = {"id": "form:ref", "status": "form:state", "code": "form:why", "provider_id": "form:id"}
    body = urlencode({"ref": ID, "state": "NO", "why": "E7", "id": "p-1"}).encode()
    (event,) = read(body, {"webhook": webhook}).events
    assert event == StatusEvent(status=Status.FAILED, message_id=ID, provider_id="p-1", code="E7")
    assert read(b"", {"webhook": webhook}).ignored == {"malformed": 1}
    with pytest.raises(BadWebhook):
        read(b"\xff\xff", {"webhook": webhook})


def test_a_report_may_be_a_get(read):
    webhook = {"id": "query:ref", "status": "query:state"}
    changes = {"webhook": webhook, "request": {"json": {"report": "{callback_url}"}}}
    (event,) = read(b"", changes, method="GET", query=f"ref={ID}&state=OK").events
    assert (event.status, event.message_id) == (Status.DELIVERED, ID)
    with pytest.raises(BadWebhook):
        read(b"", changes, method="GET", query="a=b&" * 200)


@pytest.mark.parametrize(
    ("body", "recipient", "ignored"),
    [
        ({"from": "447700900123", "body": " Stop\n"}, "+447700900123", {}),
        ({"from": "+447700900123", "body": "STOP ALL"}, "+447700900123", {}),
        ({"from": "anna@people.example", "body": "stop"}, "anna@people.example", {}),
        ({"from": "447700900123", "body": "Hello"}, None, {"inbound": 1}),
        ({"body": "STOP"}, None, {"malformed": 1}),
        ({"from": ["447700900123"], "body": "STOP"}, None, {"malformed": 1}),
    ],
)
def test_an_opt_out_names_a_recipient(read, body, recipient, ignored):
    inbound = {"recipient": "/from", "text": "/body", "words": ["STOP", "Stop All"]}
    found = read(body, {"webhook": {"inbound": inbound}})
    expected = [StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(recipient))] if recipient else []
    assert list(found.events) == expected
    assert found.ignored == ignored


async def test_a_large_report_is_read_in_a_thread(build, report, monkeypatch):
    plugin, threads = build(table="reports"), []

    async def to_thread(function, *arguments):
        threads.append(function)
        return function(*arguments)

    monkeypatch.setattr("asyncio.to_thread", to_thread)
    found = await plugin.parse_webhook(report([{"ref": ID, "status": "OK"}] * 2000))
    assert len(found.events) == 2000
    assert len(threads) == 1
    await plugin.parse_webhook(report({"ref": ID, "status": "OK"}))
    assert len(threads) == 1


@pytest.mark.parametrize("body", [{"ref": ID, "status": "OK"}, [], {"ref": ID}])
def test_a_provider_gets_the_answer_that_it_wants(read, body):
    answer = read(body, {"webhook": {"answer": "OK"}}).answer
    assert (answer.status, answer.body) == (200, b"OK")
    with pytest.raises(BadSignature):
        read(body, {"webhook": {"answer": "OK"}}, headers={"X-Token": "forged"})


# Verifying.


def test_without_a_check_no_report_is_accepted(build, report, parse):
    with pytest.raises(NoVerificationKey):
        parse(build({"webhook_token": None}, table="reports"), report({"ref": ID, "status": "OK"}))


def test_a_report_from_a_listed_network_needs_no_key(build, report, parse):
    plugin = build({"webhook_token": None}, table="reports")
    listed = report({"ref": ID, "status": "OK"})
    listed = msgspec.structs.replace(listed, network_listed=True)
    assert parse(plugin, listed).events


def test_a_listed_network_replaces_no_key(build, report, parse):
    unsigned = report({"ref": ID, "status": "OK"}, headers={"X-Other": "x"})
    with pytest.raises(BadSignature):
        parse(build(table="reports"), msgspec.structs.replace(unsigned, network_listed=True))


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, {"X-Token": "the-token-of-reports"}),
        ({"webhook_token": {"prefix": "Bearer"}}, {"X-Token": "Bearer the-token-of-reports"}),
        (
            {"webhook_token": None, "webhook_basic": {"username": "ü", "password": "p:q"}},
            {"Authorization": f"Basic {b64encode('ü:p:q'.encode()).decode()}"},
        ),
        (
            {"webhook_token": None, "webhook_basic": {"username": "ü", "password": "p:q"}},
            {"Authorization": f"basic  {b64encode('ü:p:q'.encode()).decode()} "},
        ),
    ],
)
def test_a_secret_that_comes_with_the_report(read, changes, good):
    body = {"ref": ID, "status": "OK"}
    assert read(body, changes, headers=good).events
    (name, value) = next(iter(good.items()))
    for bad in ("", value[:-2], value + "x", value.upper(), "ü☃", value.partition(" ")[2] or "x", "Bearer"):
        with pytest.raises(BadSignature):
            read(body, changes, headers={name: bad})
    with pytest.raises(BadSignature):
        read(body, changes, headers={"X-Other": value})


def test_a_token_in_the_query(read):
    changes = {"webhook_token": {"header": "", "query": "key", "value": "a b&c"}}
    body = {"ref": ID, "status": "OK"}
    assert read(body, changes, query=f"x=y&key={quote('a b&c')}").events
    for bad in ("", "key=", "key=a", "other=a+b%26c"):
        with pytest.raises(BadSignature):
            read(body, changes, query=bad)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_signature_over_the_body(read, algorithm, encoding, prefix):
    changes = hmac_of(algorithm=algorithm, encoding=encoding, prefix=prefix)
    body = msgspec.json.encode({"ref": ID, "status": "OK"})
    digest = signature(body, algorithm)
    text = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    assert read(body, changes, headers={"X-Signature": prefix + text}).events
    if encoding == "hex":
        assert read(body, changes, headers={"X-Signature": prefix + text.upper()}).events
    other = signature(body, algorithm, "another key")
    forged = other.hex() if encoding == "hex" else b64encode(other).decode()
    bad_ones = ["", prefix, text[:-1], prefix + forged, prefix + text + "x", f"x{prefix}{text}", "ü"]
    for bad in [*bad_ones, *([text] if prefix else [])]:
        with pytest.raises(BadSignature):
            read(body, changes, headers={"X-Signature": bad})
    with pytest.raises(BadSignature):
        read(body + b" ", changes, headers={"X-Signature": prefix + text})


def test_a_signature_over_several_parts(build, report, parse):
    plugin = build(
        hmac_of(
            signed=["method", "url", "timestamp", "header:X-Nonce", "body"],
            joined_by="\n",
            timestamp_header="X-Time",
        ),
        table="reports",
    )
    now = str(int(time.time()))
    body = msgspec.json.encode({"ref": ID, "status": "OK"})
    url = "https://gate.example/webhooks/acme?x=y"
    payload = b"\n".join([b"POST", url.encode(), now.encode(), b"n1", body])
    headers = {"X-Signature": signature(payload).hex(), "X-Time": now, "X-Nonce": "n1"}
    assert parse(plugin, report(body, headers=headers, query="x=y")).events
    for changed in (
        {"headers": {**headers, "X-Time": str(int(now) + 1)}},
        {"headers": {**headers, "X-Nonce": "n2"}},
        {"query": "x=z"},
        {"method": "GET"},
        {"headers": {name: value for name, value in headers.items() if name != "X-Nonce"}},
    ):
        with pytest.raises(BadSignature):
            parse(plugin, report(body, **{"headers": headers, "query": "x=y", **changed}))


@pytest.mark.parametrize(
    ("written", "fresh"),
    [
        (lambda at: str(int(at)), True),
        (lambda at: str(int(at * 1000)), True),
        (lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)), True),
        (lambda at: time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at)), True),
        (lambda at: str(int(at - 25 * HOUR)), True),
        (lambda at: str(int(at - 27 * HOUR)), False),
        (lambda at: str(int((at - 27 * HOUR) * 1000)), False),
        (lambda at: str(int(at + 24 * HOUR)), False),
        (lambda at: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)), False),
        (lambda _: "", False),
        (lambda _: "yesterday", False),
        (lambda _: "9" * 40, False),
        (lambda _: "0001-01-01T00:00:00+14:00", False),
        (lambda _: "²", False),
    ],
)
def test_a_signature_is_as_old_as_its_time(read, written, fresh):
    stated = written(time.time())
    body = msgspec.json.encode({"ref": ID, "status": "OK"})
    payload = stated.encode("latin-1", "replace") + b"." + body
    changes = hmac_of(signed=["timestamp", "body"], joined_by=".", timestamp_header="X-Time")
    headers = {"X-Time": stated, "X-Signature": signature(payload).hex()}
    if fresh:
        assert read(body, changes, headers=headers).events
    else:
        with pytest.raises(BadSignature):
            read(body, changes, headers=headers)


# Whatever is sent.

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([ID, "OK", "NO"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ref", "status", "from", "body", "code", "x"]), inner, max_size=5)
    ),
    max_leaves=15,
)
ANY_WEBHOOK = {
    "webhook": {"code": "/code/0", "provider_id": "/x", "inbound": {"recipient": "/from", "text": "/body"}}
}


@given(st.one_of(st.binary(max_size=200), VALUES.map(msgspec.json.encode)))
@example(b"[" * 5000)
@example(b'{"ref":"\\ud800","status":"OK"}')
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_body_is_read_or_refused(build, report, parse, body):
    plugin = build(ANY_WEBHOOK, table="reports")
    try:
        found = parse(plugin, report(body))
    except BadWebhook:
        return
    assert isinstance(found, Report)
    for event in found.events:
        assert event.message_id in {"", ID}
        assert event.message_id or event.provider_id or event.recipient


@given(st.binary(max_size=100), st.text(max_size=50), st.text(max_size=50), st.text(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_unsigned_request_is_believed(build, report, parse, body, given_signature, at, query):
    plugin = build(hmac_of(signed=["timestamp", "url", "body"], timestamp_header="X-Time"), table="reports")
    with pytest.raises((BadSignature, BadWebhook)):
        parse(plugin, report(body, headers={"X-Signature": given_signature, "X-Time": at}, query=query))
