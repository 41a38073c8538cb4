"""The emulator refuses what Postmark refuses, and the plugin keeps to what Postmark documents."""

import io
import random

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gatepost.model import Status
from gatepost.testing.serving import serving
from gatepost_postmark import answers, reports
from gatepost_postmark.testing import PostmarkEmulator, mail_rules, webhook_bodies

GOOD = {"From": "news@brand.example", "To": "user@mail.example", "Subject": "News", "TextBody": "Hello"}

# Facts of the vendor's reference of POST /email.
FIELDS = (
    *(
        "From",
        "To",
        "Cc",
        "Bcc",
        "Subject",
        "Tag",
        "HtmlBody",
        "TextBody",
        "ReplyTo",
        "Headers",
        "Attachments",
    ),
    *("TrackOpens", "TrackLinks", "Metadata", "MessageStream"),
)
TRACK_LINKS = ("None", "HtmlAndText", "HtmlOnly", "TextOnly")
ERROR_CODES_OF_SENDING = (10, 11, 300, 402, 403, 405, 406, 411, 412, 413, 422, 1235, 1236, 1480)
# And of its webhooks: of the types of bounces Postmark tells apart, SpamComplaint has a record type of its own.
BOUNCE_TYPES = (
    *("HardBounce", "Transient", "Unsubscribe", "Subscribe", "AutoResponder", "AddressChange", "DnsError"),
    *("SpamNotification", "OpenRelayTest", "Unknown", "SoftBounce", "VirusNotification"),
    *("ChallengeVerification", "BadEmailAddress", "SpamComplaint", "ManuallyDeactivated", "Unconfirmed"),
    *("Blocked", "SMTPApiError", "InboundError", "DMARCPolicy", "TemplateRenderingFailed"),
)
SUPPRESSION_REASONS = ("HardBounce", "SpamComplaint", "ManualSuppression")
SUPPRESSION_ORIGINS = ("Recipient", "Customer", "Admin")


@pytest.fixture
async def post(provider):
    async with aiohttp.ClientSession() as session:

        async def send(body, *, path="/email", **headers):
            sent = {
                "X-Postmark-Server-Token": provider.server_token,
                "Accept": "application/json",
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            url = provider.base_url + path
            # As a file, because aiohttp warns of large bytes.
            async with session.post(url, data=io.BytesIO(data), headers=sent) as answer:
                return answer.status, (await answer.json())

        yield send


async def test_a_good_mail_is_taken(provider, post):
    status, answer = await post(GOOD)
    assert (status, answer["ErrorCode"], answer["Message"]) == (200, 0, "OK")
    assert answer.keys() == {"To", "SubmittedAt", "MessageID", "ErrorCode", "Message"}
    assert provider.taken[0].provider_id == answer["MessageID"]


async def test_null_is_a_field_that_is_not_there(provider, post):
    # As the libraries for Postmark send it.
    empty = dict.fromkeys(set(FIELDS) - GOOD.keys())
    assert (await post(GOOD | empty))[0] == 200
    assert provider.taken[0].message == GOOD


def test_the_emulator_knows_every_field():
    assert sorted(field.encode_name for field in msgspec.structs.fields(mail_rules.Mail)) == sorted(FIELDS)


@pytest.mark.parametrize("value", TRACK_LINKS)
async def test_every_way_to_track_links_is_known(post, value):
    assert (await post(GOOD | {"TrackLinks": value}))[0] == 200


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"Unknown": 1}, 403),
        ({"From": None}, 403),
        ({"TrackOpens": "yes"}, 403),
        ({"TrackLinks": "All"}, 403),
        ({"Headers": {"X-A": "b"}}, 403),
        ({"Headers": [{"Name": "X A", "Value": "b"}]}, 403),
        ({"Metadata": {"a": 7}}, 403),
        ({"Tag": "x" * 1001}, 403),
        ({"Attachments": [{"Name": "a.txt", "Content": "no base64!", "ContentType": "text/plain"}]}, 403),
        ({"To": ""}, 300),
        ({"To": ", ".join(["user@mail.example"] * 51)}, 300),
        ({"To": "user"}, 300),
        ({"To": "üser@mail.example"}, 300),
        ({"ReplyTo": "user"}, 300),
        ({"From": ""}, 300),
        ({"From": "a@b.example, c@d.example"}, 300),
        ({"From": f"{'x' * 256} <a@b.example>"}, 300),
        ({"Subject": "x" * 2001}, 300),
        ({"Subject": "🎲" * 1001}, 300),
        ({"TextBody": ""}, 300),
        ({"HtmlBody": "x" * (5 * 1024 * 1024 + 1)}, 300),
        ({"Headers": [{"Name": "Subject", "Value": "b"}]}, 300),
        ({"Metadata": {str(number): "x" for number in range(11)}}, 300),
        ({"Metadata": {"x" * 21: "x"}}, 300),
        ({"Metadata": {"x": "x" * 81}}, 300),
        ({"Metadata": {"x": "1", "X": "2"}}, 300),
        ({"MessageStream": "nowhere"}, 1235),
        ({"MessageStream": "inbound"}, 1236),
    ],
)
async def test_a_bad_mail_is_refused(provider, post, fields, number):
    status, answer = await post(GOOD | fields)
    assert (status, answer["ErrorCode"]) == (422, number)
    assert provider.taken == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "number"),
    [
        (b"{", {}, 422, 402),
        (b"not json", {}, 422, 402),
        (GOOD, {"X_Postmark_Server_Token": "another"}, 401, 10),
        (GOOD, {"X_Postmark_Server_Token": ""}, 401, 10),
        (GOOD, {"Accept": "*/*"}, 415, 409),
        (GOOD, {"Content_Type": "text/plain"}, 415, 409),
        (GOOD, {"path": "/emails"}, 404, 701),
    ],
)
async def test_a_bad_request_is_refused(provider, post, body, headers, status, number):
    answered, answer = await post(body, **headers)
    assert (answered, answer["ErrorCode"]) == (status, number)
    assert provider.taken == []


async def test_an_archived_stream_takes_nothing(provider, post):
    provider.archived.add("broadcast")
    assert (await post(GOOD | {"MessageStream": "broadcast"}))[1]["ErrorCode"] == 1235


def test_every_error_code_is_known_to_the_plugin():
    known = answers._FAULTS_OF_THE_ACCOUNT.keys() | answers._FAULTS_OF_THE_SENDER.keys()
    known |= answers._REFUSALS.keys() | {answers._SUPPRESSED}
    assert set(ERROR_CODES_OF_SENDING) <= known


def test_every_type_of_bounce_is_known():
    assert set(BOUNCE_TYPES) == reports._BOUNCES.keys() | (
        reports._WITHOUT_STATUS.keys() - {"Click", "Inbound"}
    )
    assert set(BOUNCE_TYPES) == webhook_bodies.BOUNCE_TYPES.keys() | {"SpamComplaint"}


@pytest.mark.parametrize("reason", SUPPRESSION_REASONS)
@pytest.mark.parametrize("origin", SUPPRESSION_ORIGINS)
def test_every_suppression_has_a_meaning(reason, origin):
    expected = {"SpamComplaint": Status.COMPLAINED}
    if origin == "Recipient":
        expected["ManualSuppression"] = Status.UNSUBSCRIBED
    assert reports.suppression_status(reason, origin) is expected.get(reason)


@pytest.mark.parametrize(
    ("status", "tries"),
    [(200, 1), (204, 1), (400, 1), (401, 1), (403, 1), (404, 1), (408, 7), (429, 7), (500, 7), (503, 7)],
)
async def test_webhooks_are_repeated_as_documented(provider, post, status, tries):
    await post(GOOD | {"Metadata": {"gp_id": "m"}})
    provider.time_scale = 0.0

    async def answer(_request):
        return web.Response(status=status)

    async with serving(web.Server(answer)) as url:
        event = provider.event("Delivery", provider.taken[0])
        assert await provider.report([event], to=url, tries=1 + len(provider.retry_pauses)) == [status]
    assert provider.webhook_answers == {status: tries}
    assert sum(provider.retry_pauses) == 51 * 60


async def test_reports_come_one_by_one(provider, post):
    await post(GOOD)
    events = [provider.event(kind, provider.taken[0]) for kind in ("Delivery", "Open")]
    random.Random(1).shuffle(events)
    assert [msgspec.json.decode(body) for body in provider.bodies(events, batch=0)] == events


def test_the_emulator_needs_no_arguments():
    assert PostmarkEmulator().server_token
