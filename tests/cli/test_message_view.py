"""How a message is shown to operators."""

import json

import pytest

from gatepost.cli import message_view
from gatepost.outbox.queries import MessageView, TryView


def message(**cost):
    one = {
        "attempt": 1,
        "instance": "twilio",
        "choice": "",
        "outcome": "sent",
        "provider_id": "SM1",
        "reason": "",
        "code": "",
        "started_at": 1_800_000_000.0,
        "duration": 0.5,
        "parts": 0,
        "price": "",
        "currency": "",
    }
    return MessageView(
        id="0" * 36,
        client="brand",
        channel="sms",
        route="sms",
        country="GB",
        uid="uid-1",
        ext_user_id="anna",
        state="sent",
        created_at=1_800_000_000.0,
        due_at=None,
        expires_at=1_800_000_060.0,
        ended_at=1_800_000_001.0,
        attempts=1,
        deaths=0,
        instance="twilio",
        reason="",
        code="",
        has_content=False,
        tries=[TryView(**{**one, **cost})],
        statuses=[],
    )


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        ({}, "twilio: sent (0.50 s)"),
        ({"parts": 1}, "twilio: sent (0.50 s, 1 part)"),
        (
            {"parts": 2, "price": "0.0150", "currency": "EUR"},
            "twilio: sent (0.50 s, 2 parts, 0.0150 EUR)",
        ),
        ({"price": "0"}, "twilio: sent (0.50 s, 0)"),
        (
            {"price": "0.01", "currency": "USD", "choice": "split", "code": "7"},
            "twilio: sent (0.50 s, split, 0.01 USD, [7])",
        ),
        ({"currency": "USD"}, "twilio: sent (0.50 s)"),
    ],
)
def test_a_try_shows_what_it_cost(cost, shown):
    lines = message_view.full_text(message(**cost), "", "").plain.splitlines()

    assert [line.split("Z  ", 1)[1] for line in lines if "twilio: " in line] == [shown]


def test_the_json_has_what_a_try_cost(capsys):
    message_view.print_json(message(parts=2, price="0.015", currency="EUR"))

    (one,) = json.loads(capsys.readouterr().out)["tries"]
    assert (one["parts"], one["price"], one["currency"]) == (2, "0.015", "EUR")
