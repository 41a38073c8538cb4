"""The plugin and the emulator held against facts of Infobip's own documents.

``infobip_fields.txt`` lists the fields of the three requests in its OpenAPI document (3.210.0): whether one is required
(``!``), its path, its type, and its limits or its words. ``infobip_errors.txt`` lists the errors of messages on its page of
response codes.
"""

import copy
import re
from pathlib import Path

import pytest

from gatepost.model import Status
from gatepost_infobip.testing.codes import ERRORS, STATUSES
from gatepost_infobip.testing.requests import BODIES

HERE = Path(__file__).parent
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}

SAMPLES = {
    "to": "447700900123",
    "from": "447700900999",
    "type": "TEXT",
    "url": "https://gateway.example/w",
    "notifyUrl": "https://gateway.example/w",
    "trackingUrl": "https://gateway.example/w",
    "contentType": "application/json",
    "sendAt": "2026-11-27T16:00:00.000+0000",
    "templateName": "news",
    "language": "en_GB",
    "sender": "Amazing",
}
"""Values of texts whose form is not in the table."""


def read_fields():
    requests = {}
    for line in (HERE / "infobip_fields.txt").read_text().splitlines():
        if line.startswith("/"):
            fields = requests.setdefault(line, {})
        else:
            mark, path, kind, *limits = line.split()
            fields[path] = (mark == "!", kind, limits[0] if limits else "")
    return requests


FIELDS = read_fields()
CHANNELS = dict(zip(("sms", "viber", "whatsapp"), FIELDS, strict=True))
EACH_FIELD = [(request, path) for request, fields in FIELDS.items() for path in fields]


def values_in(value, path=""):
    """Yield the path and the value of each field, as the table has its paths."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, one in value.items():
            yield from values_in(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for one in value:
            yield from (
                pair
                for pair in values_in(one, f"{path}[]")
                if not isinstance(one, dict) or pair[0] != f"{path}[]"
            )


def expect_valid(request, body):
    """Raise AssertionError unless the table has each field, and each one that it requires is there."""
    fields, found = FIELDS[request], list(values_in(body))
    for path, value in found:
        _, kind, limits = fields[path]
        assert type(value) is TYPES[kind], path
        if "|" in limits:
            assert value in limits.split("|"), path
        elif limits and kind == "string":
            shortest, longest = map(int, limits.split(".."))
            assert shortest <= len(value) <= longest, path
    present = {path for path, _ in found} | {""}
    for path, (is_required, *_) in fields.items():
        if is_required and path.rpartition(".")[0].removesuffix("[]") in present:
            assert path in present, f"{path} is missing"


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "fields",
    [{}, {"tags": ("c" * 64, "r" * 64)}, {"lifetime": 0.1}, {"lifetime": 1e7}, {"text": "👋"}, {"idempotency_key": "f" * 64}],
)  # fmt: skip
@pytest.mark.parametrize("url", ["", "https://gateway.example/webhooks/infobip"])
@pytest.mark.parametrize("category", ["transaction", "promotion"])
async def test_each_request_of_the_plugin_is_of_the_specification(
    infobip, on, sms, channel, fields, url, category
):
    keys = {"category": category} if channel == "viber" else {}
    async with on(channel, {"webhook_url": url}, **keys) as plugin:
        await plugin.send_sms(sms(**fields))

    [taken] = infobip.taken
    assert [path for _, path in infobip.requests] == [CHANNELS[channel]]
    expect_valid(CHANNELS[channel], taken.message)


def sample(path, kind, limits):
    name = path.rpartition(".")[2].removesuffix("[]")
    if kind == "string":
        return SAMPLES.get(name) or (limits.partition("|")[0] if "|" in limits else "x")
    return {"integer": 5, "boolean": True, "array": [], "object": {}}[kind]


def whole_body(request):
    """Return a body with every field of the table."""
    body = {}
    for path, (_, kind, limits) in FIELDS[request].items():
        place, *names = body, *path.split(".")
        for name in names[:-1]:
            place = place[name.removesuffix("[]")]
            if name.endswith("[]"):
                place = place[0]
        name = names[-1]
        if name.endswith("[]"):
            place[name.removesuffix("[]")] = [sample(path, kind, limits)]
        else:
            has_objects = kind == "array" and any(other.startswith(f"{path}[].") for other in FIELDS[request])
            place[name] = [{}] if has_objects else sample(path, kind, limits)
    return body


def changed(request, path, change):
    """Return the whole body with one field changed, and the path that Infobip would name."""
    body = copy.deepcopy(whole_body(request))
    place, *names = body, *path.split(".")
    for name in names[:-1]:
        place = place[name.removesuffix("[]")]
        place = place[0] if name.endswith("[]") else place
    change(place, names[-1].removesuffix("[]"))
    return body, path.replace("[]", "[0]")


def violated(request, body):
    return {path for path, _ in BODIES[request](body, "")}


@pytest.mark.parametrize("request_", FIELDS)
def test_the_emulator_takes_a_request_with_every_field(request_):
    body = whole_body(request_)

    expect_valid(request_, body)
    assert list(BODIES[request_](body, "")) == []


@pytest.mark.parametrize(("request_", "path"), EACH_FIELD)
def test_the_emulator_refuses_each_field_that_is_of_another_type(request_, path):
    wrong = {"string": 7, "integer": "7", "boolean": "true", "array": {}, "object": []}
    value = wrong[FIELDS[request_][path][1]]
    body, name = changed(
        request_, path, lambda place, key: place.update({key: [value] if path.endswith("[]") else value})
    )

    assert violated(request_, body) == {name}


@pytest.mark.parametrize(("request_", "path"), [(r, p) for r, p in EACH_FIELD if FIELDS[r][p][0]])
def test_the_emulator_misses_each_field_that_is_required(request_, path):
    body, name = changed(request_, path, lambda place, key: place.pop(key))

    assert violated(request_, body) == {name}


@pytest.mark.parametrize(("request_", "path"), [(r, p) for r, p in EACH_FIELD if FIELDS[r][p][2]])
def test_the_emulator_holds_each_limit(request_, path):
    _, kind, limits = FIELDS[request_][path]
    most = limits.rpartition("..")[2]
    too_much = "x" * (int(most) + 1 if most.isdigit() else 1) if kind == "string" else int(most) + 1
    body, name = changed(
        request_,
        path,
        lambda place, key: place.update({key: [too_much] if path.endswith("[]") else too_much}),
    )

    assert violated(request_, body) == {name}


@pytest.mark.parametrize(("request_", "path"), [(r, p) for r, p in EACH_FIELD if FIELDS[r][p][1] == "object"])
def test_the_emulator_knows_no_other_field(request_, path):
    body, name = changed(request_, path, lambda place, key: place[key].update(gp_id="x"))

    assert violated(request_, body) == {f"{name}.gp_id"}


LISTED_ERRORS = [line.split() for line in (HERE / "infobip_errors.txt").read_text().splitlines()]
OPTED_OUT = {"573", "603", "2052", "7003", "7030", "7033"}


@pytest.mark.parametrize(("number", "name"), LISTED_ERRORS[1:])
async def test_each_listed_error_is_read_by_its_name(infobip, plugin, sms, signed, number, name):
    await plugin.send_sms(sms())
    result = infobip.event("UNDELIVERABLE_NOT_DELIVERED", infobip.taken[0])
    result["error"] |= {"id": int(number), "name": name}

    report = await plugin.parse_webhook(signed({"results": [result]}))

    code = name if len(name) <= 40 else number
    statuses = [Status.UNSUBSCRIBED, Status.FAILED] if number in OPTED_OUT else [Status.FAILED]
    assert [(event.status, event.code) for event in report.events] == [(status, code) for status in statuses]


def test_the_emulators_codes_are_infobips():
    listed = dict(LISTED_ERRORS)
    assert {str(number): name for number, (name, _) in ERRORS.items()}.items() <= listed.items()
    assert all(re.fullmatch("[A-Z_]+", name) for name in STATUSES)
    numbers = [number for _, number in STATUSES.values()]
    assert len(set(numbers)) == len(numbers)
