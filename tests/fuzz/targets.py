"""The parsers of untrusted bytes, one function per parser: it asserts that any bytes are parsed or refused."""
# ruff: noqa: PT017  the functions also run under atheris, without pytest

import contextlib
import gzip
import ipaddress
import json
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import jwt

from fuzz.requests import GOOD
from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.config.networks import Network
from gatepost.content import decode_content
from gatepost.errors import BadSignature, BadWebhook, Code, Refused, WebhookRetry
from gatepost.intake import requests
from gatepost.model import Channel, Report, Secret, Status, WebhookRequest
from gatepost.web.auth import Authenticator
from gatepost_csv import snapshot
from gatepost_csv.bad_file import BadFile
from gatepost_csv.settings import Settings as CsvSettings
from gatepost_http import webhooks as http_webhooks
from gatepost_http.settings import Inbound, Webhook
from gatepost_sendgrid import reports as sendgrid_reports
from gatepost_vonage import reports as vonage_reports

LISTED = ("crm.example", "*.smartico.example", "198.51.100.7")
PROXIES = (Network("10.0.0.0/8"), Network("fd00::/8"))
SIGNATURE_SECRET = "a signature secret of thirty-two bytes"
NOW = 1_800_000_000.0

_url_policy = CallbackUrlPolicy(LISTED, allow_private=False)
_authenticator = Authenticator({}, PROXIES)
_http_readers = [
    http_webhooks.make_reader(webhook, lambda _key, _problem: None)
    for webhook in (
        Webhook(
            reports="/results",
            id="/ref",
            provider_id="/id/0",
            status="/status/word",
            statuses={"OK": "delivered", "1": ""},
            code="/code",
            inbound=Inbound(recipient="/from", text="/text"),
        ),
        Webhook(
            id="form:ref",
            provider_id="form:id",
            status="form:status",
            statuses={"OK": "failed"},
            code="form:code",
        ),
    )
]
# A file system in memory where there is one: a disk may need tens of milliseconds for each replaced file.
_MEMORY = Path("/dev/shm")
_folder = tempfile.TemporaryDirectory(
    dir=_MEMORY if _MEMORY.is_dir() else None
)  # removed when the process ends


def decoder(data: bytes) -> None:
    """Assert that a body is refused as malformed, or is a request whose content can be stored and decoded."""
    for channel in Channel:
        try:
            request = requests.decode(channel, data)
        except Refused as refusal:
            assert refusal.code is Code.MALFORMED, refusal.code
            assert refusal.message.isascii(), "an error message quotes the request"
            continue
        stored = decode_content(channel, requests.stored_content(request))
        assert "\0" not in repr(json.dumps([request.ext_user_id, request.uid]))
        if channel is Channel.EMAIL:
            header = request.subject + request.sender.name + request.sender.address
            assert not set(header) & set("\r\n\0\x85\u2028\u2029"), "a line break in a header value"
            assert stored.html == request.html


def callback_url(data: bytes) -> None:
    """Assert that an accepted callback URL leads to a listed host, with a target of one line."""
    text = data.decode("utf-8", "surrogateescape")
    for url in (text, "https://crm.example" + text, "https://" + text):
        try:
            target = _url_policy.check(url)
        except CallbackUrlRefused as refusal:
            assert "api_key" not in str(refusal)
            continue
        listed = target.host in {"crm.example", "198.51.100.7"} or target.host.endswith(".smartico.example")
        assert listed, "an accepted host that is not listed"
        sent = target.target_with({"api_key": "sesame"})
        assert sent.startswith("/")
        assert sent.isascii()
        assert not set(sent) & set("\r\n \0")


def csv(data: bytes) -> None:
    """Assert that a file is refused as bad, or is loaded and can be searched."""
    file = Path(_folder.name, "contacts.csv")
    for content in (data, b"ext_user_id,email,phone\n" + data):
        file.write_bytes(content)
        try:
            contacts = snapshot.read_snapshot(CsvSettings(path=file), lambda: None).contacts
        except BadFile:
            continue
        assert contacts.find("\0") is None


def sendgrid(data: bytes) -> None:
    """Assert that a body is refused, or is translated into events with valid fields."""
    with contextlib.suppress(BadWebhook):
        _check(sendgrid_reports.translate(data, count_machine_opens=True))


def vonage(data: bytes) -> None:
    """Assert the same for signed bodies, and that bytes in the place of the signature are never accepted."""
    token = jwt.encode(
        {"iat": NOW, "payload_hash": sha256(data).hexdigest()}, SIGNATURE_SECRET.encode(), algorithm="HS256"
    )
    with contextlib.suppress(BadWebhook, WebhookRetry):
        _check(vonage_reports.read_report(_report(data, f"Bearer {token}"), Secret(SIGNATURE_SECRET)))
    text = data.decode("latin-1")
    for authorization in (text, f"Bearer {text}"):
        try:
            vonage_reports.read_report(_report(b"{}", authorization), Secret(SIGNATURE_SECRET))
        except (BadWebhook, BadSignature, WebhookRetry):
            continue
        raise AssertionError("a report without a valid signature was accepted")


def http(data: bytes) -> None:
    """Assert that a body is refused, or is read into events with valid fields, as JSON and as a form."""
    for reader in _http_readers:
        with contextlib.suppress(BadWebhook):
            _check(reader.read(_report(data, "")))


def forwarded(data: bytes) -> None:
    """Assert that X-Forwarded-For gives an address or None, and that only a trusted proxy's part counts.

    What stands left of the first untrusted address must not change the result.
    """
    found = _authenticator.client_address("10.0.0.1", [(b"x-forwarded-for", data)])
    assert found is None or found == ipaddress.ip_address(str(found))
    for untrusted in (b"203.0.113.9", b"2001:db8::9"):
        one_header = _authenticator.client_address(
            "10.0.0.1", [(b"x-forwarded-for", data + b"," + untrusted)]
        )
        assert one_header == ipaddress.ip_address(untrusted.decode())
        two_headers = _authenticator.client_address(
            "10.0.0.1", [(b"X-Forwarded-For", data), (b"x-forwarded-for", untrusted)]
        )
        assert two_headers == one_header
    assert str(_authenticator.client_address("203.0.113.8", [(b"x-forwarded-for", data)])) == "203.0.113.8"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decoder": decoder,
    "callback_url": callback_url,
    "csv": csv,
    "sendgrid": sendgrid,
    "vonage": vonage,
    "http": http,
    "forwarded": forwarded,
}
_PACKED = gzip.compress(b"ext_user_id,email\nu1,a@x.example\n", mtime=0)
SEEDS: dict[str, list[bytes]] = {
    "decoder": [json.dumps(fields).encode() for fields in GOOD.values()],
    "callback_url": [
        *(
            b"https://crm.example/cb?x=1&y[]=%20",
            b"https://a.smartico.example:8443/",
            b"https://198.51.100.7/",
        ),
        *(b"@evil.example/", b"evil.example\\@crm.example", b"crm.example#@evil.example/", b"2130706433"),
    ],
    "csv": [
        b'ext_user_id,email,phone,name\nu1,a@x.example,+4477,"A ""b"" c"\n',
        b'u2,,,\r\n"u\n3",b@x,1\n',
        _PACKED,
    ],
    "sendgrid": [
        (
            b'[{"event":"delivered","gp_id":"0192d3a4-5b6c-7d8e-9f00-112233445566","timestamp":1800000000,'
            b'"sg_message_id":"14c5d75ce93.dfd.64b469.filter0001","reason":"500 5.1.1 no","status":"5.1.1"}]'
        )
    ],
    "vonage": [
        (
            b'{"status":"rejected","client_ref":"0192d3a4-5b6c-7d8e-9f00-112233445566","message_uuid":"a-b",'
            b'"error":{"type":"https://developer.vonage.com/api-errors/messages#1240","title":1240}}'
        ),
        b"eyJhbGciOiJub25lIn0.e30.",
    ],
    "http": [
        (
            b'{"results":[{"ref":"0192d3a4-5b6c-7d8e-9f00-112233445566","id":["a-b"],"status":{"word":"OK"},'
            b'"code":17},{"status":{"word":1},"from":"447700900123","text":"STOP"}]}'
        ),
        b"ref=0192d3a4-5b6c-7d8e-9f00-112233445566&id=a-b&status=OK&code=17",
    ],
    "forwarded": [
        b"203.0.113.7, 10.0.0.2",
        b"[2001:db8::1]:443",
        b"::ffff:10.0.0.1",
        b"fe80::1%eth0, unknown",
    ],
}


def _check(report: Report) -> None:
    for event in report.events:
        assert event.status in Status
        for text in (event.message_id or "", event.provider_id or ""):
            assert "\0" not in text
            text.encode()


def _report(body: bytes, authorization: str) -> WebhookRequest:
    return WebhookRequest(
        method="POST",
        url="https://gateway.example/webhooks/vonage",
        headers={"authorization": authorization},
        body=body,
        received_at=NOW,
    )
