"""What providers share: faults of settings, safe values, the head of a webhook, signatures, lists of events."""

import hmac
import threading
import uuid
from base64 import b64encode
from email.utils import getaddresses

import msgspec
import pytest

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook, ConfigError, Fault, Faults, NoVerificationKey, Rejected
from gatepost.model import Mailbox, Report, Secret, Sms, Status, StatusEvent, WebhookRequest


def test_all_faults_are_named_at_once():
    faults = Faults([Fault("a", "is wrong")])
    with faults:
        raise ConfigError([Fault("b", "is wrong too")])
    with faults:
        pass

    with pytest.raises(ConfigError) as refusal:
        faults.expect_none()
    assert [fault.key for fault in refusal.value.faults] == ["a", "b"]
    Faults().expect_none()


def test_other_errors_pass():
    with pytest.raises(LookupError), Faults():
        raise LookupError


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel", "\x7f"])
def test_a_key_that_no_header_can_hold_is_a_fault(key):
    [fault] = wire.key_faults(api_key=Secret(key), other=None, good=Secret("SG.x-1_2="))

    assert fault.key == "api_key"
    assert not key or key not in fault.problem


@pytest.mark.parametrize("value", ["SM1", "a" * 255, "<x@y>", "!~"])
def test_an_id_passes(value):
    assert wire.safe_id(value) == value


@pytest.mark.parametrize("value", [None, 7, "", "a" * 256, "a b", "a\n", "é", ["x"]])
def test_what_is_no_id_does_not_pass(value):
    assert wire.safe_id(value) == ""


def test_an_id_of_ours_has_the_form_of_one():
    own_id = str(uuid.uuid4())
    assert wire.own_id(own_id) == own_id
    for other in (None, 7, "", own_id.upper(), f"{own_id}\n", own_id[1:], f"{own_id}0", "g" * 36, [own_id]):
        assert wire.own_id(other) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "a@x.example"),
        ("Anna", '"Anna" <a@x.example>'),
        ('Brand, "The" \\ <b@y.example>', r'"Brand, \"The\" \\ <b@y.example>" <a@x.example>'),
    ],
)
def test_a_mailbox_is_one_mailbox_whatever_its_name(name, text):
    assert wire.quoted_mailbox(Mailbox("a@x.example", name)) == text
    assert getaddresses([text]) == [(name, "a@x.example")]


@pytest.mark.parametrize(
    ("value", "code"),
    [(21610, "21610"), ("4.2.1", "4.2.1"), ("invalid_recipient", "invalid_recipient"), ("E-7/a", "E-7/a")],
)
def test_a_code_passes(value, code):
    assert wire.safe_code(value) == code


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -5,
        447700900123,
        pytest.param(10**5000, id="5000 digits"),
        "+447700900",
        "to 447700900123",
        "anna@x.example",
        "a b",
        "x" * 41,
        "é",
        "",
        "a\n",
    ],
)
def test_what_may_hold_an_address_is_no_code(value):
    assert wire.safe_code(value) == ""


def sms(sender):
    return Sms(id="i", recipient=Secret("+447700900123"), sender=sender, text="t", lifetime=1.0)


def test_the_requested_sender_comes_before_the_default():
    assert wire.sender_of(sms("Amazing"), "Other") == "Amazing"
    assert wire.sender_of(sms(None), "Other") == "Other"
    for code in ("", "1420"):
        with pytest.raises(Rejected, match="set default_sender") as refusal:
            wire.sender_of(sms(None), "", code=code)
        assert refusal.value.code == code


def request(body=b""):
    return WebhookRequest(method="POST", url="https://a.example", headers={}, body=body, received_at=0.0)


async def test_without_a_key_nothing_is_read():
    with pytest.raises(NoVerificationKey, match="webhook_secret"):
        await wire.read_webhook(
            request(), lambda *_: pytest.fail("it was read"), None, setting="webhook_secret"
        )


@pytest.mark.parametrize(("size", "inline"), [(10, True), (32 * 1024, True), (32 * 1024 + 1, False)])
async def test_only_a_large_request_takes_a_thread(size, inline):
    threads = []

    def translate(_request, key):
        threads.append((key, threading.current_thread() is threading.main_thread()))
        return Report()

    await wire.read_webhook(request(b"x" * size), translate, "key", setting="webhook_secret")

    assert threads == [("key", inline)]


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_signature_is_compared(digest, encoding):
    raw = hmac.digest(b"secret", b"content", digest)
    signature = raw.hex() if encoding == "hex" else b64encode(raw).decode()

    wire.expect_hmac(signature, Secret("secret"), b"content", digest=digest, encoding=encoding)
    for other in ("", signature[:-1], signature[1:], signature + "=", "é", "\ud800"):
        with pytest.raises(BadSignature):
            wire.expect_hmac(other, Secret("secret"), b"content", digest=digest, encoding=encoding)
    for secret, content in (("other", b"content"), ("secret", b"contents")):
        with pytest.raises(BadSignature):
            wire.expect_hmac(signature, Secret(secret), content, digest=digest, encoding=encoding)


class Event(msgspec.Struct):
    kind: str
    id: str = ""


def translate(event):
    if event.kind == "click":
        return "click"
    return StatusEvent(status=Status.DELIVERED, message_id=event.id)


def test_events_are_collected_in_order_and_the_others_counted():
    events = [Event("d", "1"), Event("click"), None, Event("d"), Event("d", "2"), Event("click")]
    report = wire.collect_events(events, translate)

    assert [event.message_id for event in report.events] == ["1", "2"]
    assert report.ignored == {"click": 2, "malformed": 1, "no_id": 1}


def test_an_item_that_can_not_be_translated_is_malformed():
    report = wire.collect_events([1], lambda item: translate(msgspec.convert(item, Event)))

    assert report == Report(events=[], ignored={"malformed": 1})


def test_what_is_no_list_is_a_bad_webhook():
    with pytest.raises(BadWebhook):
        wire.collect_events({"kind": "d"}, translate)


@pytest.mark.parametrize(
    "bad",
    [b"null", b"7", b'{"kind": 7}', b"{}", b'"x"', b"[]", b'{"kind": "d", "id": ' + b"9" * 5_000 + b"}"],
)
def test_a_bad_event_leaves_the_others(bad):
    events = wire.decode_events(b'[{"kind": "d", "id": "1"}, ' + bad + b', {"kind": "\\ud83d"}]', Event)

    assert events[0] == Event("d", "1")
    assert events[1] is None
    assert events[2].kind == "\ud83d"


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[", b"[" * 100_000, b"null"])
def test_a_body_without_a_list_is_a_bad_webhook(body):
    with pytest.raises(BadWebhook):
        wire.decode_events(body, Event)


@pytest.mark.parametrize("text", ["STOP", "stop", " Stop. ", "STOP!\r\n", "Unsubscribe", "quit", "stopall"])
def test_a_text_that_is_a_stop_word_is_an_opt_out(text):
    assert wire.says_stop(text)


@pytest.mark.parametrize("text", ["", " ", "please stop", "STOP it", "STOPP", "ARRET", None, 7, ["STOP"]])
def test_any_other_text_is_none(text):
    assert not wire.says_stop(text)


def test_a_plugin_may_know_more_words():
    assert wire.says_stop("arret", "ARRET")
    assert not wire.says_stop("", "ARRET")
