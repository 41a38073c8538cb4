"""The plugin and the emulator beside Twilio's specification: facts of its OpenAPI file of April 2026 and its error list.

Not the files themselves, but what they say of the messages that this plugin sends.
"""

import json
import re
from contextlib import suppress

import pytest

from gatepost.errors import Rejected, SendError, Unavailable
from gatepost.model import Secret, Status
from gatepost.testing import emulator
from gatepost_twilio.testing.request_rules import PARAMETERS

# CreateMessage: the name and the type of each parameter. To is required.
TYPES = {
    **dict.fromkeys(("To", "From", "FallbackFrom"), "phone-number"),
    "Body": "text",
    "StatusCallback": "uri",
    "MediaUrl": "uri",
    "ApplicationSid": "AP",
    "MessagingServiceSid": "MG",
    "ContentSid": "HX",
    "MaxPrice": "number",
    **dict.fromkeys(
        ("ProvideFeedback", "ForceDelivery", "SmartEncoded", "ShortenUrls", "SendAsMms"), "boolean"
    ),
    **dict.fromkeys(("Attempt", "ValidityPeriod"), "integer"),
    "ContentRetention": ("retain", "discard"),
    "AddressRetention": ("retain", "obfuscate"),
    "RiskCheck": ("enable", "disable"),
    "TrafficType": ("free",),
    "ScheduleType": ("fixed",),
    "PersistentAction": "text",
    "SendAt": "date-time",
    "ContentVariables": "text",
}
GOOD = {
    "phone-number": ["+14155552345", "whatsapp:+14155552345"],
    "text": ["{}"],
    "uri": ["https://gateway.example/webhooks/twilio?id=1#rc=5&rp=all"],
    **{prefix: [prefix + "a" * 32, prefix + "F" * 32] for prefix in ("AP", "MG", "HX")},
    "number": ["0.05", "1"],
    "boolean": ["true", "false"],
    "integer": ["1", "10"],
    "date-time": ["2026-11-28T10:00:00Z"],
}
BAD = {
    "phone-number": ["", "14155552345a@", "+0", "whatsapp:"],
    "text": [],
    "uri": ["", "gateway.example", "ftp://gateway.example", "https://gate_way.example", "https://"],
    **{
        prefix: ["", prefix, "XX" + "a" * 32, prefix + "g" * 32, prefix + "a" * 33]
        for prefix in ("AP", "MG", "HX")
    },
    "number": ["", "dear", "-1"],
    "boolean": ["", "yes", "1"],
    "integer": ["", "-1", "1.5", "٧"],
    "date-time": ["", "tomorrow"],
}
SID = re.compile("(SM|MM)[0-9a-fA-F]{32}")
RESOURCE = (
    "body num_segments direction from to date_updated price error_message uri account_sid num_media status "
    "messaging_service_sid sid date_sent date_created error_code price_unit api_version subresource_uris"
)

# MessageStatus, with what each one means here.
STATUSES = {
    **dict.fromkeys(("queued", "sending", "sent", "accepted", "scheduled"), (Status.ACCEPTED,)),
    "delivered": (Status.DELIVERED,),
    "undelivered": (Status.FAILED,),
    "failed": (Status.REJECTED,),
    "read": (Status.OPENED,),
    "canceled": (Status.REJECTED,),
    # Of incoming messages; and of a message of which only some parts came.
    **dict.fromkeys(("receiving", "received", "partially_delivered"), ()),
}

# The errors that Twilio lists for a request that creates a message, and what becomes of the message.
REFUSED = (
    "20001 20422 21211 21212 21213 21214 21217 21218 21602 21604 21605 21614 21617 21618 21619 21620 21621 21622 21623 "
    "21624 21626 21627 21635 21652 21653 21654 21656 21658 30029 30030 35111 35114 35118 35126 63003 63024 90007 90014 "
    "92005 92007"
)
MISCONFIGURED = (
    "10001 20003 20005 20006 20008 20009 20010 20403 20404 21609 21655 21701 21702 21704 21705 30002 63002 63007 63008 "
    "70051 90010 92006"
)
CONTENT_ONLY = (
    "10002 21215 21219 21408 21601 21603 21606 21607 21608 21616 21657 21659 21660 21661 21703 21708 21709 21711 21712 "
    "21715 21910 30044 63015 63016"
)
# The errors that Twilio lists for a message that it has taken.
NOT_REACHED = "30003 30005 30006 30008 30009 30017 30021 30036 30410 30485 63003 63009 63010 63012 63017 63023 63024 63029 63036"
REFUSED_LATER = (
    "30001 30002 30004 30007 30010 30018 30019 30022 30023 30024 30027 30032 30033 30034 30035 30037 30038 30040 30041 "
    "30042 30044 30450 30453 30454 63001 63002 63005 63006 63007 63008 63013 63014 63015 63016 63018 63020 63021 63022 "
    "63026 63027 63028 63030 63031 63032 63033 63038 63040 63041 63042 63049 63051"
)


def is_valid(name, value):
    kind = TYPES[name]
    if isinstance(kind, tuple):
        return value in kind
    patterns = {
        "phone-number": r"(whatsapp:)?\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 +_&-]{1,11}",
        "text": r"(?s).{1,1600}|\{.*\}",
        "uri": r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]*",
        "integer": "[0-9]+",
    }
    return re.fullmatch(patterns.get(kind, f"{kind}[0-9a-fA-F]{{32}}"), value) is not None


@pytest.mark.parametrize("keys", [{}, {"messaging_service": "MG" + "a" * 32}, {"channel": "whatsapp"}])
@pytest.mark.parametrize("text", ["Hello", "ж\n😀" * 500, 'a "quoted" \\ text & more'])
async def test_every_request_of_the_plugin_is_valid(twilio, running, sms, whatsapp, keys, text):
    is_template = "channel" in keys
    async with running(**(whatsapp if is_template else keys)) as plugin:
        await plugin.send_sms(sms(text.replace("\n", " ") if is_template else text))

    form = twilio.taken[0].message
    assert "To" in form
    assert [(name, value) for name, value in form.items() if not is_valid(name, value)] == []
    assert 1 <= int(form["ValidityPeriod"]) <= 36_000


def test_the_emulator_knows_every_parameter():
    assert PARAMETERS.keys() == TYPES.keys()


@pytest.mark.parametrize("name", TYPES)
def test_the_emulator_holds_each_parameter_to_its_type(name):
    _, is_good = PARAMETERS[name]
    kind = TYPES[name]
    good, bad = (kind, ["", "none"]) if isinstance(kind, tuple) else (GOOD[kind], BAD[kind])

    assert [value for value in good if not is_good(value)] == []
    assert [value for value in bad if is_good(value)] == []


@pytest.mark.parametrize(
    ("period", "is_valid"), [("0", False), ("1", True), ("36000", True), ("36001", False)]
)
def test_the_validity_has_limits(period, is_valid):
    assert PARAMETERS["ValidityPeriod"][1](period) is is_valid


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_of_a_message_is_mapped(twilio, plugin, sms, reported, status):
    await plugin.send_sms(sms())
    report = await reported(twilio.event(status, twilio.taken[0]))

    assert tuple(event.status for event in report.events) == STATUSES[status]
    assert bool(report.ignored) is not bool(report.events)


async def outcome(twilio, plugin, sms, code, status=400):
    twilio.plan(emulator.answer(status, reason=code))
    with pytest.raises(SendError) as raised:
        await plugin.send_sms(sms())
    assert raised.value.code == code
    return raised.value


@pytest.mark.parametrize("code", REFUSED.split())
async def test_every_refusal_of_a_message_rejects_it(twilio, plugin, sms, code):
    error = await outcome(twilio, plugin, sms, code)

    assert isinstance(error, Rejected)
    assert error.status is None


@pytest.mark.parametrize("code", MISCONFIGURED.split())
async def test_every_fault_of_the_account_stops_the_instance(twilio, plugin, sms, code):
    error = await outcome(twilio, plugin, sms, code)

    assert isinstance(error, Unavailable)
    assert (error.misconfigured, error.content_only, error.message_only) == (True, False, False)
    assert "answered" not in str(error)


@pytest.mark.parametrize("code", CONTENT_ONLY.split())
async def test_every_fault_of_a_sender_or_country_leaves_the_others_alone(twilio, plugin, sms, code):
    error = await outcome(twilio, plugin, sms, code)

    assert isinstance(error, Unavailable)
    assert (error.misconfigured, error.content_only, error.message_only) == (True, True, False)


@pytest.mark.parametrize(
    ("code", "status", "content_only", "message_only"),
    [
        ("14107", 429, False, True),
        ("20429", 429, False, False),
        ("20500", 500, False, False),
        ("20503", 503, False, False),
        ("21611", 400, True, False),
        ("21612", 400, False, True),
        ("30001", 400, True, False),
    ],
)
async def test_what_passes_is_nobodys_fault(twilio, plugin, sms, code, status, content_only, message_only):
    error = await outcome(twilio, plugin, sms, code, status)

    assert isinstance(error, Unavailable)
    assert (error.misconfigured, error.content_only, error.message_only) == (
        False,
        content_only,
        message_only,
    )


@pytest.mark.parametrize("status", ["failed", "undelivered"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, [Status.FAILED]) for code in NOT_REACHED.split()),
        *((code, [Status.REJECTED]) for code in REFUSED_LATER.split()),
        ("21610", [Status.UNSUBSCRIBED, Status.REJECTED]),
    ],
)
async def test_every_error_of_a_report_is_mapped(twilio, plugin, sms, reported, status, code, expected):
    await plugin.send_sms(sms())
    report = await reported(twilio.event(f"{status}:{code}", twilio.taken[0]))

    assert [(event.status, event.code) for event in report.events] == [(one, code) for one in expected]


@pytest.mark.parametrize("number", ["+447700900123", "+15005550004"])
async def test_what_the_emulator_answers_is_a_message_or_an_error(twilio, plugin, sms, number, monkeypatch):
    answers = []
    answer_to = twilio.answer_to

    async def watched(request, body):
        response = await answer_to(request, body)
        answers.append(json.loads(response.body))
        return response

    monkeypatch.setattr(twilio, "answer_to", watched)
    with suppress(Rejected):
        await plugin.send_sms(sms(recipient=Secret(number)))

    [answer] = answers
    if "code" in answer:
        assert answer.keys() == {"code", "message", "more_info", "status"}
    else:
        assert answer.keys() == set(RESOURCE.split())
        assert SID.fullmatch(answer["sid"])
        assert answer["status"] in STATUSES
