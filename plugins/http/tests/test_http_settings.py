"""What is refused at the start, with the key that is wrong, and what the operator is warned of."""

import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.model import Channel, Secret
from gatepost.plugin_host.instances import Instance

HMAC = {"key": "a-key-of-the-account", "header": "X-Signature"}


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        # Keys, at any depth.
        ({"requset": {}, "request": None}, "requset", "is it request?"),
        ({"request": {"pth": "/x", "path": None}}, "request.pth", "is it path?"),
        ({"answer": {"errors": [{"mean": "rejected"}]}}, "answer.errors[1].mean", "is it means?"),
        ({"answer": {"errors": [{"means": "refused"}]}}, "answer.errors[1].means", "must be one of"),
        ({"request": {"method": "DELETE"}}, "request.method", "must be one of: POST, PUT, GET"),
        ({"channel": "viber"}, "channel", "must be one of: email, sms"),
        ({"base_url": "api.example.com"}, "base_url", "must be a URL"),
        ({"base_url": "https://{secret.account}.example"}, "base_url", "has no placeholders"),
        ({"base_url": "https://api.example/{recipient}"}, "base_url", "has no placeholders"),
        # Placeholders.
        ({"request": {"json": {"a": [{"b": "{sende}"}]}}}, "request.json.a[1].b", "is it {sender}?"),
        ({"request": {"json": {"a": "{html}"}}}, "request.json.a", "{html} is no placeholder here"),
        ({"request": {"json": {"a": "{"}}}, "request.json.a", "write {{ or }}"),
        ({"request": {"json": {"a": "{text:number}"}}}, "request.json.a", "{text} is no number"),
        ({"request": {"json": {"a": "in {lifetime_minutes:number}"}}}, "request.json.a", "the whole"),
        ({"request": {"json": {"a": "{secret.key}"}}}, "request.json.a", "{secret.key} is no placeholder"),
        ({"request": {"json": {"a": float("nan")}}}, "request.json.a", "must be a text, a number"),
        ({"request": {"query": {"a": "{nobody}"}}}, "request.query.a", "no placeholder here"),
        ({"request": {"path": "/{text}"}}, "request.path", "{text} is no placeholder here"),
        ({"request": {"path": "/{sender}"}}, "request.path", "{sender} is no placeholder here"),
        ({"request": {"headers": {"X-A": "{text}"}}}, "request.headers.X-A", "{text} is no placeholder here"),
        ({"headers": {"X-A": "{id}"}}, "headers.X-A", "{id} is no placeholder here"),
        # Requests.
        ({"request": {"path": "messages"}}, "request.path", "must begin with a slash"),
        ({"request": {"path": "/a?b=c"}}, "request.path", "parameters belong to query"),
        ({"request": {"path": "/a/../b"}}, "request.path", "must begin with a slash"),
        ({"request": {"form": {"a": "b"}}}, "request.form", "a request has one body"),
        ({"request": {"json": {"to": "x"}}}, "request", "it would reach nobody"),
        ({"request": {"json": {"text": "x"}}}, "request", "the message would be empty"),
        ({"request": {"headers": {"Host": "x"}}}, "request.headers.Host", "not a header that can be set"),
        (
            {"request": {"json": None, "form": {"to": "{recipient}"}, "headers": {"content-type": "x"}}},
            "request.headers",
            "beside form",
        ),
        ({"request": {"path": "/{idempotency_key}"}}, "request.path", "no placeholder here"),
        ({"request": {"headers": {"a b": "x"}}}, "request.headers.a b", "not a header that can be set"),
        ({"headers": {"X-A": "ü"}}, "headers.X-A", "printable ASCII"),
        ({"headers": {"X-A": "a\r\nX-B: c"}}, "headers.X-A", "printable ASCII"),
        (
            {"request": {"json": {"a": {"...": "{text}"}}}},
            "request.json.a....",
            "must be {headers} or a table",
        ),
        ({"request": {"json": {"...": 5}}}, "request.json....", "must be {headers} or a table"),
        ({"request": {"json": {"...": ["{text}"]}}}, "request.json....", "must be {headers} or a table"),
        ({"request": {"method": "GET"}}, "request.json", "a GET has none"),
        ({"request": {"method": "GET", "json": None, "form": {"to": "x"}}}, "request.form", "a GET has none"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a", "is there twice"),
        # Credentials.
        ({"bearer": "a", "basic": {"username": "u", "password": "p"}}, "basic", "one Authorization header"),
        ({"bearer": "a", "headers": {"authorization": "x"}}, "bearer", "one Authorization header"),
        ({"bearer": ""}, "bearer", "not empty"),
        ({"bearer": "a\nb"}, "bearer", "must be one word"),
        ({"basic": {"username": "a:b", "password": "p"}}, "basic.username", "colon"),
        ({"basic": {"username": "a", "password": ""}}, "basic.password", "empty"),
        ({"secrets": {"key": ""}}, "secrets.key", "empty"),
        ({"secrets": {"my key": "x"}}, "secrets.my key", "letters, digits"),
        (
            {"secrets": {"key": "ü"}, "headers": {"X-Key": "{secret.key}"}},
            "secrets.key",
            "can't be in a header",
        ),
        # Answers.
        ({"answer": {"id": "id"}}, "answer.id", "must be a JSON pointer"),
        ({"answer": {"id": "/a~2"}}, "answer.id", "must be a JSON pointer"),
        ({"answer": {"success": ["2x"]}}, "answer.success", "must be HTTP statuses"),
        (
            {"answer": {"errors": [{"status": 4000, "means": "rejected"}]}},
            "answer.errors[1].status",
            "must be HTTP",
        ),
        (
            {"answer": {"errors": [{"at": "x", "means": "rejected"}]}},
            "answer.errors[1].at",
            "must be a JSON pointer",
        ),
        ({"answer": {"errors": [{"means": "rejected"}]}}, "answer.errors[1]", "holds for every answer"),
        (
            {"answer": {"errors": [{"status": 400, "values": ["x"], "means": "rejected"}]}},
            "answer.errors[1].values",
            "needs at",
        ),
        ({"answer": {"split": ":", "id": "/id"}}, "answer.id", "the number of a part"),
        ({"answer": {"split": ":", "code": "/0/1"}}, "answer.code", "the number of a part"),
        (
            {"answer": {"split": ":", "errors": [{"at": "/error", "means": "rejected"}]}},
            "answer.errors[1].at",
            "the number of a part",
        ),
        # What belongs together.
        ({"shortest_lifetime": 60, "longest_lifetime": 30}, "shortest_lifetime", "is longer than"),
        ({"replay_safe": 60}, "replay_safe", "needs {idempotency_key}"),
        (
            {
                "replay_safe": 60,
                "request": {"json": {"key": "{idempotency_key}", "until": "{expires_at}"}},
            },
            "replay_safe",
            "{expires_at} differs",
        ),
        ({"ping": {"path": "/{id}"}}, "ping.path", "no placeholder here"),
        ({"ping": {"path": "/x", "success": ["ok"]}}, "ping.success", "must be HTTP statuses"),
    ],
)
def test_a_fault_names_its_key(faults, changes, key, words):
    assert words in faults(changes)[key]


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"webhook": {"statuses": {"OK": "deliverd"}}}, "webhook.statuses.OK", "is it delivered?"),
        ({"webhook": {"status": "status"}}, "webhook.status", "must be a JSON pointer"),
        ({"webhook": {"status": ""}}, "webhook.status", "is empty"),
        ({"webhook": {"id": "header:x"}}, "webhook.id", "form:NAME, or query:NAME"),
        ({"webhook": {"id": ""}}, "webhook.id", "is missing"),
        ({"webhook": {"id": "form:id"}}, "webhook", "either JSON or a form"),
        ({"webhook": {"reports": "results"}}, "webhook.reports", "must be a JSON pointer"),
        (
            {"webhook": {"status": "form:s", "id": "form:i", "reports": "/results"}},
            "webhook.reports",
            "for JSON bodies only",
        ),
        ({"webhook": {"statuses": None, "status": "/s"}}, "webhook.statuses", "is missing"),
        (
            {"webhook": {"statuses": {"OK": "", "NO": "", "SEEN": ""}}},
            "webhook.statuses",
            "gives no word a status",
        ),
        (
            {"webhook": {"inbound": {"recipient": "/from", "text": ""}}},
            "webhook.inbound",
            "needs the places",
        ),
        ({"webhook": {"id": "query:id"}}, "webhook.id", "the request has no {callback_url}"),
        ({"webhook_token": {"header": ""}}, "webhook_token", "either header or query"),
        ({"webhook_token": {"query": "t"}}, "webhook_token", "either header or query"),
        ({"webhook_token": {"value": ""}}, "webhook_token.value", "is empty"),
        ({"webhook_hmac": HMAC}, "webhook_token", "in one way"),
        ({"webhook": None}, "webhook_token", "no webhook table"),
        ({"webhook_token": None, "webhook_hmac": {**HMAC, "key": ""}}, "webhook_hmac.key", "empty"),
        ({"webhook_token": None, "webhook_hmac": {**HMAC, "header": ""}}, "webhook_hmac.header", "empty"),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "signed": ["body", "nonce"]}},
            "webhook_hmac.signed[2]",
            "is not a part of a request",
        ),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "signed": ["body", "timestamp"]}},
            "webhook_hmac.timestamp_header",
            "belong together",
        ),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "timestamp_header": "X-Time"}},
            "webhook_hmac.timestamp_header",
            "belong together",
        ),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "signed": ["url"]}},
            "webhook_hmac.signed",
            'must have "body"',
        ),
        (
            {
                "webhook_token": None,
                "webhook_hmac": HMAC,
                "webhook": {"id": "query:id"},
                "request": {"json": {"report": "{callback_url}"}},
            },
            "webhook_hmac.signed",
            'must have "url"',
        ),
        ({"webhook_token": None, "webhook_hmac": {"header": "X"}}, "webhook_hmac.key", "is missing"),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "header": "X-Signature:"}},
            "webhook_hmac.header",
            "is no name of a header",
        ),
        (
            {"webhook_token": None, "webhook_hmac": {**HMAC, "signed": ["body", "header: X-Nonce"]}},
            "webhook_hmac.signed[2]",
            "is no name of a header",
        ),
        (
            {
                "webhook_token": None,
                "webhook_hmac": {**HMAC, "signed": ["body", "timestamp"], "timestamp_header": "X Time"},
            },
            "webhook_hmac.timestamp_header",
            "is no name of a header",
        ),
        ({"webhook_token": {"header": "X Token"}}, "webhook_token.header", "is no name of a header"),
    ],
)
def test_a_fault_of_reports_names_its_key(faults, changes, key, words):
    assert words in faults(changes, table="reports")[key]


def test_all_faults_are_named_at_once(faults):
    found = faults(
        {"request": {"path": "x", "json": {"a": "{b}", "c": ["{d}"]}}, "answer": {"id": "x"}, "bearer": ""}
    )
    assert {"request.path", "request.json.a", "request.json.c[1]", "answer.id", "bearer"} <= found.keys()


def test_no_fault_quotes_a_value(faults):
    found = faults({"bearer": "hunter2\n", "secrets": {"a b": "hunter2"}, "answer": {"success": ["hunter2"]}})
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"request": {"query": {"to": "{recipient}"}}}, "request", "{recipient} in its URL"),
        (
            {"secrets": {"key": "x"}, "request": {"query": {"apikey": "{secret.key}"}}},
            "request",
            "{secret.key} in its URL",
        ),
        (
            {"request": {"method": "GET", "json": None, "query": {"to": "{recipient}", "t": "{text}{id}"}}},
            "request",
            'use method = "POST" and form',
        ),
        ({"request": {"json": {"ref": "x"}}}, "request", "has no {id}"),
        ({"headers": {"X-Api-Key": "abc"}}, "headers.X-Api-Key", "in clear text"),
        ({"secrets": {"key": "abc\n"}}, "secrets.key", "ends with a space or a line break"),
        ({"basic": {"username": "a", "password": " b"}}, "basic.password", "begins or ends with a space"),
        (
            {"request": {"json": {"login": {"password": "abc"}}}},
            "request.json.login.password",
            "in clear text",
        ),
        ({"request": {"query": {"token": "abc"}}}, "request.query.token", "in clear text"),
    ],
)
def test_the_operator_is_warned(warnings, changes, key, words):
    assert words in warnings(changes)[key]


def test_an_email_without_its_headers_is_warned_of(warnings):
    assert (
        "List-Unsubscribe"
        in warnings({"request": {"json": {"headers": None}}}, table="email")["request.json"]
    )


def test_a_good_table_is_warned_of_nothing(warnings):
    assert warnings({"headers": {"Accept": "application/json"}, "bearer": "x"}) == {}
    assert warnings({}, table="email") == {}


@pytest.mark.parametrize(
    ("changes", "table", "hooks", "channel"),
    [
        ({}, "sms", {"lifespan", "send_sms"}, Channel.SMS),
        ({}, "email", {"lifespan", "send_email"}, Channel.EMAIL),
        ({"ping": {"path": "/me"}}, "sms", {"lifespan", "send_sms", "ping"}, Channel.SMS),
        ({}, "reports", {"lifespan", "send_sms", "parse_webhook"}, Channel.SMS),
    ],
)
def test_an_instance_has_the_hooks_that_its_table_is_about(build, changes, table, hooks, channel):
    plugin = build(changes, table=table)
    instance = Instance(InstanceSettings(name="acme", use="http"), plugin)
    assert instance.hooks == hooks
    assert instance.channels == {channel}


def test_secrets_come_from_the_environment_and_stay_secrets(build):
    plugin = build(
        {"secrets": {"key": "env:KEY"}, "webhook_token": {"value": "env:KEY"}},
        table="reports",
        environment={"KEY": "hunter2"},
    )
    settings = plugin._settings
    assert settings.secrets == {"key": Secret("hunter2")}
    assert "hunter2" not in repr(settings)


def test_the_classes_attributes_follow_the_table(build):
    plugin = build(
        {"replay_safe": 60, "retry_status": 429, "request": {"json": {"key": "{idempotency_key}"}}}
    )
    instance = Instance(InstanceSettings(name="acme", use="http"), plugin)
    assert (instance.replay_safe, instance.retry_status) == (60.0, 429)
