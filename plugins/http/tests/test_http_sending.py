"""Requests as they arrive at a server, whatever a message holds; and what its answers mean."""

import base64
import string
from decimal import Decimal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Mailbox, Secret, Status
from gatepost_http.templates import fill_json, parse_json, parse_text

HOSTILE = [
    'a"b\\c',
    "a\r\nX-Injected: yes\r\n\r\nGET / HTTP/1.1",
    "}{id}{{text}}",
    "&to=%2B1&=&a=b;c#frag?x=y",
    "../../../etc/passwd",
    "%2e%2e%2f%00%0d%0a",
    "\x00\x01\x1f\x7f",
    "ü☃😀\u2028\u202e",
    "+ %20",
    "x" * 100_000,
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_text_stays_in_its_member_of_a_json_body(opened, server, sms, text):
    changes = {"request": {"json": {"a": "before {text} after", "b": ["{text}"], "c": True, "d": 1.5}}}
    async with opened(changes) as plugin:
        message = sms(text=text)
        await plugin.send_sms(message)
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/messages")
    assert request.headers["Content-Type"] == "application/json"
    assert "X-Injected" not in request.headers
    assert msgspec.json.decode(request.body) == {
        "to": "+447700900123",
        "text": text,
        "ref": message.id,
        "a": f"before {text} after",
        "b": [text],
        "c": True,
        "d": 1.5,
    }


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_text_stays_in_its_field_of_a_form(opened, server, sms, text):
    changes = {"request": {"json": None, "form": {"to": "{recipient}", "t": "<{text}>", "=&": "x"}}}
    async with opened(changes) as plugin:
        await plugin.send_sms(sms(text=text))
    (request,) = server.requests
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert pairs == [("to", "+447700900123"), ("t", f"<{text}>"), ("=&", "x")]


@pytest.mark.parametrize("text", [text for text in HOSTILE if len(text) < 1000])
async def test_a_text_stays_in_its_parameter_of_the_query(opened, server, sms, text):
    changes = {"request": {"query": {"t": "{text}", "r": "{recipient}", "=&": "+"}}}
    async with opened(changes) as plugin:
        await plugin.send_sms(sms(text=text))
    (request,) = server.requests
    url = urlsplit(request.target)
    assert url.path == "/messages"
    pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("t", text), ("r", "+447700900123"), ("=&", "+")]


GET = {
    "request": {
        "method": "GET",
        "json": None,
        "query": {"to": "{recipient_digits}", "t": "{text}", "r": "{id}"},
    }
}


@pytest.mark.parametrize("text", [text for text in HOSTILE if len(text) < 1000])
async def test_a_message_may_be_sent_by_a_get(opened, server, sms, text):
    async with opened(GET) as plugin:
        message = sms(text=text)
        assert (await plugin.send_sms(message)).provider_id == ""
    (request,) = server.requests
    assert (request.method, request.body) == ("GET", b"")
    pairs = parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("to", "447700900123"), ("t", text), ("r", message.id)]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (414, Rejected), (401, Unavailable), (429, Unavailable), (500, Unavailable)],
)
async def test_a_refused_get_is_what_a_refused_post_is(opened, server, sms, status, error):
    server.status = status
    async with opened(GET) as plugin:
        with pytest.raises(error) as caught:
            await plugin.send_sms(sms())
    assert "447700900123" not in f"{caught.value!r}"


async def test_a_get_without_an_answer_is_uncertain_and_not_repeated(opened, server, sms):
    async with opened(GET) as plugin:
        await plugin.send_sms(sms())
        server.answer = None
        with pytest.raises(Uncertain) as caught:
            await plugin.send_sms(sms())
    assert len(server.requests) == 2
    assert "447700900123" not in f"{caught.value!r}"
    assert caught.value.__context__ is None


async def test_a_get_whose_answer_is_another_success_is_uncertain(opened, server, sms):
    async with opened({**GET, "answer": {"id": "/number"}}) as plugin:
        with pytest.raises(Uncertain):
            await plugin.send_sms(sms())


@pytest.mark.parametrize("value", ["a/b", "..", "%2e%2e", "a?b#c", "a b", "ü", "a;b", "+", "a@b:c"])
async def test_a_value_stays_in_its_segment_of_the_path(opened, server, sms, email, value):
    changes = {"secrets": {"account": value}, "request": {"path": "/accounts/x{secret.account}/{recipient}"}}
    async with opened(changes) as plugin:
        await plugin.send_sms(sms())
    segments = [unquote(segment) for segment in server.requests[0].target.split("/")]
    assert segments == ["", "accounts", f"x{value}", "+447700900123"]


async def test_an_address_stays_in_its_segment_of_the_path(opened, server, email):
    async with opened({"request": {"path": "/to/{recipient}"}}, table="email") as plugin:
        await plugin.send_email(email(recipient=Secret("a/../b?c#d@people.example")))
    assert [unquote(part) for part in server.requests[0].target.split("/")] == [
        "",
        "to",
        "a/../b?c#d@people.example",
    ]


async def test_headers_and_credentials_are_sent(opened, server, sms):
    changes = {
        "headers": {"Authorization": "App {secret.key}", "X-Plain": "a{{b}}"},
        "secrets": {"key": "hunter2"},
        "request": {"headers": {"Idempotency-Key": "{idempotency_key}", "X-Ttl": "{lifetime_seconds}"}},
    }
    async with opened(changes) as plugin:
        message = sms()
        await plugin.send_sms(message)
    headers = server.requests[0].headers
    assert headers["Authorization"] == "App hunter2"
    assert headers["X-Plain"] == "a{b}"
    assert headers["Idempotency-Key"] == message.idempotency_key
    assert headers["X-Ttl"] == "14400"


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"bearer": "hunter2"}, "Bearer hunter2"),
        (
            {"basic": {"username": "ü", "password": "p:q"}},
            f"Basic {base64.b64encode('ü:p:q'.encode()).decode()}",
        ),
    ],
)
async def test_credentials_have_short_forms(opened, server, sms, changes, header):
    async with opened(changes) as plugin:
        await plugin.send_sms(sms())
    assert server.requests[0].headers["Authorization"] == header


async def test_every_placeholder_of_a_text_message(opened, server, sms):
    names = ["id", "idempotency_key", "recipient", "recipient_digits", "sender", "text", "callback_url"]
    names += ["lifetime_seconds", "lifetime_minutes"]
    changes = {
        "request": {"method": "PUT", "json": {name: f"{{{name}}}" for name in names}},
        "longest_lifetime": 3600,
    }
    changes["request"]["json"] |= {"number": "{lifetime_minutes:number}", "until": "{expires_at}"}
    changes["request"]["json"] |= {"msisdn": "{recipient_digits:number}"}
    async with opened(changes) as plugin:
        message = sms(sender="Büro")
        await plugin.send_sms(message)
    assert server.requests[0].method == "PUT"
    body = msgspec.json.decode(server.requests[0].body)
    assert body.pop("until").endswith("Z")
    assert body == {
        "to": "+447700900123",
        "ref": message.id,
        "id": message.id,
        "idempotency_key": message.idempotency_key,
        "recipient": "+447700900123",
        "recipient_digits": "447700900123",
        "sender": "Büro",
        "text": "Hello",
        "callback_url": "https://gate.example/webhooks/acme",
        "lifetime_seconds": "3600",
        "lifetime_minutes": "60",
        "number": 60,
        "msisdn": 447700900123,
    }


async def test_every_placeholder_of_an_email(opened, server, email):
    names = ["sender", "sender_name", "sender_mailbox", "reply_to", "subject", "html", "text"]
    changes = {"request": {"json": {name: f"{{{name}}}" for name in names}}}
    changes["request"]["json"]["merged"] = {"X-Ref": "{id}", "...": "{headers}"}
    async with opened(changes, table="email") as plugin:
        message = email(
            headers={"List-Unsubscribe": "<https://u.example>"}, reply_to=Mailbox("help@amazing.example")
        )
        await plugin.send_email(message)
    assert msgspec.json.decode(server.requests[0].body) == {
        "to": "anna@people.example",
        "ref": message.id,
        "headers": {"List-Unsubscribe": "<https://u.example>"},
        "merged": {"X-Ref": message.id, "List-Unsubscribe": "<https://u.example>"},
        "sender": "news@amazing.example",
        "sender_name": "Amazing",
        "sender_mailbox": "Amazing <news@amazing.example>",
        "reply_to": "help@amazing.example",
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
    }


async def test_what_a_message_does_not_have_is_left_out(opened, server, email):
    changes = {
        "request": {
            "json": {
                "reply": {"email": "{reply_to}"},
                "from": {"email": "{sender}", "name": "{sender_name}"},
                "list": ["{reply_to}", "x"],
                "text": "{text}",
                "report": {"at": "see {callback_url}"},
                "fixed": {},
                "subject": "{subject}",
            },
            "query": {"r": "{reply_to}", "x": "y"},
        }
    }
    async with opened(changes, table="email", webhook_url="") as plugin:
        message = email(text="", subject="", sender=Mailbox("news@amazing.example"))
        await plugin.send_email(message)
    (request,) = server.requests
    assert request.target == "/mails?x=y"
    assert msgspec.json.decode(request.body) == {
        "to": "anna@people.example",
        "html": "<p>Hello</p>",
        "ref": message.id,
        "from": {"email": "news@amazing.example"},
        "list": ["x"],
        "fixed": {},
        "subject": "",
    }


async def test_the_default_sender_and_no_sender(opened, server, sms):
    changes = {"default_sender": "Amazing", "request": {"json": {"from": "{sender}"}}}
    async with opened(changes) as plugin:
        await plugin.send_sms(sms(sender=None))
    assert msgspec.json.decode(server.requests[0].body)["from"] == "Amazing"
    async with opened({"request": {"json": {"from": "{sender}"}}}) as plugin:
        with pytest.raises(Rejected, match="default_sender"):
            await plugin.send_sms(sms(sender=None))
    assert len(server.requests) == 1
    # The account's own sender.
    async with opened({}) as plugin:
        await plugin.send_sms(sms(sender=None))
    assert len(server.requests) == 2


async def test_half_a_character_is_refused_before_anything_is_sent(opened, server, sms):
    for body in ({"json": {"t": "{text}"}}, {"json": None, "form": {"to": "{recipient}", "t": "{text}"}}):
        async with opened({"request": body}) as plugin:
            with pytest.raises(Rejected, match="half of a Unicode character") as caught:
                await plugin.send_sms(sms(text="\ud83d"))
            assert caught.value.__context__ is None
    assert server.requests == []


async def test_the_callback_url_has_the_id_and_the_token(opened, server, sms):
    changes = {
        "webhook": {"id": "query:ref", "provider_id": "form:id", "status": "form:status"},
        "webhook_token": {"header": "", "query": "t&k", "value": "a b&c"},
        "request": {"json": {"report": "{callback_url}"}},
    }
    async with opened(changes, table="reports") as plugin:
        message = sms()
        await plugin.send_sms(message)
    url = urlsplit(msgspec.json.decode(server.requests[0].body)["report"])
    assert url.netloc == "gate.example"
    assert parse_qsl(url.query) == [("ref", message.id), ("t&k", "a b&c")]


# Answers.

ERRORS = [
    {"status": 400, "at": "/error/code", "values": [21610, "OPT_OUT"], "means": "unsubscribed"},
    {"status": "4xx", "at": "/error/code", "values": ["NO_CREDIT"], "means": "misconfigured"},
    {"at": "/error/code", "values": ["BUSY"], "means": "unavailable"},
    {"at": "/messages/0/error", "means": "rejected"},
    {"status": 409, "means": "accepted"},
]
READING = {
    "answer": {
        "success": [200, 202],
        "id": "/messages/0/id",
        "code": "/error/code",
        "parts": "/messages/0/parts",
        "price": "/messages/0/price",
        "currency": "/currency",
        "errors": ERRORS,
    }
}


async def _send(opened, server, sms, status, answer, headers=None):
    server.status, server.answer, server.headers = status, answer, headers or {}
    async with opened(READING) as plugin:
        return await plugin.send_sms(sms())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"messages": [{"id": "m-1"}]}, ("m-1", 0, None, "")),
        ({"messages": [{"id": 17}]}, ("17", 0, None, "")),
        (
            {"messages": [{"id": "m", "parts": 3, "price": 0.0455}], "currency": "eur"},
            ("m", 3, Decimal("0.0455"), "EUR"),
        ),
        (
            {"messages": [{"id": "m", "parts": "2", "price": "0.10"}], "currency": "EUR"},
            ("m", 2, Decimal("0.10"), "EUR"),
        ),
        (
            {"messages": [{"id": "m", "parts": -1, "price": "a lot"}], "currency": "Euro"},
            ("m", 0, None, ""),
        ),
        ({"messages": [{"id": "m", "parts": True, "price": "NaN"}], "currency": 1}, ("m", 0, None, "")),
        ({"messages": [{"id": "m", "price": -1, "parts": 10**30}]}, ("m", 0, None, "")),
    ],
)
async def test_a_success_becomes_a_receipt(opened, server, sms, answer, expected):
    receipt = await _send(opened, server, sms, 200, answer)
    assert (receipt.provider_id, receipt.parts, receipt.price, receipt.currency) == expected


async def test_a_message_that_the_provider_has_already_is_accepted(opened, server, sms):
    assert (await _send(opened, server, sms, 409, {})).provider_id == ""


@pytest.mark.parametrize(
    ("status", "answer", "error", "code"),
    [
        # By rules.
        (400, {"error": {"code": 21610}}, Rejected, "21610"),
        (400, {"error": {"code": "OPT_OUT"}}, Rejected, "OPT_OUT"),
        (404, {"error": {"code": "NO_CREDIT"}}, Unavailable, "NO_CREDIT"),
        (200, {"error": {"code": "BUSY"}}, Unavailable, "BUSY"),
        (200, {"messages": [{"id": "m", "error": "bad number"}]}, Rejected, "200"),
        # By the status.
        (400, {"error": {"code": 17}}, Rejected, "17"),
        (400, b"<html>", Rejected, "400"),
        (401, {}, Unavailable, "401"),
        (429, {}, Unavailable, "429"),
        (503, b"", Unavailable, "503"),
        (302, {}, Unavailable, "302"),
        # No proof that the provider has it.
        (200, b"", Uncertain, "200"),
        (200, b"<html>It works!</html>", Uncertain, "200"),
        (200, {"messages": []}, Uncertain, "200"),
        (204, {"messages": [{"id": "m"}]}, Uncertain, "204"),
        # Prose and numbers are no codes.
        (400, {"error": {"code": "Sorry, +447700900123 is not allowed"}}, Rejected, "400"),
        (400, {"error": {"code": "447700900123"}}, Rejected, "400"),
        (400, {"error": {"code": 447700900123}}, Rejected, "400"),
        (400, {"error": {"code": {"deep": 1}}}, Rejected, "400"),
    ],
)
async def test_an_error_is_what_a_rule_or_the_status_says(opened, server, sms, status, answer, error, code):
    with pytest.raises(error) as caught:
        await _send(opened, server, sms, status, answer)
    assert caught.value.code == code
    assert "447700900123" not in str(caught.value)


async def test_the_kinds_of_errors(opened, server, sms):
    with pytest.raises(Rejected) as caught:
        await _send(opened, server, sms, 400, {"error": {"code": 21610}})
    assert caught.value.status is Status.UNSUBSCRIBED
    with pytest.raises(Unavailable) as caught:
        await _send(opened, server, sms, 400, {"error": {"code": "NO_CREDIT"}})
    assert caught.value.misconfigured
    with pytest.raises(Unavailable) as caught:
        await _send(opened, server, sms, 200, {"error": {"code": "BUSY"}}, {"Retry-After": "7"})
    assert (caught.value.misconfigured, caught.value.retry_after) == (False, 7.0)


async def test_without_a_place_of_the_id_any_success_is_one(opened, server, sms):
    server.answer = b"OK 1"
    async with opened({}) as plugin:
        assert (await plugin.send_sms(sms())).provider_id == ""


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (False, False),
        (None, False),
        (0, False),
        ("0", False),
        ("false", False),
        ("", False),
        ([], False),
        ({}, False),
        (True, True),
        (7, True),
        ("no", True),
        ("x" * 300, True),
        ([7], True),
        ({"code": 7}, True),
        (1.5, True),
    ],
)
async def test_a_rule_without_values_is_about_something(opened, server, sms, value, refused):
    server.answer = {"error": value}
    async with opened({"answer": {"errors": [{"at": "/error", "means": "rejected"}]}}) as plugin:
        if refused:
            with pytest.raises(Rejected):
                await plugin.send_sms(sms())
        else:
            await plugin.send_sms(sms())


@pytest.mark.parametrize("value", [False, "false"])
async def test_a_rule_may_be_about_a_boolean(opened, server, sms, value):
    server.answer = {"success": False}
    rules = [{"status": 200, "at": "/success", "values": [value], "means": "rejected"}]
    async with opened({"answer": {"errors": rules}}) as plugin:
        with pytest.raises(Rejected):
            await plugin.send_sms(sms())
        server.answer = {"success": True}
        await plugin.send_sms(sms())


TEXT = {
    "answer": {
        "split": ":",
        "id": "/1",
        "errors": [
            {"at": "/0", "values": ["ERR"], "means": "rejected"},
            {"at": "/0", "values": [25], "means": "misconfigured"},
        ],
    }
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"OK: 8f1", "8f1"),
        (b" ID:8f1:447700900123\r\n", "8f1"),
        (b"ERR: no such number +447700900123", Rejected),
        (b"25", Unavailable),
        (b"OK", Uncertain),
        (b"", Uncertain),
        (b"OK: \xff\x00", Uncertain),
        (b"OK: " + b"x" * 100_000, Uncertain),
        (b'{"id": "8f1 "}', Uncertain),
    ],
)
async def test_an_answer_may_be_a_text_of_parts(opened, server, sms, answer, expected):
    server.answer = answer
    async with opened(TEXT) as plugin:
        if isinstance(expected, str):
            assert (await plugin.send_sms(sms())).provider_id == expected
        else:
            with pytest.raises(expected) as caught:
                await plugin.send_sms(sms())
            assert "447700900123" not in f"{caught.value!r}"


@pytest.mark.parametrize(
    "answer",
    [
        b'{"messages": [{"id": "m-1"}], "x": "' + b"x" * 10_000_000 + b'"}',
        b"[" * 60_000,
        b'{"messages": ' * 5_000,
        b'{"messages": [{"id": "\\ud800"}]}',
        b'{"messages": [{"id": 1e3}]}',
        b'{"messages": [{"id": ' + b"9" * 5_000 + b"}]}",
        b'{"messages": [{"id": "a b"}]}',
        b'{"messages": {"0": {"id": null}}}',
    ],
)
async def test_an_answer_that_is_not_the_providers_is_uncertain(opened, server, sms, answer):
    with pytest.raises(Uncertain):
        await _send(opened, server, sms, 200, answer)


async def test_of_two_members_of_one_name_the_last_counts(opened, server, sms):
    answer = b'{"messages": [{"id": "first"}], "messages": [{"id": 18446744073709551617}]}'
    assert (await _send(opened, server, sms, 200, answer)).provider_id == "18446744073709551617"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, None),
        (204, Unavailable),
        (401, Unavailable),
        (400, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_ping_is_what_the_table_says(opened, server, status, expected, method):
    server.status, server.answer = status, b""
    changes = {"ping": {"path": "/me", "query": {"k": "{secret.k}"}, "success": [200], "method": method}}
    async with opened({**changes, "secrets": {"k": "a&b"}, "bearer": "x"}) as plugin:
        if expected is None:
            await plugin.ping()
        else:
            with pytest.raises(expected) as caught:
                await plugin.ping()
            assert caught.value.misconfigured == (status < 429)
    (request,) = server.requests
    assert (request.method, request.target) == (method, "/me?k=a%26b")
    assert request.headers["Authorization"] == "Bearer x"


# The preview.


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"key": "{secret.key}", "report": "{callback_url}"}},
        {
            "json": None,
            "form": {"to": "{recipient}", "t": "{text}", "key": "{secret.key}", "r": "{callback_url}"},
        },
    ],
)
def test_a_preview_shows_the_request_without_secrets(build, sms, body):
    plugin = build(
        {
            "request": {**body, "query": {"k": "{secret.key}"}},
            "headers": {"X-Key": "k={secret.key}"},
            "secrets": {"key": "hunter2"},
            "bearer": "hunter2",
            "webhook_token": {"header": "", "query": "t", "value": "hunter2"},
        },
        table="reports",
    )
    text = plugin.preview_request(sms())
    assert text.startswith("POST http://127.0.0.1:1/messages?k=•••••\n")
    assert "X-Key: k=•••••\nAuthorization: Bearer •••••\n" in text
    assert "https://gate.example/webhooks/acme?t=•••••" in text
    assert "+447700900123" in text
    assert "hunter2" not in text


def test_a_preview_hides_what_looks_like_a_secret_in_clear_text(build, sms):
    hidden = 'hunter2 "&ü'
    plugin = build(
        {
            "request": {
                "query": {"apikey": hidden, "r": "{callback_url}"},
                "json": {"login": {"password": hidden}},
                "headers": {"X-Auth-Token": "hunter2"},
            },
            "webhook_token": {"header": "", "query": "t", "value": "hunter2"},
        },
        table="reports",
    )
    text = plugin.preview_request(sms())
    assert "hunter" not in text
    assert text.count("•••••") == 4


# Properties of the templates.

NAMES = ["id", "text", "lifetime_seconds"]
TEMPLATES = st.lists(st.one_of(st.sampled_from([f"{{{name}}}" for name in NAMES]), st.text(max_size=5)))


@given(TEMPLATES, st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_a_template_is_its_literal_text_and_its_values(parts, values):
    """Whatever the literal texts are, escaping their braces gives them back, and values are never read again."""
    known = {name: values.get(name, "7") for name in NAMES}
    text = "".join(
        part if part[1:-1] in NAMES else part.replace("{", "{{").replace("}", "}}") for part in parts
    )
    expected = "".join(known[part[1:-1]] if part[1:-1] in NAMES else part for part in parts)
    assert parse_text(text, NAMES).fill(known) == expected


JSON = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(10**9), 10**9),
        st.text(alphabet=string.printable.replace("{", "").replace("}", "")),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5).filter(lambda key: key != "..."), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_json_without_placeholders_is_itself(value):
    template = parse_json(value, NAMES, "json", lambda key, problem: pytest.fail(f"{key}: {problem}"))
    assert fill_json(template, {}) == value


@given(st.text(), st.text())
@example('"', '","to":"+1')
@example("{text}", "{{")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_stays_in_its_place(build, sms, text, sender):
    """Encoded and decoded again, every body holds exactly the values, in their places."""
    message = sms(text=text, sender=sender or "x")
    shape = {"a": {"t": "{text}"}, "b": ["{sender}", "{text}|{sender}"]}
    plugin = build({"request": {"json": shape}})
    body = msgspec.json.decode(plugin._prepare(message, {}, token="").body)
    assert body["a"] == {"t": text}
    assert body["b"] == [message.sender, f"{text}|{message.sender}"]
    plugin = build({"request": {"query": {"q": "{text}", "s": "{sender}"}}})
    url = urlsplit(plugin._prepare(message, {}, token="").path)
    assert url.path == "/messages"
    assert parse_qsl(url.query, keep_blank_values=True) == [("q", text), ("s", message.sender)]
