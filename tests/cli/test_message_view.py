"""How a message is shown to operators."""

import json

import pytest
from msgspec.structs import replace

from gatepost.cli import message_view
from gatepost.config.settings import Delivery
from gatepost.outbox.queries import MessageView, StatusView, TryView
from gatepost.web.admin.message_timeline import Surroundings, next_steps, timeline


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
        "counted_parts": 0,
        "not_gsm7": "",
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
        ({}, ""),
        ({"parts": 1}, ", 1 part"),
        ({"parts": 2, "price": "0.0150", "currency": "EUR"}, ", 2 parts, price 0.0150 EUR"),
        ({"price": "0"}, ", price 0"),
        ({"currency": "USD"}, ""),
        ({"counted_parts": 1}, ", 1 part by Gatepost's count"),
        (
            {"parts": 2, "not_gsm7": "’"},
            ", 2 parts, not in the GSM alphabet because of ’ (U+2019, right single quotation mark)",
        ),
        (
            {"counted_parts": 1, "not_gsm7": "\x07"},
            ", 1 part by Gatepost's count, not in the GSM alphabet because of (U+0007, a control character)",
        ),
    ],
)
def test_a_try_shows_what_it_cost(cost, shown):
    (step,) = [one for one in timeline(message(**cost), (), ()) if one.kind == "try"]

    assert step.text == f"twilio: sent after 0.50 s, its id SM1{shown}"


def test_a_try_shows_why_the_instance_was_chosen_and_what_it_said():
    one = message(
        choice="after vonage was unavailable",
        outcome="rejected",
        reason="no credit",
        code="7",
        provider_id="",
    )

    texts = [step.text for step in timeline(one, (), ()) if step.failed]

    assert texts == ["twilio (after vonage was unavailable): rejected after 0.50 s: no credit [7]"]


def status(callback_state, **values):
    usual = {
        "status": "delivered",
        "code": "",
        "recorded_at": 1_800_000_002.0,
        "reporter": "twilio",
        "callback_state": callback_state,
        "target": "crm.example:443",
        "attempts": 0,
        "called_at": None,
        "http_status": 0,
        "next_attempt_at": None,
        "problem": "",
    }
    return StatusView(**{**usual, **values})


@pytest.mark.parametrize(
    ("callback", "happened", "following"),
    [
        (status("none"), [], []),
        (
            status("acknowledged", attempts=1, called_at=1_800_000_003.0, http_status=204),
            ["told crm.example:443 delivered: HTTP 204"],
            [],
        ),
        (
            status("acknowledged", attempts=3, called_at=1_800_000_003.0, http_status=200),
            ["told crm.example:443 delivered: HTTP 200 at call 3"],
            [],
        ),
        (
            status(
                "queued",
                attempts=2,
                called_at=1_800_000_003.0,
                problem="timeout",
                next_attempt_at=1_800_000_300.0,
            ),
            ["call 2 of 8 to tell crm.example:443 delivered failed: timeout"],
            ["call 3 of 8 to tell crm.example:443 delivered"],
        ),
        (status("waiting"), [], ["crm.example:443 is told delivered after the status before it"]),
        (status("calling"), [], ["crm.example:443 is being told delivered"]),
        (
            status("dead", attempts=8, called_at=1_800_000_003.0, problem="HTTP 500", http_status=500),
            ["gave up telling crm.example:443 delivered after 8 calls: HTTP 500"],
            ["crm.example:443 can be told delivered all the same"],
        ),
    ],
    ids=lambda one: one.callback_state if isinstance(one, StatusView) else "",
)
def test_a_callback_shows_how_smartico_answered_and_what_comes_next(callback, happened, following):
    one = replace(message(), statuses=[callback])
    steps = timeline(one, (), ())

    assert [step.text for step in steps if step.kind == "status"] == ["status delivered, reported by twilio"]
    assert [step.text for step in steps if step.kind == "callback"] == happened
    after = [step.text for step in next_steps(one, Surroundings(now=0.0, delivery=Delivery()))]
    assert after[:-1] == following
    assert after[-1] == "deleted from the store, with its timeline"


@pytest.mark.parametrize(
    ("state", "due_in", "text"),
    [
        ("queued", 60.0, "the next try, in 60 s"),
        ("queued", -300.0, "a try, as soon as its turn comes; due for 5 min"),
        ("suspect", 60.0, "the next try, alone, in 60 s"),
        ("sending", 60.0, "a provider's answer is waited for; at the latest then it counts as lost"),
        ("uncertain", 60.0, "sent again, unless its provider reports that it has it"),
        ("awaiting", 60.0, "handed to the next plugin of its route, unless its delivery is reported"),
    ],
)
def test_a_message_that_waits_shows_what_comes_next(state, due_in, text):
    now = 1_800_000_000.0
    one = replace(message(), state=state, due_at=now + due_in, expires_at=now + 3600, ended_at=None)

    steps = next_steps(one, Surroundings(now=now, delivery=Delivery()))

    assert [step.text for step in steps] == [text, "fails, unless a provider has it until then"]
    assert steps[-1].at == now + 3600


def test_a_long_line_goes_on_beside_the_times():
    one = message(reason="a long reason " * 8, outcome="rejected")
    text = message_view.full_text(one, timeline(one, (), ()), [], 60).plain

    _, _, happened = text.partition("What happened (UTC)\n")
    assert all(line[:22].strip() == "" or line[:20].endswith("Z") for line in happened.splitlines())
    assert max(map(len, text.splitlines())) <= 60


def test_the_json_has_what_a_try_cost(capsys):
    message_view.print_json(message(parts=2, price="0.015", currency="EUR"))

    (one,) = json.loads(capsys.readouterr().out)["tries"]
    assert (one["parts"], one["price"], one["currency"]) == (2, "0.015", "EUR")
