"""The types that plugins receive."""

import pytest

from gatepost import model
from gatepost.errors import BadWebhook
from gatepost.model import WebhookRequest


def request(query: str) -> WebhookRequest:
    url = f"https://gate.example/webhooks/relay{query}"
    return WebhookRequest(method="GET", url=url, headers={}, body=b"", received_at=0.0)


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("", {}),
        ("?", {}),
        ("?a=1&b=&a=2&c", {"a": "2", "b": "", "c": ""}),
        ("?name=J%C3%BCrgen+K%26&q=what?", {"name": "Jürgen K&", "q": "what?"}),
        ("?%00=%ff", {"\0": "\ufffd"}),
    ],
)
def test_the_query_is_parsed_from_the_url(query, parameters):
    assert request(query).query == parameters


@pytest.mark.parametrize("query", ["?a=1" + "&a=1" * 127, "?a=" + "%41" * 2730])
def test_a_query_within_the_limits_is_parsed(query):
    assert request(query).query


@pytest.mark.parametrize("query", ["?" + "a=1&" * 128, "?" + "&" * 8_000, "?a=" + "x" * 8_191])
def test_a_query_over_the_limits_is_refused(query):
    with pytest.raises(BadWebhook, match="the query has more than 8,192 bytes or 128 parameters"):
        _ = request(query).query


def test_the_query_is_parsed_once_at_the_first_access(monkeypatch):
    calls = []
    monkeypatch.setattr(model, "parse_qsl", lambda *_, **__: calls.append(1) or [("a", "1")])
    one = request("?a=1")
    assert calls == []
    assert (one.query, one.query, len(calls)) == ({"a": "1"}, {"a": "1"}, 1)
